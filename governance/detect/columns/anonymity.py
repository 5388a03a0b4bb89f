"""Quasi-identifiers: which sets of columns single people out, measured on all rows.

k-anonymity (Sweeney 2002): rows that agree on a set of columns form a group; k is a group's size and
a row with k = 1 is unique. Adding a column never makes a group larger, so the sets are walked by
size and what contains a risky set is not measured again: the answer lists the smallest sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect.columns.flattening import flatten
from governance.errors import SettingError
from governance.model.classification import HARMLESS, UNCLASSIFIED, ColumnClassification

QUASI_IDENTIFYING = (
    "date_of_birth", "postal_code", "age", "gender", "city", "date", "ethnicity", "jurisdiction", "country", "religion",
    "health_condition", "medication", "political_opinion", "sexual_orientation", "trade_union", "criminal_record",
    "geo_coordinates",
)  # fmt: skip
"""Classifications that others may know of a person without knowing who it is, most telling first."""

DEFAULT_K = 5
LARGEST_SET = 4
MAXIMUM_COLUMNS = 12
_TAIL = 0.05
_CATEGORIES = 1_000
_CATEGORY_SHARE = 0.05
"""A column of no class counts where it has few values: at most so many, and so many of its rows."""
MAXIMUM_BYTES = 4 << 30
"""Arrow bytes of the columns that may be held at once."""
_TABLE_LIMIT = 1 << 22


@dataclass(frozen=True, slots=True)
class ColumnSet:
    """How a set of columns divides the rows.

    ``unique_share``: share of rows with k = 1, in [0, 1]; ``below_share``: in groups smaller than the
    threshold; ``minimum_k``: the smallest group; ``k_at_5_percent``: 5% of rows stand in groups no larger.
    """

    columns: tuple[str, ...]
    groups: int
    unique_share: float
    below_share: float
    minimum_k: int
    k_at_5_percent: int


@dataclass(frozen=True, slots=True)
class QuasiIdentifiers:
    """``risky`` are the smallest sets whose ``k_at_5_percent`` is under ``k``; ``together`` is all considered columns.

    ``left_out`` says of each other column why it was not considered. No value of the table is in it.
    """

    rows: int
    k: int
    largest_set: int
    considered: tuple[str, ...]
    left_out: Mapping[str, str]
    risky: tuple[ColumnSet, ...]
    together: ColumnSet | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"left_out": dict(self.left_out)}


def quasi_identifiers(
    table: pa.Table,
    classifications: Mapping[str, ColumnClassification | str],
    *,
    k: int = DEFAULT_K,
    largest_set: int = LARGEST_SET,
) -> QuasiIdentifiers:
    """Measure which sets of at most ``largest_set`` columns single people out.

    Args:
        table: all rows; timestamps are taken by day, null is a value of its own.
        classifications: what :func:`governance.detect.classify_table` found, or names by column. Direct
            identifiers are left out: they single out by themselves.
        k: groups smaller than this are a risk.

    Raises:
        SettingError: GOV-901 for a ``k`` under 2 or a ``largest_set`` under 1.
    """
    if k < 2 or largest_set < 1:
        raise SettingError(
            "GOV-901",
            f"k is {k} and the largest set {largest_set}",
            "ask for k of 2 or more and sets of 1 or more",
        )
    left_out: dict[str, str] = {}
    candidates: list[tuple[int, int, str, NDArray[np.int32]]] = []
    for name, column in _scalars(table, left_out):
        found = classifications.get(name, UNCLASSIFIED)
        classification = found if isinstance(found, str) else found.classification
        codes, distinct = _coded(column)
        reason = _unfit(classification, distinct, table.num_rows)
        if reason is not None:
            left_out[name] = reason
            continue
        rank = QUASI_IDENTIFYING.index(classification) if classification in QUASI_IDENTIFYING else 99
        candidates.append((rank, -distinct, name, codes))
    candidates.sort(key=lambda c: c[:3])
    for _, _, name, _ in candidates[MAXIMUM_COLUMNS:]:
        left_out[name] = f"{MAXIMUM_COLUMNS} more telling columns were considered"
    columns = {name: codes for _, _, name, codes in candidates[:MAXIMUM_COLUMNS]}
    order = {name: place for place, name in enumerate(table.column_names)}
    names = sorted(columns, key=lambda name: order.get(name.split(".")[0], 0))
    if not table.num_rows or not names:
        return QuasiIdentifiers(table.num_rows, k, largest_set, tuple(names), left_out, (), None)
    lattice = _Lattice({name: columns[name] for name in names}, k)
    risky = tuple(lattice.minimal(min(largest_set, len(names))))
    return QuasiIdentifiers(
        table.num_rows, k, largest_set, tuple(names), left_out, risky, lattice.measured(tuple(names))
    )


def gathered(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> pa.Table:
    """The columns that may be quasi-identifiers, whole, for :func:`quasi_identifiers`.

    Raises:
        SettingError: GOV-116 when they need more than :data:`MAXIMUM_BYTES`; nothing is spilled to disk.
    """
    kept: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        kept.append(batch.select(columns))
        size += kept[-1].nbytes
        if size > MAXIMUM_BYTES:
            raise SettingError(
                "GOV-116",
                f"the columns that may single people out need more than {MAXIMUM_BYTES >> 30} GiB of memory",
                "measure a table with fewer columns, or with fewer rows of one period or place",
            )
    return pa.Table.from_batches(kept) if kept else pa.table({name: pa.nulls(0) for name in columns})


def may_identify(found: ColumnClassification) -> bool:
    """Whether a column can be a quasi-identifier by its classification."""
    return found.classification in (*QUASI_IDENTIFYING, HARMLESS, UNCLASSIFIED)


def _unfit(classification: str, distinct: int, rows: int) -> str | None:
    if distinct < 2:
        return "all rows have the same value"
    if classification in QUASI_IDENTIFYING:
        return None
    if classification not in (HARMLESS, UNCLASSIFIED):
        return "it names a person by itself or is free text"
    if distinct > max(20, min(_CATEGORIES, _CATEGORY_SHARE * rows)):
        return f"it has {distinct:,} values and no classification that others would know"
    return None


def _scalars(table: pa.Table, left_out: dict[str, str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    for name, column in zip(table.column_names, table.columns, strict=True):
        lists = set(_lists(name, column.type))
        leaves: dict[str, list[pa.Array]] = {}
        for chunk in column.chunks:
            for leaf, array in flatten(name, chunk):
                leaves.setdefault(leaf, []).append(array)
        for leaf, arrays in leaves.items():
            if any(array is None for array in arrays) or any(
                leaf == inside or leaf.startswith(f"{inside}.") for inside in lists
            ):
                left_out[leaf] = "it does not hold one value a row"
            else:
                yield leaf, pa.chunked_array(arrays)


def _lists(name: str, kind: pa.DataType) -> Iterator[str]:
    """Where lists and maps stand in a type: what is inside them has no row of its own."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _lists(f"{name}.{field.name}", field.type)
    elif pa.types.is_nested(kind):
        yield name


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], int]:
    """A number for each distinct value, shape (n,) int32, null one of them; and how many there are."""
    if pa.types.is_timestamp(column.type):
        column = pc.floor_temporal(column, unit="day")
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32), len(encoded.dictionary)


class _Lattice:
    """Measures sets of columns; keeps the groups of smaller sets that larger ones are made of."""

    def __init__(self, codes: Mapping[str, NDArray[np.int32]], k: int) -> None:
        self._codes = codes
        self._sizes = {name: int(column.max()) + 1 for name, column in codes.items()}
        self._rows = len(next(iter(codes.values())))
        self._k = k

    def minimal(self, largest: int) -> Iterator[ColumnSet]:
        """The risky sets none of whose subsets is risky, small ones first."""
        risky: list[frozenset[str]] = []
        for size in range(1, largest + 1):
            found = []
            prefix: tuple[str, ...] = ()
            groups = np.zeros(self._rows, np.int32)
            for names in combinations(self._codes, size):
                if any(known <= set(names) for known in risky) or self._cannot(names):
                    continue
                if names[:-1] != prefix or size == 1:
                    prefix, groups = names[:-1], self._groups(names[:-1])
                measured = self._described(names, self._joined(groups, names[-1]))
                if measured.k_at_5_percent < self._k:
                    found.append(measured)
            risky += [frozenset(each.columns) for each in found]
            yield from sorted(found, key=lambda each: (-each.unique_share, each.columns))

    def measured(self, names: tuple[str, ...]) -> ColumnSet:
        return self._described(names, self._groups(names))

    def _cannot(self, names: Sequence[str]) -> bool:
        """Whether there are too few possible groups for 5% of the rows to stand in small ones."""
        possible = 1
        for name in names:
            possible *= self._sizes[name]
        return possible * (self._k - 1) < _TAIL * self._rows

    def _groups(self, names: Sequence[str]) -> NDArray[np.int32]:
        groups = np.zeros(self._rows, np.int32)
        for name in names:
            groups = self._joined(groups, name)
        return groups

    def _joined(self, groups: NDArray[np.int32], name: str) -> NDArray[np.int32]:
        key = groups.astype(np.int64) * self._sizes[name] + self._codes[name]
        if int(key.max()) < _TABLE_LIMIT:
            present = np.zeros(int(key.max()) + 1, np.bool_)
            present[key] = True
            encoded: NDArray[np.int32] = (np.cumsum(present, dtype=np.int32) - 1)[key]
        else:
            encoded = pa.array(key).dictionary_encode().indices.to_numpy()
        return encoded

    def _described(self, names: tuple[str, ...], groups: NDArray[np.int32]) -> ColumnSet:
        sizes = np.sort(np.bincount(groups))
        reached = np.cumsum(sizes)
        at = int(np.searchsorted(reached, _TAIL * self._rows))
        return ColumnSet(
            columns=names,
            groups=len(sizes),
            unique_share=round(float(sizes[sizes == 1].sum()) / self._rows, 6),
            below_share=round(float(sizes[sizes < self._k].sum()) / self._rows, 6),
            minimum_k=int(sizes[0]),
            k_at_5_percent=int(sizes[at]),
        )
