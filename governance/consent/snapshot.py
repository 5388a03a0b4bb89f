"""The ledger as seen at one instant and position, ready to decide rows by the million."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.consent.actions import (
    AUTHORIZATION,
    CONSENT,
    OBJECTION,
    OPT_OUT,
    PERMITTING,
    RESTRICTION,
    Action,
    Kind,
)
from governance.consent.law import Permission, Standing, decision
from governance.errors import ConsentError
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose

Ints = NDArray[np.int64]
_NEVER = np.iinfo(np.int64).min
_FOREVER = np.iinfo(np.int64).max
_REGIMES = 8

# A subject's standing as one byte: consent and authorization in base five, then three bits.
_STATES = [
    Standing(Permission(c), Permission(a), bool(r), bool(o), bool(s))
    for c, a, r, o, s in product(range(5), range(5), range(2), range(2), range(2))
]


@dataclass(frozen=True, slots=True)
class SeenRecords:
    """Records of one purpose and domain up to a position, as parallel arrays.

    Times are microseconds since 1970 in UTC; ``valid_to`` is the largest int64 where open;
    ``counts_from`` is ``valid_from`` unless the record is backdated and permitting, then no earlier
    than its batch was recorded. ``ordinal`` indexes the population, −1 for a subject outside it.
    """

    ordinal: Ints
    action: pa.Array
    valid_from: Ints
    valid_to: Ints
    counts_from: Ints
    backdated: NDArray[np.bool_]

    @classmethod
    def gather(cls, tables: Iterable[tuple[pa.Table, int]], population: NDArray[np.uint8]) -> SeenRecords:
        """From (segment table, microseconds at which its batch was recorded) pairs."""
        kept, recorded = [], []
        for table, at in tables:
            kept.append(table)
            recorded.append(np.full(table.num_rows, at, dtype=np.int64))
        if not kept:
            empty = np.empty(0, dtype=np.int64)
            return cls(empty, pa.array([], pa.string()), empty, empty, empty, np.empty(0, dtype=bool))
        table = pa.concat_tables(kept).combine_chunks()
        action = _flat(table["action"])
        valid_from = micros(table["valid_from"])
        backdated = _flat(table["backdated"]).to_numpy(zero_copy_only=False)
        late = backdated & pc.is_in(action, pa.array(PERMITTING)).to_numpy(zero_copy_only=False)
        return cls(
            ordinals_of(_flat(table["subject"]), population),
            action,
            valid_from,
            micros(pc.fill_null(table["valid_to"].cast(pa.int64()), _FOREVER)),
            np.where(late, np.maximum(valid_from, np.concatenate(recorded)), valid_from),
            backdated,
        )

    def of(self, action: Action | None) -> SeenRecords:
        """Only the records of one action whose subject is in the population."""
        if action is None:
            at = np.empty(0, dtype=np.int64)
        else:
            equal = pc.equal(self.action, action.value).to_numpy(zero_copy_only=False)
            at = np.flatnonzero(equal & (self.ordinal >= 0))
        return SeenRecords(
            self.ordinal[at],
            self.action.take(pa.array(at)),
            self.valid_from[at],
            self.valid_to[at],
            self.counts_from[at],
            self.backdated[at],
        )


class ConsentSnapshot:
    """Decisions for one purpose and domain, as of an instant and a ledger position.

    Args:
        seen: the records in view.
        size: number of subjects; ordinals run below it.
        instant: microseconds since 1970, UTC.
    """

    def __init__(self, purpose: Purpose, seen: SeenRecords, size: int, instant: int) -> None:
        self.purpose = purpose
        self._size = size
        self._tables: dict[bool, NDArray[np.uint8]] = {}
        state = _permission(CONSENT, seen, size, instant) * np.uint8(5)
        state += _permission(AUTHORIZATION, seen, size, instant)
        for kind in (RESTRICTION, OBJECTION, OPT_OUT):
            state = state * np.uint8(2) + _in_force(kind, seen, size, instant)
        self._state = state
        self._backdated = np.zeros(size, dtype=bool)
        self._backdated[seen.ordinal[seen.backdated & (seen.ordinal >= 0)]] = True

    @property
    def backdated(self) -> NDArray[np.bool_]:
        """Per ordinal, whether a backdated record of this purpose is in view, whatever its action."""
        return self._backdated

    def standing(self, ordinal: int) -> Standing:
        """What the ledger says of one subject."""
        return _STATES[int(self._state[ordinal])]

    def decide(
        self, ordinals: NDArray[np.int64], regimes: NDArray[np.uint8], special_category: bool
    ) -> NDArray[np.uint8]:
        """A :class:`Reason` per row.

        Args:
            ordinals: int64, shape (n,); negative where the row has no subject.
            regimes: uint8, shape (n,): bits of :class:`Regime`; above 7 the jurisdiction is unknown.
            special_category: whether the rows hold special categories of data (GDPR Art. 9(1)).

        Raises:
            ConsentError: GOV-203 for ordinals beyond the population: their records were not looked up.
        """
        beyond = int(np.count_nonzero(ordinals >= self._size))
        if beyond:
            raise ConsentError(
                "GOV-203",
                f"{beyond} rows name subjects that were not in the population of this snapshot",
                "read the vault's population after resolving the rows' subjects, then take the snapshot",
            )
        reasons = np.full(len(ordinals), np.uint8(Reason.NO_SUBJECT))
        known = ordinals >= 0
        found = self._table(special_category)[self._state[ordinals[known]], regimes[known] & 7]
        reasons[known] = np.where(regimes[known] < _REGIMES, found, np.uint8(Reason.UNKNOWN_JURISDICTION))
        return reasons

    def _table(self, special_category: bool) -> NDArray[np.uint8]:
        if special_category not in self._tables:
            self._tables[special_category] = np.array(
                [
                    [
                        decision(s, Regime(r), self.purpose, special_category=special_category)
                        for r in range(8)
                    ]
                    for s in _STATES
                ],
                dtype=np.uint8,
            )
        return self._tables[special_category]


def _permission(kind: Kind, seen: SeenRecords, size: int, instant: int) -> NDArray[np.uint8]:
    """Where each subject's permission stands; a closing at the very moment of an opening wins."""
    opened, closed = seen.of(kind.opens), seen.of(kind.closes)
    last = _latest(closed.ordinal, closed.valid_from, closed.valid_from <= instant, size)
    live = opened.valid_from > last[opened.ordinal]
    started = live & (opened.counts_from <= instant)
    state = np.full(size, np.uint8(Permission.NONE))
    state[opened.ordinal[live & ~started]] = Permission.NOT_YET_VALID
    state[last > _NEVER] = Permission.WITHDRAWN
    state[opened.ordinal[started]] = Permission.EXPIRED
    state[opened.ordinal[started & (instant < opened.valid_to)]] = Permission.ACTIVE
    return state


def _in_force(kind: Kind, seen: SeenRecords, size: int, instant: int) -> NDArray[np.uint8]:
    """Whether an opt-out, restriction or objection holds; at the very moment of both, it stands."""
    opened, closed = seen.of(kind.opens), seen.of(kind.closes)
    last = _latest(closed.ordinal, closed.valid_from, closed.counts_from <= instant, size)
    held = (opened.valid_from >= last[opened.ordinal]) & (opened.valid_from <= instant)
    force = np.zeros(size, dtype=np.uint8)
    force[opened.ordinal[held & (instant < opened.valid_to)]] = 1
    return force


def _latest(ordinal: Ints, at: Ints, counted: NDArray[np.bool_], size: int) -> Ints:
    last = np.full(size, _NEVER, dtype=np.int64)
    np.maximum.at(last, ordinal[counted], at[counted])
    return last


def ordinals_of(subjects: pa.Array, population: NDArray[np.uint8]) -> Ints:
    """Position of each pseudonym in ``population``, shape (n, 16); −1 for one that is not there."""
    packed = pa.py_buffer(np.ascontiguousarray(population).tobytes())
    known = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(population), [None, packed])
    found = pc.fill_null(pc.index_in(subjects, value_set=known), -1)
    ordinals: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return ordinals


def micros(times: pa.ChunkedArray) -> Ints:
    """Microseconds since 1970 of a column without nulls."""
    values: Ints = _flat(times).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
