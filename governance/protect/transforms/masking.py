"""Masking and truncating text by characters, never by bytes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.protect.transforms.base import (
    Arguments,
    TransformContext,
    as_text,
    check_arguments,
    holds,
    integer_argument,
    same_nulls,
    text_type,
)

_MOST_KEPT = 64


class Mask:
    """Replaces characters, keeping a few at one end: ``*****6789``.

    A value that is no longer than what would be kept is masked whole. Characters are Unicode code
    points. Arguments: ``keep_last: n`` or ``keep_first: n`` (default ``keep_last: 0``), ``with``:
    one character (default ``*``).
    """

    name: ClassVar[str] = "mask"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "keep_last", "keep_first", "with")
        if "keep_last" in arguments and "keep_first" in arguments:
            raise ProtectionError(
                "GOV-305",
                "transform mask: keep_last and keep_first are both given",
                "write one of them",
            )
        self._kept(arguments)
        self._character(arguments)
        return text_type(self.name, input_type, integers=True)

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        text = as_text(values)
        kept, at_end = self._kept(context.arguments)
        if (masked := _masked_ascii(text, self._character(context.arguments), kept, at_end)) is not None:
            return masked
        character = pa.scalar(self._character(context.arguments), text.type)
        empty = pa.scalar("", text.type)
        length = pc.utf8_length(text)
        if kept == 0:
            return pc.binary_repeat(character, length)
        end = pc.utf8_slice_codeunits(text, -kept) if at_end else pc.utf8_slice_codeunits(text, 0, kept)
        shown = pc.if_else(pc.greater(length, kept), end, empty)
        hidden = pc.binary_repeat(character, pc.subtract(length, pc.utf8_length(shown)))
        parts = (hidden, shown) if at_end else (shown, hidden)
        return pc.binary_join_element_wise(*parts, empty)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        text = as_text(before)
        kept, at_end = self._kept(arguments)
        if (held := _hidden_ascii(text, after, self._character(arguments), kept, at_end)) is not None:
            return held
        if not (same_nulls(text, after) and holds(pc.equal(pc.utf8_length(text), pc.utf8_length(after)))):
            return False
        hidden = f"[\\x{{{ord(self._character(arguments)):x}}}]"
        shown = f"(?s:.{{{kept}}})"
        partly = f"{hidden}+{shown}" if at_end else f"{shown}{hidden}+"
        return holds(pc.match_substring_regex(after, f"^(?:{hidden}*|{partly})$"))

    def _kept(self, arguments: Arguments) -> tuple[int, bool]:
        at_end = "keep_first" not in arguments
        argument = "keep_last" if at_end else "keep_first"
        kept = integer_argument(self.name, arguments, argument, minimum=0, default=0)
        if kept > _MOST_KEPT:
            raise ProtectionError(
                "GOV-305",
                f"transform mask: argument {argument} keeps more than {_MOST_KEPT} characters",
                "a mask that keeps this much hides nothing; use keep or redact",
            )
        return kept, at_end

    def _character(self, arguments: Arguments) -> str:
        character = arguments.get("with", "*")
        if not isinstance(character, str) or len(character) != 1:
            raise ProtectionError(
                "GOV-305", "transform mask: argument with must be one character", 'write e.g. `with: "*"`'
            )
        return character


def _hidden_ascii(before: pa.Array, after: pa.Array, character: str, kept: int, at_end: bool) -> bool | None:
    """Whether a mask's promise holds where a character is a byte; ``None`` where one is not
    or a value is missing."""
    if len(before) != len(after) or before.type != after.type or not character.isascii():
        return None
    given, written = _bytes_of(before), _bytes_of(after)
    if given is None or written is None or before.null_count or after.null_count:
        return None
    lengths = np.diff(written[0])
    if (np.diff(given[0]) != lengths).any():
        return False
    # Each byte that shows something stands within what is kept of its value, and no value is kept whole.
    shown = np.flatnonzero(written[1] != ord(character))
    value = np.searchsorted(written[0], shown, "right") - 1
    inside = written[0][value + 1] - shown if at_end else shown - written[0][value] + 1
    return bool((inside <= kept).all() and (lengths[value] > kept).all())


def _bytes_of(text: pa.Array) -> tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.uint8]] | None:
    """Offsets from 0, shape (n + 1,), and the bytes of a text array if all are ASCII."""
    wide = pa.types.is_large_string(text.type)
    _, offset_buffer, data_buffer = text.buffers()
    if not len(text) or data_buffer is None:
        return None
    offsets = np.frombuffer(offset_buffer, np.int64 if wide else np.int32)
    offsets = offsets[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    if data.size and data.max() >= 128:
        return None
    return offsets - offsets[0], data


def _masked_ascii(text: pa.Array, character: str, kept: int, at_end: bool) -> pa.Array | None:
    """The masked array where a character is a byte, else ``None``: an order faster than by code point."""
    held = _bytes_of(text) if character.isascii() else None
    if held is None:
        return None
    offsets, data = held
    masked = np.full(data.size, ord(character), np.uint8)
    partly = np.flatnonzero(np.diff(offsets) > kept)
    edge = offsets[partly + 1] - kept if at_end else offsets[partly]
    for step in range(kept):
        shown = edge + step
        masked[shown] = data[shown]
    if text.null_count:
        bits = pc.is_valid(text).to_numpy(zero_copy_only=False)
        validity = pa.py_buffer(np.packbits(bits, bitorder="little"))
    else:
        validity = None
    return pa.Array.from_buffers(
        text.type, len(text), [validity, pa.py_buffer(offsets), pa.py_buffer(masked)]
    )


class Truncate:
    """Keeps the first ``length`` characters. A shorter value passes whole, so it does not mask.

    Arguments: ``length``, at least 1.
    """

    name: ClassVar[str] = "truncate"
    masking: ClassVar[bool] = False
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "length")
        integer_argument(self.name, arguments, "length", minimum=1)
        return text_type(self.name, input_type, integers=True)

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        return pc.utf8_slice_codeunits(as_text(values), 0, int(context.arguments["length"]))

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        return same_nulls(before, after) and holds(
            pc.less_equal(pc.utf8_length(after), int(arguments["length"]))
        )
