"""The rows of a text column that may hold something, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from governance.detect.text import sieves


@dataclass(frozen=True, slots=True)
class Hits:
    """The flagged rows of an array. ``rows``: row numbers, shape (f,); ``codes``: for each of these rows the place of
    the indexes of detectors that match it in ``combinations``, shape (f,); ``lexicon``: whether a dictionary's word
    stands in it; ``persons``: whether one stands as a person's name does."""

    rows: NDArray[np.int64]
    texts: list[bytes]
    codes: NDArray[np.int64]
    combinations: list[tuple[int, ...]]
    lexicon: NDArray[np.bool_]
    persons: NDArray[np.bool_]

    @property
    def detectors(self) -> list[tuple[int, ...]]:
        """For each row the indexes of detectors that match it."""
        combinations = self.combinations
        return [combinations[code] for code in self.codes.tolist()]

    def alike(self) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        """The combinations of detectors that rows have, each with the places of these rows."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.combinations))).tolist()
        for combination, start, end in zip(self.combinations, [0, *ends], ends, strict=False):
            if end > start:
                yield combination, order[start:end].tolist()

    def replaced(self, rows: NDArray[np.int64], instead: Hits) -> Hits:
        """These with those of ``rows`` (ascending), whose texts changed, in place of what was said of them.

        ``instead`` numbers its rows by their place in ``rows``.
        """
        kept = np.flatnonzero(~np.isin(self.rows, rows))
        both = np.concatenate((self.rows[kept], rows[instead.rows]))
        order = np.argsort(both, kind="stable")
        places = order.tolist()
        texts = [*(self.texts[place] for place in kept.tolist()), *instead.texts]
        codes = np.concatenate((self.codes[kept], instead.codes + len(self.combinations)))
        return Hits(
            both[order],
            [texts[place] for place in places],
            codes[order],
            [*self.combinations, *instead.combinations],
            np.concatenate((self.lexicon[kept], instead.lexicon))[order],
            np.concatenate((self.persons[kept], instead.persons))[order],
        )


def flagged_texts(texts: pa.Array, rows: NDArray[np.int64]) -> list[bytes]:
    """The texts of some rows as bytes."""
    flagged: list[bytes] = texts.take(pa.array(rows)).cast(_binary(texts.type)).to_pylist()
    return flagged


def hits_of(
    rows: NDArray[np.int64],
    texts: list[bytes],
    codes: NDArray[np.int64],
    combinations: list[tuple[int, ...]],
    flags: NDArray[np.uint8],
) -> Hits:
    """Hits with what the sieves' ``flags`` of the same rows say."""
    return Hits(rows, texts, codes, combinations, (flags & sieves.LEXICON) != 0, (flags & sieves.PERSON) != 0)


def numbered(found: Sequence[tuple[int, ...]]) -> tuple[NDArray[np.int64], list[tuple[int, ...]]]:
    """Combinations of rows as :class:`Hits` keeps them."""
    known: dict[tuple[int, ...], int] = {}
    codes = np.fromiter((known.setdefault(each, len(known)) for each in found), np.int64, len(found))
    return codes, list(known)


def _binary(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
