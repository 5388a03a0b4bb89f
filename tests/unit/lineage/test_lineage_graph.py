"""The graph in memory answers what the index answers, at every log size and however it caught up."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_samples import MemoryLog

from governance.lineage.graph.graph import Graph
from governance.lineage.graph.node_names import DATASET, JOB
from governance.lineage.index.index import Index

NAMES = "abcde"
RUNS = [f"01a20b6a-c323-7f68-b456-23cd917a82a{i}" for i in range(3)]


def dataset(name: str, **facets: Any) -> dict[str, Any]:
    return {"namespace": "ds://h:1", "name": name, "facets": facets}


def event(at: int, job: str | None, run: str | None, **more: Any) -> bytes:
    body: dict[str, Any] = {
        "eventTime": f"2026-11-24T10:00:{at:02d}Z",
        "producer": "https://example.org/p",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        **({"job": {"namespace": "jobs", "name": job, **more.pop("job_extra", {})}} if job else {}),
        **({"run": {"runId": run}, "eventType": "RUNNING"} if run else {}),
        **more,
    }
    return json.dumps(body).encode()


names = st.lists(st.sampled_from(NAMES), max_size=3)
moment, job, run = st.integers(0, 59), st.sampled_from(["j", "k"]), st.sampled_from(RUNS)


@st.composite
def plain(draw: st.DrawFn) -> bytes:
    """An event of a run that reads and writes."""
    return event(
        draw(moment),
        draw(job),
        draw(run),
        inputs=[dataset(n) for n in draw(names)],
        outputs=[dataset(n) for n in draw(names)],
    )


@st.composite
def replacing(draw: st.DrawFn) -> bytes:
    """An event that hides, renames or replaces what was said before."""
    at, name, other = draw(moment), draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
    kind = draw(st.sampled_from(["job", "snapshot", "alias", "lineage", "static"]))
    io = {"inputs": [dataset(n) for n in draw(names)], "outputs": [dataset(n) for n in draw(names)]}
    if kind == "job":
        return event(at, draw(job), None, **io)
    if kind == "snapshot":
        mode = draw(st.sampled_from(["COMPLETE_SNAPSHOT", "ACCUMULATIVE"]))
        facet = {"processingType": "STREAMING", "emissionPattern": {"eventContentMode": mode}}
        return event(at, draw(job), draw(run), job_extra={"facets": {"jobType": facet}}, **io)
    if kind == "alias":
        links = {"identifiers": [{"namespace": "ds://h:1", "name": other, "type": "TABLE"}]}
        return event(at, draw(job), draw(run), outputs=[dataset(name, symlinks=links)])
    if kind == "lineage":
        source = {"namespace": "ds://h:1", "name": other, "type": "DATASET"}
        facet = {"inputs": draw(st.sampled_from([[source], []]))}
        return event(at, draw(job), draw(run), outputs=[dataset(name, lineage=facet)])
    return event(at, None, None, dataset=dataset(name))


def filled(bodies: list[bytes]) -> MemoryLog:
    log = MemoryLog()
    for number, body in enumerate(bodies):
        # Each body once: the log keeps no duplicates, and as_of counts entries.
        log.put(body[:-1] + f', "number": {number}}}'.encode(), "ingest:test")
    return log


ways = st.sampled_from(["upstream", "downstream"])


@settings(deadline=None, max_examples=6)
@given(st.lists(plain() | replacing(), min_size=1, max_size=6), st.integers(0, 6), st.integers(0, 4), ways)
def test_the_graph_answers_what_the_index_answers(
    bodies: list[bytes], caught_up: int, depth: int, direction: str
) -> None:
    log = filled(bodies)
    index = Index.build(log, min(caught_up, len(bodies)))
    graph = Graph.of(index)
    index.catch_up(log)
    graph.catch_up()
    assert graph.size == len(bodies)
    for as_of in (None, *range(len(bodies) + 1)):
        held = index.query("SELECT DISTINCT source_name, target_name FROM edges_at($as_of)", {"as_of": as_of})
        direct = {(row["source_name"], row["target_name"]) for row in held}
        assert direct == {
            (a, b) for a in NAMES for b in reached(graph, a, "downstream", 1, as_of, loops=direct)
        }
        name = NAMES[(as_of or 0) % len(NAMES)]
        told = {
            row["name"]: row["depth"] for row in getattr(index, direction)("ds://h:1", name, depth, as_of)
        }
        assert reached(graph, name, direction, depth, as_of) == told, (name, as_of)
    index.close()


def reached(
    graph: Graph, name: str, direction: str, depth: int, as_of: int | None, loops: Collection[Any] = ()
) -> dict[str, int]:
    """Names and depths, without the start unless it is said to have a loop."""
    view = graph.view(as_of)
    node = view.node(DATASET, "ds://h:1", name)
    if node is None:
        return {}
    ids, depths = view.closure(node, direction, depth, jobs=False)
    found = {n.name: d for n, d in zip(view.names.names(ids), depths.tolist(), strict=True)}
    return {n: d for n, d in found.items() if d or (n, n) in loops}


@settings(deadline=None, max_examples=6)
@given(st.lists(plain(), min_size=1, max_size=10), st.integers(0, 10))
def test_catching_up_is_building(bodies: list[bytes], caught_up: int) -> None:
    log = filled(bodies)
    index = Index.build(log, min(caught_up, len(bodies)))
    graph = Graph.of(index)
    for size in range(index.size, len(bodies)):
        index.catch_up(log, size + 1)
        assert graph.catch_up()
    assert not graph.catch_up()
    whole = Graph.of(index)
    for as_of in (None, 1, len(bodies) // 2):
        assert edges(graph, as_of) == edges(whole, as_of)
    index.close()


def edges(graph: Graph, as_of: int | None) -> set[tuple[str, str]]:
    view = graph.view(as_of)
    among = view.edges_among(np.arange(len(view.names), dtype=np.int32))
    near, far = view.names.names(among.near), view.names.names(among.far)
    return {(a.text, b.text) for a, b in zip(near, far, strict=True)}


def ran(run: int, job: str, reads: str, writes: str, **facets: Any) -> bytes:
    return event(
        run,
        job,
        RUNS[run],
        inputs=[dataset(n) for n in reads],
        outputs=[dataset(n, **facets) for n in writes],
    )


def graph_of(*bodies: bytes) -> tuple[Graph, Index, MemoryLog]:
    log = filled(list(bodies))
    index = Index.build(log)
    return Graph.of(index), index, log


def shown(
    graph: Graph, node_id: str, direction: str, depth: int = 20, as_of: int | None = None
) -> dict[str, int]:
    view = graph.view(as_of)
    node = view.find(node_id)
    assert node is not None
    ids, depths = view.closure(node, direction, depth)
    texts = [name.text.removeprefix("dataset:ds://h:1:") for name in view.names.names(ids)]
    assert sorted(depths.tolist()) == depths.tolist()
    return dict(zip(texts, depths.tolist(), strict=True))


def test_jobs_stand_one_deeper_than_what_they_read() -> None:
    graph, _, _ = graph_of(ran(0, "j", "a", "b"), ran(1, "k", "b", ""))
    assert shown(graph, "dataset:ds://h:1:a", "downstream") == {
        "a": 0,
        "b": 1,
        "job:jobs:j": 1,
        "job:jobs:k": 2,
    }
    assert shown(graph, "dataset:ds://h:1:a", "downstream", 1) == {"a": 0, "b": 1, "job:jobs:j": 1}
    assert shown(graph, "dataset:ds://h:1:a", "downstream", 0) == {"a": 0}
    assert shown(graph, "dataset:ds://h:1:b", "upstream") == {"b": 0, "a": 1, "job:jobs:j": 1}


def test_a_job_reaches_from_its_own_datasets_on() -> None:
    graph, _, _ = graph_of(ran(0, "j", "a", "b"), ran(1, "k", "b", "c"))
    assert shown(graph, "job:jobs:j", "downstream") == {"job:jobs:j": 0, "b": 1, "c": 2, "job:jobs:k": 2}
    assert shown(graph, "job:jobs:k", "upstream", 1) == {"job:jobs:k": 0, "b": 1}
    assert shown(graph, "job:jobs:j", "downstream", 0) == {"job:jobs:j": 0}


def test_a_job_does_not_join_what_its_runs_kept_apart() -> None:
    graph, _, _ = graph_of(ran(0, "j", "a", "b"), ran(1, "j", "c", "d"))
    assert shown(graph, "dataset:ds://h:1:a", "downstream") == {"a": 0, "b": 1, "job:jobs:j": 1}


def test_a_node_is_unknown_before_something_named_it() -> None:
    graph, _, _ = graph_of(ran(0, "j", "a", "b"), event(1, None, None, dataset=dataset("lonely")))
    assert graph.view().find("dataset:ds://h:1:lonely") is not None
    assert graph.view(1).find("dataset:ds://h:1:lonely") is None
    assert graph.view().find("job:jobs:j#3f2a") == graph.view().node(JOB, "jobs", "j")


def test_a_view_stays_as_it_was_while_the_graph_catches_up() -> None:
    graph, index, log = graph_of(ran(0, "j", "a", "b"))
    before = graph.view()
    log.put(ran(1, "j", "b", "c"), "ingest:test")
    index.catch_up(log)
    assert graph.catch_up()
    node = before.node(DATASET, "ds://h:1", "a")
    assert node is not None
    assert len(before.closure(node, "downstream")[0]) == 3
    assert len(graph.closure(node, "downstream")[0]) == 4


def test_a_picture_stops_at_its_limit_and_says_so() -> None:
    graph, _, _ = graph_of(ran(0, "j", "a", "b"), ran(1, "k", "b", "c"))
    view = graph.view()
    node = view.find("dataset:ds://h:1:c")
    assert node is not None
    ids, depths, more = view.around(node, 20, 3)
    assert ([n.text[-1] for n in view.names.names(ids)], depths.tolist(), more) == (
        ["c", "k", "b"],
        [0, 1, 2],
        True,
    )
    assert view.around(node, 20, 5)[2] is False
    assert view.around(node, 1, 5)[0].tolist() == ids[:2].tolist()


@pytest.mark.parametrize("direction", ["sideways", ""])
def test_a_direction_is_one_of_two(direction: str) -> None:
    graph, _, _ = graph_of(ran(0, "j", "a", "b"))
    with pytest.raises(KeyError):
        graph.closure(0, direction)
