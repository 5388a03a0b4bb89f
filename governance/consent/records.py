"""Records of one purpose and domain as plain columns, one row a record, by the subject's place in the vault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.consent.actions import PERMITTING, Action

Ints = NDArray[np.int64]

FOREVER = np.iinfo(np.int64).max
"""Stands for an end that is not set."""

ACTIONS = tuple(Action)
PERMITS = np.array([action.value in PERMITTING for action in ACTIONS])
_BACKDATED = np.uint8(128)
_DEFECTIVE = np.uint8(64)
_CODE = np.uint8(63)


@dataclass(frozen=True, slots=True)
class SubjectRecords:
    """Parallel arrays. Times are microseconds since 1970 in UTC, ``valid_to`` :data:`FOREVER` where open.

    ``ordinal`` (int32) indexes the population; ``counts_from`` is ``valid_from`` unless the record is
    backdated and permitting, then no earlier than its batch was recorded. ``kind`` (uint8) holds the
    action's number in :data:`ACTIONS` and two marks: backdated, defective.
    """

    ordinal: NDArray[np.int32]
    kind: NDArray[np.uint8]
    valid_from: Ints
    valid_to: Ints
    counts_from: Ints

    def __len__(self) -> int:
        return len(self.ordinal)

    @classmethod
    def empty(cls) -> SubjectRecords:
        none = np.empty(0, np.int64)
        return cls(np.empty(0, np.int32), np.empty(0, np.uint8), none, none, none)

    @classmethod
    def gather(
        cls, tables: Iterable[tuple[pa.Table, int]], population: Population
    ) -> tuple[SubjectRecords, NDArray[np.uint8]]:
        """From (segment table, microseconds at which its batch was recorded) pairs.

        Records of subjects outside the population are left out; their distinct pseudonyms come second,
        shape (k, 16).
        """
        parts, strays = [], [np.empty((0, 16), np.uint8)]
        for table, recorded_at in tables:
            ordinals = population.ordinals(flat(table["subject"]))
            found = ordinals >= 0
            if not found.all():
                outside = flat(table["subject"]).filter(pa.array(~found))
                strays.append(np.unique(as_bytes(outside), axis=0))
                table, ordinals = table.filter(pa.array(found)), ordinals[found]
            parts.append(cls._of(table, ordinals, recorded_at))
        return cls.joined(parts), np.concatenate(strays)

    @classmethod
    def joined(cls, parts: list[SubjectRecords]) -> SubjectRecords:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    @classmethod
    def _of(cls, table: pa.Table, ordinals: Ints, recorded_at: int) -> SubjectRecords:
        code = action_codes(flat(table["action"]))
        backdated = flat(table["backdated"]).to_numpy(zero_copy_only=False)
        valid_from = micros(table["valid_from"])
        late = backdated & PERMITS[code]
        kind = code + np.where(backdated, _BACKDATED, np.uint8(0))
        defect = table["defect"]
        if defect.null_count < len(defect):
            kind += np.where(
                pc.is_valid(flat(defect)).to_numpy(zero_copy_only=False), _DEFECTIVE, np.uint8(0)
            )
        return cls(
            ordinals.astype(np.int32),
            kind,
            valid_from,
            micros(pc.fill_null(flat(table["valid_to"]).cast(pa.int64()), FOREVER)),
            np.where(late, np.maximum(valid_from, recorded_at), valid_from),
        )


def rows_of(kind: NDArray[np.uint8], action: Action | None) -> Ints:
    """Rows of one action whose record has no defect, by ``SubjectRecords.kind``."""
    if action is None:
        return np.empty(0, np.int64)
    rows: Ints = np.flatnonzero((kind & (_CODE | _DEFECTIVE)) == np.uint8(ACTIONS.index(action)))
    return rows


def is_backdated(kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    marked: NDArray[np.bool_] = (kind & _BACKDATED) != 0
    return marked


class Population:
    """The subjects of a domain, looked up by pseudonym. Shape of ``pseudonyms``: (n, 16), uint8.

    Pseudonyms are random, so their first eight bytes almost always tell them apart; sorted, they are
    found at a tenth of the cost of a hash table of 16 bytes. The few that clash are looked up in full.
    """

    def __init__(self, pseudonyms: NDArray[np.uint8]) -> None:
        self.pseudonyms = np.ascontiguousarray(pseudonyms)
        self._sorted: tuple[NDArray[np.uint64], Ints] | None = None

    def __len__(self) -> int:
        return len(self.pseudonyms)

    @property
    def known(self) -> int:
        """How many there are before the zero rows at the end, which stand for nobody."""
        named = np.flatnonzero(self.pseudonyms[::-1][:4096].any(axis=1))
        if len(named):
            return len(self) - int(named[0])
        last = np.flatnonzero(self.pseudonyms.any(axis=1))
        return int(last[-1]) + 1 if len(last) else 0

    def to_reader(self) -> pa.RecordBatchReader:
        """``number`` (int64) and ``subject`` of each, without those that are zero."""
        named = np.flatnonzero(self.pseudonyms.any(axis=1))
        packed = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(self), [None, pa.py_buffer(self.pseudonyms)]
        )
        subjects = packed if len(named) == len(self) else packed.take(pa.array(named))
        return pa.table({"number": pa.array(named), "subject": subjects}).to_reader(1 << 17)

    def contains_any(self, pseudonyms: NDArray[np.uint8]) -> bool:
        """Whether one of these, shape (k, 16), is among them."""
        packed = pa.py_buffer(np.ascontiguousarray(pseudonyms))
        sought = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(pseudonyms), [None, packed])
        return bool((self.ordinals(sought) >= 0).any())

    def ordinals(self, subjects: pa.Array) -> Ints:
        """Place of each pseudonym (``fixed_size_binary[16]``, no nulls), −1 for one that is not there."""
        wanted = as_bytes(subjects).view("<u8")
        if not len(self) or not len(wanted):
            return np.full(len(wanted), -1, np.int64)
        halves = self.pseudonyms.view("<u8")
        if self._sorted is None:
            order = np.argsort(halves[:, 0])
            self._sorted = np.ascontiguousarray(halves[:, 0])[order], order
        keys, order = self._sorted
        by_key = np.argsort(wanted[:, 0])
        sought = np.ascontiguousarray(wanted[:, 0])[by_key]
        at = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
        place = np.empty(len(wanted), np.int64)
        place[by_key] = np.where(keys[at] == sought, order[at], -1)
        clash = (place >= 0) & (halves[place, 1] != wanted[:, 1])
        if clash.any():
            rows = np.flatnonzero(clash)
            place[rows] = self._in_full(subjects.take(pa.array(rows)))
        return place

    def _in_full(self, subjects: pa.Array) -> Ints:
        known = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(self), [None, pa.py_buffer(self.pseudonyms)]
        )
        found = pc.fill_null(pc.index_in(subjects, value_set=known), -1)
        places: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return places


def as_bytes(subjects: pa.Array) -> NDArray[np.uint8]:
    """Pseudonyms without nulls, shape (n, 16)."""
    data = np.frombuffer(subjects.buffers()[1], np.uint8, len(subjects) * 16, subjects.offset * 16)
    return data.reshape(-1, 16)


def action_codes(actions: pa.Array) -> NDArray[np.uint8]:
    """The number of each action in :data:`ACTIONS`."""
    if not pa.types.is_dictionary(actions.type):
        actions = actions.dictionary_encode()
    known = pa.array([action.value for action in ACTIONS])
    numbers = pc.index_in(actions.dictionary, value_set=known).to_numpy(zero_copy_only=False)
    codes: NDArray[np.uint8] = numbers.astype(np.uint8)[actions.indices.to_numpy(zero_copy_only=False)]
    return codes


def micros(times: pa.ChunkedArray | pa.Array) -> Ints:
    """Microseconds since 1970 of a column without nulls."""
    values: Ints = flat(times).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks()
