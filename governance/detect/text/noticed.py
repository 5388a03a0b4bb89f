"""What scanning a text column noticed, kept for the redaction that reads the same rows again.

Row numbers, sieves and detectors of the flagged rows, no text: seven bytes each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LIMIT_BYTES = 128 << 20
_ROW_BYTES = 7
_MOST_COMBINATIONS = 1 << 16


@dataclass(frozen=True, slots=True)
class Noticed:
    """The flagged rows of n texts: ``rows``, ascending, shape (f,); their sieves, (f,); the detectors that match them."""

    rows: NDArray[np.int64]
    flags: NDArray[np.uint8]
    detectors: Sequence[tuple[int, ...]]

    def among(self, kept: NDArray[np.bool_]) -> Noticed:
        """The same of those texts that ``kept``, shape (n,), is true of, numbered anew."""
        if kept.all():
            return self
        left = np.flatnonzero(kept[self.rows])
        places = np.cumsum(kept) - 1
        return Noticed(
            places[self.rows[left]], self.flags[left], [self.detectors[place] for place in left.tolist()]
        )

    def within(self, start: int, stop: int) -> Noticed:
        """The same of the texts ``[start, stop)``."""
        first, last = np.searchsorted(self.rows, (start, stop)).tolist()
        return Noticed(self.rows[first:last] - start, self.flags[first:last], self.detectors[first:last])


def joined(parts: Sequence[Noticed]) -> Noticed:
    """Parts whose rows follow one another."""
    return Noticed(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.flags for part in parts]),
        [found for part in parts for found in part.detectors],
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    texts: tuple[int, int]
    rows: NDArray[np.uint32]
    flags: NDArray[np.uint8]
    codes: NDArray[np.uint16]


class NoticedTexts:
    """Keeps what was noticed of columns, batch by batch, up to ``limit`` bytes; later batches are left out."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._left = limit
        self._kept: dict[tuple[str, int], _Kept] = {}
        self._codes: dict[tuple[int, ...], int] = {}
        self._combinations: list[tuple[int, ...]] = []

    def keep(self, column: str, batch: int, texts: pa.Array, noticed: Noticed) -> None:
        """Keep what was noticed of a column of a batch, numbered from 0, unless there is no room.

        ``noticed`` leaves out what is null.
        """
        size = _ROW_BYTES * len(noticed.rows)
        if size > self._left or len(self._combinations) > _MOST_COMBINATIONS:
            return
        codes = np.fromiter(map(self._code, noticed.detectors), np.int64, len(noticed.rows))
        if len(self._combinations) > _MOST_COMBINATIONS:
            return
        rows = noticed.rows
        if texts.null_count:
            rows = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))[rows]
        self._left -= size
        self._kept[column, batch] = _Kept(
            _likeness(texts), rows.astype(np.uint32), noticed.flags, codes.astype(np.uint16)
        )

    def of(self, column: str, batch: int, texts: pa.Array) -> Noticed | None:
        """What was noticed of these texts; ``None`` where nothing was kept or they are others."""
        kept = self._kept.get((column, batch))
        if kept is None or kept.texts != _likeness(texts):
            return None
        combinations = self._combinations
        detectors = [combinations[code] for code in kept.codes.tolist()]
        return Noticed(kept.rows.astype(np.int64), kept.flags, detectors)

    def to_bytes(self) -> bytes:
        """What is kept, for :meth:`from_bytes` in another process. Detectors go by their number: it needs the same ones."""
        head = {
            "combinations": self._combinations,
            "kept": [[*key, *kept.texts, len(kept.rows)] for key, kept in self._kept.items()],
        }
        said = json.dumps(head).encode()
        arrays = (part for kept in self._kept.values() for part in (kept.rows, kept.flags, kept.codes))
        return b"".join([len(said).to_bytes(8, "little"), said, *(array.tobytes() for array in arrays)])

    @classmethod
    def from_bytes(cls, data: bytes) -> NoticedTexts:
        """Of what :meth:`to_bytes` gave; whoever hands it over has seen to it that it was not altered."""
        texts, at = cls(limit=0), 8 + int.from_bytes(data[:8], "little")
        head = json.loads(data[8:at])
        texts._combinations = [tuple(each) for each in head["combinations"]]
        for column, batch, length, summed, count in head["kept"]:
            rows = np.frombuffer(data, "<u4", count, at)
            flags = np.frombuffer(data, np.uint8, count, at + 4 * count)
            codes = np.frombuffer(data, "<u2", count, at + 5 * count)
            texts._kept[column, batch] = _Kept((length, summed), rows, flags, codes)
            at += _ROW_BYTES * count
        return texts

    def __len__(self) -> int:
        """How many batches something is kept of."""
        return len(self._kept)

    def _code(self, detectors: tuple[int, ...]) -> int:
        code = self._codes.get(detectors)
        if code is None:
            code = self._codes[detectors] = len(self._combinations)
            self._combinations.append(detectors)
        return code


def _likeness(texts: pa.Array) -> tuple[int, int]:
    """The number of texts, and a sum over all their bytes and where each starts."""
    wide = pa.types.is_large_string(texts.type)
    _, places, data = texts.buffers()
    if places is None or data is None:
        return len(texts), 0
    offsets = np.frombuffer(places, np.int64 if wide else np.int32)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    held = np.frombuffer(data, np.uint8)[int(offsets[0]) : int(offsets[-1])]
    words = held[: len(held) & ~7].view(np.uint64)
    parts = (words.sum(), np.uint64(held[len(words) * 8 :].sum()), np.uint64((offsets - offsets[0]).sum()))
    return len(texts), hash(tuple(map(int, parts)))
