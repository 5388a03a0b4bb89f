"""Format-preserving encryption of numbers that people write down: social security, card, telephone."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.keys.ff1 import FF1, SMALLEST_DOMAIN, longest, shortest
from governance.protect.transforms.base import (
    Arguments,
    TransformContext,
    as_text,
    check_arguments,
    holds,
    integer_argument,
    keyed_arguments,
    same_nulls,
    text_type,
)

ALPHABETS = MappingProxyType(
    {
        "digits": "0123456789",
        "hexadecimal": "0123456789abcdef",
        "lower": "abcdefghijklmnopqrstuvwxyz",
        "upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "digits_lower": "0123456789abcdefghijklmnopqrstuvwxyz",
        "digits_upper": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    }
)
SEPARATORS = " -./()+"
"""Stay where they are; any other character outside the alphabet makes the value unreadable."""

_SEPARATOR, _FOREIGN = 254, 255
_FIXED_POINTS = 3
"""An encryption may map a value to itself; in a batch, more of them mean that nothing was encrypted."""


class FormatPreserving:
    """FF1 (NIST SP 800-38G Rev. 1) of the value's letters or digits; its separators keep their places.

    ``123-45-6789`` becomes another nine digits in the same shape. Whoever holds the domain's key can
    reverse it, so the column is not erasable and no Safe Harbor code: the contract must say
    ``erasable: false``. A value with fewer characters than ``minimum_length``, more than two halves of
    62 bits hold (36 digits), or a character that is neither in the alphabet nor a separator becomes null.
    Check digits are not kept.

    Arguments: ``domain`` (names the key), ``erasable: false``, ``alphabet`` (one of
    :data:`ALPHABETS`, default ``digits``), ``minimum_length`` (default the least that makes a million
    values: 6 digits; below it GOV-316).
    """

    name: ClassVar[str] = "ff1"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "domain", "alphabet", "minimum_length")
        keyed_arguments(self.name, arguments)
        radix = len(self._alphabet(arguments))
        least = self._least(arguments)
        if radix**least < SMALLEST_DOMAIN:
            raise ProtectionError(
                "GOV-316",
                f"transform ff1: {least} characters of {radix} make fewer than {SMALLEST_DOMAIN:,} values",
                f"write `minimum_length: {shortest(radix)}` or leave it out; use pseudonym or drop for short codes",
            )
        return text_type(self.name, input_type)

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        kind = self.output_type(values.type, context.arguments)
        text = as_text(values)
        filled = pc.fill_null(text, pa.scalar("", text.type)).cast(pa.large_string())
        alphabet = self._alphabet(context.arguments)
        spelled, usable = _encrypted(
            filled,
            alphabet,
            self._least(context.arguments),
            context.token_key(str(context.arguments["domain"])),
        )
        usable &= pc.is_valid(text).to_numpy(zero_copy_only=False)
        return pc.if_else(pa.array(usable), spelled, pa.scalar(None, spelled.type)).cast(kind)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        text = as_text(before)
        if not same_nulls(before, after) or text.type != after.type:
            return False
        letters = f"[{self._alphabet(arguments)}]"
        shapes = (pc.replace_substring_regex(side, letters, "x") for side in (text, after))
        if not holds(pc.equal(*shapes)):
            return False
        same = pc.fill_null(pc.equal(text, after), False)
        if not pc.any(same, min_count=0).as_py():
            return True
        changed = pc.any(pc.not_equal(text, after), min_count=0).as_py()
        return bool(changed) and len(pc.unique(after.filter(same))) <= _FIXED_POINTS

    def _alphabet(self, arguments: Arguments) -> str:
        name = arguments.get("alphabet", "digits")
        if name not in ALPHABETS:
            raise ProtectionError(
                "GOV-305",
                "transform ff1: argument alphabet names none there is",
                f"write one of {', '.join(ALPHABETS)}",
            )
        return ALPHABETS[str(name)]

    def _least(self, arguments: Arguments) -> int:
        radix = len(self._alphabet(arguments))
        return integer_argument(self.name, arguments, "minimum_length", minimum=1, default=shortest(radix))


def _encrypted(
    text: pa.Array, alphabet: str, least: int, key: bytes
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Every value's numerals encrypted in place, and which of the values could be."""
    rows = len(text)
    _, offset_buffer, data_buffer = text.buffers()
    if not rows or data_buffer is None:
        return text, np.zeros(rows, bool)
    offsets = np.frombuffer(offset_buffer, np.int64)[text.offset : text.offset + rows + 1]
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    letters = np.frombuffer(alphabet.encode(), np.uint8)
    codes = _table(alphabet).take(data)
    spelled = data.copy()
    usable = _alike(codes, offsets, spelled, letters, least, key)
    if usable is None:
        usable = _mixed(codes, offsets, spelled, letters, least, key)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(spelled)]
    if usable.all():
        return pa.Array.from_buffers(text.type, rows, buffers), usable
    # What is not usable goes: its bytes stand in `spelled` as they came.
    buffers[0] = pa.py_buffer(np.packbits(usable, bitorder="little"))
    return pc.fill_null(pa.Array.from_buffers(text.type, rows, buffers), ""), usable


def _table(alphabet: str) -> npt.NDArray[np.uint8]:
    table = np.full(256, _FOREIGN, np.uint8)
    table[np.frombuffer(SEPARATORS.encode(), np.uint8)] = _SEPARATOR
    table[np.frombuffer(alphabet.encode(), np.uint8)] = np.arange(len(alphabet), dtype=np.uint8)
    return table


def _alike(codes: Any, offsets: Any, spelled: Any, letters: Any, least: int, key: bytes) -> Any:
    """The common case, all values of one shape: columns of a matrix. ``None`` where they are not."""
    rows, width = len(offsets) - 1, int(offsets[1])
    if not width or (np.diff(offsets) != width).any():
        return None
    matrix = codes.reshape(rows, width)
    shape = matrix[0] < _SEPARATOR
    places = np.flatnonzero(shape)
    if not least <= len(places) <= longest(len(letters)):
        return None
    columns = np.ascontiguousarray(matrix.T)
    kinds = columns >= _SEPARATOR
    if (kinds != ~shape[:, None]).any() or (columns[~shape] == _FOREIGN).any():
        return None
    columns[places] = letters.take(FF1(key, len(letters), len(places)).encrypt(columns[places]))
    columns[~shape] = spelled.reshape(rows, width)[:, ~shape].T
    spelled.reshape(rows, width)[:] = columns.T
    return np.ones(rows, bool)


def _mixed(codes: Any, offsets: Any, spelled: Any, letters: Any, least: int, key: bytes) -> Any:
    """Any shapes: numerals are gathered and put back by length."""
    numeral = codes < _SEPARATOR
    before = np.concatenate(([0], np.cumsum(numeral)))
    foreign = np.concatenate(([0], np.cumsum(codes == _FOREIGN)))
    lengths = before[offsets[1:]] - before[offsets[:-1]]
    usable = (lengths >= least) & (lengths <= longest(len(letters)))
    usable &= foreign[offsets[1:]] == foreign[offsets[:-1]]
    places = np.flatnonzero(numeral)
    for length in np.unique(lengths[usable]):
        chosen = np.flatnonzero(usable & (lengths == length))
        at = places[before[offsets[chosen]] + np.arange(length)[:, None]]
        spelled[at] = letters.take(FF1(key, len(letters), int(length)).encrypt(codes[at]))
    return usable
