"""How an event lies in an outbox file: a fixed header, then the principal, then the body as serialized.

The header is little-endian: an 8-byte mark, the length of principal and body, the length of the
principal, when the event was kept (ns since the epoch) and the CRC-32 (ISO 3309) of all after the
mark. A torn or altered record is recognised by it and skipped to the next mark, so it costs no other.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_MARK = b"\x89GOVOL1\n"
_HEADER = struct.Struct("<8sIHQI")
_CRC = struct.Struct("<I")
_COVERED = slice(len(_MARK), _HEADER.size - _CRC.size)


@dataclass(frozen=True, slots=True)
class Event:
    """A serialized event, who sent it, and when it was kept (ns since the epoch; 0: never kept)."""

    body: bytes
    principal: str
    kept_at: int = 0


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a stretch of a file holds: whole ``events``, ``damaged`` stretches, and its ``length`` in bytes.

    ``length`` ends behind the last whole record or damaged stretch; what is beyond it is not read yet.
    """

    events: list[Event]
    damaged: list[bytes]
    length: int


def framed(event: Event) -> bytes:
    """The record of an event."""
    principal = event.principal.encode("utf-8")
    payload = principal + event.body
    header = _HEADER.pack(_MARK, len(payload), len(principal), event.kept_at, 0)[: -_CRC.size]
    crc = zlib.crc32(payload, zlib.crc32(header[len(_MARK) :]))
    return b"".join((header, _CRC.pack(crc), payload))


def scan(data: bytes, *, ended: bool, limit: int | None = None, max_bytes: int | None = None) -> Scanned:
    """Read records from the start of ``data``.

    Args:
        data: a stretch of a file that begins with a record.
        ended: whether the file ends with ``data``; else an unfinished record at the end may go on.
        limit: stop after so many events.
        max_bytes: stop after the event that brings the bodies to so many bytes.
    """
    events: list[Event] = []
    damaged: list[bytes] = []
    at = size = 0
    while at < len(data):
        if (limit is not None and len(events) >= limit) or (max_bytes is not None and size >= max_bytes):
            break
        found = _record(data, at)
        if isinstance(found, Event):
            events.append(found)
            size += len(found.body)
            at = _end(data, at)
            continue
        if found is None and not ended:
            break
        following = _next_whole(data, at + 1)
        if following is None and not ended:
            break
        stop = len(data) if following is None else following
        damaged.append(data[at:stop])
        at = stop
    return Scanned(events, damaged, at)


def _end(data: bytes, at: int) -> int:
    _, length, *_ = _HEADER.unpack_from(data, at)
    return at + _HEADER.size + int(length)


def _record(data: bytes, at: int) -> Event | bool | None:
    """The event at ``at``; None when ``data`` ends within it, False when there is none."""
    if len(data) - at < _HEADER.size:
        return None if _MARK.startswith(data[at : at + len(_MARK)]) else False
    mark, length, named, kept_at, crc = _HEADER.unpack_from(data, at)
    if mark != _MARK or named > length:
        return False
    start = at + _HEADER.size
    if start + length > len(data):
        return None
    payload = data[start : start + length]
    covered = data[at + _COVERED.start : at + _COVERED.stop]
    if zlib.crc32(payload, zlib.crc32(covered)) != crc:
        return False
    return Event(payload[named:], payload[:named].decode("utf-8", "replace"), kept_at)


def _next_whole(data: bytes, at: int) -> int | None:
    while (at := data.find(_MARK, at)) >= 0:
        if isinstance(_record(data, at), Event):
            return at
        at += 1
    return None
