"""Numbers for nodes: (kind, namespace, name, field) ↔ dense ids, millions of them in little memory.

The text of a node is its node id as Marquez writes it, ``kind:namespace:name[:field]``. Namespaces and names
may hold colons, so the text alone is ambiguous; the lengths of its parts stand beside it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.lineage.graph.adjacency import Ids

DATASET: Final = "dataset"
JOB: Final = "job"
FIELD: Final = "datasetField"

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_SLICE: Final = 1 << 18


class NodeName(NamedTuple):
    """What a node is called. ``field`` is empty but for a column."""

    kind: str
    namespace: str
    name: str
    field: str

    @property
    def text(self) -> str:
        """The node id, as Marquez writes it."""
        return ":".join(
            (self.kind, self.namespace, self.name, *((self.field,) if self.kind == FIELD else ()))
        )


class _Hasher:
    """64-bit hashes of texts. They need not last: names are never stored by hash."""

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._lock = threading.Lock()

    def __call__(self, texts: pa.Array) -> NDArray[np.uint64]:
        table = pa.table({"text": texts})
        with self._lock:
            self._connection.register("asked", table)
            try:
                found = self._connection.execute("SELECT hash(text) AS hash FROM asked").fetchnumpy()
            finally:
                self._connection.unregister("asked")
        return np.asarray(found["hash"], np.uint64)


@cache
def _hasher() -> _Hasher:
    return _Hasher()


@dataclass(frozen=True, slots=True, eq=False)
class NodeNames:
    """The names of nodes 0 to n-1. Immutable: :meth:`with_rows` returns another one that shares the old.

    ``sizes`` holds the characters of kind, namespace, name and field (-1: none) of each node, ``namespace`` a
    number into ``namespaces``. ``hashes`` is sorted, ``places`` says whose each is.
    """

    texts: tuple[pa.Array, ...]
    sizes: NDArray[np.int32]
    namespace: Ids
    namespaces: tuple[str, ...]
    hashes: NDArray[np.uint64]
    places: Ids
    hasher: _Hasher

    @classmethod
    def empty(cls) -> NodeNames:
        """No names yet."""
        return cls(
            (),
            np.zeros((0, 4), np.int32),
            np.zeros(0, np.int32),
            (),
            np.zeros(0, np.uint64),
            np.zeros(0, np.int32),
            _hasher(),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nbytes(self) -> int:
        """Memory of the names and of what finds them, in bytes."""
        arrays = (self.sizes, self.namespace, self.hashes, self.places)
        return int(sum(part.nbytes for part in (*self.texts, *arrays)))

    def with_rows(
        self, kind: pa.Array | str, namespace: pa.Array, name: pa.Array, field: pa.Array | None = None
    ) -> tuple[NodeNames, Ids]:
        """The names with those of some rows, and the id of each row. Rows may repeat; nothing is null."""
        names, ids = self, np.empty(len(namespace), np.int32)
        for start in range(0, len(ids), _SLICE):
            part = slice(start, start + _SLICE)
            columns = [
                c if c is None or isinstance(c, str) else c.slice(start, _SLICE)
                for c in (kind, namespace, name, field)
            ]
            names, ids[part] = names._numbered(_Rows.of(*columns), grow=True)
        return names, ids

    def find(self, node_id: str) -> int | None:
        """The node of a node id, ``None`` if there is none; of several the one with the longest namespace."""
        cuts = [i for i, letter in enumerate(node_id) if letter == ":"]
        head = node_id[: cuts[0]] if cuts else ""
        if head not in (DATASET, JOB, FIELD):
            return None
        asked = [
            NodeName(head, node_id[cuts[0] + 1 : second], node_id[second + 1 : third], node_id[third + 1 :])
            for second in cuts[1:]
            for third in (cuts if head == FIELD else [len(node_id)])
            if second < third
        ]
        found = [number for number in self.of(asked) if number is not None]
        return max(found, key=lambda number: int(self.sizes[number, 1]), default=None)

    def of(self, names: list[NodeName]) -> list[int | None]:
        """The ids of some names, ``None`` for those unknown."""
        if not names or not len(self):
            return [None] * len(names)
        kinds, namespaces, named, fields = (
            pa.array(part, pa.large_string()) for part in zip(*names, strict=True)
        )
        has_field = [name.kind == FIELD for name in names]
        rows = _Rows.of(kinds, namespaces, named, pc.if_else(pa.array(has_field), fields, None))
        return [int(number) if number >= 0 else None for number in self._numbered(rows, grow=False)[1]]

    def name(self, number: int) -> NodeName:
        """What a node is called."""
        return self.names(np.array([number], np.int32))[0]

    def names(self, numbers: Ids) -> list[NodeName]:
        """What some nodes are called."""
        named = []
        for text, sizes in zip(self.text_of(numbers).to_pylist(), self.sizes[numbers].tolist(), strict=True):
            a, b = sizes[0], sizes[0] + 1 + sizes[1]
            c = b + 1 + sizes[2]
            named.append(NodeName(text[:a], text[a + 1 : b], text[b + 1 : c], text[c + 1 :]))
        return named

    def text_of(self, numbers: Ids) -> pa.Array:
        """The node ids of some nodes."""
        ends = np.cumsum([len(chunk) for chunk in self.texts])
        chunk_of = np.searchsorted(ends, numbers, side="right")
        # Arrow's own take on several chunks copies all of them first.
        order, taken = np.argsort(chunk_of, kind="stable"), []
        for chunk in np.unique(chunk_of).tolist():
            inside = numbers[chunk_of == chunk] - (ends[chunk] - len(self.texts[chunk]))
            taken.append(self.texts[chunk].take(pa.array(inside)))
        if len(taken) < 2:
            return taken[0] if taken else pa.array([], pa.large_string())
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(taken).take(pa.array(back))

    def _numbered(self, rows: _Rows, *, grow: bool) -> tuple[NodeNames, Ids]:
        names, ids = self, np.full(len(rows), -1, np.int32)
        if not len(rows):
            return names, ids
        hashes, open_rows = self.hasher(rows.texts), np.arange(len(rows))
        # Rows that differ may share a hash: those that find another's name there look one step further on.
        while len(open_rows):
            met, sample, back = np.unique(hashes[open_rows], return_index=True, return_inverse=True)
            found = names._at(met)
            unknown = found < 0
            if grow and unknown.any():
                # Numbered as they come: what is named together is reached together.
                order = np.argsort(sample[unknown])
                found[np.flatnonzero(unknown)[order]] = np.arange(
                    len(names), len(names) + len(order), dtype=np.int32
                )
                names = names._grown(
                    rows.where(open_rows[sample[unknown][order]]), met[unknown], found[unknown]
                )
            number = found[back]
            same = number >= 0
            same[same] = names._same(rows.where(open_rows[same]), number[same])
            ids[open_rows[same]] = number[same]
            open_rows = open_rows[~same & (number >= 0)]
            hashes[open_rows] += _STEP
        return names, ids

    def _at(self, hashes: NDArray[np.uint64]) -> Ids:
        place = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int32)
        return np.where(self.hashes[place] == hashes, self.places[place], -1).astype(np.int32)

    def _same(self, rows: _Rows, numbers: Ids) -> NDArray[np.bool_]:
        texts = pc.equal(self.text_of(numbers), rows.texts).to_numpy(zero_copy_only=False)
        return np.asarray(texts & (self.sizes[numbers] == rows.sizes).all(axis=1), bool)

    def _grown(self, rows: _Rows, hashes: NDArray[np.uint64], numbers: Ids) -> NodeNames:
        """With the names of ``rows``, in their order; ``hashes``, ascending, belong to ``numbers``."""
        place = np.searchsorted(self.hashes, hashes)
        chunks = [*self.texts, rows.texts]
        while len(chunks) > 1 and len(chunks[-2]) <= 2 * len(chunks[-1]):
            chunks[-2:] = [pa.concat_arrays(chunks[-2:])]
        encoded = rows.namespaces.dictionary_encode()
        known = {namespace: number for number, namespace in enumerate(self.namespaces)}
        codes = [known.setdefault(namespace, len(known)) for namespace in encoded.dictionary.to_pylist()]
        return replace(
            self,
            texts=tuple(chunks),
            sizes=np.concatenate([self.sizes, rows.sizes]),
            namespace=np.concatenate(
                [self.namespace, np.array(codes, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)]]
            ),
            namespaces=tuple(known),
            hashes=np.insert(self.hashes, place, hashes),
            places=np.insert(self.places, place, numbers),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    texts: pa.Array
    sizes: NDArray[np.int32]
    namespaces: pa.Array

    @classmethod
    def of(cls, kind: pa.Array | str, namespace: pa.Array, name: pa.Array, field: pa.Array | None) -> _Rows:
        count = len(namespace)
        parts = [pa.array([kind] * count) if isinstance(kind, str) else kind, namespace, name]
        parts += [] if field is None else [field]
        parts = [_flat(part) for part in parts]
        sizes = np.full((count, 4), -1, np.int32)
        for column, part in enumerate(parts):
            sizes[:, column] = pc.fill_null(pc.utf8_length(part), -1).to_numpy(zero_copy_only=False)
        options = {"null_handling": "skip"} if field is not None else {}
        texts = pc.binary_join_element_wise(*parts, pa.scalar(":", pa.large_string()), **options)
        return cls(texts, sizes, parts[1])

    def __len__(self) -> int:
        return len(self.sizes)

    def where(self, rows: Indexed) -> _Rows:
        taken = pa.array(rows)
        return _Rows(self.texts.take(taken), self.sizes[rows], self.namespaces.take(taken))


Indexed = NDArray[np.int64]


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    return whole.cast(pa.large_string())
