"""A piece of each text replaced, for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def bytes_of(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where each of some texts starts in the bytes of all of them, with the end, and these bytes."""
    wide = pa.types.is_large_string(texts.type)
    _, places, data = texts.buffers()
    if places is None or data is None:
        return np.zeros(len(texts) + 1, np.int64), np.empty(0, np.uint8)
    offsets: NDArray[np.signedinteger] = np.frombuffer(places, np.int64 if wide else np.int32)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return offsets - offsets[0], np.frombuffer(data, np.uint8)[int(offsets[0]) : int(offsets[-1])]


def spliced(
    texts: pa.Array,
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    tags: Sequence[bytes],
    of: NDArray[np.int64],
    absent: NDArray[np.bool_],
) -> pa.Array:
    """Texts with their bytes ``[begins, ends)``, counted over all of them, replaced by one of ``tags``; null where ``absent``."""
    offsets, data = bytes_of(texts)
    sizes = np.array([len(tag) for tag in tags], np.int64)
    starts = np.concatenate(([0], np.cumsum(sizes)))[:-1] + len(data)
    source = np.concatenate((data, np.frombuffer(b"".join(tags), np.uint8)))
    # Three pieces a row: what stands before, the tag, what stands behind.
    first = np.stack((offsets[:-1], starts[of], ends), axis=1).ravel()
    lengths = np.stack((begins - offsets[:-1], sizes[of], offsets[1:] - ends), axis=1)
    lengths[absent] = 0
    placed = np.concatenate(([0], np.cumsum(lengths.ravel())))
    index = np.arange(placed[-1]) + np.repeat(first - placed[:-1], lengths.ravel())
    wide = pa.types.is_large_string(texts.type)
    held = pa.array(~absent).buffers()[1] if absent.any() else None
    return pa.Array.from_buffers(
        texts.type,
        len(texts),
        [held, pa.py_buffer(placed[::3].astype(np.int64 if wide else np.int32)), pa.py_buffer(source[index])],
    )


def cut(texts: pa.Array, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> pa.Array:
    """The bytes ``[begins, ends)``, counted over all of the texts, of each."""
    _, data = bytes_of(texts)
    placed = np.concatenate(([0], np.cumsum(ends - begins)))
    index = np.arange(placed[-1]) + np.repeat(begins - placed[:-1], ends - begins)
    return pa.Array.from_buffers(
        pa.large_binary(),
        len(texts),
        [None, pa.py_buffer(placed.astype(np.int64)), pa.py_buffer(data[index])],
    )


def taken(values: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    """The texts of some rows, ascending and distinct."""
    return values if len(rows) == len(values) else values.take(pa.array(rows))
