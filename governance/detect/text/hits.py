"""The rows of a text column that may hold something, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from governance.detect.text import sieves


@dataclass(frozen=True, slots=True)
class Hits:
    """The flagged rows of an array. ``rows``: row numbers, shape (f,); ``detectors``: for each of these rows the
    indexes of detectors that match it; ``lexicon``: whether a dictionary's word stands in it; ``persons``: whether
    one stands as a person's name does."""

    rows: NDArray[np.int64]
    texts: list[bytes]
    detectors: list[tuple[int, ...]]
    lexicon: NDArray[np.bool_]
    persons: NDArray[np.bool_]

    def replaced(self, rows: NDArray[np.int64], instead: Hits) -> Hits:
        """These with those of ``rows`` (ascending), whose texts changed, in place of what was said of them.

        ``instead`` numbers its rows by their place in ``rows``.
        """
        kept = np.flatnonzero(~np.isin(self.rows, rows))
        both = np.concatenate((self.rows[kept], rows[instead.rows]))
        order = np.argsort(both, kind="stable")
        places = order.tolist()
        texts = [*(self.texts[place] for place in kept.tolist()), *instead.texts]
        found = [*(self.detectors[place] for place in kept.tolist()), *instead.detectors]
        return Hits(
            both[order],
            [texts[place] for place in places],
            [found[place] for place in places],
            np.concatenate((self.lexicon[kept], instead.lexicon))[order],
            np.concatenate((self.persons[kept], instead.persons))[order],
        )


def flagged_texts(texts: pa.Array, rows: NDArray[np.int64]) -> list[bytes]:
    """The texts of some rows as bytes."""
    flagged: list[bytes] = texts.take(pa.array(rows)).cast(_binary(texts.type)).to_pylist()
    return flagged


def hits_of(
    rows: NDArray[np.int64], texts: list[bytes], found: list[tuple[int, ...]], flags: NDArray[np.uint8]
) -> Hits:
    """Hits with what the sieves' ``flags`` of the same rows say."""
    return Hits(rows, texts, found, (flags & sieves.LEXICON) != 0, (flags & sieves.PERSON) != 0)


def _binary(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()
