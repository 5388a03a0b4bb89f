"""The graph of columns answers what the index answers, at every log size."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_samples import MemoryLog

from governance.lineage.graph.column_graph import ColumnGraph
from governance.lineage.graph.graph import Graph
from governance.lineage.index.index import Index

COLUMNS = [("a", "x"), ("a", "y"), ("b", "x"), ("c", "x"), ("c", "y")]
NS = "ds://h:1"

column = st.sampled_from(COLUMNS)
field = st.builds(
    lambda source, masking: {
        "namespace": NS,
        "name": source[0],
        "field": source[1],
        "transformations": [{"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": masking}],
    },
    column,
    st.booleans(),
)
fields = st.lists(field, max_size=2)


def told(at: int, job: str, output: str, facet: dict[str, Any]) -> bytes:
    body = {
        "eventTime": f"2026-11-24T10:00:{at:02d}Z",
        "producer": "https://example.org/p",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01a20b6a-c323-7f68-b456-23cd917a82a4"},
        "job": {"namespace": "jobs", "name": job},
        "outputs": [{"namespace": NS, "name": output, "facets": {"columnLineage": facet}}],
    }
    return json.dumps(body).encode()


events = st.builds(
    lambda at, job, output, x, y, whole: told(
        at, job, output, {"fields": {"x": {"inputFields": x}, "y": {"inputFields": y}}, "dataset": whole}
    ),
    st.integers(0, 59),
    st.sampled_from(["j", "k"]),
    st.sampled_from("abc"),
    fields,
    fields,
    fields,
)


def filled(bodies: list[bytes]) -> MemoryLog:
    log = MemoryLog()
    for number, body in enumerate(bodies):
        log.put(body[:-1] + f', "number": {number}}}'.encode(), "ingest:test")
    return log


@settings(deadline=None, max_examples=6)
@given(
    st.lists(events, min_size=1, max_size=4), st.integers(0, 3), st.sampled_from(["upstream", "downstream"])
)
def test_columns_answer_what_the_index_answers(bodies: list[bytes], depth: int, direction: str) -> None:
    index = Index.build(filled(bodies))
    graph = Graph.of(index)
    side = "input" if direction == "upstream" else "output"
    for as_of in (None, *range(len(bodies))):
        columns = graph.columns(as_of)
        for name, field in COLUMNS:
            rows = index.column_lineage(NS, name, field, direction, depth, as_of)
            expected = {(r[f"{side}_name"], r[f"{side}_column"] or "") for r in rows} - {(name, field)}
            assert reached(columns, name, field, direction, depth) == expected, (name, field, as_of)
    index.close()


def reached(graph: ColumnGraph, name: str, field: str, direction: str, depth: int) -> set[tuple[str, str]]:
    node = graph.node(NS, name, field)
    # A column that no edge names has what its dataset as a whole has.
    node = graph.node(NS, name, "") if node is None and direction == "upstream" else node
    if node is None:
        return set()
    found = graph.names.names(graph.closure(np.array([node], np.int32), direction, depth)[0])
    return {(n.name, n.field) for n in found} - {(name, field), (name, "")} | (
        {(name, "")}
        if direction == "downstream" and len(found) > 1 and (name, "") in names_of(found[1:])
        else set()
    )


def names_of(found: list[Any]) -> set[tuple[str, str]]:
    return {(n.name, n.field) for n in found}


def test_columns_are_read_again_only_when_something_new_is_said() -> None:
    facet = {"fields": {"x": {"inputFields": [{"namespace": NS, "name": "a", "field": "x"}]}}}
    log = filled([told(0, "j", "b", facet), told(1, "j", "b", facet)])
    index = Index.build(log, 1)
    graph = Graph.of(index)
    first = graph.columns()
    index.catch_up(log)
    assert graph.columns() is first
    facet["fields"]["x"]["inputFields"][0]["field"] = "y"
    log.put(told(2, "j", "b", facet))
    index.catch_up(log)
    assert graph.columns() is not first
    assert [name.field for name in graph.columns().names.names(graph.columns().columns_of(NS, "a"))] == ["y"]
    assert graph.columns(2) is first


def test_an_edge_keeps_what_was_said_of_it() -> None:
    source = {"namespace": NS, "name": "a", "field": "x"}
    source["transformations"] = [
        {"type": "DIRECT", "subtype": "HASH", "description": "salted", "masking": True}
    ]  # type: ignore[assignment]
    index = Index.build(filled([told(0, "j", "b", {"fields": {"x": {"inputFields": [source]}}})]))
    columns = Graph.of(index).columns()
    node = columns.find(f"datasetField:{NS}:b:x")
    assert node is not None
    ids, depths = columns.closure(np.array([node], np.int32), "upstream")
    edges, facts = columns.edges_among(ids)
    assert (depths.tolist(), len(edges)) == ([0, 1], 1)
    assert facts == [
        {"type": "DIRECT", "transformation": "HASH", "description": "salted", "masking": True,
         "basis": "declared", "job_namespace": "jobs", "job_name": "j"}
    ]  # fmt: skip
    with pytest.raises(KeyError):
        columns.closure(ids, "sideways")
