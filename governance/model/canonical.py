"""Canonical JSON (RFC 8785) and digests: the bytes that are signed, hashed and compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import rfc8785

Json: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None


def canonical(value: Json | Mapping[str, Any]) -> bytes:
    """The RFC 8785 serialization of ``value``. Integers beyond ±2^53 are refused by the standard."""
    return rfc8785.dumps(dict(value) if isinstance(value, Mapping) else value)


# A number of which other writers than RFC 8785's may have another spelling.
_NUMBER = re.compile(r"[:\[,]-?(?:[0-9]{16}|0(?!\.[1-9][0-9]{0,16}[,}\]])[.eE]|[1-9][0-9]*[.eE])")
# From the surrogates on, keys in UTF-16's order and in Unicode's are not in one order.
_WIDE = re.compile("[^\x00-\ud7ff]")
_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_parsed(value: Mapping[str, Any]) -> bytes:
    """:func:`canonical` of an object that was parsed from JSON, many times faster where all in it is plain.

    Texts without escapes but ends of lines, and small integers, have one spelling, whoever writes them.
    """
    try:
        text = _sorted(value)
    except (TypeError, ValueError, RecursionError):
        return canonical(value)
    plain = text.isascii() or _WIDE.search(text) is None
    plain = plain and ("\\" not in text or "\\" not in text.replace("\\n", ""))
    # Digests look like numbers here and there, so texts are left out; none has a quotation mark in it.
    plain = plain and _NUMBER.search("".join(text.split('"')[::2])) is None
    return text.encode("utf-8") if plain else canonical(value)


def digest(data: bytes) -> str:
    """``sha256:`` followed by 64 lower-case hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse(data: bytes) -> Any:
    """Parse JSON; the inverse of :func:`canonical`."""
    return json.loads(data)


def timestamp(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds, e.g. ``2026-01-31T12:00:00.000000Z``."""
    if instant.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def instant(text: str) -> datetime:
    """Parse an RFC 3339 timestamp into an aware UTC datetime."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return value.astimezone(UTC)
