import json
from collections.abc import Iterable
from typing import Any

import pytest
from lineage_samples import MemoryLog

from governance.lineage.index.index import Index

RUN = "01a20b6a-c323-7f68-b456-23cd917a82a4"


def event(
    state: str | None = "START",
    at: int = 0,
    run: str | None = RUN,
    job: str = "job",
    inputs: Iterable[Any] = (),
    outputs: Iterable[Any] = (),
    facets: dict[str, Any] | None = None,
    job_facets: dict[str, Any] | None = None,
    time: str | None = None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "eventTime": time or f"2026-11-24T10:00:{at:02d}Z",
        "producer": "https://example.org/p",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "job": {"namespace": "ns", "name": job, "facets": job_facets or {}},
        "inputs": list(inputs),
        "outputs": list(outputs),
    }
    if run is not None:
        body["run"] = {"runId": run, "facets": facets or {}}
    if state is not None:
        body["eventType"] = state
    return body


def dataset(name: str, **facets: Any) -> dict[str, Any]:
    return {"namespace": "ds", "name": name, "facets": facets}


def built(*events: dict[str, Any], principal: str = "ingest:test") -> tuple[MemoryLog, Index]:
    log = MemoryLog()
    for body in events:
        log.put(json.dumps(body).encode(), principal)
    return log, Index.build(log)


def states(index: Index, as_of: int | None = None) -> dict[str, tuple[str, bool]]:
    return {r["run_id"]: (r["state"], r["conflicting"]) for r in index.runs(as_of)}


def test_an_empty_log_has_no_answers() -> None:
    _, index = built()
    assert index.size == 0
    assert index.runs() == index.jobs() == index.datasets() == index.completeness() == index.evidence() == []
    assert index.dataset("ds", "a") is None
    assert index.upstream("ds", "a") == []


@pytest.mark.parametrize("last", ["COMPLETE", "FAIL", "ABORT"])
def test_a_terminal_state_sticks(last: str) -> None:
    _, index = built(event("START"), event(last, 1), event("RUNNING", 5), event("START", 9))
    [run] = index.runs()
    assert (run["state"], run["conflicting"]) == (last, False)
    assert (run["started_at"].second, run["ended_at"].second) == (0, 1)


def test_two_ends_are_flagged() -> None:
    _, index = built(event("FAIL", 2), event("COMPLETE", 1))
    assert states(index) == {RUN: ("COMPLETE", True)}


def test_states_without_an_end() -> None:
    _, index = built(event("OTHER"), event("START", 1, "r2"), event(None, 1, "r3"))
    assert states(index) == {RUN: ("NEW", False), "r2": ("RUNNING", False), "r3": ("NEW", False)}


def test_a_time_in_the_future_ranks_last() -> None:
    late = event("COMPLETE", outputs=[dataset("a", owner={"o": 1})], time="2099-01-01T00:00:00Z")
    now = event("START", outputs=[dataset("a", owner={"o": 2})])
    _, index = built(late, now)
    state = index.dataset("ds", "a")
    assert state is not None
    assert state.facets["owner"] == {"o": 2}
    assert index.datasets()[0]["last_event_at"].year == 2026


def test_as_of_is_a_filter() -> None:
    _, index = built(
        event("START", outputs=[dataset("a", schema={"v": 1})]),
        event("COMPLETE", 1, outputs=[dataset("a", schema={"v": 2}), dataset("b")]),
    )
    assert states(index, 0) == {}
    assert states(index, 1) == {RUN: ("RUNNING", False)}
    assert states(index, 2) == states(index) == {RUN: ("COMPLETE", False)}
    assert [d["name"] for d in index.datasets(1)] == ["a"]
    then, now = index.dataset("ds", "a", 1), index.dataset("ds", "a")
    assert then is not None
    assert now is not None
    assert (then.facets["schema"]["v"], now.facets["schema"]["v"]) == (1, 2)
    assert now.log_index["schema"] == 1


def test_a_deleted_facet_does_not_return() -> None:
    said = dataset("a", ownership={"owners": ["x"]}, schema={"v": 1})
    gone = dataset("a", ownership={"_deleted": True}, schema={"v": 1})
    _, index = built(event(outputs=[said]), event(at=1, outputs=[gone]))
    state = index.dataset("ds", "a")
    assert state is not None
    assert state.facets.keys() == {"schema"}
    again = index.dataset("ds", "a", as_of=1)
    assert again is not None
    assert again.facets.keys() == {"schema", "ownership"}


def test_catching_up_equals_a_rebuild() -> None:
    log = MemoryLog()
    index = Index.build(log)
    for at, name in enumerate("abc"):
        log.put(json.dumps(event(at=at, outputs=[dataset(name)])).encode())
        assert index.catch_up(log) == 1
    assert index.catch_up(log) == 0
    assert index.datasets() == Index.build(log).datasets()
    assert Index.build(log, upto=2).datasets() == index.datasets(as_of=2)


CHAIN = [
    event("COMPLETE", 1, "r1", "j1", [dataset("a")], [dataset("b")]),
    event("COMPLETE", 2, "r2", "j2", [dataset("b")], [dataset("c"), dataset("d")]),
    event("COMPLETE", 3, "r3", "j3", [dataset("d")], [dataset("a")]),
]


def test_graph_both_ways_with_a_cycle() -> None:
    _, index = built(*CHAIN)
    assert [(r["name"], r["depth"]) for r in index.downstream("ds", "a")] == [("b", 1), ("c", 2), ("d", 2)]
    assert [(r["name"], r["depth"]) for r in index.upstream("ds", "a")] == [("d", 1), ("b", 2)]
    assert [r["name"] for r in index.downstream("ds", "a", depth=1)] == ["b"]
    assert [r["name"] for r in index.downstream("ds", "a", as_of=1)] == ["b"]


def test_inputs_and_outputs_of_one_run_may_come_apart() -> None:
    _, index = built(event("START", inputs=[dataset("a")]), event("COMPLETE", 1, outputs=[dataset("b")]))
    assert [r["name"] for r in index.upstream("ds", "b")] == ["a"]


def test_runs_of_one_job_do_not_mix() -> None:
    _, index = built(
        event("COMPLETE", 1, "r1", inputs=[dataset("a")]),
        event("COMPLETE", 1, "r2", outputs=[dataset("b")]),
    )
    assert index.upstream("ds", "b") == []


def columns(*pairs: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "fields": {
            out: {
                "inputFields": [
                    {
                        "namespace": "ds",
                        "name": source,
                        "field": field,
                        "transformations": [{"type": "DIRECT", "subtype": "TRANSFORMATION", "masking": True}],
                    }
                ]
            }
            for out, source, field in pairs
        }
    }


def test_column_lineage_both_ways() -> None:
    filtered = {"namespace": "ds", "name": "a", "field": "z", "transformations": [{"type": "INDIRECT"}]}
    whole = columns(("y", "b", "x")) | {"dataset": [filtered]}
    _, index = built(
        event(
            "COMPLETE", 1, "r1", "j1", [dataset("a")], [dataset("b", columnLineage=columns(("x", "a", "z")))]
        ),
        event("COMPLETE", 2, "r2", "j2", outputs=[dataset("c", columnLineage=whole)]),
    )
    up = index.column_lineage("ds", "c", "y")
    assert sorted((e["input_name"], e["input_column"], e["depth"]) for e in up) == [
        ("a", "z", 1),
        ("a", "z", 2),
        ("b", "x", 1),
    ]
    assert {e["masking"] for e in up if e["type"] == "DIRECT"} == {True}
    down = index.column_lineage("ds", "a", "z", "downstream")
    assert sorted((e["output_name"], e["output_column"] or "*") for e in down) == [
        ("b", "x"),
        ("c", "*"),
        ("c", "y"),
    ]
    assert len(index.column_lineage("ds", "c", "y", depth=1)) == 2


def test_column_lineage_is_replaced_whole_and_can_be_deleted() -> None:
    def wrote(at: int, facet: dict[str, Any]) -> dict[str, Any]:
        return event("COMPLETE", at, f"r{at}", outputs=[dataset("b", columnLineage=facet)])

    _, index = built(
        wrote(1, columns(("x", "a", "p"), ("y", "a", "q"))),
        wrote(2, columns(("x", "a", "r"))),
        wrote(3, {"_deleted": True}),
    )
    assert [e["input_column"] for e in index.column_lineage("ds", "b", "y", as_of=1)] == ["q"]
    assert index.column_lineage("ds", "b", "y", as_of=2) == []
    assert [e["input_column"] for e in index.column_lineage("ds", "b", "x", as_of=2)] == ["r"]
    assert index.column_lineage("ds", "b", "x") == []


def test_transformation_of_old_facets_is_read() -> None:
    old = {
        "fields": {
            "x": {
                "inputFields": [{"namespace": "ds", "name": "a", "field": "p"}],
                "transformationType": "MASKED",
                "transformationDescription": "hash",
            }
        }
    }
    _, index = built(event(outputs=[dataset("b", columnLineage=old)]))
    [edge] = index.column_lineage("ds", "b", "x")
    assert (edge["masking"], edge["description"]) == (True, "hash")


# ------------------------------------------------------------------ evidence
