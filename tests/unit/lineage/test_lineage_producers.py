"""The index over what real producers sent: Airflow 3.3, dbt, the Python client, official scenarios."""

import json
from pathlib import Path

import pytest
from lineage_samples import MemoryLog, test_data

from governance.errors import LogError
from governance.lineage.completeness import Completeness
from governance.lineage.index.index import Index
from governance.lineage.reading import read_event


def log_of(bodies: list[bytes]) -> MemoryLog:
    log = MemoryLog(received_at="2026-11-25T00:00:00.000000Z")
    for body in bodies:
        log.put(body)
    return log


def captured(name: str) -> list[bytes]:
    return (test_data() / "captured" / f"{name}.ndjson").read_bytes().splitlines()


def every_captured() -> list[bytes]:
    files = sorted((test_data() / "captured").glob("*.ndjson"))
    return [line for file in files for line in file.read_bytes().splitlines()]


def test_all_captured_events_are_read() -> None:
    bodies = every_captured()
    index = Index.build(log_of(bodies))
    assert index.query("SELECT count(*) AS n FROM entries WHERE fault IS NOT NULL") == [{"n": 0}]
    [counted] = index.query("SELECT count(*) AS n FROM events")
    assert counted["n"] == len(set(bodies)) > 250
    assert {s["state"] for s in index.runs()} >= {"COMPLETE", "FAIL", "ABORT"}
    assert len(index.jobs()) > 20
    assert len(index.datasets()) > 20


def test_order_of_arrival_does_not_matter() -> None:
    bodies = every_captured()
    forth, back = Index.build(log_of(bodies)), Index.build(log_of(bodies[::-1] + bodies[:50]))
    for table in ("runs_at", "jobs_at", "datasets_at"):
        sql = f"SELECT * EXCLUDE (first_index, last_index) FROM {table}($as_of) ORDER BY ALL"
        assert forth.query(sql) == back.query(sql)
    sql = "SELECT * EXCLUDE (log_index) FROM facets_at($as_of) ORDER BY ALL"
    assert forth.query(sql) == back.query(sql)


def test_nothing_of_an_outsider_is_observed() -> None:
    index = Index.build(log_of(every_captured()), evidence_public_key=bytes(32))
    assert index.query("SELECT DISTINCT basis FROM facets") == [{"basis": "declared"}]
    assert all(e["basis"] == "declared" for e in index.evidence())


def test_what_airflow_did_not_say_is_named() -> None:
    index = Index.build(log_of(captured("airflow-3.3-edge-cases")))
    judged = {r.run_id: r for r in index.completeness()}
    edge = next(r for r in judged.values() if r.job_name == "edge")
    assert edge.verdict is Completeness.INCOMPLETE
    assert edge.missing == ("edge.killed",)
    assert (edge.expected, edge.received) == (5, 4)
    others = [r for r in judged.values() if r.job_name == "gov_ok"]
    assert [r.verdict for r in others] == [Completeness.COMPLETE] * 2


def test_completeness_is_unknown_until_the_dag_run_ends() -> None:
    bodies = captured("airflow-3.3-edge-cases")
    running = [b for b in bodies if b"airflowState" not in b]
    assert {r.verdict for r in Index.build(log_of(running)).completeness()} == {Completeness.UNKNOWN}
    only_tasks = [b for b in bodies if b"airflowDagRun" not in b]
    judged = Index.build(log_of(only_tasks)).completeness()
    assert len(judged) == 3
    assert {r.verdict for r in judged} == {Completeness.UNKNOWN}


@pytest.mark.parametrize("lost", ["gov_ok.consent", "gov_ok.validate"])
def test_a_lost_event_shows_as_incomplete(lost: str) -> None:
    kept = [
        b
        for b in captured("airflow-3.3-edge-cases")
        if not (json.loads(b)["eventType"] == "COMPLETE" and json.loads(b)["job"]["name"] == lost)
    ]
    judged = [r for r in Index.build(log_of(kept)).completeness() if r.job_name == "gov_ok"]
    assert {(r.verdict, r.missing) for r in judged} == {(Completeness.INCOMPLETE, (lost,))}


def scenario(name: str) -> list[bytes]:
    return [p.read_bytes() for p in sorted((test_data() / "consumer-scenarios" / name / "events").iterdir())]


@pytest.mark.parametrize("name", ["airflow", "CLL", "simple_run_event"])
def test_consumer_scenarios_are_read(name: str) -> None:
    bodies = scenario(name)
    index = Index.build(log_of(bodies))
    assert index.query("FROM entries WHERE fault IS NOT NULL") == []
    assert index.query("SELECT count(DISTINCT digest) AS n FROM events") == [{"n": len(set(bodies))}]


def test_column_lineage_of_the_official_scenario() -> None:
    bodies = scenario("CLL")
    index = Index.build(log_of(bodies))
    edges = index.query("FROM column_edges_at($as_of)")
    assert edges
    edge = edges[0]
    up = index.column_lineage(edge["output_namespace"], edge["output_name"], edge["output_column"])
    assert edge["input_column"] in {e["input_column"] for e in up}
    down = index.column_lineage(
        edge["input_namespace"], edge["input_name"], edge["input_column"], "downstream"
    )
    assert edge["output_column"] in {e["output_column"] for e in down}


def spec_files(folder: str) -> list[Path]:
    return sorted((test_data() / folder).rglob("*.json"))


def test_spec_examples_are_read_or_refused_with_a_reason() -> None:
    read = refused = 0
    for path in spec_files("spec-examples"):
        try:
            read_event(path.read_bytes())
            read += 1
        except LogError as error:
            assert error.code == "GOV-508"
            refused += 1
    # Most examples are facets alone, which are no events.
    assert read >= 1
    assert refused >= 30


def test_malformed_events_are_kept_and_flagged() -> None:
    files = spec_files("malformed")
    index = Index.build(log_of([p.read_bytes() for p in files]))
    assert index.query("SELECT count(*) AS n FROM events") == [{"n": len(files)}]
    faults = index.query("SELECT faults FROM events WHERE run_id IS NULL")
    assert faults == [{"faults": ["run has no runId"]}]
