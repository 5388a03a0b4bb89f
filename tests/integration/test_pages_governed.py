"""What pages say of governed runs: decided, waiting, refused, due. Over a home in which passes really ran."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from governed_home import Home

from governance.pipeline.local import local_recorder
from governance.pipeline.step import RunContext
from governance.rights.erasing import record_step
from governance.rights.requests import check_identity, decide, open_request
from governance.server.app import build_app
from governance.server.served import ServedStore
from governance.server.tokens import create_token

DATASET = "customer_profiles"


@pytest.fixture
def pages(validated: tuple[Home, RunContext]) -> Iterator[TestClient]:
    """One version of the customers waits for its release; an erasure is asked for and overdue, another done."""
    home, _ = validated
    workspace = home.workspace()
    recorder = local_recorder(workspace, "erasure", "r")
    asked = {"state": "requested", "subjects": 1, "due_at": "2026-01-31T00:00:00Z"}
    record_step(workspace, recorder, ["R-OPEN"], asked)
    record_step(workspace, recorder, ["R-DONE"], asked)
    record_step(workspace, recorder, ["R-DONE"], {"state": "searched", "places": [], "complete": True})
    requests = {"domain": "customer", "by": "officer", "received_at": workspace.clock() - timedelta(days=40)}
    open_request(workspace, "SECOND", kind="access", regime="GDPR", **requests)
    open_request(workspace, "FIRST", kind="access", regime="HIPAA", **requests)
    open_request(workspace, "UNCONFIRMED", kind="access", regime="CCPA", **requests)
    open_request(workspace, "DECIDED", kind="opt-out", regime="CCPA", **requests)
    check_identity(workspace, "SECOND", "verified", method="passport", by="officer")
    decide(workspace, "DECIDED", "granted", reason="done", evidence=["log:1"], by="officer")
    served = ServedStore(
        workspace.log, evidence_public_key=workspace.evidence_public_key, clock=lambda: datetime.now(UTC)
    )
    token = create_token(
        workspace.log, name="t", scopes=("read",), namespaces=None, expires_at=None, principal="admin:t"
    )
    served.fresh()
    with TestClient(build_app(served)) as client:
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def test_what_waits_and_what_was_decided(pages: TestClient, validated: tuple[Home, RunContext]) -> None:
    version = validated[1].run.version
    home = pages.get("/pages/").text
    waiting = home.split("Passed, and waiting")[1].split("</table>")[0]
    assert (f'title="{version}"' in waiting, waiting.count("<tr>")) == (True, 2)
    clocks = home.split("Clocks:")[1].split("</table>")[0]
    assert ("R-OPEN" in clocks, "overdue" in clocks, "R-DONE" in clocks) == (True, True, False)
    register = home.split("Requests of data subjects")[1].split("</table>")[0]
    rows = {row.split('<td class="t">')[1].split("<")[0]: row for row in register.split("<tr>")[2:]}
    assert list(rows) == ["FIRST", "SECOND", "UNCONFIRMED"]
    assert {name for name in rows if "overdue" in rows[name]} == {"SECOND", "FIRST"}
    assert 'class="mark bad">confirm by' in rows["UNCONFIRMED"]
    # Before the first was entered; and for who sees some namespaces only.
    first = int(rows["FIRST"].split("#")[1].split("<")[0])
    before = pages.get(
        "/pages/", params={"as_of": min(first, int(rows["SECOND"].split("#")[1].split("<")[0]))}
    ).text
    assert "None." in before.split("Requests of data subjects")[1].split("</table>")[0]
    limited = create_token(
        validated[0].workspace().log, name="l", scopes=("read",), namespaces=("etl",), expires_at=None,
        principal="admin:t",
    )  # fmt: skip
    pages.get("/pages/")  # the service hears of the token as it catches up
    shown = pages.get("/pages/", headers={"authorization": f"Bearer {limited}"})
    assert (shown.status_code, "Requests of data subjects" in shown.text) == (200, False)
    assert "takes and answers" in home
    assert "Exceptions" not in home

    exported = [
        pages.get(f"/pages/airflow-evidence/{DATASET}/{validated[1].run.run_id}").json(),
        pages.get(f"/pages/airflow-evidence/{DATASET}/nothing").json(),
    ]
    stages = [row["stage"] for row in exported[0]["evidence"]]
    assert stages == ["open", "classify", "consent", "protect", "validate"]
    assert {row["basis"] for row in exported[0]["evidence"]} == {"observed"}
    assert exported[0]["checkpoint"].startswith(validated[0].workspace().log.origin)
    assert exported[1]["evidence"] == []

    run = pages.get(f"/pages/airflow/{DATASET}/{validated[1].run.run_id}").text
    assert "Columns found to hold" in run
    assert f"airflow-evidence/{DATASET}/{validated[1].run.run_id}" in run
    # Another DAG, whose name begins with this one's and a dot, is another's to see.
    assert pages.get("/pages/airflow-evidence/customer/x").json()["evidence"] == []
    dotted = f"{DATASET}.validate"
    assert pages.get(f"/pages/airflow-evidence/{dotted}/{validated[1].run.run_id}").json()["evidence"] == []
    task = pages.get(f"/pages/airflow-task/{DATASET}/validate/-1/{validated[1].run.run_id}").text
    assert "expectations and checks hold" in task
    assert "rows allowed" not in task
