"""Columns and the edges between them at one log size, with what each edge says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.lineage.graph.adjacency import Adjacency, Edges, Ids, Indexes, Mask, closure
from governance.lineage.graph.node_names import DATASET, FIELD, NodeName, NodeNames


@dataclass(frozen=True, slots=True, eq=False)
class ColumnGraph:
    """Columns as nodes. The column ``""`` stands for its whole dataset.

    ``facts`` has one row for each edge of ``forward``, in its order: type, transformation, description,
    masking, basis, job_namespace, job_name.
    """

    names: NodeNames
    forward: Adjacency
    backward: Adjacency
    facts: pa.Table

    @classmethod
    def of(cls, rows: pa.Table) -> ColumnGraph:
        """The graph of the rows of :data:`governance.lineage.graph.graph_rows.COLUMN_EDGES`."""
        names, near = NodeNames.empty().with_rows(
            FIELD, rows["input_namespace"], rows["input_name"], pc.fill_null(rows["input_column"], "")
        )
        names, far = names.with_rows(
            FIELD, rows["output_namespace"], rows["output_name"], pc.fill_null(rows["output_column"], "")
        )
        edges = Edges(near, far, np.zeros(len(near), np.int64))
        order = edges.order()
        facts = rows.select(rows.column_names[6:]).take(pa.array(order))
        count = len(names)
        # What a whole dataset came from, each of its columns came from.
        every = Edges.joined(edges, _spread(rows, edges, count))
        return cls(
            names,
            Adjacency.of(count, edges.where(order)),
            Adjacency.of(count, every.turned().once()),
            facts,
        )

    def find(self, node_id: str) -> int | None:
        """The column of a Marquez node id ``datasetField:namespace:name:field``."""
        for text in (node_id, node_id.rpartition("#")[0]):
            number = self.names.find(text) if text else None
            if number is not None:
                return number
        return None

    def columns_of(self, namespace: str, name: str) -> Ids:
        """The columns of a dataset that have an edge."""
        code = self.names.namespaces.index(namespace) if namespace in self.names.namespaces else -1
        sizes = self.names.sizes
        likely = np.flatnonzero((self.names.namespace == code) & (sizes[:, 2] == len(name))).astype(np.int32)
        own = pc.starts_with(self.names.text_of(likely), f"{FIELD}:{namespace}:{name}:")
        found: Ids = likely[own.to_numpy(zero_copy_only=False)]
        return found

    def node(self, namespace: str, name: str, field: str) -> int | None:
        """The number of a column."""
        return self.names.of([NodeName(FIELD, namespace, name, field)])[0]

    def closure(
        self,
        nodes: Ids,
        direction: str,
        depth: int = 20,
        limit: int | None = None,
        hidden: Mask | None = None,
    ) -> tuple[Ids, Ids]:
        """Columns that some came from (``upstream``) or that came from them, themselves at depth 0.

        Raises:
            KeyError: another direction.
        """
        way = {"upstream": self.backward, "downstream": self.forward}[direction]
        return closure((way,), nodes, depth, stop_after=limit, hidden=hidden)

    def edges_among(self, nodes: Ids) -> tuple[Edges, list[dict[str, Any]]]:
        """Edges between some columns and what each says, sorted by origin and target."""
        inside = np.zeros(len(self.names), bool)
        inside[nodes] = True
        at: Indexes = self.forward.positions(np.sort(nodes))
        at = at[inside[self.forward.edges.far[at]]]
        return self.forward.edges.where(at), self.facts.take(pa.array(at)).to_pylist()


def _spread(rows: pa.Table, edges: Edges, columns: int) -> Edges:
    """For each edge into a whole dataset one into each of its columns."""
    whole = pc.fill_null(pc.equal(rows["output_column"], ""), True).to_numpy()
    if not whole.any():
        return edges.where(whole)
    datasets, near_owner = NodeNames.empty().with_rows(DATASET, rows["input_namespace"], rows["input_name"])
    _, far_owner = datasets.with_rows(DATASET, rows["output_namespace"], rows["output_name"])
    owner = np.empty(columns, np.int32)
    owner[edges.near], owner[edges.far] = near_owner, far_owner
    members = np.argsort(owner, kind="stable")
    low = np.searchsorted(owner[members], far_owner[whole], side="left")
    count = np.searchsorted(owner[members], far_owner[whole], side="right") - low
    ends = np.cumsum(count)
    met = members[np.repeat(low - ends + count, count) + np.arange(int(ends[-1]))]
    return Edges(np.repeat(edges.near[whole], count), met.astype(np.int32), np.zeros(len(met), np.int64))
