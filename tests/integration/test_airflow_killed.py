"""A real scheduler and real workers, killed (SIGKILL) in each stage of one DAG run: what the retries make of it.

Of Airflow there are a scheduler with its LocalExecutor and the API server that tasks report to.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import killed_tasks
import pytest
from governed_home import Home
from test_standalone import free_port

from governance.airflow.environment import airflow_environment
from governance.lineage import Index
from governance.lineage.completeness import TRIES_FACET, Completeness, RunCompleteness
from governance.model.evidence import Stage

CUSTOMERS = "customer_profiles"
PATIENCE = 300
DAG = """
from datetime import timedelta

import killed_tasks
from airflow.sdk import DAG
from governance.airflow import governed_dataset

tries = {"retries": 4, "retry_delay": timedelta(0)}
with DAG("killed", schedule=None, is_paused_upon_creation=False, default_args=tries):
    governed_dataset("customer_profiles.odcs.yaml", purpose="model_training", source="input/customers.csv")
killed_tasks.arm()
"""
PREPARE = """
import sys
from pathlib import Path
from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.utils.db import initdb
from airflow.utils.types import DagRunTriggeredByType

folder = sys.argv[1]
initdb()
DagBundlesManager().sync_bundles_to_db()
bag = BundleDagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags-folder")
assert not bag.import_errors, bag.import_errors
sync_bag_to_db(bag, "dags-folder", None)
trigger_dag("killed", run_id="manual__1", triggered_by=DagRunTriggeredByType.TEST)
"""

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


class Airflow:
    """Its processes and what its database says."""

    def __init__(self, home: Home, folder: Path) -> None:
        port = free_port()
        dags = folder / "dags"
        dags.mkdir()
        (dags / "killed.py").write_text(DAG)
        self.points = folder / "points"
        self.points.mkdir()
        own = airflow_environment(home.settings, dags, port=port)
        self.environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("GOVERNANCE_", "AIRFLOW"))
        }
        self.environment |= own | {
            killed_tasks.FOLDER: str(self.points),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        }
        self.database = Path(own["AIRFLOW_HOME"]) / "airflow.db"
        self.log = folder / "airflow.log"
        self.processes: list[subprocess.Popen[bytes]] = []
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PREPARE, str(dags)],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        self.start("api-server", "--apps", "execution", "--port", str(port))
        self.start_scheduler()

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "airflow"), *command],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_scheduler(self) -> None:
        self.scheduler = self.start("scheduler", "--skip-serve-logs")
        (self.points / killed_tasks.SCHEDULER).write_text(str(self.scheduler.pid))

    def ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(query).fetchall()

    def run(self) -> tuple[str, int]:
        """How the run ended, and how many schedulers it took."""
        schedulers = 1
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.scheduler.poll() is not None:
                schedulers += 1
                self.start_scheduler()
            [(state,)] = self.ask("SELECT state FROM dag_run")
            if state in ("success", "failed"):
                return state, schedulers
            time.sleep(0.2)
        raise AssertionError(
            f"no end after {PATIENCE} s: {self.ask('SELECT task_id, state, try_number FROM task_instance')}"
        )

    def stop(self) -> None:
        for process in self.processes:
            # With the workers that outlived their scheduler.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def airflow(prepared_home: Path, tmp_path: Path) -> Iterator[tuple[Home, Airflow]]:
    home = Home.copied(prepared_home, tmp_path / "home")
    running = Airflow(home, tmp_path)
    try:
        yield home, running
    finally:
        running.stop()


def test_whatever_is_killed_one_version_is_released_once_and_the_killed_are_named(
    airflow: tuple[Home, Airflow],
) -> None:
    home, running = airflow
    ended = running.run()
    assert ended == ("success", 2), running.log.read_text()[-5000:]
    assert {p.name for p in running.points.iterdir()} >= {*killed_tasks.POINTS, killed_tasks.SCHEDULER_DIES}

    manifest = home.manifest(CUSTOMERS)
    said = [f["facts"] for f in home.evidence(Stage.RELEASE, CUSTOMERS)]
    assert [(f["state"], f["recovered"]) for f in said] == [
        ("intended", False), ("intended", False), ("released", True)
    ]  # fmt: skip
    assert said[-1]["manifest_digest"] == manifest.digest
    # Opened twice, one version: the second try's, whose consent was stated twice and is the same.
    opened = [f["context"] for f in home.evidence(Stage.OPEN, CUSTOMERS)]
    assert {o["version"] for o in opened} == {manifest.version} and len(opened) == 2
    assert manifest.body["run"]["attempt"] == opened[-1]["attempt"]
    first, again = (f["facts"] for f in home.evidence(Stage.CONSENT, CUSTOMERS))
    assert first == again and home.rows(CUSTOMERS).num_rows == manifest.body["counts"]["rows_out"] > 0
    # What the killed try had sealed is gone.
    assert {p.name for p in (home.root(CUSTOMERS) / "segments").iterdir()} == {
        s.segment_id for s in manifest.segments
    }
    assert home.cli("log", "verify", "--files")[0] == 3

    run = accounted(home)
    # The scheduler ended those tries in their place, so nothing is missing.
    assert (run.verdict, run.missing) == (Completeness.COMPLETE, ())
    tries = Counter(point.split()[0] for point in killed_tasks.POINTS)
    assert set(run.killed) == {
        f"killed.{CUSTOMERS}.{stage} try {number}" for stage, n in tries.items() for number in range(1, n + 1)
    }
    assert run.skipped == (f"killed.{CUSTOMERS}.approve",)
    the_report_says_it(home)


def accounted(home: Home) -> RunCompleteness:
    """The verdict on the run, once the scheduler's account of it is in the log."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with closing(home.workspace().log) as log:
            index = Index.build(log)
            if index.query("FROM facets WHERE facet = $f", {"f": TRIES_FACET}):
                [run] = index.completeness()
                return run
        time.sleep(0.5)
    raise AssertionError("the scheduler told nothing")


def the_report_says_it(home: Home) -> None:
    code, _out, err = home.cli("report", "make", "compliance", "--out", str(home.path / "reports"))
    assert code == 0, err
    [made] = (home.path / "reports").rglob("compliance*.json")
    record = json.loads(made.read_text("utf-8"))
    said = [(remark["code"], remark["count"], remark["text"]) for remark in record["exceptions"]]
    failed = {text.split()[0]: count for code, count, text in said if code == "task-failed"}
    tries = Counter(point.split()[0] for point in killed_tasks.POINTS)
    assert failed == {f"governance.killed.{CUSTOMERS}.{stage}": count for stage, count in tries.items()}
    assert [code for code, *_ in said].count("release-recovered") == 1
    # The opening whose task was killed before it could say which run it had opened.
    assert ("run-unfinished", 1) in {(remark["code"], remark["count"]) for remark in record["unknowns"]}
