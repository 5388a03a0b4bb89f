"""What texts show of digits and signs, from which it follows that a value cannot stand there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect.text import sieves
from governance.detect.text.splicing import bytes_of, taken


class Figures:
    """What the texts with a digit show of their digits and signs: what a value has more of cannot stand there.

    ``rows``, ascending, shape (f,); ``digits``, how many each has, (f,); ``signed``, whether it has an ``@``, (f,);
    ``pairs``, which two digits stand beside one another in it, (f, 100).
    """

    def __init__(self, texts: pa.Array, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        self.pairs = np.zeros((len(rows), 100), np.bool_)
        self.signed = np.zeros(len(rows), np.bool_)
        offsets, data = bytes_of(taken(texts, rows))
        row = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(offsets))
        figures = data - np.uint8(ord("0"))
        at = np.flatnonzero(figures < 10)
        self.digits = np.bincount(row[at], minlength=len(rows))
        at = at[:-1][(at[1:] == at[:-1] + 1) & (row[at[1:]] == row[at[:-1]])]
        self.pairs.ravel()[row[at] * 100 + figures[at] * np.uint8(10) + figures[at + 1]] = True
        self.signed[row[np.flatnonzero(data == ord("@"))]] = True

    def allow(self, values: pa.Array, *, signs: bool) -> NDArray[np.int64]:
        """Rows whose text has the digits of the row's value, its last two beside one another, and with ``signs`` its ``@``.

        ``values`` are text, one for each of ``rows``.
        """
        allowed = np.ones(len(values), np.bool_)
        offsets, data = bytes_of(values)
        long = np.flatnonzero(np.diff(offsets) > 1)
        last, before = (data[offsets[long + 1] - back] - np.uint8(ord("0")) for back in (1, 2))
        paired = (last < 10) & (before < 10)
        long = long[paired]
        allowed[long] = self.pairs[long, before[paired] * np.uint8(10) + last[paired]]
        if signs:
            unsigned = np.flatnonzero(allowed & ~self.signed)
            signed = pc.match_substring(taken(values, unsigned), "@").fill_null(True)
            allowed[unsigned[signed.to_numpy(zero_copy_only=False)]] = False
        left = np.flatnonzero(allowed)
        offsets, data = bytes_of(taken(values, left))
        row = np.repeat(np.arange(len(left), dtype=np.int32), np.diff(offsets))
        digits = np.bincount(row[np.flatnonzero(data - np.uint8(ord("0")) < 10)], minlength=len(left))
        return self.rows[left[digits <= self.digits[left]]]


_PROBED = (8, 3, 2, 4, 1, 5)
"""Eighths of a text at which a digit is looked for first."""


def with_digit(values: pa.Array) -> NDArray[np.bool_]:
    """Whether each text has a digit, shape (n,); null has one. Where one byte shows it, the others are not read."""
    offsets, data = bytes_of(values)
    filled = np.diff(offsets) > 0
    absent: NDArray[np.bool_] = values.is_null().to_numpy(zero_copy_only=False)
    left = np.flatnonzero(filled & ~absent)
    for eighth in _PROBED:
        begins, ends = offsets[left], offsets[left + 1] - 1
        left = left[data[begins + ((ends - begins) * eighth >> 3)] - np.uint8(ord("0")) >= 10]
    found: NDArray[np.bool_] = filled | absent
    found[left] = sieves.with_digit(taken(values, left))
    return found
