"""What the ledger says of each subject, as the moments at which it changes.

For fixed records a subject's standing is a step function of the instant. It is compiled once, by
sorting and counting, in time that grows with the records alone, whatever the number of intervals of one
subject; asking for an instant is then one pass without a search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from governance.consent.actions import (
    AUTHORIZATION,
    CONSENT,
    OBJECTION,
    OPT_OUT,
    RESTRICTION,
    Action,
    Kind,
)
from governance.consent.law import Permission, Standing
from governance.consent.records import FOREVER, Ints, SubjectRecords, rows_of

STANDINGS = tuple(
    Standing(Permission(c), Permission(a), bool(r), bool(o), bool(s))
    for c, a, r, o, s in product(range(5), range(5), range(2), range(2), range(2))
)
"""Every standing there is; its index is the byte that stands for it."""

NOTHING = STANDINGS.index(Standing(Permission.NONE, Permission.NONE, False, False, False))

_SHIFT = 32
_SLICE = 1 << 17


@dataclass(frozen=True, slots=True)
class Timeline:
    """From ``times[at - 1]`` on (0: from ever) the subject ``ordinal`` has ``STANDINGS[standing]``.

    ``times`` (int64, microseconds) ascends. ``ordinal`` and ``at`` are int32 and sorted by both,
    ``standing`` is uint8.
    """

    times: Ints
    ordinal: NDArray[np.int32]
    at: NDArray[np.int32]
    standing: NDArray[np.uint8]

    def standings(self, instant: int, size: int) -> NDArray[np.uint8]:
        """Each subject's standing at an instant, shape (size,)."""
        found = np.full(size, np.uint8(NOTHING))
        self.lay_over(found, instant)
        return found

    def lay_over(self, standings: NDArray[np.uint8], instant: int) -> None:
        """Write the standing of every subject that has one at an instant."""
        begun = self.at <= np.searchsorted(self.times, instant, side="right")
        # Of several moments of one subject the last assignment stays, which is the latest.
        standings[self.ordinal[begun]] = self.standing[begun]


@dataclass(frozen=True, slots=True)
class RankedRecords:
    """Records sorted by subject and start, their times as int32 places in ``times``, from 1; ``end`` 0: open."""

    times: Ints
    ordinal: NDArray[np.int32]
    kind: NDArray[np.uint8]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, records: SubjectRecords) -> RankedRecords:
        rows = len(records)
        ends = np.flatnonzero(records.valid_to != FOREVER)
        later = np.flatnonzero(records.counts_from != records.valid_from)
        times, found = np.unique(
            np.concatenate([records.valid_from, records.valid_to[ends], records.counts_from[later]]),
            return_inverse=True,
        )
        places: NDArray[np.int32] = (found + 1).astype(np.int32)
        start, end = places[:rows], np.zeros(rows, np.int32)
        end[ends] = places[rows : rows + len(ends)]
        counts = np.array(start)
        counts[later] = places[rows + len(ends) :]
        order = np.argsort((records.ordinal.astype(np.int64) << _SHIFT) | start)
        return cls(
            times, records.ordinal[order], records.kind[order], start[order], end[order], counts[order]
        )

    def part(self, first: int, last: int) -> RankedRecords:
        rows = slice(first, last)
        return RankedRecords(
            self.times,
            self.ordinal[rows],
            self.kind[rows],
            self.start[rows],
            self.end[rows],
            self.counts[rows],
        )

    def of_subjects(self, ordinals: NDArray[np.int32]) -> SubjectRecords:
        """The records of these subjects, ascending."""
        first = np.searchsorted(self.ordinal, ordinals, side="left")
        count = np.searchsorted(self.ordinal, ordinals, side="right") - first
        return self._take(np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum()))

    def all(self) -> SubjectRecords:
        return self._take(np.arange(len(self.ordinal)))

    def _take(self, rows: Ints) -> SubjectRecords:
        times = np.append(FOREVER, self.times)
        return SubjectRecords(
            self.ordinal[rows],
            self.kind[rows],
            times[self.start[rows]],
            times[self.end[rows]],
            times[self.counts[rows]],
        )


def compile_timeline(records: RankedRecords) -> Timeline:
    """The step function of every subject in the records, a cache's worth of subjects at a time."""
    parts = [_compiled(records.part(first, last)) for first, last in _slices(records.ordinal)]
    ordinal, at, standing = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Timeline(records.times, ordinal, at, standing)


def _slices(ordinal: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Bounds of runs of whole subjects; one at least, which may be empty."""
    first = 0
    while True:
        last = min(first + _SLICE, len(ordinal))
        if last < len(ordinal):
            last = int(np.searchsorted(ordinal, ordinal[last - 1], side="right"))
        yield first, last
        if last == len(ordinal):
            return
        first = last


def _compiled(
    records: RankedRecords,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    spans = [span for span in _spans(_Keyed(records)) if len(span[1])]
    edges = [edge for _, starts, ends in spans for edge in (starts, ends[(ends & _RANK) != 0])]
    grid = _distinct(np.concatenate(edges)) if edges else np.empty(0, np.int64)
    marks = np.zeros(len(grid), np.uint16)
    for channel, starts, ends in spans:
        marks |= _covered(grid, starts, ends).astype(np.uint16) << np.uint16(channel)
    ordinal, standing = (grid >> _SHIFT).astype(np.int32), _STANDING_OF[marks]
    changes = np.ones(len(grid), dtype=bool)
    changes[1:] = (ordinal[1:] != ordinal[:-1]) | (standing[1:] != standing[:-1])
    return ordinal[changes], (grid & _RANK).astype(np.int32)[changes], standing[changes]


def _distinct(keys: Ints) -> Ints:
    keys.sort()
    distinct: Ints = keys[np.append(True, keys[1:] != keys[:-1])]
    return distinct


_RANK = (1 << _SHIFT) - 1


class _Keyed:
    """Times of records as ``ordinal << 32 | place``; what does not end, ends where the next subject begins."""

    def __init__(self, records: RankedRecords) -> None:
        self._records = records

    def rows(self, action: Action | None) -> Ints:
        return rows_of(self._records.kind, action)

    def starts(self, rows: Ints) -> Ints:
        return self.ever(rows) | self._records.start[rows]

    def counts(self, rows: Ints) -> Ints:
        return self.ever(rows) | self._records.counts[rows]

    def ends(self, rows: Ints) -> Ints:
        end = self._records.end[rows].astype(np.int64)
        return self.ever(rows) + np.where(end == 0, 1 << _SHIFT, end)

    def ever(self, rows: Ints) -> Ints:
        return self._records.ordinal[rows].astype(np.int64) << _SHIFT

    def never(self, rows: Ints) -> Ints:
        return self.ever(rows) + (1 << _SHIFT)


def _spans(keyed: _Keyed) -> Iterator[tuple[int, Ints, Ints]]:
    """(channel, starts, ends) for each thing that can be true of a subject, starts before ends."""
    for number, kind in enumerate((CONSENT, AUTHORIZATION)):
        for channel, (starts, ends) in enumerate(_permission(kind, keyed)):
            yield _clean(number * 4 + channel, starts, ends)
    for number, kind in enumerate((RESTRICTION, OBJECTION, OPT_OUT)):
        yield _clean(8 + number, *_prohibition(kind, keyed))


def _permission(kind: Kind, keyed: _Keyed) -> Iterator[tuple[Ints, Ints]]:
    """When a permission was given, taken back, begun and in force.

    A closing ends what began before it or at that very moment; ``expire`` ends its force, not its having begun.
    """
    opened, closed = keyed.rows(kind.opens), keyed.rows(kind.closes)
    closings, expired = keyed.starts(closed), keyed.starts(keyed.rows(Action.EXPIRE))
    since, never = keyed.starts(opened), keyed.never(opened)
    taken_back = _next(closings, closings, since, never, inclusive=True)
    yield keyed.ever(opened), never
    yield closings, (closings | _RANK) + 1
    yield keyed.counts(opened), taken_back
    over = np.minimum(keyed.ends(opened), _next(expired, expired, since, never, inclusive=True))
    yield keyed.counts(opened), np.minimum(taken_back, over)


def _prohibition(kind: Kind, keyed: _Keyed) -> tuple[Ints, Ints]:
    """When an opt-out, restriction or objection holds; opened and closed at the very same moment, it stands."""
    opened, closed = keyed.rows(kind.opens), keyed.rows(kind.closes)
    closings, counts = keyed.starts(closed), keyed.counts(closed)
    # Any later closing lifts it, as soon as one of them counts. Keys of later subjects are larger, so the
    # running minimum from the end starts afresh at each subject.
    lifted = np.minimum.accumulate(counts[::-1])[::-1]
    ends = _next(closings, lifted, keyed.starts(opened), keyed.never(opened), inclusive=False)
    return keyed.starts(opened), np.minimum(keyed.ends(opened), ends)


def _next(keys: Ints, values: Ints, since: Ints, never: Ints, *, inclusive: bool) -> Ints:
    """The value at the first key of the same subject not before ``since``, or after it; else ``never``."""
    if not len(keys):
        return never
    at = np.searchsorted(keys, since, side="left" if inclusive else "right")
    ends: Ints = np.minimum(np.append(values, FOREVER)[at], never)
    return ends


def _clean(channel: int, starts: Ints, ends: Ints) -> tuple[int, Ints, Ints]:
    real = starts < ends
    return channel, np.sort(starts[real]), np.sort(ends[real])


def _covered(grid: Ints, starts: Ints, ends: Ints) -> NDArray[np.bool_]:
    """At which points of the grid at least one span holds."""
    depth = np.bincount(np.searchsorted(grid, starts), minlength=len(grid) + 1)
    depth -= np.bincount(np.searchsorted(grid, ends), minlength=len(grid) + 1)
    return np.cumsum(depth)[:-1] > 0


def _permission_of(marks: int) -> Permission:
    given, taken_back, begun, in_force = (bool(marks >> bit & 1) for bit in range(4))
    if in_force:
        return Permission.ACTIVE
    if begun:
        return Permission.EXPIRED
    if taken_back:
        return Permission.WITHDRAWN
    return Permission.NOT_YET_VALID if given else Permission.NONE


_STANDING_OF = np.array(
    [
        STANDINGS.index(
            Standing(
                _permission_of(marks), _permission_of(marks >> 4),
                bool(marks >> 8 & 1), bool(marks >> 9 & 1), bool(marks >> 10 & 1),
            )
        )
        for marks in range(1 << 11)
    ],
    dtype=np.uint8,
)  # fmt: skip
