"""Bytes of text files on their way to a parser: inflated, checked for UTF-8, without a byte order mark."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from governance.errors import SourceError
from governance.sources.base import not_utf8, unreadable
from governance.sources.pinning import OpenedFile

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"


class TextStream:
    """A readable, file-like stream over a source file that holds UTF-8, gzip-compressed or not.

    ``inspect`` sees every chunk, and ``b""`` at the end, before it is handed on. An error raised on the
    way is kept in ``failure``: parsers that call :meth:`read` from other code may replace it. ``ended``
    says that the last byte was seen.
    """

    def __init__(self, file: OpenedFile, inspect: Callable[[bytes], None] | None = None) -> None:
        self.name = file.name
        self.failure: SourceError | None = None
        self.closed = False
        self.ended = False
        self._chunks = self._checked(file, inspect)
        self._pending = b""

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, fewer only at the end; negative for one chunk."""
        parts: list[bytes] = []
        missing = size if size >= 0 else _CHUNK
        while missing:
            if not self._pending:
                self._pending = next(self._chunks, b"")
                if not self._pending:
                    break
            parts.append(self._pending[:missing])
            self._pending = self._pending[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def _checked(self, file: OpenedFile, inspect: Callable[[bytes], None] | None) -> Iterator[bytes]:
        try:
            for chunk in _utf8(file.name, _inflated(file)):
                if inspect:
                    inspect(chunk)
                yield chunk
            if inspect:
                inspect(b"")
            self.ended = True
        except SourceError as error:
            self.failure = error
            raise


def _inflated(file: OpenedFile) -> Iterator[bytes]:
    """The file's bytes, or those of its gzip members (RFC 1952), in chunks of at most 1 MiB."""
    stream = file.stream()
    data = _read(file, stream.read)
    if not data.startswith(_GZIP):
        while data:
            yield data
            data = _read(file, stream.read)
        return
    inflater = zlib.decompressobj(wbits=31)
    fresh = False
    while data:
        try:
            inflated = inflater.decompress(data, _CHUNK)
        except zlib.error:
            raise unreadable(file.name, "the gzip data is damaged") from None
        if inflated:
            yield inflated
        fresh = False
        data = inflater.unconsumed_tail
        if inflater.eof:
            data = inflater.unused_data.lstrip(b"\0")  # RFC 1952 §2.2 members, and tar's padding
            inflater, fresh = zlib.decompressobj(wbits=31), True
        if not data:
            data = _read(file, stream.read)
            if fresh:
                data = data.lstrip(b"\0")
    if not fresh:
        raise unreadable(file.name, "the gzip data is truncated")


def _read(file: OpenedFile, read: Callable[[int], bytes]) -> bytes:
    try:
        return read(_CHUNK)
    except OSError as error:
        raise unreadable(file.name, error.strerror or "cannot be read") from None


def _utf8(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks, cut between code points. Raises :class:`SourceError` GOV-703 with the line."""
    line = 1
    rest = b""
    first = True
    for chunk in chunks:
        data = rest + chunk
        if first:
            if len(data) < len(_MARK) and _MARK.startswith(data):
                rest = data
                continue
            data = data.removeprefix(_MARK)
            first = False
        cut = len(data) - _incomplete(data)
        rest, data = data[cut:], data[:cut]
        if not _is_utf8(data):
            before = data.count(b"\n", 0, _first_invalid(data))
            raise not_utf8(name, f"line {line + before}")
        line += data.count(b"\n")
        if data:
            yield data
    if rest and rest != _MARK:
        raise not_utf8(name, f"line {line}")


def _incomplete(data: bytes) -> int:
    """How many bytes at the end begin a code point that is not finished."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return back if length > back else 0
    return 0


def _is_utf8(data: bytes) -> bool:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    try:
        pa.StringArray.from_buffers(1, offsets, pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _first_invalid(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(data)
