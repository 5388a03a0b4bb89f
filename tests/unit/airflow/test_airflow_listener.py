"""What Airflow says of a DAG run's tries against what arrived: killed, skipped, retried and mapped tasks told apart."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from governance.lineage import Index
from governance.lineage.completeness import Completeness, RunCompleteness
from governance.lineage.emission.destination import append_event
from governance.lineage.emission.serializing import serialized
from governance.log import Log, open_storage

pytestmark = pytest.mark.airflow
DATE = datetime(2026, 11, 24, 8, tzinfo=UTC)


def run_end(*tries: tuple[str, int, int, str | None, bool], clear_number: int = 0) -> Any:
    from governance.airflow.reconciling import DagRunEnd, TaskTryEnd

    made = tuple(TaskTryEnd(*one) for one in tries)
    return DagRunEnd("etl", "manual__1", DATE, DATE, "success", clear_number, made)


@pytest.fixture
def log(tmp_path: Any) -> Iterator[Log]:
    storage = open_storage(str(tmp_path / "store"), create=True, origin="governance.example/test")
    log = Log(storage, signer=None, clock=lambda: datetime.now(UTC))
    yield log
    log.close()


def told(log: Log, event: Any) -> None:
    append_event(log, serialized(event), "ingest:airflow")


def task_event(end: Any, task: str, state: str, attempt: int = 1, map_index: int = -1) -> dict[str, Any]:
    """As the provider sends it."""
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter

    from governance.airflow.reconciling import dag_run_lineage_id

    run = OpenLineageAdapter.build_task_instance_run_id("etl", task, attempt, DATE, map_index)
    parent = {"run": {"runId": dag_run_lineage_id(end, end.clear_number)}}
    parent["job"] = {"namespace": "default", "name": "etl"}
    return {
        "eventType": state,
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": str(run), "facets": {"parent": parent, "airflow": {}}},
        "job": {"namespace": "default", "name": f"etl.{task}"},
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def send_task(log: Log, end: Any, task: str, *states: str, attempt: int = 1, map_index: int = -1) -> None:
    for state in states:
        body = json.dumps(task_event(end, task, state, attempt, map_index)).encode()
        append_event(log, body, "ingest:airflow")


def verdict(log: Log) -> RunCompleteness:
    [run] = Index.build(log).completeness()
    return run


def test_killed_skipped_and_retried_tasks_are_told_apart(log: Log) -> None:
    from governance.airflow.reconciling import account

    end = run_end(
        ("load", -1, 1, "failed", True),
        ("load", -1, 2, "success", True),
        ("branch", -1, 1, "skipped", True),
        ("after", -1, 0, "upstream_failed", False),
        ("empty", -1, 1, "success", False),
        ("never", -1, 1, "failed", False),
    )
    send_task(log, end, "load", "START")
    send_task(log, end, "load", "START", "COMPLETE", attempt=2)
    send_task(log, end, "branch", "START", "COMPLETE")
    assert verdict(log).verdict is Completeness.UNKNOWN
    told(log, account(end))
    run = verdict(log)
    assert run.verdict is Completeness.INCOMPLETE
    assert (run.expected, run.received) == (3, 1)
    assert run.missing == ("etl.load try 1", "etl.never")
    assert run.killed == ("etl.load try 1",)
    assert run.skipped == ("etl.branch",)


@pytest.mark.parametrize("accounted", [True, False], ids=["by try", "by the last state"])
def test_a_killed_task_whose_end_the_scheduler_told_is_named(log: Log, accounted: bool) -> None:
    """What Airflow 3.3.2 sends of a worker's task that is gone: FAIL, in the scheduler's words."""
    from governance.airflow.reconciling import account, dag_run_lineage_id

    end = run_end(("load", -1, 1, "failed", True), ("crash", -1, 1, "failed", True))
    for task, said in (
        ("load", "Executor X reported that the task instance <T> finished with state success, but …"),
        ("crash", "ValueError"),
    ):
        send_task(log, end, task, "START")
        event = task_event(end, task, "FAIL")
        event["run"]["facets"]["errorMessage"] = {"message": said, "programmingLanguage": "python"}
        append_event(log, json.dumps(event).encode(), "ingest:airflow")
    if accounted:
        told(log, account(end))
    else:
        event = task_event(end, "load", "FAIL")
        state = {"airflowState": {"tasksState": {"load": "failed", "crash": "failed"}}}
        event |= {"job": {"namespace": "default", "name": "etl"}}
        event["run"] = {"runId": dag_run_lineage_id(end, 0), "facets": state}
        append_event(log, json.dumps(event).encode(), "ingest:airflow")
    run = verdict(log)
    assert (run.verdict, run.missing) == (Completeness.COMPLETE, ())
    assert run.killed == ("etl.load",)


def test_one_of_several_mapped_tasks_is_missed(log: Log) -> None:
    from governance.airflow.reconciling import account

    end = run_end(*(("train", index, 1, "success", True) for index in range(3)))
    for index in (0, 2):
        send_task(log, end, "train", "START", "COMPLETE", map_index=index)
    told(log, account(end))
    assert verdict(log).missing == ("etl.train[1]",)
    send_task(log, end, "train", "START", "COMPLETE", map_index=1)
    assert verdict(log).verdict is Completeness.COMPLETE


def test_a_task_that_has_not_ended_leaves_it_open(log: Log) -> None:
    from governance.airflow.reconciling import account

    told(log, account(run_end(("load", -1, 1, None, False))))
    assert verdict(log).verdict is Completeness.UNKNOWN


@pytest.mark.parametrize("tries", ["x", {}, [1], [{"task": 1}], [{"task": "a", "mapIndex": True}]])
def test_a_facet_that_is_no_account_says_nothing(log: Log, tries: Any) -> None:
    from governance.airflow.reconciling import dag_run_lineage_id

    end = run_end()
    event = task_event(end, "load", "OTHER")
    event["job"]["name"] = "etl"
    event["run"] = {"runId": dag_run_lineage_id(end, 0), "facets": {"airflowTaskTries": {"tries": tries}}}
    append_event(log, json.dumps(event).encode(), "ingest:airflow")
    assert verdict(log).verdict is Completeness.UNKNOWN


class Rest(BaseHTTPRequestHandler):
    """Airflow's API as far as it is asked, with the answers that 3.3.2 gives; a real one is asked in test_standalone."""

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer t"
        one = {"task_id": "load", "map_index": None, "try_number": 2, "state": "success", "pid": 7}
        run = {"dag_id": "etl", "dag_run_id": "manual__1", "state": "success", "end_date": DATE.isoformat()}
        run |= {"logical_date": None, "run_after": DATE.isoformat()}
        path = self.path.partition("?")[0]
        if path.endswith("/tries"):
            body: dict[str, Any] = {"task_instances": [{**one, "try_number": 1, "state": "failed"}, one]}
        elif path.endswith("/taskInstances"):
            body = {"task_instances": [one]}
        else:
            assert path == "/api/v2/dags/~/dagRuns"
            body = {"dag_runs": [run, {**run, "state": "running"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_a_run_that_nobody_told_of_is_asked_for_once_and_under_the_id_that_its_tasks_name(log: Log) -> None:
    from governance.airflow.reconciling import AirflowRest, dag_run_lineage_id, reconcile

    server = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Cleared once: its events go under the id of the second clearing, which the REST API does not say.
    cleared = run_end(clear_number=1)
    send_task(log, cleared, "load", "START", attempt=1)
    send_task(log, cleared, "load", "START", "COMPLETE", attempt=2)
    try:
        rest = AirflowRest(f"http://127.0.0.1:{server.server_port}", lambda: "t")
        known = {run.run_id for run in Index.build(log).completeness()}
        assert known == {dag_run_lineage_id(cleared, 1)}
        done = reconcile(rest.ended(DATE), told=(), known=known, emit=lambda event: told(log, event))
        assert done == [dag_run_lineage_id(cleared, 1)]
        assert reconcile(rest.ended(DATE), told=done, known=known, emit=lambda _event: 1 / 0) == []
    finally:
        server.shutdown()
        server.server_close()
    run = verdict(log)
    assert (run.verdict, run.killed, run.received) == (Completeness.INCOMPLETE, ("etl.load try 1",), 1)


def test_the_scheduler_is_never_failed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.openlineage import conf

    from governance.airflow import listener

    monkeypatch.setattr(conf, "is_disabled", lambda: False)
    listener.on_dag_run_success(SimpleNamespace(dag_id="etl", dag=None), "")
    listener.on_dag_run_failed(object(), "")
    assert "could not be told" in caplog.text
