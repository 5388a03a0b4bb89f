"""Where columns came from and went, in Marquez's shape, with every transformation and its masking."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from governance.lineage.graph.adjacency import Ids
from governance.lineage.graph.column_graph import ColumnGraph
from governance.lineage.graph.graph import Graph
from governance.lineage.graph.node_names import DATASET, FIELD, JOB
from governance.server.graph.graph_data import facets_of
from governance.server.marquez.asking import Asking, Row, unknown
from governance.server.marquez.said import fields_said


def column_lineage(ask: Asking, graph: Graph, node_id: str, depth: int, downstream: bool, limit: int) -> Row:
    """The graph around the columns that a node id means.

    Raises:
        AccessError: GOV-612 when there is no such node, or the caller does not see it.
    """
    columns = graph.columns(ask.as_of)
    sources = _sources(ask, graph, columns, node_id)
    hidden = None
    if ask.caller.namespaces is not None:
        unseen = np.array([not ask.caller.sees(n) for n in columns.names.namespaces], bool)
        hidden = unseen[columns.names.namespace]
    reached = [columns.closure(sources, "upstream", depth, limit, hidden)]
    if downstream:
        reached.append(columns.closure(sources, "downstream", depth, limit, hidden))
    nodes = np.concatenate([ids for ids, _ in reached])
    depths = np.concatenate([far for _, far in reached])
    nodes = nodes[np.argsort(depths, kind="stable")]
    nodes = nodes[np.sort(np.unique(nodes, return_index=True)[1])]
    return {"graph": _shaped(ask, graph, columns, nodes[:limit]), "truncated": len(nodes) > limit}


def _sources(ask: Asking, graph: Graph, columns: ColumnGraph, node_id: str) -> Ids:
    if node_id.startswith(f"{FIELD}:"):
        column = columns.find(node_id)
        if column is None or not ask.caller.sees(columns.names.name(column).namespace):
            raise unknown("column")
        return np.array([column], np.int32)
    view = graph.view(ask.as_of)
    node = view.find(node_id)
    if node is None or not ask.caller.sees(view.names.name(node).namespace):
        raise unknown("node")
    datasets = [view.names.name(node)]
    if datasets[0].kind == JOB:
        written = view.closure(node, "downstream", 1, jobs=False)[0][1:]
        datasets = [name for name in view.names.names(written) if ask.caller.sees(name.namespace)]
    found = [columns.columns_of(name.namespace, name.name) for name in datasets]
    return np.concatenate(found) if found else np.zeros(0, np.int32)


def _shaped(ask: Asking, graph: Graph, columns: ColumnGraph, nodes: Ids) -> list[Row]:
    edges, facts = columns.edges_among(nodes)
    names = dict(zip(nodes.tolist(), columns.names.names(nodes), strict=True))
    texts = {number: name.text for number, name in names.items()}
    inputs: dict[int, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    outputs: dict[int, set[int]] = defaultdict(set)
    for near, far, fact in zip(edges.near.tolist(), edges.far.tolist(), facts, strict=True):
        inputs[far][near].append(fact)
        outputs[near].add(far)
    types = _types(ask, graph, {(name.namespace, name.name) for name in names.values()})
    shaped = []
    for number in sorted(names, key=texts.__getitem__):
        name = names[number]
        fields = [_input(names[near], said) for near, said in inputs[number].items()]
        shaped.append(
            {
                "id": texts[number],
                "type": "DATASET_FIELD",
                "data": {
                    "namespace": name.namespace,
                    "dataset": name.name,
                    "datasetVersion": None,
                    "field": name.field,
                    "fieldType": types.get((name.namespace, name.name, name.field), ""),
                    "transformationDescription": fields[0]["transformationDescription"] if fields else None,
                    "transformationType": fields[0]["transformationType"] if fields else None,
                    "inputFields": fields,
                },
                # Marquez turns these round, and its UI follows the destination of either.
                "inEdges": [{"origin": texts[number], "destination": texts[near]} for near in inputs[number]],
                "outEdges": [
                    {"origin": texts[number], "destination": texts[far]} for far in sorted(outputs[number])
                ],
            }
        )
    return shaped


def _input(name: Any, said: list[Row]) -> Row:
    return {
        "namespace": name.namespace,
        "dataset": name.name,
        "datasetVersion": None,
        "field": name.field,
        "transformationDescription": next((s["description"] for s in said if s["description"]), None),
        "transformationType": next(
            (s["transformation"] or s["type"] for s in said if s["type"] or s["transformation"]), None
        ),
        "transformations": [
            {
                "type": s["type"],
                "subtype": s["transformation"],
                "description": s["description"],
                "masking": s["masking"],
                "basis": s["basis"],
            }
            for s in said
        ],
    }


def _types(ask: Asking, graph: Graph, datasets: set[tuple[str, str]]) -> dict[tuple[str, str, str], str]:
    """The type of each field, as the schemas of its datasets say."""
    view = graph.view(ask.as_of)
    numbers = {view.node(DATASET, *dataset): dataset for dataset in datasets}
    known = {n: view.names.name(n) for n in numbers if n is not None}
    facets = facets_of(ask, view, known, ("schema",), "dataset")
    return {
        (name.namespace, name.name, field["name"]): field["type"] or ""
        for number, name in known.items()
        for field in fields_said(facets[number].get("schema"), None)
    }
