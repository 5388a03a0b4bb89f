"""How often each combination of quasi-identifiers occurs, counted batch by batch in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.model.anonymity import QuasiIdentifier
from governance.protect.anonymity.hierarchies import generalize

Codes = npt.NDArray[np.int64]

LARGEST = 2_000_000
"""Combinations held between two batches; beyond it the column of the most values is coarsened."""

_PENDING = 1 << 20


@dataclass(frozen=True, slots=True)
class Classes:
    """Rows that agree on all quasi-identifiers at some levels.

    ``keys`` finds a row's class. ``rows`` and ``subjects`` are (c,) counts. ``values`` holds, for each
    sensitive column, (m,) arrays of class, value and count, every pair once; value 0 is null, the others
    follow the values' order.
    """

    keys: Keys
    rows: Codes
    subjects: Codes
    values: tuple[tuple[Codes, Codes, Codes], ...]


class Keys:
    """Tuples of small codes as one number each, without a product of cardinalities that overflows."""

    __slots__ = ("_cards", "_steps", "count")

    def __init__(self, columns: Sequence[Codes]) -> None:
        self._cards = [int(column.max(initial=0)) + 1 for column in columns]
        self._steps: list[Codes] = []
        key = np.zeros(len(columns[0]), np.int64)
        for column, card in zip(columns, self._cards, strict=True):
            known, key = np.unique(key * card + column, return_inverse=True)
            self._steps.append(known)
        self.count = len(self._steps[-1])

    def find(self, columns: Sequence[Codes]) -> Codes:
        """(n,) the number of each tuple, −1 where it was never seen."""
        key = np.zeros(len(columns[0]), np.int64)
        for column, card, known in zip(columns, self._cards, self._steps, strict=True):
            seen = (key >= 0) & (column >= 0) & (column < card)
            wanted = np.where(seen, key * card + column, -1)
            key = np.searchsorted(known, wanted)
            key[key == len(known)] = 0
            key[~seen | (known[key] != wanted)] = -1
        return key


class _Values:
    """The distinct values of one column, each with a code in the order they were met."""

    def __init__(self) -> None:
        self.known: pa.Array | None = None

    def codes(self, values: pa.Array, *, grow: bool) -> tuple[Codes, npt.NDArray[np.intp]]:
        """(n,) codes, −1 for a value that is new and may not be added, and where each new one stood."""
        encoded = values.dictionary_encode(null_encoding="encode")
        indices = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        own = encoded.dictionary
        known = own.slice(0, 0) if self.known is None else self.known
        found = pc.index_in(own, known) if len(known) else pa.nulls(len(own), pa.int32())
        codes = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        new = np.flatnonzero(codes < 0) if grow else np.empty(0, np.intp)
        first = np.empty(0, np.intp)
        if new.size:
            codes[new] = np.arange(len(known), len(known) + new.size)
            self.known = pa.concat_arrays([known, own.take(pa.array(new))])
            places = np.full(len(own), -1, np.intp)
            places[indices[::-1]] = np.arange(len(indices))[::-1]
            first = places[new]
        return codes[indices] if len(own) else indices, first


class Frequencies:
    """Counts of combinations, and of combinations with each sensitive value.

    Args:
        quasi: the quasi-identifiers, in the order in which batches give them.
        sensitive: how many sensitive columns batches give.
        largest: combinations at which columns are coarsened.
    """

    def __init__(self, quasi: Sequence[QuasiIdentifier], sensitive: int, *, largest: int = LARGEST) -> None:
        self.quasi = tuple(quasi)
        self._floor = [0] * len(quasi)
        self._largest = largest
        self._labels = [_Values() for _ in quasi]
        self._examples: list[pa.Array | None] = [None] * len(quasi)
        self._sensitive = [_Values() for _ in range(sensitive)]
        self._tables: list[list[pa.Table]] = [[] for _ in range(1 + sensitive)]
        self._pending = 0
        self._seen = np.zeros(0, bool)
        self.rows = 0

    @property
    def floor(self) -> tuple[int, ...]:
        """The least level at which each column's values are still known; adding rows may raise it."""
        self._settle()
        return tuple(self._floor)

    def add(self, columns: Sequence[pa.Array], sensitive: Sequence[pa.Array], ordinals: Codes) -> None:
        """Count rows. A subject counts once: in the class of the first row that is counted of it."""
        self.rows += len(ordinals)
        codes = self._codes(columns, grow=True)
        first = self._first(ordinals)
        self._append(0, codes, [first.astype(np.int64)])
        for place, values in enumerate(sensitive):
            found, _ = self._sensitive[place].codes(values, grow=True)
            self._append(1 + place, [*codes, found], [])
        self._pending += len(ordinals)
        if self._pending >= max(_PENDING, sum(t[0].num_rows for t in self._tables if t)):
            self._settle()

    def classes(self, levels: Sequence[int]) -> Classes:
        """The classes at ``levels``, none of them below :attr:`floor`."""
        if any(level < least for level, least in zip(levels, self.floor, strict=True)):
            raise ValueError("these levels are no longer known")
        tables = [t[0] for t in self._tables]
        maps = [self._map(place, level) for place, level in enumerate(levels)]
        columns = [
            np.concatenate([mapped[_numbers(table, f"q{place}")] for table in tables])
            for place, mapped in enumerate(maps)
        ]
        keys = Keys(columns)
        ends = np.cumsum([0, *(table.num_rows for table in tables)])
        found = keys.find(columns)
        parts = [found[a:b] for a, b in pairwise(ends)]
        rows, subjects = (
            np.bincount(parts[0], _numbers(tables[0], name), keys.count).astype(np.int64)
            for name in ("rows", "subjects")
        )
        values = tuple(
            _pairs(part, self._ranks(place)[_numbers(table, "s")], _numbers(table, "rows"))
            for place, (part, table) in enumerate(zip(parts[1:], tables[1:], strict=True))
        )
        return Classes(keys, rows, subjects, values)

    def class_of(self, classes: Classes, columns: Sequence[pa.Array], levels: Sequence[int]) -> Codes:
        """(n,) the class of each row of a batch, −1 where its combination was never counted."""
        mapped = []
        for place, codes in enumerate(self._codes(columns, grow=False)):
            at_level = self._map(place, levels[place])
            mapped.append(np.where(codes >= 0, np.append(at_level, -1)[codes], -1))
        return classes.keys.find(mapped)

    def distinct(self, place: int, level: int) -> int:
        """How many values a quasi-identifier has at a level."""
        return int(self._map(place, level).max(initial=-1)) + 1

    def _codes(self, columns: Sequence[pa.Array], *, grow: bool) -> list[Codes]:
        found = []
        for place, values in enumerate(columns):
            at_floor = generalize(values, self.quasi[place], self._floor[place])
            codes, first = self._labels[place].codes(at_floor, grow=grow)
            if first.size:
                added = values.take(pa.array(first))
                known = self._examples[place]
                self._examples[place] = added if known is None else pa.concat_arrays([known, added])
            found.append(codes)
        return found

    def _map(self, place: int, level: int) -> Codes:
        """Codes at the floor → codes at ``level``."""
        examples = self._examples[place]
        if examples is None:
            return np.empty(0, np.int64)
        labels = generalize(examples, self.quasi[place], level).dictionary_encode(null_encoding="encode")
        return np.asarray(labels.indices.to_numpy(zero_copy_only=False), np.int64)

    def _ranks(self, place: int) -> Codes:
        known = self._sensitive[place].known
        if known is None:
            return np.empty(0, np.int64)
        order = pc.array_sort_indices(known, null_placement="at_start").to_numpy()
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order)) + (0 if known.null_count else 1)
        return ranks

    def _first(self, ordinals: Codes) -> npt.NDArray[np.bool_]:
        first = np.zeros(len(ordinals), bool)
        if not len(ordinals):
            return first
        subjects, places = np.unique(ordinals, return_index=True)
        subjects, places = subjects[subjects >= 0], places[subjects >= 0]
        most = int(ordinals.max()) + 1
        if most > len(self._seen):
            self._seen = np.concatenate(
                [self._seen, np.zeros(max(most, 2 * len(self._seen)) - len(self._seen), bool)]
            )
        first[places[~self._seen[subjects]]] = True
        self._seen[subjects] = True
        return first

    def _append(self, table: int, codes: Sequence[Codes], subjects: Sequence[Codes]) -> None:
        names = [f"q{place}" for place in range(len(self.quasi))] + ["s"] * (len(codes) - len(self.quasi))
        counted = [np.ones(len(codes[0]), np.int64), *subjects]
        columns = dict(zip([*names, *("rows", "subjects")[: len(counted)]], [*codes, *counted], strict=True))
        self._tables[table].append(
            _summed(pa.table({n: pa.array(c.astype(np.int32)) for n, c in columns.items()}))
        )

    def _settle(self) -> None:
        if not self._pending:
            return
        while True:
            self._tables = [[_summed(pa.concat_tables(t))] for t in self._tables]
            self._pending = 0
            if sum(t[0].num_rows for t in self._tables) <= self._largest:
                return
            self._coarsen()

    def _coarsen(self) -> None:
        """Take the column of the most values one level up, for good."""
        open_ = [p for p, q in enumerate(self.quasi) if self._floor[p] < q.top]
        if not open_:
            raise ProtectionError(
                "GOV-317",
                "a sensitive column has too many values for its distribution to be counted in memory",
                "release it in ranges (`bucket`), or leave it out of `sensitive`",
            )
        place = max(open_, key=lambda p: self.distinct(p, self._floor[p]))
        self._floor[place] += 1
        mapped = self._map(place, self._floor[place])
        examples = self._examples[place]
        if examples is not None:
            _, first = np.unique(mapped, return_index=True)
            self._examples[place] = examples.take(pa.array(first))
            self._labels[place].known = generalize(
                self._examples[place], self.quasi[place], self._floor[place]
            )
        name = f"q{place}"
        for tables in self._tables:
            at = tables[0].column_names.index(name)
            tables[0] = tables[0].set_column(
                at, name, pa.array(mapped[_numbers(tables[0], name)].astype(np.int32))
            )


def _summed(table: pa.Table) -> pa.Table:
    counts = [name for name in ("rows", "subjects") if name in table.column_names]
    keys = [name for name in table.column_names if name not in counts]
    summed = table.group_by(keys, use_threads=False).aggregate([(name, "sum") for name in counts])
    return summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names])


def _numbers(table: pa.Table, name: str) -> Codes:
    return np.asarray(table.column(name).to_numpy(), np.int64)


def _pairs(classes: Codes, values: Codes, counts: Codes) -> tuple[Codes, Codes, Codes]:
    """Each pair of class and value once, by class and then by value."""
    card = int(values.max(initial=0)) + 1
    pairs, place = np.unique(classes * card + values, return_inverse=True)
    return pairs // card, pairs % card, np.bincount(place, counts, len(pairs)).astype(np.int64)
