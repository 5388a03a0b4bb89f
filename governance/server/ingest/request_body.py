"""Reads a request's body as it arrives, gunzips it, and never holds more than it was allowed to."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from governance.errors import AccessError, LogError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):
    """The client went away in the middle of its request; nobody is there to be answered."""


class BodyReader:
    """Reads bodies within limits.

    Args:
        largest: of one body, in bytes, both as sent and after gunzipping.
        together: of all bodies being read at one time, in bytes; beyond it the server is overloaded.
    """

    def __init__(self, *, largest: int = 64 << 20, together: int = 256 << 20) -> None:
        self.largest = largest
        self.together = together
        self._held = 0

    async def read(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """The body, gunzipped where ``Content-Encoding: gzip`` says so.

        Raises:
            AccessError: GOV-613 when it is no gzip, GOV-614 when it is too large, GOV-615 for another
                encoding.
            LogError: GOV-510 when too many bodies are being read.
            Disconnected: the client went away.
        """
        length, encoding = 0, b""
        for name, value in headers:
            if name == b"content-length":
                length = int(value) if value.isdigit() else 0
            elif name == b"content-encoding":
                encoding = value.strip().lower()
        if length > self.largest:
            raise _too_large(self.largest)
        inflate = _decoder(encoding)
        message = await receive()
        if inflate is None and message["type"] == "http.request" and not message.get("more_body"):
            return _small(message.get("body", b""), self.largest)
        return await self._collect(message, receive, inflate)

    async def _collect(
        self, message: MutableMapping[str, Any], receive: Receive, inflate: _Gunzip | None
    ) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                if message["type"] != "http.request":
                    raise Disconnected
                chunk = message.get("body", b"")
                if inflate is not None:
                    chunk = inflate.feed(chunk, self.largest - size)
                size += len(chunk)
                self._held += len(chunk)
                parts.append(chunk)
                if size > self.largest:
                    raise _too_large(self.largest)
                if self._held > self.together:
                    raise LogError(
                        "GOV-510",
                        "the lineage store is overloaded: too many large events arrive at once",
                        "Send it again later; nothing of it was kept, nothing is lost.",
                    )
                if not message.get("more_body"):
                    break
                message = await receive()
        finally:
            self._held -= size
        if inflate is not None:
            inflate.finish()
        return b"".join(parts)


class _Gunzip:
    """RFC 1952, member after member, never inflating more than is asked for."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False

    def feed(self, data: bytes, room: int) -> bytes:
        parts: list[bytes] = []
        try:
            while data:
                if self._member.eof:
                    self._member = zlib.decompressobj(wbits=31)
                self._begun = True
                # One byte more than there is room for shows that it is too large.
                parts.append(self._member.decompress(data, room + 1))
                room -= len(parts[-1])
                if room < 0:
                    break
                data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        except zlib.error:
            raise _no_gzip() from None
        return b"".join(parts)

    def finish(self) -> None:
        if not self._begun or not self._member.eof:
            raise _no_gzip()


def _decoder(encoding: bytes) -> _Gunzip | None:
    if encoding in (b"", b"identity"):
        return None
    if encoding in (b"gzip", b"x-gzip"):
        return _Gunzip()
    raise AccessError(
        "GOV-615", "the request's Content-Encoding is not supported", "send it as it is, or with gzip"
    )


def _small(body: bytes, largest: int) -> bytes:
    if len(body) > largest:
        raise _too_large(largest)
    return body


def _too_large(largest: int) -> AccessError:
    return AccessError(
        "GOV-614",
        f"the request's body has more than {largest} bytes",
        "send fewer events at once; raise --max-body where single events are larger",
    )


def _no_gzip() -> AccessError:
    return AccessError("GOV-613", "the request's body is no whole gzip stream", "compress it again")
