"""Strings from text files to the types a contract asks for."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from governance.sources.base import malformed, unreadable


def converted(
    strings: pa.Array, target: pa.DataType, *, file: str, column: str, where: Callable[[int], str]
) -> pa.Array:
    """``strings`` as ``target``; white space around a value is ignored, an empty one is null.

    ``where`` names the place of a row by its index in ``strings``. Raises :class:`SourceError` GOV-702
    with file, place and column, never the value.
    """
    if target == strings.type:
        return strings
    if pa.types.is_large_string(target) or pa.types.is_string_view(target):
        return strings.cast(target)
    trimmed = pc.utf8_trim_whitespace(strings)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, strings.type), trimmed)
    if (cast := _cast(trimmed, target)) is not None:
        return cast
    low, high = 0, len(trimmed)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _cast(trimmed[low:middle], target) is None else (middle, high)
    raise malformed(file, where(low), f"column {column!r} is not {target}")


def require_convertible(column: str, target: pa.DataType) -> None:
    """Raises :class:`SourceError` GOV-701 for a type that no text can become."""
    if _cast(pa.array([], pa.string()), target) is None:
        raise unreadable("the source", f"column {column!r} cannot be read as {target}")


def _cast(strings: pa.Array, target: pa.DataType) -> pa.Array | None:
    try:
        return strings.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
