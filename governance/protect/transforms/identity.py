"""Stand-ins for identifiers: random pseudonyms from the vault, keyed tokens."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.protect.transforms.base import (
    Arguments,
    TransformContext,
    as_text,
    check_arguments,
    holds,
    keyed_arguments,
    plain,
    same_nulls,
    text_type,
)

_DIGITS = np.frombuffer(b"".join(b"%02x" % value for value in range(256)), np.uint16)
_HEX = "^[0-9a-f]{32}$"
_WIDTH = 32


def hexadecimal(blocks: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_]) -> pa.Array:
    """(n, 16) uint8 → n strings of 32 lower-case hexadecimal digits, null where not ``valid``.

    n is at most 2^26, so that the 32-bit offsets of an Arrow string array reach.
    """
    rows = len(blocks)
    if rows > 1 << 26:
        raise ValueError("more rows than a string array of 32-bit offsets holds")
    digits = _DIGITS.take(blocks.reshape(-1))
    offsets = np.arange(0, _WIDTH * rows + 1, _WIDTH, dtype=np.int32)
    validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(digits)]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def _valid(values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return found


def _is_stand_in(before: pa.Array, after: pa.Array) -> bool:
    return same_nulls(before, after) and holds(pc.match_substring_regex(after, _HEX))


class Pseudonym:
    """The subject's random pseudonym for the audience: 32 hexadecimal digits.

    It derives from nothing about the person (45 CFR 164.514(c)(1), GDPR Art. 4(5)); once the vault
    forgets the subject nobody can tell whose it was. Null where the value is null or the subject is
    not known.
    """

    name: ClassVar[str] = "pseudonym"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = True
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:  # noqa: ARG002
        check_arguments(self.name, arguments)
        return pa.string()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        known = (context.ordinals >= 0) & _valid(plain(values))
        if known.all() and len(known):
            return hexadecimal(np.ascontiguousarray(context.pseudonyms(context.ordinals)), known)
        blocks = np.zeros((len(values), 16), np.uint8)
        if known.any():
            blocks[known] = context.pseudonyms(context.ordinals[known])
        return hexadecimal(blocks, known)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:  # noqa: ARG002
        if not _is_stand_in(before, after):
            return False
        text = plain(before)
        return text.type != after.type or holds(pc.not_equal(text, after))


class Token:
    """AES-CMAC (RFC 4493) of the value under its domain's key: 32 hexadecimal digits.

    Equal values give equal tokens, so datasets join on them; whoever holds the key can recompute
    them, so the column is not erasable and no Safe Harbor code. The contract must therefore say
    ``erasable: false``. Arguments: ``domain`` (names the key), ``erasable: false``.
    """

    name: ClassVar[str] = "token"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "domain")
        keyed_arguments(self.name, arguments)
        text_type(self.name, input_type, integers=True)
        return pa.string()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        from governance.keys.cmac import cmac

        self.output_type(values.type, context.arguments)
        text = as_text(values)
        valid = _valid(text)
        filled = pc.fill_null(text, pa.scalar("", text.type)) if text.null_count else text
        blocks = cmac(context.token_key(context.arguments["domain"]), filled)
        return hexadecimal(np.ascontiguousarray(blocks), valid)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:  # noqa: ARG002
        return _is_stand_in(before, after) and holds(pc.not_equal(as_text(before).cast(pa.string()), after))
