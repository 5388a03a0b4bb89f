"""A real Airflow: scheduler, API server, DAG processor, triggerer; DAGs triggered over REST and by assets."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from served_process import Server, make_token

from governance.config import Settings
from governance.demo.home import prepare
from governance.lineage import Index
from governance.lineage.completeness import TRIES_FACET, Completeness
from governance.model.evidence import Stage
from governance.model.key_grant import Claim, Operation, TaskTry
from governance.pipeline.workspace import Workspace
from governance.server.broker.airflow import AirflowTries, carries
from governance.server.broker.rules import Refused
from governance.server.broker.settings import AirflowSettings

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("open", "classify", "consent", "protect", "validate", "release")
APPROVERS = ("ines.alvarado", "jonas.petersen")
PATIENCE = 240
WORKLOADS = """
workloads:
  test: {datasets: ["*"], purposes: [model_training, support_inference], operations: [seal], sensitivity: restricted}
"""

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Airflow:
    """A small REST client of one running Airflow."""

    def __init__(self, port: int, settings: Settings) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.settings = settings
        self.token = self.login("admin")

    def login(self, user: str) -> str:
        token: str = self.call("POST", "/auth/token", {"username": user, "password": "admin"}, "")[
            "access_token"
        ]
        return token

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, token: str | None = None
    ) -> Any:
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Content-Type", "application/json")
        if token is None or token:
            request.add_header("Authorization", f"Bearer {token or self.token}")
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(request, data, timeout=90) as answer:
            return json.load(answer)

    def wait(self, found: Any, what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if value := found():
                return value
            time.sleep(0.5)
        raise AssertionError(f"waited {PATIENCE} s for {what}")

    def ended(self, dag_id: str, run_type: str) -> dict[str, Any] | None:
        runs = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        return next(
            (r for r in runs if r["run_type"] == run_type and r["state"] in ("success", "failed")), None
        )

    def task_states(self, run: dict[str, Any]) -> dict[str, str]:
        path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances"
        return {t["task_id"]: t["state"] for t in self.call("GET", path)["task_instances"]}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("up") / "home"
    settings = prepare(home, rows=600, seed=7, say=lambda _text: None)
    policy = settings.policy.read_text("utf-8")
    settings.policy.write_text(f"{policy}\napprovalFrom: restricted\n{WORKLOADS}", "utf-8")
    port = free_port()
    control = [sys.executable, "-m", "governance.airflow.standalone"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOVERNANCE_", "AIRFLOW"))}
    broker, tokens = home.parent / "broker.yaml", {}
    broker.write_text(f"airflow: {{url: 'http://127.0.0.1:{port}', tokenFile: airflow-token}}\n")
    for scope in ("read", "keys"):
        tokens[scope] = home.parent / f"{scope}-token"
        tokens[scope].write_text(make_token(settings.store, scope))
    reading = tokens["read"].read_text()
    own = settings.environment()
    server = Server(settings.store, home.parent, "--broker", str(broker), token=reading, home=own)
    environment |= {
        "GOVERNANCE_SERVER": server.url,
        "GOVERNANCE_SERVER_TOKEN_FILE": str(tokens["read"]),
        "GOVERNANCE_KEYS": f"broker+{server.url}",
        "GOVERNANCE_KEYS_TOKEN_FILE": str(tokens["keys"]),
    }
    started = subprocess.run(
        [*control, "up", str(home), str(ROOT / "dags"), str(port), "admin"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        assert "user admin   password admin" in started.stdout
        running = Airflow(port, settings)
        (home.parent / "airflow-token").write_text(running.token)
        yield running
    finally:
        stopped = subprocess.run(
            [*control, "down", str(home)], env=environment, capture_output=True, text=True, check=False
        )
        server.close()
        assert "stopped" in stopped.stdout


def test_dags_run_by_rest_and_by_asset(airflow: Airflow) -> None:
    for dag_id in ("governed_training_dataset", "governed_inference_dataset"):
        airflow.wait(
            lambda dag_id=dag_id: [
                d for d in airflow.call("GET", "/api/v2/dags")["dags"] if d["dag_id"] == dag_id
            ],
            dag_id,
        )
        airflow.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
    assert airflow.call("GET", "/api/v2/importErrors")["total_entries"] == 0
    assert airflow.call("GET", "/api/v2/plugins/importErrors")["total_entries"] == 0

    with pytest.raises(urllib.error.HTTPError, match="400"):
        path = "/api/v2/dags/governed_training_dataset/dagRuns"
        airflow.call("POST", path, {"logical_date": None, "conf": {"purpose": "advertising"}})
    airflow.call("POST", "/api/v2/dags/governed_training_dataset/dagRuns", {"logical_date": None})

    an_approver_answers_and_nobody_else(
        airflow, "governed_training_dataset", "clinical_encounters", APPROVERS[0]
    )
    training = airflow.wait(lambda: airflow.ended("governed_training_dataset", "manual"), "the training run")
    states = airflow.task_states(training)
    assert training["state"] == "success", states
    assert len(states) == 2 * (len(STAGES) + 1)
    # The customers' version has no restricted column.
    assert states["customer_profiles.approve"] == "skipped"

    an_approver_answers_and_nobody_else(
        airflow, "governed_inference_dataset", "support_prompts", APPROVERS[1]
    )
    inference = airflow.wait(
        lambda: airflow.ended("governed_inference_dataset", "asset_triggered"), "the run by asset"
    )
    assert inference["state"] == "success", airflow.task_states(inference)

    events = airflow.call("GET", "/api/v2/assets/events")["asset_events"]
    extra = {e["uri"]: e["extra"] for e in events}
    assert {"gov://governance/clinical_encounters", "gov://governance/customer_profiles"} <= set(extra)
    assert extra["gov://governance/clinical_encounters"]["manifest_digest"].startswith("sha256:")

    expected = {
        f"governed_training_dataset.{d}.{s}"
        for d in ("clinical_encounters", "customer_profiles")
        for s in STAGES
    }
    expected |= {f"governed_inference_dataset.support_prompts.{s}" for s in STAGES}
    expected |= {"governed_training_dataset", "governed_inference_dataset"}
    complete = airflow.wait(
        lambda: expected <= completed_jobs(airflow.settings), "OpenLineage events in the store"
    )
    assert complete
    airflow.wait(
        lambda: set(verdicts(airflow.settings)) == {Completeness.COMPLETE}, "complete lineage of all runs"
    )
    rest_says_the_same_as_the_scheduler(airflow)
    the_evidence_stands_beside_the_run(airflow, training)
    the_key_broker_reads_what_a_try_carries(airflow, training)
    every_key_came_from_the_broker(airflow)


def an_approver_answers_and_nobody_else(airflow: Airflow, dag_id: str, dataset: str, approver: str) -> None:
    """The request waits in the UI; its triggerer, an administrator, may not answer it, an approver may."""

    def waiting() -> str | None:
        runs = airflow.call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        for run in runs:
            if airflow.task_states(run).get(f"{dataset}.approve") == "awaiting_input":
                return str(run["dag_run_id"])
        return None

    run_id = airflow.wait(waiting, f"a request to approve {dataset}")
    path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{dataset}.approve/-1/hitlDetails"
    asked = airflow.call("GET", path)
    digest = asked["params"]["manifest_digest"]["value"]
    assert digest in asked["body"]
    assert "restricted" in asked["body"]
    answer = {
        "chosen_options": ["Approve"],
        "params_input": {"reason": "as agreed", "manifest_digest": digest},
    }
    with pytest.raises(urllib.error.HTTPError, match="403"):
        airflow.call("PATCH", path, answer)
    # Answered before the executor has reported that the task paused, Airflow 3.3.2 fails the task.
    time.sleep(3)
    airflow.call("PATCH", path, answer, airflow.login(approver))


def the_evidence_stands_beside_the_run(airflow: Airflow, run: dict[str, Any]) -> None:
    """As Airflow's UI frames it: asked of the server, with links that stay in Airflow, for users only."""
    page = f"{airflow.base}/governance/airflow/{run['dag_id']}/{quote(run['dag_run_id'])}"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(page, timeout=90)
    with urllib.request.urlopen(
        urllib.request.Request(page, headers={"Authorization": f"Bearer {airflow.token}"}), timeout=90
    ) as answer:
        shown = answer.read().decode()
    assert "customer_profiles" in shown
    assert all(re.search(rf">\s*{stage}\s*<", shown) for stage in STAGES)
    assert 'href="/governance/' in shown
    assert 'href="/pages/' not in shown
    assert "Export this run&#39;s evidence" in shown or "Export this run's evidence" in shown
    with pytest.raises(urllib.error.HTTPError, match="403"):
        asked = urllib.request.Request(
            page, headers={"Authorization": f"Bearer {airflow.login(APPROVERS[0])}"}
        )
        urllib.request.urlopen(asked, timeout=90)


def rest_says_the_same_as_the_scheduler(airflow: Airflow) -> None:
    """A reconciliation would tell of each try what the listener told."""
    from governance.airflow.reconciling import AirflowRest

    ends = AirflowRest(airflow.base, lambda: airflow.token).ended(datetime.now(UTC) - timedelta(hours=1))
    asked = {
        (end.dag_id, one.task_id, one.map_index, one.try_number, one.state, one.ran)
        for end in ends
        for one in end.tries
    }
    workspace = Workspace.open(airflow.settings)
    index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
    rows = index.query("SELECT job_name, body FROM facets WHERE facet = $f", {"f": TRIES_FACET})
    workspace.log.close()
    told = {
        (row["job_name"], one["task"], one["mapIndex"], one["try"], one["state"], one["ran"])
        for row in rows
        for one in json.loads(row["body"])["tries"]
    }
    assert asked == told


def the_key_broker_reads_what_a_try_carries(airflow: Airflow, run: dict[str, Any]) -> None:
    """What the real API server says of a try: enough to confirm it, and that it no longer runs."""
    tries = AirflowTries(AirflowSettings(airflow.base, airflow.settings.home.parent / "airflow-token"))
    tasks = {
        stage: TaskTry(run["dag_id"], run["dag_run_id"], f"customer_profiles.{stage}", -1, 1)
        for stage in ("open", "protect")
    }
    found = {stage: tries.instance(task) or {} for stage, task in tasks.items()}
    assert {instance["try_number"] for instance in found.values()} == {1}
    protect = found["protect"]["rendered_fields"]["reference"]
    reference = json.loads(protect.replace("'", '"')) if isinstance(protect, str) else protect
    digest = "sha256:" + "0" * 64
    claim = Claim(Operation.SEAL, "customer_profiles", "model_training", digest, digest, "v", "a")
    claim = replace(claim, version=reference["version"], attempt=reference["attempt"])
    assert carries(found["protect"]["rendered_fields"], claim)
    assert not carries(found["protect"]["rendered_fields"], replace(claim, attempt="other"))
    opening = replace(claim, operation=Operation.OPEN)
    assert carries(found["open"]["rendered_fields"], opening)
    assert not carries(found["open"]["rendered_fields"], replace(opening, purpose="other"))
    with pytest.raises(Refused, match="airflow"):
        tries.confirm(tasks["protect"], claim)
    assert tries.instance(replace(tasks["protect"], task_id="no_such")) is None


def every_key_came_from_the_broker(airflow: Airflow) -> None:
    """Each task was granted its own keys, after Airflow confirmed that this try runs and carries the run."""
    workspace = Workspace.open(airflow.settings)
    index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
    facts = [row["facts"] for row in index.evidence(stage=Stage.KEY_GRANT)]
    granted = [fact for fact in facts if fact["state"] == "granted"]
    assert {fact["assurance"] for fact in granted} == {"cooperative"}
    tasks = {fact["task"]["task_id"] for fact in granted}
    datasets = ("clinical_encounters", "customer_profiles", "support_prompts")
    assert {f"{dataset}.{stage}" for dataset in datasets for stage in STAGES} <= tasks
    assert [fact for fact in facts if fact["state"] == "refused"] == []
    workspace.log.close()


def verdicts(settings: Settings) -> list[Completeness]:
    """Of the two DAG runs, by the scheduler's word on each try; the customers' approval was skipped."""
    workspace = Workspace.open(settings)
    try:
        index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
        told = {r["run_id"] for r in index.query("FROM facets WHERE facet = $f", {"f": TRIES_FACET})}
        runs = {run.job_name: run for run in index.completeness() if run.run_id in told}
        skipped = {name for run in runs.values() for name in run.skipped}
        assert skipped <= {"governed_training_dataset.customer_profiles.approve"}
        return [run.verdict for run in runs.values()] if len(runs) == 2 and skipped else []
    finally:
        workspace.log.close()


def completed_jobs(settings: Settings) -> set[str]:
    """Jobs whose START and COMPLETE both reached the lineage store."""
    workspace = Workspace.open(settings)
    try:
        index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
        return {r["job_name"] for r in index.runs() if r["state"] == "COMPLETE" and r["started_at"]}
    finally:
        workspace.log.close()
