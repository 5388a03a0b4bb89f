"""Edges between numbered nodes as compressed sparse rows, and what is reached along them.

Arrays never change after they are made: a reader keeps the adjacency it began with while another is built.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Indexes = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edges as columns of equal length: node ids ``near`` and ``far``, and the log index that made each."""

    near: Ids
    far: Ids
    first: Indexes

    def __len__(self) -> int:
        return len(self.near)

    @classmethod
    def joined(cls, *parts: Edges) -> Edges:
        """All edges of several."""
        columns = zip(*((part.near, part.far, part.first) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def where(self, kept: Mask | Indexes) -> Edges:
        """Some of these edges."""
        return Edges(self.near[kept], self.far[kept], self.first[kept])

    def turned(self) -> Edges:
        """The same edges the other way round."""
        return Edges(self.far, self.near, self.first)

    def order(self) -> Indexes:
        """Positions that sort the edges by near, far and age."""
        return np.lexsort((self.first, self.keys()))

    def keys(self) -> Indexes:
        """One number for each pair of nodes; they sort as the pairs do."""
        return (self.near.astype(np.int64) << 32) | self.far

    def once(self) -> Edges:
        """Each pair of nodes once, with its oldest log index, sorted."""
        edges = self.where(self.order())
        keys = edges.keys()
        return edges.where(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(edges) else edges


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """Edges sorted by (near, far); those that leave node i are ``edges[start[i]:start[i + 1]]``."""

    start: Indexes
    edges: Edges

    @classmethod
    def of(cls, nodes: int, edges: Edges) -> Adjacency:
        """The adjacency of sorted edges over node ids below ``nodes``."""
        start = np.zeros(nodes + 1, np.int64)
        np.cumsum(np.bincount(edges.near, minlength=nodes), out=start[1:])
        return cls(start, edges)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.start) - 1

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return self.start.nbytes + self.edges.near.nbytes + self.edges.far.nbytes + self.edges.first.nbytes

    def merged(self, nodes: int, edges: Edges) -> Adjacency:
        """These edges and those of others that join nodes not joined yet: one copy, no sort of the old."""
        new, old = edges.once(), self.edges
        keys, known = new.keys(), old.keys()
        place = np.searchsorted(known, keys)
        inside = place < len(known)
        fresh = np.ones(len(new), bool)
        fresh[inside] = known[place[inside]] != keys[inside]
        new, place = new.where(fresh), place[fresh]
        return Adjacency.of(
            nodes,
            Edges(
                np.insert(old.near, place, new.near),
                np.insert(old.far, place, new.far),
                np.insert(old.first, place, new.first),
            ),
        )

    def positions(self, nodes: Ids) -> Indexes:
        """Where the edges that leave some nodes stand."""
        nodes = nodes[nodes < self.nodes]
        starts = self.start[nodes]
        lengths = self.start[nodes + 1] - starts
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        return np.repeat(starts - ends + lengths, lengths) + np.arange(total)

    def out_of(self, nodes: Ids, as_of: int | None = None) -> Edges:
        """The edges that leave some nodes; with ``as_of`` those that entries before it made."""
        edges = self.edges.where(self.positions(nodes))
        return edges if as_of is None else edges.where(edges.first < as_of)


def closure(
    ways: tuple[Adjacency, ...],
    sources: Ids,
    depth: int,
    as_of: int | None = None,
    stop_after: int | None = None,
    hidden: Mask | None = None,
) -> tuple[Ids, Ids]:
    """Nodes reached from some in at most ``depth`` steps, breadth first.

    Args:
        ways: the adjacencies that a step may take, all over the same nodes.
        sources: node ids, at distance 0; they come back too.
        depth: how many steps at most.
        as_of: only edges that entries before this log index made; ``None`` means all.
        stop_after: take no other step once more than so many nodes are reached.
        hidden: of each node, whether no way may lead to it or through it.

    Returns:
        Node ids and their distances, nearest first, ascending within a distance.
    """
    nodes = max(way.nodes for way in ways)
    seen = np.zeros(max(nodes, int(sources.max(initial=-1)) + 1), bool)
    if hidden is not None:
        seen[: len(hidden)] = hidden[: len(seen)]
    front = np.unique(sources)
    seen[front] = True
    levels, reached = [front], len(front)
    for _ in range(depth):
        if stop_after is not None and reached > stop_after:
            break
        found = []
        for way in ways:
            at = way.positions(front)
            if as_of is not None:
                at = at[way.edges.first[at] < as_of]
            met = way.edges.far[at]
            found.append(met[~seen[met]])
        front = _distinct(found[0] if len(found) == 1 else np.concatenate(found), nodes)
        if not len(front):
            break
        seen[front] = True
        reached += len(front)
        levels.append(front)
    sizes = [len(level) for level in levels]
    return np.concatenate(levels), np.repeat(np.arange(len(levels), dtype=np.int32), sizes)


def _distinct(ids: Ids, nodes: int) -> Ids:
    """Sorted and once each. Marking beats sorting as soon as the ids are no small part of the nodes."""
    if len(ids) * 64 < nodes:
        return np.unique(ids)
    mark = np.zeros(nodes, bool)
    mark[ids] = True
    return np.flatnonzero(mark).astype(np.int32)
