"""What every transform is, and the checks they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.keys.text_tokens import TextKey

Arguments = Mapping[str, Any]

COMMON_ARGUMENTS = frozenset({"erasable"})
"""Accepted by every transform: whether the contract says the column must remain erasable."""


@dataclass(frozen=True, slots=True)
class TransformContext:
    """What a transform may ask for beside the values of one batch of n rows.

    Args:
        ordinals: (n,) int64, the subject's vault ordinal of each row, −1 where unknown.
        pseudonyms: ordinals (m,) int64, all ≥ 0 → (m, 16) uint8, random per subject and audience.
        token_key: a domain's name → its 16- or 32-byte AES key.
        redact: free text → the same text with identifiers replaced by type tags.
        arguments: the contract's arguments for this column.
        year: calendar year (UTC) of the run's opening; a transform reads no clock.
        text_keys: numbers of rows → the key that seals each one's values, ``None`` where none may.
    """

    ordinals: npt.NDArray[np.int64]
    pseudonyms: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]
    token_key: Callable[[str], bytes]
    redact: Callable[[pa.Array], pa.Array]
    arguments: Arguments
    year: int
    text_keys: Callable[[npt.NDArray[np.int64]], Sequence[TextKey | None]] = lambda rows: [None] * len(rows)


class Transform(Protocol):
    """A protection method.

    ``masking`` says that no value of the input can be read in the output; it is reported as such
    only after :meth:`verify` held. ``erasable`` says that destroying the subject's vault entry
    leaves nothing to find the subject by through this column. ``released`` is false for a column
    that does not appear in the output at all.
    """

    name: ClassVar[str]
    masking: ClassVar[bool]
    erasable: ClassVar[bool]
    released: ClassVar[bool]

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        """The type :meth:`apply` gives. Raises GOV-305 on wrong arguments or an unfit type."""

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        """Transform (n,) values; what cannot be understood becomes null, never passes through."""

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        """Whether the promise holds on the output, judged without the code that produced it."""


def check_arguments(name: str, arguments: Arguments, *allowed: str) -> None:
    """Refuse arguments that ``name`` does not know. Raises GOV-305."""
    unknown = sorted(set(arguments) - set(allowed) - COMMON_ARGUMENTS)
    if unknown:
        known = ", ".join(allowed) or "none"
        raise ProtectionError(
            "GOV-305",
            f"transform {name}: unknown argument{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}",
            f"{name} takes these arguments: {known}",
        )


def integer_argument(
    name: str, arguments: Arguments, argument: str, *, minimum: int, default: int | None = None
) -> int:
    """A whole-number argument of at least ``minimum``. Raises GOV-305."""
    value = arguments.get(argument, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ProtectionError(
            "GOV-305",
            f"transform {name}: argument {argument} must be a whole number of at least {minimum}",
            f"write e.g. `{argument}: {max(minimum, 1)}` in the column's protection",
        )
    return value


def number_argument(name: str, arguments: Arguments, argument: str, *, above: float | None = None) -> float:
    """A finite number, above ``above`` where that is given. Raises GOV-305."""
    value = arguments.get(argument)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not sound or (above is not None and value <= above):  # type: ignore[operator]
        limit = "" if above is None else f" above {above:g}"
        raise ProtectionError(
            "GOV-305",
            f"transform {name}: argument {argument} must be a number{limit}",
            f"write e.g. `{argument}: 1` in the column's protection",
        )
    return value  # type: ignore[return-value]


def key_domain(name: str, arguments: Arguments) -> None:
    """Require ``domain``, which names a key: GOV-305."""
    domain = arguments.get("domain")
    if not isinstance(domain, str) or not domain:
        raise ProtectionError(
            "GOV-305",
            f"transform {name}: argument domain is missing",
            "write `domain:` and the name of the identifiers that share a key, e.g. customer",
        )


def keyed_arguments(name: str, arguments: Arguments) -> None:
    """Require ``domain`` and ``erasable: false``: what a key can recompute outlives an erasure. GOV-305."""
    key_domain(name, arguments)
    if arguments.get("erasable") is not False:
        raise ProtectionError(
            "GOV-305",
            f"transform {name}: what a key can compute again cannot be erased while the key lives",
            "write `erasable: false` if the column need not be erasable, or use pseudonym",
        )


def unfit(name: str, input_type: pa.DataType, wanted: str) -> ProtectionError:
    """The error for a column whose type the transform cannot take."""
    return ProtectionError(
        "GOV-305",
        f"transform {name} cannot take a column of type {input_type}",
        f"use it on {wanted}, or choose another transform for this column",
    )


def value_type(input_type: pa.DataType) -> pa.DataType:
    """The type behind dictionary encoding and string views."""
    if pa.types.is_dictionary(input_type):
        return value_type(input_type.value_type)
    return pa.string() if pa.types.is_string_view(input_type) else input_type


def plain(values: pa.Array) -> pa.Array:
    """``values`` without dictionary encoding or string views."""
    if pa.types.is_dictionary(values.type):
        return plain(values.dictionary_decode())
    return values.cast(pa.string()) if pa.types.is_string_view(values.type) else values


def is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def is_number(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(data_type) or pa.types.is_floating(data_type))


def text_type(name: str, input_type: pa.DataType, *, integers: bool = False) -> pa.DataType:
    """The text type :func:`as_text` gives for a column. Raises GOV-305 for other types."""
    decoded = value_type(input_type)
    if is_text(decoded):
        return decoded
    if (integers and pa.types.is_integer(decoded)) or pa.types.is_null(decoded):
        return pa.string()
    raise unfit(name, input_type, "text" + (" or whole numbers" if integers else ""))


def as_text(values: pa.Array) -> pa.Array:
    """Text, decoded; integers as decimal digits."""
    decoded = plain(values)
    return decoded if is_text(decoded.type) else decoded.cast(pa.string())


def holds(condition: pa.Array) -> bool:
    """Whether a boolean array has no false; nulls do not count."""
    return pc.all(condition, min_count=0).as_py() is not False


def same_nulls(before: pa.Array, after: pa.Array) -> bool:
    """Whether nothing was invented: every null of ``before`` is null in ``after``."""
    return len(before) == len(after) and holds(pc.or_(pc.is_valid(plain(before)), pc.is_null(after)))
