"""Columns as rows to learn from: features of open tables, as they are and made harder, and of made-up ones."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from governance.detect.columns.evidence import ValueEvidence, read_values
from governance.detect.columns.features import beside, candidates, claims, column_row, read_name, width
from governance.detect.columns.scanner import TableScanner
from governance.detect.detectors.registry import column_registry
from governance.detect.training.reviewed_labels import LabelledColumn, Labels
from governance.detect.training.synthetic_tables import tables as synthetic

UNTOLD_NAMES = ("c{}", "column{}", "field_{}", "V{}", "{}", "", "col_{}", "Unnamed: {}")
VARIANTS = ("as they are", "typed", "headers removed", "some headers removed", "headers shuffled")
_KEPT_HEADERS = 0.6
_TYPED = 0.6


@dataclass
class Examples:
    """``pair``: (n · candidates, pair features), ``column``: (n, width), ``allowed``: (n, candidates), ``weight``: (n,)."""

    pair: sparse.csr_matrix
    column: sparse.csr_matrix
    allowed: NDArray[np.bool_]
    weight: NDArray[np.float32]
    labels: list[LabelledColumn | None]

    def where(self, mask: NDArray[np.bool_]) -> Examples:
        """The rows of a mask of length n."""
        rows, many = np.flatnonzero(mask), self.allowed.shape[1]
        pairs = (rows[:, None] * many + np.arange(many)).ravel()
        labels = [self.labels[i] for i in rows]
        return Examples(self.pair[pairs], self.column[rows], self.allowed[rows], self.weight[rows], labels)

    def weighing(self, factor: float) -> Examples:
        """The same rows with their weights multiplied."""
        return Examples(
            self.pair, self.column, self.allowed, np.asarray(self.weight * factor, np.float32), self.labels
        )


def together(parts: Sequence[Examples]) -> Examples:
    """The rows of all parts, without those of weight zero."""
    whole = Examples(
        sparse.vstack([p.pair for p in parts]).tocsr(),
        sparse.vstack([p.column for p in parts]).tocsr(),
        np.vstack([p.allowed for p in parts]),
        np.concatenate([p.weight for p in parts]),
        [label for p in parts for label in p.labels],
    )
    return whole.where(whole.weight > 0)


@dataclass
class _Rows:
    """Feature rows while they are gathered."""

    order: tuple[str, ...]
    pairs: list[NDArray[np.float32]] = field(default_factory=list)
    keys: list[NDArray[np.int64]] = field(default_factory=list)
    numbers: list[NDArray[np.float32]] = field(default_factory=list)
    learned: list[frozenset[str]] = field(default_factory=list)
    labels: list[LabelledColumn | None] = field(default_factory=list)

    def add(
        self,
        names: Sequence[str],
        values: Sequence[ValueEvidence],
        learned: Sequence[frozenset[str] | None],
        labels: Sequence[LabelledColumn | None],
    ) -> None:
        registry, order = column_registry(), np.arange(len(self.order))
        read = [read_name(name, registry) for name in names]
        found = [claims(name, value, registry) for name, value in zip(read, values, strict=True)]
        total = np.sum([each.strengths for each in found], axis=0)
        for index, classes in enumerate(learned):
            if classes is None or not values[index].distinct:
                continue
            keys, numbers = column_row(read, values[index], found, index, total, order)
            self.pairs.append(beside(found, index, total))
            self.keys.append(keys)
            self.numbers.append(numbers)
            self.learned.append(classes)
            self.labels.append(labels[index])

    def examples(self) -> Examples:
        many, place = len(self.order), {name: i for i, name in enumerate(self.order)}
        allowed = np.zeros((len(self.pairs), many), bool)
        for row, classes in enumerate(self.learned):
            allowed[row, [place[name] for name in classes]] = True
        starts = np.cumsum([0, *(len(keys) for keys in self.keys)])
        column = sparse.csr_matrix(
            (np.concatenate(self.numbers), np.concatenate(self.keys), starts),
            shape=(len(self.pairs), width(many)),
            dtype=np.float32,
        )
        blocks = [sparse.csr_matrix(rows) for rows in self.pairs]
        weight = np.asarray(allowed.any(axis=1), np.float32)
        # A column that is left out of learning still counts for scores against the labels as they came.
        return Examples(sparse.vstack(blocks).tocsr(), column, allowed, weight, self.labels)


def read_csv(path: Path) -> pa.Table:
    """A table of strings; rows of another length than the header are left out, of a repeated name the first stays."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    rows = [row for row in rows if len(row) == len(header)]
    places = {name: index for index, name in reversed(list(enumerate(header)))}
    return pa.table({name: pa.array([row[i] for row in rows], pa.string()) for name, i in places.items()})


def typed(array: pa.Array) -> pa.Array | None:
    """A text column as the whole or decimal numbers it is written in; ``None`` where it is not."""
    text = pc.utf8_trim_whitespace(array)
    text = pc.if_else(pc.equal(text, ""), None, text)
    if text.null_count == len(text):
        return None
    for kind in (pa.int64(), pa.float64()):
        try:
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return None


def evidence(arrays: Sequence[pa.Array], names: Sequence[str]) -> list[ValueEvidence]:
    """The value evidence of the columns of one table."""
    table = pa.Table.from_arrays(list(arrays), names=list(names))
    scanner = TableScanner(table.schema)
    for batch in table.to_batches():
        scanner.update(batch)
    return [read_values(p, column_registry(), scanner.regions()) for p in scanner.profiles()]


@dataclass(frozen=True)
class TableEvidence:
    """One table: its headers, its columns as text, and those that are numbers as numbers. ``learned``: of made-up ones."""

    file: str
    names: tuple[str, ...]
    plain: tuple[ValueEvidence, ...]
    typed: tuple[ValueEvidence, ...]
    learned: tuple[str, ...] = ()


def read_open(folder: Path, files: Iterable[str]) -> Iterator[TableEvidence]:
    """The evidence of open tables: the slow part of training."""
    for file in files:
        table = read_csv(folder / file)
        names = table.column_names
        arrays = [column.combine_chunks() for column in table.columns]
        plain = evidence(arrays, names)
        numbers = {i: each for i, array in enumerate(arrays) if (each := typed(array)) is not None}
        as_typed = list(plain)
        found = evidence(list(numbers.values()), [names[i] for i in numbers])
        for i, value in zip(numbers, found, strict=True):
            as_typed[i] = value
        yield TableEvidence(file, tuple(names), tuple(plain), tuple(as_typed))


def read_synthetic(number: int, seed: int) -> Iterator[TableEvidence]:
    """The evidence of made-up tables, some columns of them typed."""
    chance = random.Random(seed)
    for table in synthetic(number, seed):
        arrays = []
        for column in table:
            text = pa.array(column.values, pa.string())
            as_number = typed(text) if chance.random() < _TYPED else None
            arrays.append(text if as_number is None else as_number)
        values = tuple(evidence(arrays, [str(i) for i in range(len(table))]))
        yield TableEvidence(
            "", tuple(c.name for c in table), values, values, tuple(c.classification for c in table)
        )


def open_examples(folder: Path, tables: Iterable[TableEvidence], seed: int) -> dict[str, Examples]:
    """The labelled columns of open tables in each of :data:`VARIANTS`."""
    labels = Labels(folder)
    gathered = {variant: _Rows(candidates(column_registry())) for variant in VARIANTS}
    for table in tables:
        # Each table draws its own, so that what is made of it does not hang on which others are read.
        chance = random.Random(f"{seed} {table.file}")
        names, plain, as_typed = table.names, table.plain, table.typed
        known = [labels.of(table.file, name) for name in names]
        learned = [None if each is None else each.learned for each in known]
        untold = [chance.choice(UNTOLD_NAMES).format(i) for i in range(len(names))]
        some = [n if chance.random() < _KEPT_HEADERS else u for n, u in zip(names, untold, strict=True)]
        shuffled = chance.sample(names, len(names))
        for variant, said, values in zip(
            VARIANTS, (names, names, untold, some, shuffled),
            (plain, as_typed, *(chance.choice((plain, as_typed)) for _ in range(3))), strict=True,
        ):  # fmt: skip
            gathered[variant].add(said, values, learned, known)
    return {variant: rows.examples() for variant, rows in gathered.items()}


def synthetic_examples(tables: Iterable[TableEvidence]) -> Examples:
    """Columns of made-up tables."""
    rows = _Rows(candidates(column_registry()))
    for table in tables:
        classes = [frozenset({each}) for each in table.learned]
        rows.add(table.names, table.plain, classes, [None] * len(table.names))
    return rows.examples()
