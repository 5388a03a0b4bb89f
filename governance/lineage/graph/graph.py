"""The lineage graph in memory: datasets and jobs, columns, and what is reached from one at a log size.

An edge between datasets goes through one run of a job, or a ``lineage`` facet says it; a job that read one
dataset in one run and wrote another in another does not join the two. So datasets are followed along their
own edges, and the jobs are added that read (or wrote) what was reached.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.lineage.graph import graph_rows
from governance.lineage.graph.adjacency import Adjacency, Edges, Ids, Indexes, Mask, closure
from governance.lineage.graph.column_graph import ColumnGraph
from governance.lineage.graph.node_names import DATASET, JOB, NodeName, NodeNames

UPSTREAM: Final = "upstream"
DOWNSTREAM: Final = "downstream"
BOTH: Final = "both"

_PASTS: Final = 4


class Rows(Protocol):
    """What the graph needs of :class:`governance.lineage.index.index.Index`."""

    @property
    def size(self) -> int:
        """How many log entries were read."""

    def arrow(self, sql: str, parameters: dict[str, Any]) -> pa.Table:
        """The rows of one SELECT."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ways:
    """Edges both ways."""

    forward: Adjacency
    backward: Adjacency

    @classmethod
    def of(cls, nodes: int, edges: Edges) -> _Ways:
        return cls(Adjacency.of(nodes, edges.once()), Adjacency.of(nodes, edges.turned().once()))

    def merged(self, nodes: int, edges: Edges) -> _Ways:
        return _Ways(self.forward.merged(nodes, edges), self.backward.merged(nodes, edges.turned()))

    def along(self, direction: str) -> tuple[Adjacency, ...]:
        ways = {UPSTREAM: (self.backward,), DOWNSTREAM: (self.forward,), BOTH: (self.forward, self.backward)}
        return ways[direction]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The graph at one log size; what it answers does not change while the log grows.

    Node ids are dense numbers and belong to their view. ``before`` filters
    edges by log index where that is exact; otherwise the view holds only the edges of its size. ``renamed``
    pairs the nodes of aliases with those of the datasets they stand for; an alias has no edges.
    """

    size: int
    names: NodeNames
    born: Indexes
    before: int | None
    renamed: tuple[Ids, Ids]
    _datasets: _Ways
    _io: _Ways

    def find(self, node_id: str) -> int | None:
        """The dataset or job of a Marquez node id; an alias means its dataset, a ``#version`` does not count."""
        for text in (node_id, node_id.rpartition("#")[0]):
            number = self.names.find(text) if text else None
            if number is not None:
                number = (
                    int(self.renamed[1][self.renamed[0] == number][0])
                    if number in self.renamed[0]
                    else number
                )
                if self.known(number):
                    return number
        return None

    def node(self, kind: str, namespace: str, name: str) -> int | None:
        """The number of a dataset or job."""
        number = self.names.of([NodeName(kind, namespace, name, "")])[0]
        return number if number is not None and self.known(number) else None

    def closure(
        self, node: int, direction: str, depth: int = 20, *, jobs: bool = True, hidden: Mask | None = None
    ) -> tuple[Ids, Ids]:
        """What a node came from or what came from it, itself included at depth 0.

        Args:
            node: a dataset or job.
            direction: ``upstream`` or ``downstream``.
            depth: how many datasets at most lie on a way, the one it ends at counted; a job's own
                datasets are at depth 1.
            jobs: also the jobs on the way and those that it ends at, one deeper than the nearest dataset
                that they read (wrote).
            hidden: see :meth:`hidden`.

        Returns:
            Node ids and depths, nearest first, ascending within a depth.

        Raises:
            KeyError: another direction.
        """
        (way,), (io,) = self._datasets.along(direction), self._io.along(direction)
        source = np.array([node], np.int32)
        if self.is_job(source)[0]:
            own = np.unique(io.out_of(source, self.before).far) if depth > 0 else np.zeros(0, np.int32)
            own = own if hidden is None else own[~hidden[own]]
            reached, depths = closure((way,), own, depth - 1, self.before, hidden=hidden)
            reached, depths = np.concatenate([source, reached]), np.concatenate([[0], depths + 1])
        else:
            reached, depths = closure((way,), source, depth, self.before, hidden=hidden)
        if jobs:
            reached, depths = self._with_jobs(io, reached, depths, depth, hidden)
        return reached, depths.astype(np.int32)

    def around(self, node: int, depth: int, limit: int, hidden: Mask | None = None) -> tuple[Ids, Ids, bool]:
        """Datasets and jobs around a node, whatever the direction: what a picture shows.

        Args:
            node: a dataset or job.
            depth: how many edges between datasets and jobs at most lie on a way.
            limit: how many nodes at most.
            hidden: see :meth:`hidden`.

        Returns:
            Node ids and depths, nearest first; and whether there were more.
        """
        reached, depths = closure(
            self._io.along(BOTH), np.array([node], np.int32), depth, self.before, limit, hidden
        )
        return reached[:limit], depths[:limit], len(reached) > limit

    def edges_among(self, nodes: Ids) -> Edges:
        """Edges dataset → job and job → dataset between some nodes, by node."""
        inside = np.zeros(len(self.names), bool)
        inside[nodes] = True
        edges = self._io.forward.out_of(np.sort(nodes), self.before)
        return edges.where(inside[edges.far])

    def hidden(self, seen: Callable[[str], bool]) -> Mask:
        """Of each node, whether its namespace is one that is not seen: no way leads to it or through it."""
        unseen = np.array([not seen(namespace) for namespace in self.names.namespaces], bool)
        return np.asarray(unseen[self.names.namespace], bool)

    def is_job(self, nodes: Ids) -> Mask:
        """Which of some nodes are jobs; the others are datasets."""
        return np.asarray(self.names.sizes[nodes, 0] == len(JOB))

    def known(self, number: int) -> bool:
        return number < len(self.born) and int(self.born[number]) < self.size

    def _with_jobs(
        self, io: Adjacency, reached: Ids, depths: Ids, depth: int, hidden: Mask | None
    ) -> tuple[Ids, Ids]:
        near = depths < depth
        edges_of = io.positions(reached[near])
        counts = io.start[reached[near] + 1] - io.start[reached[near]]
        far, deep = io.edges.far[edges_of], np.repeat(depths[near] + 1, counts)
        keep = self.is_job(far)
        if self.before is not None:
            keep &= io.edges.first[edges_of] < self.before
        if hidden is not None:
            keep &= ~hidden[far]
        # Ascending depths, so the first time a job is met is the nearest.
        far, met = np.unique(far[keep], return_index=True)
        everything = np.concatenate([reached, far])
        deep = np.concatenate([depths, deep[keep][met]])
        everything, first = np.unique(everything, return_index=True)
        deep = deep[first]
        order = np.lexsort((everything, deep))
        return everything[order].astype(np.int32), deep[order]


class Graph:
    """The graph over an index. Readers take a :meth:`view` and never wait for one that catches up."""

    def __init__(self, index: Rows) -> None:
        self._index = index
        self._catching_up = threading.Lock()
        self._reading_a_past = threading.Lock()
        self._pasts: OrderedDict[int, View] = OrderedDict()
        self._columns: OrderedDict[int, ColumnGraph] = OrderedDict()
        self._now = self._built(NodeNames.empty(), index.size)

    @classmethod
    def of(cls, index: Rows) -> Graph:
        """The graph of all that an index has read."""
        return cls(index)

    @property
    def size(self) -> int:
        """How many log entries it reflects."""
        return self._now.size

    @property
    def nbytes(self) -> int:
        """Memory of names and edges, in bytes."""
        now = self._now
        ways = (now._datasets.forward, now._datasets.backward, now._io.forward, now._io.backward)
        return now.names.nbytes + now.born.nbytes + sum(way.nbytes for way in ways)

    def catch_up(self) -> bool:
        """Take in what the index has read since; whether that was anything.

        New edges are merged in one copy. Where entries replaced edges, all are read anew, aside.
        """
        with self._catching_up:
            now, size = self._now, self._index.size
            if size <= now.size:
                return False
            changes = self._changes(now.size, size)
            if changes.removed:
                # Names from a redacted or pruned entry must not stay either: nothing is carried over.
                with self._reading_a_past:
                    self._now = self._built(NodeNames.empty(), size)
                    self._pasts.clear()
                    self._columns.clear()
            elif changes.replaced or changes.explicit:
                self._now = self._built(now.names, size)
            else:
                self._now = self._grown(now, size)
            return True

    def outdated(self) -> bool:
        """Whether bodies left the log since the size it reflects: then it must not be shown any more."""
        span = {"since": self._now.size, "as_of": self._index.size}
        return bool(self._index.arrow(graph_rows.REMOVALS, span).num_rows)

    def view(self, as_of: int | None = None) -> View:
        """The graph at a log size; ``None`` means all that was read.

        A past in which edges were replaced since is read from the index once and kept for a while.
        """
        now = self._now
        if as_of is None or as_of >= now.size:
            return now
        if not self._changes(as_of, now.size).replaced:
            return replace(now, size=as_of, before=as_of)
        with self._reading_a_past:
            if as_of not in self._pasts:
                self._pasts[as_of] = self._built(now.names, as_of)
                if len(self._pasts) > _PASTS:
                    self._pasts.popitem(last=False)
            return self._pasts[as_of]

    def columns(self, as_of: int | None = None) -> ColumnGraph:
        """The graph of columns at a log size; read when it is first asked for and kept while it holds."""
        size = self._index.size if as_of is None else min(as_of, self._index.size)
        with self._reading_a_past:
            for known, graph in reversed(self._columns.items()):
                if known == size or not self._columns_changed(*sorted((known, size))):
                    return graph
            self._columns[size] = ColumnGraph.of(self._index.arrow(graph_rows.COLUMN_EDGES, {"as_of": size}))
            if len(self._columns) > _PASTS:
                self._columns.popitem(last=False)
            return self._columns[size]

    def closure(
        self, node: int, direction: str, depth: int = 20, as_of: int | None = None
    ) -> tuple[Ids, Ids]:
        """:meth:`View.closure` at a log size."""
        return self.view(as_of).closure(node, direction, depth)

    def _changes(self, since: int, size: int) -> _Changes:
        (found,) = self._index.arrow(graph_rows.CHANGES, {"since": since, "as_of": size}).to_pylist()
        renamed = found["renamed"] and not self._aliases(since).equals(self._aliases(size))
        return _Changes(found["replaced"] or renamed, renamed, found["explicit"], found["removed"])

    def _columns_changed(self, since: int, size: int) -> bool:
        rows = self._index.arrow(graph_rows.COLUMNS_CHANGED, {"since": since, "as_of": size})
        return bool(rows["changed"][0].as_py()) or self._changes(since, size).renamed

    def _aliases(self, size: int) -> pa.Table:
        return self._index.arrow(graph_rows.ALIASES, {"as_of": size})

    def _built(self, names: NodeNames, size: int) -> View:
        aliases = self._aliases(size)
        names, alias = names.with_rows(DATASET, aliases["alias_namespace"], aliases["alias_name"])
        names, meant = names.with_rows(DATASET, aliases["namespace"], aliases["name"])
        span, renamed = {"since": 0, "as_of": size}, (alias, meant)
        rows = self._read(names, graph_rows.DATASET_EDGES, graph_rows.IO, span, renamed)
        count = len(rows.names)
        ways = _Ways.of(count, rows.datasets), _Ways.of(count, rows.io)
        return View(size, rows.names, rows.born(np.zeros(0, np.int64)), None, renamed, *ways)

    def _grown(self, now: View, size: int) -> View:
        span = {"since": now.size, "as_of": size}
        rows = self._read(now.names, graph_rows.DATASET_EDGES_SINCE, graph_rows.IO_SINCE, span, now.renamed)
        count = len(rows.names)
        ways = now._datasets.merged(count, rows.datasets), now._io.merged(count, rows.io)
        return View(size, rows.names, rows.born(now.born), None, now.renamed, *ways)

    def _read(
        self, names: NodeNames, dataset_edges: str, io: str, span: dict[str, int], renamed: tuple[Ids, Ids]
    ) -> _Read:
        nodes = self._index.arrow(graph_rows.NODES, span)
        names, named = names.with_rows(nodes["kind"], nodes["namespace"], nodes["name"])
        edges = self._index.arrow(dataset_edges, span)
        names, source = names.with_rows(DATASET, edges["source_namespace"], edges["source_name"])
        names, target = names.with_rows(DATASET, edges["target_namespace"], edges["target_name"])
        through = edges["job_name"].is_valid().to_numpy()
        with_job = edges.filter(pa.array(through))
        names, job = names.with_rows(JOB, with_job["job_namespace"], with_job["job_name"])
        used = self._index.arrow(io, span)
        names, dataset = names.with_rows(DATASET, used["namespace"], used["name"])
        names, whose = names.with_rows(JOB, used["job_namespace"], used["job_name"])
        meant = np.arange(len(names), dtype=np.int32)
        meant[renamed[0]] = renamed[1]
        named, source, target, dataset = meant[named], meant[source], meant[target], meant[dataset]
        first, read = edges["first_index"].to_numpy(), pc.equal(used["direction"], "input").to_numpy()
        near, far = np.where(read, dataset, whose), np.where(read, whose, dataset)
        return _Read(
            names,
            named,
            nodes["first_index"].to_numpy(),
            Edges(source, target, first),
            Edges.joined(
                Edges(source[through], job, first[through]),
                Edges(job, target[through], first[through]),
                Edges(near, far, used["first_index"].to_numpy()),
            ),
        )


class _Changes(NamedTuple):
    replaced: bool
    renamed: bool
    explicit: bool
    removed: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    names: NodeNames
    named: Ids
    first: Indexes
    datasets: Edges
    io: Edges

    def born(self, before: Indexes) -> Indexes:
        """The first log index of each node; of one that nothing names, the greatest number."""
        born = np.full(len(self.names), np.iinfo(np.int64).max)
        born[: len(before)] = before
        np.minimum.at(born, self.named, self.first)
        for edges in (self.datasets, self.io):
            np.minimum.at(born, edges.near, edges.first)
            np.minimum.at(born, edges.far, edges.first)
        return born
