"""Reports inside Airflow: read and saved by auditors in their own name, made nowhere but in the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from test_airflow_pages import ask, manager, named, now  # noqa: F401 - fixtures

from governance.audit.shelf import Shelf
from governance.log import GENESIS, CheckpointSigner, Log, NewEntry, open_storage, vkey_of
from governance.model.canonical import canonical
from governance.server.app import build_app
from governance.server.asked import ACCESS
from governance.server.audit.reporting import Reporting
from governance.server.served import ServedStore
from governance.server.tokens import create_token
from tests.signing_key import Key

pytestmark = pytest.mark.airflow
ORIGIN = "governance.example/reports"


class Source:
    """What a report is made of; no home is needed to read one."""

    def __init__(self, folder: Path) -> None:
        key, self.evidence_signer = Key(b"log".ljust(32)), Key(b"evidence".ljust(32))
        self.vkey = vkey_of(ORIGIN, key.public_key)
        storage = open_storage(str(folder / "store"), create=True, origin=ORIGIN)
        self.log = Log(storage, signer=CheckpointSigner(key, ORIGIN, folder / "memory.note"), clock=now)
        self.log.append([NewEntry(canonical({"origin": ORIGIN}), GENESIS, "admin:test")])

    @property
    def keyring(self) -> Source:
        return self


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def airflow(manager: Any, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:  # noqa: F811
    from governance.airflow.lineage_pages import PREFIX, build_pages_app

    folder = tmp_path_factory.mktemp("pages")
    served = ServedStore(source.log, clock=now)
    token = create_token(
        source.log,
        name="airflow",
        scopes=("read", "audit"),
        namespaces=None,
        expires_at=None,
        principal="admin:t",
    )
    served.fresh()
    (folder / "token").write_text(token)
    shelf = Shelf(folder / "reports")
    shelf.put(source, "compliance", by="audit:dag", at=now())  # type: ignore[arg-type]
    pages = build_pages_app()
    reporting = Reporting(served, source, shelf.folder)  # type: ignore[arg-type]
    pages.state.client = httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(served, reporting=reporting))
    )
    outer = FastAPI(root_path="/air")
    outer.mount(PREFIX, pages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOVERNANCE_SERVER", "http://lineage")
        patch.setenv("GOVERNANCE_SERVER_TOKEN_FILE", str(folder / "token"))
        with TestClient(outer, follow_redirects=False) as client:
            yield client


def test_an_auditor_reads_and_saves_reports_and_makes_none(
    airflow: TestClient,
    manager: Any,  # noqa: F811
    source: Source,
) -> None:
    listed = ask(airflow, manager, "/reports", "ada", "admin").text
    assert "State of compliance" in listed and "in the lineage service itself" in listed
    assert "Make: " not in listed and 'type="file"' not in listed
    assert "Reports made" in ask(airflow, manager, "/", "ada", "admin").text
    [report] = {part.split('"')[0] for part in listed.split('href="/air/governance/reports/')[1:]}
    shown = ask(airflow, manager, f"/reports/{report}", "ada", "admin")
    assert f'src="/air/governance/reports/{report}/report.html"' in shown.text
    page = ask(airflow, manager, f"/reports/{report}/report.html", "ada", "admin")
    assert (
        page.headers["content-security-policy"].startswith("default-src 'none'") and "State of" in page.text
    )
    assert ask(airflow, manager, f"/reports/{report}/report.zip", "ada", "admin").status_code == 400
    taken = ask(airflow, manager, f"/reports/{report}/report.zip?reason=audit", "ada", "admin")
    assert taken.headers["content-disposition"].startswith('attachment; filename="compliance-')
    [trace] = [json.loads(e.body or b"") for e in source.log.entries() if e.envelope.media_type == ACCESS]
    assert (trace["caller"], trace["reason"], trace["what"]["said_to_be_for"]) == ("airflow", "audit", "ada")


def test_who_may_not_see_every_dag_sees_no_report(airflow: TestClient, manager: Any) -> None:  # noqa: F811
    for name, role in (("owen", "user"), ("victor", "viewer")):
        for path in (
            "/reports",
            "/reports/new?kind=breach",
            f"/reports/{'0' * 32}",
            f"/reports/{'0' * 32}/report.html",
        ):
            assert ask(airflow, manager, path, name, role).status_code == 403, (name, path)
    assert "Reports that rest on its evidence" in ask(airflow, manager, "/airflow/etl", "owen", "user").text
