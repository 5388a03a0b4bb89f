"""What one process keeps from stage to stage of a pass, so that no stage does again what one before it did.

Bounded, and only what follows from the pinned source. A stage that runs in a process of its own has none of it
and works it out: the results are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.detect.text.noticed import NoticedTexts
from governance.model.dataset import Segment

SOURCE_BYTES = 192 << 20
"""A source of no more Arrow memory is read once."""
MOST_ROWS = 1 << 25
"""Rows whose subjects are kept, four bytes each."""
MEMBER_BYTES = 64 << 20
"""Room for which subjects segments hold, a bit each."""


class KeptSource:
    """The source's batches, all of them or none."""

    def __init__(self, limit: int = SOURCE_BYTES) -> None:
        self._limit = limit
        self._batches: list[pa.RecordBatch] | None = None

    def kept(self, columns: list[str] | None) -> Iterator[pa.RecordBatch] | None:
        """The batches, of these columns; ``None`` where they have to be read."""
        if self._batches is None:
            return None
        return (batch if columns is None else batch.select(columns) for batch in self._batches)

    def keeping(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass on the whole source, keeping it if it has come to its end and is small enough."""
        seen: list[pa.RecordBatch] = []
        left = self._limit
        for batch in batches:
            left -= batch.get_total_buffer_size() if left >= 0 else 0
            if left >= 0:
                seen.append(batch)
            else:
                seen.clear()
            yield batch
        self._batches = seen if left >= 0 else None

    def forget(self) -> None:
        """Let go of them."""
        self._batches = None


class ResolvedSubjects:
    """The vault ordinals of identifier columns that were looked up, by the SHA-256 digest of a column's values."""

    def __init__(self, limit: int = MOST_ROWS) -> None:
        self._left = limit
        self._found: dict[tuple[tuple[str, int], bytes], npt.NDArray[np.int32]] = {}

    def keep(self, population: tuple[str, int], digest: bytes, ordinals: npt.NDArray[np.int64]) -> None:
        """Keep what was found of a domain in a vault with so many subjects of it."""
        if len(ordinals) <= self._left and (population, digest) not in self._found:
            self._left -= len(ordinals)
            self._found[population, digest] = ordinals.astype(np.int32)

    def of(self, population: tuple[str, int], digest: bytes) -> npt.NDArray[np.int64] | None:
        """What was found of the same values in the same population."""
        found = self._found.get((population, digest))
        return None if found is None else found.astype(np.int64)


class ReadSubjects:
    """Which subjects the rows of segments are of, as read back from their files: a bit an ordinal."""

    def __init__(self, limit: int = MEMBER_BYTES) -> None:
        self._left = limit
        self._found: dict[str, tuple[int, npt.NDArray[np.uint8]]] = {}

    def keep(self, segment: Segment, seen: npt.NDArray[np.bool_]) -> None:
        """Keep which of a vault's subjects stand in a segment, unless there is no room."""
        bits = np.packbits(seen)
        if bits.nbytes <= self._left:
            self._left -= bits.nbytes
            self._found[segment.segment_id] = len(seen), bits

    def of(self, segment: Segment, population: int) -> npt.NDArray[np.bool_] | None:
        """Which subjects of a population that only grew stand in a segment; ``None`` where it has to be read."""
        size, bits = self._found.get(segment.segment_id, (population + 1, None))
        if bits is None or size > population:
            return None
        seen = np.zeros(population, np.bool_)
        seen[:size] = np.unpackbits(bits, count=size).view(np.bool_)
        return seen


def digest_of(values: pa.Array) -> bytes | None:
    """SHA-256 over a column of whole numbers or text; ``None`` for other types."""
    kind, rows = values.type, len(values)
    state = hashlib.sha256(f"{kind}:{rows}:".encode())
    if values.null_count:
        state.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    buffers = values.buffers()
    if pa.types.is_integer(kind):
        width = kind.bit_width // 8
        state.update(memoryview(buffers[1])[values.offset * width : (values.offset + rows) * width])
        return state.digest()
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)) or not rows:
        return None
    offsets = np.frombuffer(buffers[1], np.int64 if pa.types.is_large_string(kind) else np.int32)
    offsets = offsets[values.offset : values.offset + rows + 1]
    state.update((offsets - offsets[0]).tobytes())
    if buffers[2] is not None:
        state.update(memoryview(buffers[2])[int(offsets[0]) : int(offsets[-1])])
    return state.digest()


@dataclass(frozen=True, slots=True)
class PassMemory:
    """One pass's."""

    source: KeptSource = field(default_factory=KeptSource)
    subjects: ResolvedSubjects = field(default_factory=ResolvedSubjects)
    texts: NoticedTexts = field(default_factory=NoticedTexts)
    members: ReadSubjects = field(default_factory=ReadSubjects)
