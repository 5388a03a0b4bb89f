"""What is kept of the present is what the macros say, after any sequence of events and catch-ups."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.lineage.index.current import WITH_STATES, Current
from governance.lineage.index.index import Index
from governance.lineage.naming import EVENT_MEDIA_TYPE
from governance.log import Log, NewEntry, open_storage

_START = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    storage = open_storage(str(tmp_path / "store"), create=True, origin="governance.example/test")
    log = Log(storage, signer=None, clock=lambda: datetime.now(UTC))
    yield log
    log.close()


def _dataset(at: random.Random) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if at.random() < 0.3:
        facets["symlinks"] = {
            "identifiers": [{"namespace": "db", "name": f"d{at.randrange(6)}", "type": "TABLE"}],
        }
    if at.random() < 0.3:
        facets["datasetType"] = {"datasetType": at.choice(["TOPIC", "TABLE", "VIEW"])}
    if at.random() < 0.2:
        facets["lifecycleStateChange"] = {"lifecycleStateChange": at.choice(["DROP", "CREATE"])}
    if at.random() < 0.3:
        facets["dataSource"] = {"name": f"s{at.randrange(2)}", "uri": "db://x"}
    if at.random() < 0.2:
        facets["version"] = {"datasetVersion": f"v{at.randrange(3)}"}
    if at.random() < 0.1:
        facets = {name: {"_deleted": True} for name in facets}
    return {"namespace": "db", "name": f"d{at.randrange(6)}", "facets": facets}


def _event(at: random.Random) -> dict[str, Any]:
    event: dict[str, Any] = {
        "eventTime": (_START + timedelta(seconds=at.randrange(1000))).isoformat(),
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
    }
    if at.random() < 0.15:
        return event | {"dataset": _dataset(at)}
    kind = {"processingType": at.choice(["BATCH", "STREAMING"]), "integration": "X", "jobType": "TASK"}
    facets = {"jobType": kind} if at.random() < 0.3 else {}
    event |= {
        "job": {"namespace": "jobs", "name": f"j{at.randrange(4)}", "facets": facets},
        "inputs": [_dataset(at) for _ in range(at.randrange(3))],
        "outputs": [_dataset(at) for _ in range(at.randrange(2))],
    }
    if at.random() < 0.9:
        event |= {
            "run": {"runId": f"0198c0de-0000-7000-8000-{at.randrange(9):012d}"},
            "eventType": at.choice(["START", "RUNNING", "COMPLETE", "FAIL", "ABORT"]),
        }
    if "run" in event and at.random() < 0.1:
        del event["job"]
    return event


def _says_the_same(current: Current, index: Index) -> None:
    jobs = current.query("FROM jobs ORDER BY namespace, name", {})
    assert jobs == index.query(f"FROM ({WITH_STATES}) ORDER BY namespace, name")
    runs = {run["run_id"]: run for run in index.query("FROM runs_at($as_of)")}
    kept = {run["run_id"]: run for run in current.query("FROM runs", {})}
    assert kept == {run_id: runs[run_id] for run_id in kept}
    assert set(kept) >= {run_id for job in jobs for run_id in job["latest_runs"] or []}
    for table, order in (
        ("job_versions", "namespace, name, version"),
        ("datasets", "namespace, name"),
        ("aliases", "alias_namespace, alias_name"),
    ):
        expected = index.query(f"FROM {table}_at($as_of) ORDER BY {order}")
        assert current.query(f"FROM {table} ORDER BY {order}", {}) == expected, table
    for scope, kept_keys in (
        ("job", jobs),
        ("dataset", index.query("SELECT DISTINCT namespace, name FROM run_io")),
    ):
        said = index.query(
            "SELECT namespace, name, facet, basis, max(body) AS body FROM ("
            " SELECT *, rank() OVER (PARTITION BY namespace, name, facet, basis ORDER BY rank DESC) AS newest"
            " FROM facets WHERE scope = $scope AND log_index < $as_of"
            ") WHERE newest = 1 AND NOT deleted GROUP BY ALL ORDER BY ALL",
            {"scope": scope},
        )
        found = current.facets(scope, [(row["namespace"], row["name"]) for row in kept_keys])
        newest = {(f["namespace"], f["name"], f["facet"], f["basis"]): f["body"] for f in found}
        assert newest == {(f["namespace"], f["name"], f["facet"], f["basis"]): f["body"] for f in said}, scope
    versions = index.query(
        "SELECT * EXCLUDE (job_namespace, job_name, schema_fields) FROM dataset_versions_at($as_of)"
        " ORDER BY namespace, name, version"
    )
    assert current.query("FROM dataset_versions ORDER BY namespace, name, version", {}) == versions


@pytest.mark.parametrize("seed", range(2))
def test_any_sequence_of_events_and_catch_ups_gives_what_the_macros_say(log: Log, seed: int) -> None:
    at = random.Random(seed)
    index = Index.build(log)
    current = Current(index)
    _says_the_same(current, index)
    for _ in range(12):
        bodies = [json.dumps(_event(at)).encode() for _ in range(at.randrange(1, 5))]
        log.append([NewEntry(body, EVENT_MEDIA_TYPE, "ingest:test") for body in bodies])
        index.catch_up(log)
        _says_the_same(current, index)
    current.close()


def test_what_a_redacted_event_touched_is_folded_again(log: Log) -> None:
    at = random.Random(99)
    events = [_event(at) | {"inputs": [{"namespace": "db", "name": f"only{i}"}]} for i in range(8)]
    indexes = log.append([NewEntry(json.dumps(e).encode(), EVENT_MEDIA_TYPE, "ingest:test") for e in events])
    index = Index.build(log)
    current = Current(index)
    _says_the_same(current, index)
    log.redact(indexes[2], "personal data", "admin:test")
    index.catch_up(log)
    _says_the_same(current, index)
    assert current.query("FROM datasets WHERE name = 'only2'", {}) == []


def test_dead_rows_do_not_pile_up(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.lineage.index.current._COMPACT_AFTER", 3)
    at = random.Random(5)
    index = Index.build(log)
    current = Current(index)
    for _ in range(12):
        log.append([NewEntry(json.dumps(_event(at)).encode(), EVENT_MEDIA_TYPE, "ingest:test")])
        index.catch_up(log)
        _says_the_same(current, index)
    kept = current.query("SELECT count(*) AS rows, max(rowid) AS last FROM datasets", {})[0]
    assert kept["last"] < 4 * kept["rows"] + 12
