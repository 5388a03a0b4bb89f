"""What the index says is a function of the set of events, and of a log size alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lineage_samples import MemoryLog
from projected import MACROS, WHATEVER_THE_ORDER, projected
from test_lineage_index import columns, dataset, event

from governance.lineage.index import index as index_module
from governance.lineage.index.index import Index

NAMES = st.sampled_from(["a", "b", "c"])


def link(*names: str) -> dict[str, Any]:
    return {"identifiers": [{"namespace": "ds", "name": name, "type": "TABLE"} for name in names]}


def source(name: str, **members: Any) -> dict[str, Any]:
    return {"namespace": "ds", "name": name, "type": "DATASET", **members}


DELETED: dict[str, Any] = {"_deleted": True}
JOB: dict[str, Any] = {"type": "JOB"}
FACETS: dict[str, list[dict[str, Any]]] = {
    "schema": [DELETED, {"fields": [{"name": "x"}]}, {"fields": []}],
    "ownership": [DELETED, {"owners": [{"name": "team:a", "type": "OWNER"}]}, {"owners": [{"name": "b"}, 3]}],
    "tags": [DELETED, {"tags": [{"key": "pii", "value": "true", "field": "x"}, {"key": "k", "value": "v"}]}],
    "version": [{"datasetVersion": "1"}, {"datasetVersion": "2"}, DELETED],
    "columnLineage": [DELETED, columns(("x", "a", "p")), columns(("x", "b", "q"), ("y", "b", "r"))],
    "symlinks": [DELETED, link("b"), link("c", "a")],
    "lifecycleStateChange": [{"lifecycleStateChange": "DROP"}, {"lifecycleStateChange": "CREATE"}],
    "datasetType": [{"datasetType": "TABLE"}, {"datasetType": "TOPIC"}],
    "dataSource": [{"name": "postgres"}, {"name": ""}],
    "governance_classifications": [{"columns": {"x": {"classification": "email"}}}],
    "lineage": [
        DELETED,
        {"inputs": []},
        {"inputs": [source("a")], "fields": {"x": {"inputs": [source("a", field="p")]}}},
        {"inputs": [source("b", field="q"), JOB]},
    ],
}
# Ours rank by log index, so they are no function of the set: the order tests leave them out.
ORDINARY = {key: values for key, values in FACETS.items() if not key.startswith("governance_")}
JOB_FACETS: dict[str, list[dict[str, Any]]] = {
    "ownership": FACETS["ownership"],
    "tags": FACETS["tags"],
    "sourceCodeLocation": [{"url": "https://example.org/1"}, {"url": "https://example.org/2"}],
    "jobType": [
        DELETED,
        {"processingType": "BATCH", "integration": "SPARK"},
        {
            "processingType": "STREAMING",
            "integration": "FLINK",
            "emissionPattern": {"eventTrigger": "PERIODIC", "eventContentMode": "COMPLETE_SNAPSHOT"},
        },
    ],
    "lineage": [
        DELETED,
        {"entries": [source("c", inputs=[source("a")]), {"type": "JOB", "inputs": [source("b")]}]},
        {"entries": [source("b", inputs=[])]},
        {"entries": [source("b", inputs=[{"type": "JOB", "namespace": "ns", "name": "j2"}])]},
    ],
}
RUN_FACETS: dict[str, list[dict[str, Any]]] = {
    "parent": [
        {"run": {"runId": "p1"}, "job": {"namespace": "ns", "name": "dag"}},
        {"run": {"runId": "p2"}, "root": {"run": {"runId": "root"}}},
    ],
    "nominalTime": [
        {"nominalStartTime": "2026-11-24T00:00:00Z", "nominalEndTime": "2026-11-25T00:00:00Z"},
        {"nominalStartTime": "2026-11-23T00:00:00Z"},
    ],
    "tags": FACETS["tags"],
}


def some(facets: dict[str, list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    one = st.sampled_from([(key, value) for key, values in facets.items() for value in values])
    return st.lists(one, max_size=3).map(dict)


def events(facets: dict[str, list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    one = st.builds(lambda name, said: dataset(name, **said), NAMES, some(facets))
    listed = st.lists(one, max_size=2)
    times = st.sampled_from([None, None, None, "2099-01-01T00:00:00Z", "not a time"])
    of_run = st.builds(
        event,
        st.sampled_from(["START", "RUNNING", "COMPLETE", "FAIL", "ABORT", "OTHER", None]),
        st.integers(0, 3),
        st.sampled_from(["r1", "r2", "01a20b6a-c323-7f68-b456-23cd917a82a4", None]),
        st.sampled_from(["j1", "j2"]),
        listed,
        listed,
        some(RUN_FACETS),
        some(JOB_FACETS),
        times,
    )
    of_dataset = st.builds(
        lambda at, said: {"eventTime": f"2026-11-24T10:00:0{at}Z", "producer": "p", "dataset": said},
        st.integers(0, 3),
        one,
    )
    return st.one_of(of_run, of_run, of_run, of_dataset)


def log_of(bodies: list[dict[str, Any]], *, apart: bool = False) -> MemoryLog:
    log = MemoryLog()
    for sender, body in enumerate(bodies):
        # From another sender each time, so that the log keeps every copy as an entry of its own.
        log.put(json.dumps(body).encode(), f"ingest:{sender}" if apart else "ingest:test")
    return log


def said_by(log: MemoryLog) -> dict[str, Any]:
    index = Index.build(log)
    said = projected(index, WHATEVER_THE_ORDER)
    said["upstream"] = index.upstream("ds", "a")
    index.close()
    return said


@given(st.lists(events(ORDINARY), min_size=1, max_size=6), st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_and_duplication_change_nothing(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    repeated = bodies + data.draw(st.lists(st.sampled_from(bodies), max_size=4))
    shuffled = data.draw(st.permutations(repeated))
    again = log_of(shuffled, apart=True)
    assert again.size() == len(repeated)
    assert said_by(again) == said_by(log_of(bodies))


@given(st.lists(events(FACETS), min_size=1, max_size=6), st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_as_of_is_an_index_of_the_first_entries(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    log = log_of(bodies)
    as_of = data.draw(st.integers(0, log.size()))
    whole, part = Index.build(log), Index.build(log, upto=as_of)
    assert projected(whole, MACROS, as_of) == projected(part, MACROS)
    assert part.size == as_of
    part.catch_up(log)
    assert projected(part, MACROS) == projected(whole, MACROS)
    whole.close()
    part.close()


@pytest.mark.parametrize(("rows", "size"), [(1, 128 * 2**20), (2, 128 * 2**20), (10, 1)])
def test_pages_change_nothing(rows: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [
        event("COMPLETE", at, f"r{at}", inputs=[dataset("a")], outputs=[dataset("b")]) for at in range(5)
    ]
    log = log_of(bodies)
    expected = projected(Index.build(log), MACROS)
    monkeypatch.setattr(index_module, "_PAGE", rows)
    monkeypatch.setattr(index_module, "_PAGE_BYTES", size)
    assert projected(Index.build(log), MACROS) == expected
