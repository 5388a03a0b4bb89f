"""What lies around, before and after a node: Marquez's lineage reads, and impact.

Answers are made of plain dictionaries and encoded once; no model is built for a node. Who may not see a
namespace learns of no node in it and of nothing that is reached only through one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response

from governance.lineage.graph.adjacency import Edges, Ids
from governance.lineage.graph.graph import View
from governance.lineage.graph.node_names import DATASET, FIELD, JOB
from governance.server.answers import REFUSALS
from governance.server.graph.column_lineage import column_lineage
from governance.server.graph.graph_data import (
    classified,
    dataset_data,
    drawn,
    facets_of,
    job_data,
    parent_jobs,
)
from governance.server.graph.run_lineage import upstream_runs
from governance.server.marquez.asking import Asking, Asks, Row, answer, malformed, unknown
from governance.server.served import ServedStore

Depth = Annotated[int, Query(ge=0, le=1_000)]
NodeId = Annotated[str, Query(min_length=1, max_length=4_096)]


def router(served: ServedStore) -> APIRouter:
    """The routes, below ``/api/v1``."""
    routes = APIRouter(prefix="/api/v1", tags=["graph"], responses=REFUSALS)

    # Marquez's UI asks with a slash at the end.
    @routes.get("/lineage/", include_in_schema=False)
    @routes.get("/lineage")
    def lineage(
        ask: Asks,
        nodeId: NodeId,  # noqa: N803 - the API's name
        depth: Depth = 20,
        aggregateToParentRun: bool = False,  # noqa: N803
        limit: Annotated[int, Query(ge=1, le=10_000, description="nodes; the nearest")] = 1_000,
    ) -> Response:
        """Datasets and jobs around a dataset or job; ``depth`` counts jobs, as Marquez does."""
        ask, view = drawn(served, ask)
        node = _found(ask, view, nodeId)
        hops = 2 * depth + (1 if nodeId.startswith(f"{JOB}:") else 2)
        nodes, _, more = view.around(node, hops, limit, _hidden(ask, view))
        return answer(
            {"graph": _graph(ask, view, nodes, aggregateToParentRun), "truncated": more, "asOf": ask.as_of}
        )

    @routes.get("/impact")
    def impact(
        ask: Asks,
        nodeId: NodeId,  # noqa: N803
        direction: Literal["upstream", "downstream"] = "downstream",
        depth: Depth = 20,
        limit: Annotated[int, Query(ge=0, le=10_000)] = 100,
    ) -> Response:
        """What a dataset or job reaches, nearest first, with what is classified in it.

        Totals count all of it, whatever the limit. ``partial``: the token sees some namespaces only.
        """
        ask, view = drawn(served, ask)
        node = _found(ask, view, nodeId)
        nodes, depths = view.closure(node, direction, depth, hidden=_hidden(ask, view))
        nodes, depths = nodes[1:], depths[1:]
        jobs = view.is_job(nodes)
        # Numbers come in the order the index was read: at one depth, datasets go before jobs.
        order = np.lexsort((nodes, jobs, depths))
        nodes, depths = nodes[order], depths[order]
        return answer(
            {
                "nodeId": view.names.name(node).text,
                "direction": direction,
                "depth": depth,
                "asOf": ask.as_of,
                "totalCount": len(nodes),
                "totalDatasets": int((~jobs).sum()),
                "totalJobs": int(jobs.sum()),
                "truncated": len(nodes) > limit,
                "partial": ask.caller.namespaces is not None,
                "nodes": _reached(ask, view, nodes[:limit], depths[:limit]),
            }
        )

    @routes.get("/column-lineage")
    def columns(
        ask: Asks,
        nodeId: NodeId,  # noqa: N803
        depth: Depth = 20,
        withDownstream: bool = False,  # noqa: N803
        limit: Annotated[int, Query(ge=1, le=10_000, description="columns; the nearest")] = 1_000,
    ) -> Response:
        """Columns that a column, or those of a dataset or of what a job wrote, came from."""
        if not nodeId.startswith((f"{DATASET}:", f"{FIELD}:", f"{JOB}:")):
            raise _no_node_id()
        return answer(column_lineage(ask, served.graph(), nodeId, depth, withDownstream, limit))

    @routes.get("/runlineage/upstream")
    def runs(
        ask: Asks,
        runId: Annotated[str, Query(min_length=1, max_length=200)],  # noqa: N803
        depth: Depth = 20,
    ) -> Response:
        """A run, the runs that made what it read, and so on."""
        return answer({"runs": upstream_runs(ask, runId, depth)})

    return routes


def _found(ask: Asking, view: View, node_id: str) -> int:
    if not node_id.startswith((f"{DATASET}:", f"{JOB}:")):
        raise _no_node_id()
    node = view.find(node_id)
    if node is None or not ask.caller.sees(view.names.name(node).namespace):
        raise unknown("node")
    return node


def _no_node_id() -> Exception:
    return malformed(
        "the nodeId names neither a dataset nor a job",
        "use dataset:NAMESPACE:NAME, job:NAMESPACE:NAME or, for columns, datasetField:NAMESPACE:NAME:FIELD",
    )


def _hidden(ask: Asking, view: View) -> Any:
    return None if ask.caller.namespaces is None else view.hidden(ask.caller.sees)


def _graph(ask: Asking, view: View, nodes: Ids, to_parents: bool) -> list[Row]:
    """Nodes in Marquez's shape, by id."""
    edges = view.edges_among(nodes)
    if to_parents:
        nodes, edges = _with_parents(ask, view, nodes, edges)
    jobs = view.is_job(nodes)
    names = dict(zip(nodes.tolist(), view.names.names(nodes), strict=True))
    data = dataset_data(ask, view, {n: names[n] for n in nodes[~jobs].tolist()})
    data |= job_data(ask, view, {n: names[n] for n in nodes[jobs].tolist()})
    texts = {number: name.text for number, name in names.items()}
    into: dict[int, list[Row]] = {number: [] for number in names}
    out: dict[int, list[Row]] = {number: [] for number in names}
    for number in nodes[jobs].tolist():
        data[number] |= {"inputs": [], "outputs": []}
    # By name: numbers depend on when the process started, and the answer must not.
    pairs = zip(edges.near.tolist(), edges.far.tolist(), strict=True)
    for near, far in sorted(pairs, key=lambda pair: (texts[pair[0]], texts[pair[1]])):
        edge = {"origin": texts[near], "destination": texts[far]}
        out[near].append(edge)
        into[far].append(edge)
        job, member, other = (far, "inputs", near) if "inputs" in data[far] else (near, "outputs", far)
        data[job][member].append({"namespace": names[other].namespace, "name": names[other].name})
    return [
        {
            "id": texts[number],
            "type": "JOB" if names[number].kind == JOB else "DATASET",
            "data": data[number],
            "inEdges": into[number],
            "outEdges": out[number],
        }
        for number in sorted(names, key=texts.__getitem__)
    ]


def _with_parents(ask: Asking, view: View, nodes: Ids, edges: Edges) -> tuple[Ids, Edges]:
    """Jobs that another job started are drawn as that one."""
    parents = parent_jobs(ask, view, nodes[view.is_job(nodes)])
    stands_for = np.arange(len(view.names), dtype=np.int32)
    stands_for[list(parents)] = list(parents.values())
    moved = Edges(stands_for[edges.near], stands_for[edges.far], edges.first)
    return np.unique(stands_for[nodes]), moved.once()


def _reached(ask: Asking, view: View, nodes: Ids, depths: Ids) -> list[Row]:
    names = view.names.names(nodes)
    datasets = {n: name for n, name in zip(nodes.tolist(), names, strict=True) if name.kind == DATASET}
    facets = facets_of(ask, view, datasets, ("governance_classifications",), "dataset")
    rows = [
        {
            "id": name.text,
            "type": name.kind.upper(),
            "namespace": name.namespace,
            "name": name.name,
            "depth": depth,
            "classifications": classified(facets[number].get("governance_classifications")),
        }
        for number, name, depth in zip(nodes.tolist(), names, depths.tolist(), strict=True)
    ]
    return sorted(rows, key=lambda row: (row["depth"], row["id"]))
