"""Governance inside Airflow: who sees it. Airflow's simple auth manager and a lineage server are real, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from governance.log import Log, open_storage
from governance.server.app import build_app
from governance.server.served import ServedStore
from governance.server.tokens import create_token

pytestmark = pytest.mark.airflow
RUN = "manual__2026-11-24T09:38:18+00:00"
PAGES = ("/", "/log", "/airflow/etl", f"/airflow/etl/{RUN}", f"/airflow-task/etl/load/-1/{RUN}")
EXPORT = f"/airflow-evidence/etl/{RUN}"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def manager() -> Iterator[Any]:
    """The auth manager of this process: one that lets ``owen`` read the audit log of ``etl`` and of nothing else.

    No database is here, and so no list of revoked sessions.
    """
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.models.revoked_token import RevokedToken

    class OneDag(SimpleAuthManager):  # type: ignore[misc]
        def is_authorized_dag(self, *, user: Any, details: Any = None, **asked: Any) -> bool:
            if user.get_name() == "owen":
                return details is not None and details.id == "etl"
            return bool(super().is_authorized_dag(user=user, details=details, **asked))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "AIRFLOW__API_AUTH__JWT_SECRET",
            "a secret of this test alone, as long as SHA-512 wants one: 64 bytes.",
        )
        patch.setattr(RevokedToken, "is_revoked", lambda _jti: False)
        patch.setattr(airflow_app._AuthManagerState, "instance", OneDag())
        yield airflow_app._AuthManagerState.instance


@pytest.fixture(scope="module")
def airflow(manager: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The pages mounted as Airflow mounts them, behind the base URL ``/air``."""
    from governance.airflow.lineage_pages import PREFIX, build_pages_app

    folder = tmp_path_factory.mktemp("pages")
    storage = open_storage(str(folder / "store"), create=True, origin="governance.example/test")
    served = ServedStore(Log(storage, signer=None, clock=now), clock=now)
    made = create_token(
        served.log, name="airflow", scopes=("read",), namespaces=None, expires_at=None, principal="admin:test"
    )
    served.fresh()
    (folder / "token").write_text(made)
    pages = build_pages_app()
    lineage = httpx.ASGITransport(build_app(served))
    pages.state.client = httpx.AsyncClient(transport=lineage)
    outer = FastAPI(root_path="/air")
    outer.mount(PREFIX, pages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOVERNANCE_SERVER", "http://lineage")
        patch.setenv("GOVERNANCE_SERVER_TOKEN_FILE", str(folder / "token"))
        with TestClient(outer, follow_redirects=False) as client:
            yield client


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVERNANCE_AUDITORS", "role:Admin,user:owen,user:vera")


def ask(airflow: TestClient, manager: Any, path: str, name: str, role: str) -> httpx.Response:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username=name, role=role)
    token = manager.generate_jwt(user) if name else ""
    return airflow.get(f"/governance{path}", headers={"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("path", PAGES)
def test_an_administrator_sees_every_page_with_links_below_the_base_url(
    airflow: TestClient, manager: Any, path: str
) -> None:
    answer = ask(airflow, manager, path, "ada", "admin")
    assert answer.status_code == 200, answer.text
    assert 'href="/air/governance/' in answer.text
    assert 'href="/pages/' not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-store"


def test_a_viewer_on_an_auditors_page_is_refused_though_airflow_lets_viewers_read_audit_logs(
    airflow: TestClient, manager: Any
) -> None:
    for path in (*PAGES, EXPORT, "/static/pages.css"):
        answer = ask(airflow, manager, path, "victor", "viewer")
        assert (answer.status_code, "auditors" in answer.text) == (403, True), path
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'self'"
    assert ask(airflow, manager, "/", "vera", "viewer").status_code == 200


def test_an_auditor_whom_airflow_lets_see_one_dag_sees_its_pages_only(
    airflow: TestClient, manager: Any
) -> None:
    for path in (*PAGES[2:], EXPORT, "/static/pages.css"):
        assert ask(airflow, manager, path, "owen", "user").status_code == 200, path
    for path in (
        "/",
        "/log",
        "/airflow/other",
        f"/airflow/other/{RUN}",
        "/airflow%2Fother",
        "/airflow/etl%2Fx",
    ):
        assert ask(airflow, manager, path, "owen", "user").status_code == 403, path


def test_who_is_not_known_to_airflow_sees_nothing(airflow: TestClient, manager: Any) -> None:
    for path in (*PAGES, EXPORT, "/static/pages.css", "/docs", "/openapi.json"):
        answer = airflow.get(f"/governance{path}")
        assert answer.status_code == 401, path
        assert "frame-ancestors" in answer.headers["content-security-policy"]


def test_the_export_is_a_file(airflow: TestClient, manager: Any) -> None:
    answer = ask(airflow, manager, EXPORT, "ada", "admin")
    assert answer.json()["run_id"] == RUN
    assert answer.json()["evidence"] == []
    assert answer.headers["content-disposition"].startswith('attachment; filename="evidence-etl-manual__2026')


def test_a_setting_that_cannot_be_read_shows_nothing(
    airflow: TestClient, manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOVERNANCE_AUDITORS", "everybody")
    answer = ask(airflow, manager, "/", "ada", "admin")
    assert (answer.status_code, "GOV-901" in answer.text) == (503, True)


def test_a_proxy_may_have_taken_the_base_url_away_or_left_it(airflow: TestClient, manager: Any) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = manager.generate_jwt(SimpleAuthManagerUser(username="ada", role="admin"))
    answer = airflow.get("/air/governance/log", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert "<h1>Log</h1>" in answer.text


def test_tabs_stand_on_dags_runs_and_tasks() -> None:
    from governance.airflow.plugin import GovernancePlugin

    views = GovernancePlugin.external_views
    assert {view["destination"] for view in views} == {"nav", "dag", "dag_run", "task_instance"}
    assert {view["name"] for view in views} == {"Governance"}
    assert len({view["url_route"] for view in views}) == len(views)
