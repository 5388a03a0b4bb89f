"""An outbox that goes with its pod before it is drained: what of it shows, and what cannot."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from lineage_samples import MemoryLog

from governance.lineage.completeness import Completeness
from governance.lineage.emission.destination import LogDestination
from governance.lineage.emission.outbox import Outbox
from governance.lineage.index.index import Index

DAG_RUN = str(uuid5(NAMESPACE_URL, "dag run"))


def event(state: str, job: str, run: str, facets: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "eventType": state,
            "eventTime": "2026-11-24T10:00:00Z",
            "run": {"runId": run, "facets": facets},
            "job": {"namespace": "airflow", "name": job},
            "inputs": [],
            "outputs": [],
            "producer": "https://example.org/p",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }
    ).encode()


def task(state: str, name: str, map_index: int = -1) -> bytes:
    parent = {"run": {"runId": DAG_RUN}, "job": {"namespace": "airflow", "name": "dag"}}
    run = str(uuid5(NAMESPACE_URL, f"{name}/{map_index}"))
    return event(state, f"dag.{name}", run, {"parent": parent, "airflow": {"task": {}}})


def dag(**states: str) -> bytes:
    return event(
        "COMPLETE", "dag", DAG_RUN, {"airflowState": {"dagRunState": "success", "tasksState": states}}
    )


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def arrived(log: MemoryLog, directory: Path, *bodies: bytes) -> None:
    outbox = emitted(directory, *bodies)
    outbox.drain(LogDestination(lambda: log))
    outbox.release()


def emitted(directory: Path, *bodies: bytes) -> Outbox:
    outbox = Outbox(directory)
    for body in bodies:
        outbox.keep(body, "ingest:airflow")
    return outbox


def destroyed(directory: Path, *bodies: bytes) -> None:
    emitted(directory, *bodies).release()
    shutil.rmtree(directory)


def test_the_end_of_a_task_is_missed(log: MemoryLog, tmp_path: Path) -> None:
    arrived(log, tmp_path / "pod-1", task("START", "load"), task("COMPLETE", "load"), task("START", "train"))
    destroyed(tmp_path / "pod-2", task("COMPLETE", "train"))
    arrived(log, tmp_path / "scheduler", dag(load="success", train="success"))
    [run] = Index.build(log).completeness()
    assert run.verdict is Completeness.INCOMPLETE
    assert (run.expected, run.received, run.missing) == (2, 1, ("dag.train",))


def test_all_of_a_task_is_missed(log: MemoryLog, tmp_path: Path) -> None:
    destroyed(tmp_path / "pod", task("START", "train"), task("FAIL", "train"))
    arrived(log, tmp_path / "scheduler", dag(train="failed"))
    [run] = Index.build(log).completeness()
    assert (run.verdict, run.missing) == (Completeness.INCOMPLETE, ("dag.train",))


def test_without_the_schedulers_word_nothing_is_concluded(log: MemoryLog, tmp_path: Path) -> None:
    arrived(log, tmp_path / "pod", task("START", "train"), task("COMPLETE", "train"))
    destroyed(tmp_path / "scheduler", dag(train="success"))
    [run] = Index.build(log).completeness()
    assert run.verdict is Completeness.UNKNOWN


def test_a_run_outside_airflow_stays_open(log: MemoryLog, tmp_path: Path) -> None:
    run = str(uuid5(NAMESPACE_URL, "alone"))
    arrived(log, tmp_path / "a", event("START", "script", run, {}))
    destroyed(tmp_path / "b", event("COMPLETE", "script", run, {}))
    index = Index.build(log)
    assert index.completeness() == []
    [open_run] = index.runs()
    assert open_run["state"] not in {"COMPLETE", "FAIL", "ABORT"}
    assert open_run["ended_at"] is None


def test_the_limit_one_of_several_mapped_instances_is_not_missed(log: MemoryLog, tmp_path: Path) -> None:
    # Airflow's facet names a state per task, not per map index, and so says nothing of how many there were.
    arrived(log, tmp_path / "pod-0", task("COMPLETE", "train", 0))
    destroyed(tmp_path / "pod-1", task("COMPLETE", "train", 1))
    arrived(log, tmp_path / "scheduler", dag(train="success"))
    [run] = Index.build(log).completeness()
    assert run.verdict is Completeness.COMPLETE
