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
_PAIRS = np.zeros(1 << 16, np.uint8)
_PAIRS[_DIGITS] = np.arange(256)
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


def blocks_of(digits: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """What :func:`hexadecimal` wrote: blocks of shape (n, 16), and which rows hold one; zeros in the others.

    Takes ``string`` or ``large_string``.
    """
    rows = len(digits)
    wide = pa.types.is_large_string(digits.type)
    _, places, data = digits.buffers()
    blocks = np.zeros((rows, _WIDTH // 2), np.uint8)
    if places is None or data is None:
        return blocks, np.zeros(rows, np.bool_)
    every: npt.NDArray[np.signedinteger] = np.frombuffer(places, np.int64 if wide else np.int32)
    offsets = every[digits.offset : digits.offset + rows + 1].astype(np.int64)
    written = np.diff(offsets) == _WIDTH
    if digits.null_count:
        written &= _valid(digits)
    text = np.frombuffer(data, np.uint8)
    if written.all():
        read = text[offsets[0] : offsets[-1]].reshape(rows, _WIDTH)
        digit = _are_digits(read)
        if digit.all():
            return _PAIRS.take(read.reshape(-1).view(np.uint16)).reshape(rows, _WIDTH // 2), written
    else:
        read = text[offsets[:-1][written, None] + np.arange(_WIDTH)]
        digit = _are_digits(read)
    read = read[digit.all(axis=1)]
    written[written] = digit.all(axis=1)
    blocks[written] = _PAIRS.take(read.reshape(-1).view(np.uint16)).reshape(-1, _WIDTH // 2)
    return blocks, written


def _valid(values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return found


def _is_stand_in(before: pa.Array, after: pa.Array) -> bool:
    return after.type == pa.string() and same_nulls(before, after) and _is_hexadecimal(after)


def _is_hexadecimal(values: pa.Array) -> bool:
    """Whether every value is 32 lower-case hexadecimal digits. A null, which has no bytes of its own, is no value."""
    if not len(values):
        return True
    _, places, data = values.buffers()
    offsets = np.frombuffer(places, np.int32)[values.offset : values.offset + len(values) + 1]
    lengths = np.diff(offsets)
    if values.null_count:
        lengths = lengths[_valid(values)]
    text = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    return bool((lengths == _WIDTH).all() and _are_digits(text).all())


def _are_digits(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    # Unsigned numbers wrap, so one comparison does for both ends.
    digit: npt.NDArray[np.bool_] = (text - np.uint8(ord("0"))) < 10
    digit |= (text - np.uint8(ord("a"))) < 6
    return digit


class Pseudonym:
    """The subject's random pseudonym for the audience: 32 hexadecimal digits.

    It derives from nothing about the person (45 CFR 164.514(c)(1), GDPR Art. 4(5)); once the vault
    forgets the subject nobody can tell whose it was. Null where the value is null or the subject is
    not known. Argument ``derived``: the values are such pseudonyms already, so what is written has to be them.
    """

    name: ClassVar[str] = "pseudonym"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = True
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:  # noqa: ARG002
        check_arguments(self.name, arguments, "derived")
        return pa.string()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        known = (context.ordinals >= 0) & _valid(plain(values))
        if known.all() and len(known):
            return hexadecimal(np.ascontiguousarray(context.pseudonyms(context.ordinals)), known)
        blocks = np.zeros((len(values), 16), np.uint8)
        if known.any():
            blocks[known] = context.pseudonyms(context.ordinals[known])
        return hexadecimal(blocks, known)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        if not _is_stand_in(before, after):
            return False
        text = plain(before)
        if arguments.get("derived"):
            return holds(pc.equal(text.cast(pa.string()), after))
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
