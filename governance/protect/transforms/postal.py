"""ZIP codes to their first three digits, with the restricted list kept as data."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.protect.transforms.base import (
    Arguments,
    TransformContext,
    as_text,
    check_arguments,
    holds,
    plain,
    same_nulls,
    text_type,
)

_ZIP = r"^\d{5}(?:[- ]?\d{4})?$"
_NOWHERE = "000"


@cache
def restricted_areas(edition: str | None = None) -> tuple[str, ...]:
    """Three-digit areas of at most 20,000 people, sorted.

    Args:
        edition: the census of one list (``2000``, ``2010``); ``None`` for the union of all lists,
            which restricts more than any of them and is therefore always enough.

    Raises:
        ProtectionError: GOV-305, no such list.
    """
    text = resources.files("governance.protect").joinpath("data/zip3_restricted.json").read_text("utf-8")
    lists: dict[str, dict[str, list[str]]] = json.loads(text)
    if edition is not None and edition not in lists:
        raise ProtectionError(
            "GOV-305",
            "transform zip3: argument edition names no list of restricted areas",
            f"write one of {', '.join(sorted(lists))}, or leave it out for all of them",
        )
    chosen = lists.values() if edition is None else [lists[edition]]
    return tuple(sorted({code for entry in chosen for code in entry["codes"]}))


class Zip3:
    """The first three digits of a US ZIP code, ``000`` for areas of at most 20,000 people.

    45 CFR 164.514(b)(2)(i)(B). Whole numbers are read with their leading zeros restored. What is
    not a ZIP or ZIP+4 code becomes ``000``, or null with ``otherwise: null``. A foreign code of five
    digits cannot be told from a ZIP code by its form. Arguments: ``edition`` (see
    :func:`restricted_areas`), ``otherwise``.
    """

    name: ClassVar[str] = "zip3"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "edition", "otherwise")
        self._restricted(arguments)
        if arguments.get("otherwise", _NOWHERE) not in (None, _NOWHERE):
            raise ProtectionError(
                "GOV-305", 'transform zip3: argument otherwise must be null or "000"', "write one of them"
            )
        text_type(self.name, input_type, integers=True)
        return pa.string()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        decoded = plain(values)
        text = as_text(decoded).cast(pa.string())
        if pa.types.is_integer(decoded.type):
            text = pc.utf8_lpad(text, 5, "0")
        text = pc.ascii_trim_whitespace(text)
        area = pc.utf8_slice_codeunits(text, 0, 3)
        small = pc.is_in(area, pa.array(self._restricted(context.arguments)))
        area = pc.if_else(small, _NOWHERE, area)
        otherwise = pa.scalar(context.arguments.get("otherwise", _NOWHERE), pa.string())
        return pc.if_else(pc.match_substring_regex(text, _ZIP), area, otherwise)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        if not (same_nulls(before, after) and holds(pc.match_substring_regex(after, "^[0-9]{3}$"))):
            return False
        return not pc.any(pc.is_in(after, pa.array(self._restricted(arguments))), min_count=0).as_py()

    def _restricted(self, arguments: Arguments) -> tuple[str, ...]:
        edition = arguments.get("edition")
        return restricted_areas(None if edition is None else str(edition))
