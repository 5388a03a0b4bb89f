"""Reports of a served home, over the API and on the pages: made, kept, read, compared, verified; who may and what is logged."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from before_and_after import german_subjects
from fastapi.testclient import TestClient
from governed_home import Home

from governance.audit import REPORTS, verify_bundle
from governance.server.app import build_app
from governance.server.asked import ACCESS
from governance.server.audit.reporting import Reporting
from governance.server.served import ServedStore
from governance.server.tokens import create_token

API = "/api/v1/audit/reports"
PLAIN = [kind for kind, report in REPORTS.items() if not report.personal]


@pytest.fixture(scope="module")
def home(released_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.copied(released_once, tmp_path_factory.mktemp("served") / "home")


@pytest.fixture(scope="module")
def service(home: Home) -> Iterator[Callable[..., TestClient]]:
    """Clients by their scopes, of one service over a home in which passes really ran."""
    workspace = home.workspace()
    served = ServedStore(
        workspace.log, evidence_public_key=workspace.evidence_public_key, clock=lambda: datetime.now(UTC)
    )
    app = build_app(served, reporting=Reporting(served, workspace, home.path / "reports"))
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:

        def by(*scopes: str) -> TestClient:
            token = create_token(
                workspace.log,
                name="-".join(scopes),
                scopes=scopes,
                namespaces=None,
                expires_at=None,
                principal="admin:t",
            )
            served.fresh()
            client.headers["authorization"] = f"Bearer {token}"
            return client

        yield by


@pytest.fixture
def auditor(service: Callable[..., TestClient]) -> TestClient:
    return service("read", "audit")


@pytest.fixture
def officer(service: Callable[..., TestClient]) -> TestClient:
    return service("read", "audit", "rights")


def traces(home: Home) -> list[dict[str, Any]]:
    entries = home.workspace().log.entries()
    return [json.loads(e.body or b"{}") for e in entries if e.envelope.media_type == ACCESS]


@pytest.fixture(scope="module")
def made(service: Callable[..., TestClient]) -> dict[str, Any]:
    answer = service("read", "audit").post(
        API, json={"kind": "gdpr-art30", "reason": "yearly review", "forms": ["csv", "xlsx"]}
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_every_kind_is_named_with_what_it_takes_and_whom_it_is_for(auditor: TestClient) -> None:
    kinds = {kind["kind"]: kind for kind in auditor.get(f"{API}/kinds").json()["kinds"]}
    assert set(kinds) == set(REPORTS)
    assert kinds["breach"]["parameters"] == ["dataset", "discovered", "key"]
    for name, kind in kinds.items():
        assert (kind["audiences"] == ["subject"]) == REPORTS[name].personal
        assert kind["title"] and kind["law"]


@pytest.mark.parametrize("kind", PLAIN)
def test_every_kind_that_is_for_nobody_in_particular_is_made(
    auditor: TestClient, home: Home, tmp_path: Path, kind: str
) -> None:
    answer = auditor.post(API, json={"kind": kind, "reason": "test"})
    assert answer.status_code == 201, answer.text
    taken = auditor.get(f"{API}/{answer.json()['name']}/files/report.zip", params={"reason": "to check"})
    assert verify_bundle(taken.content, home.workspace().vkey).ok


def test_what_is_made_is_kept_and_fetched(auditor: TestClient, home: Home, made: dict[str, Any]) -> None:
    assert made["files"] == ["report.html", "report.csv", "report.json", "report.xlsx", "report.zip"]
    assert made == auditor.get(f"{API}/{made['name']}").json()
    assert made in auditor.get(API).json()["reports"]
    files = f"{API}/{made['name']}/files"
    record = auditor.get(f"{files}/report.json")
    assert record.json()["report"]["kind"] == "gdpr-art30"
    saved = record.headers["content-disposition"]
    assert saved == f'attachment; filename="gdpr-art30-{made["size"]}.json"'
    assert (
        len(list(csv.reader(io.StringIO(auditor.get(f"{files}/report.csv").text))))
        == made["verdict"]["rows"] + 1
    )
    assert zipfile.ZipFile(io.BytesIO(auditor.get(f"{files}/report.xlsx").content)).testzip() is None
    page = auditor.get(f"{files}/report.html")
    assert "sandbox" in page.headers["content-security-policy"]
    for wrong in ("made.json", "nothing.json", "..%2F..%2Fkek.json"):
        assert auditor.get(f"{files}/{wrong}").status_code == 404, wrong


def test_a_bundle_is_bodies_so_taking_it_needs_a_reason_and_is_logged(
    auditor: TestClient, home: Home, made: dict[str, Any]
) -> None:
    path = f"{API}/{made['name']}/files/report.zip"
    before = len(traces(home))
    assert auditor.get(path).json()["error"]["code"] == "GOV-613"
    assert auditor.get(f"{API}/{made['name']}/files/report.json").status_code == 200
    assert len(traces(home)) == before
    assert (
        auditor.get(
            path, params={"reason": "for the court"}, headers={"x-governance-user": "ada"}
        ).status_code
        == 200
    )
    trace = traces(home)[-1]
    assert (trace["reason"], trace["caller"]) == ("for the court", "read-audit")
    assert trace["what"] == {
        "kind": "report", "report": "gdpr-art30", "name": made["name"], "file": "report.zip", "said_to_be_for": "ada",
    }  # fmt: skip
    assert [t["reason"] for t in traces(home) if t["what"]["kind"] == "report-made"].count(
        "yearly review"
    ) == 1


def test_a_report_as_of_the_past_is_the_same_again_and_only_forms_are_added(
    auditor: TestClient, home: Home, made: dict[str, Any]
) -> None:
    again = {
        "kind": "gdpr-art30",
        "reason": "again",
        "as_of": made["size"],
        "language": "de",
        "forms": ["csv"],
    }
    answer = auditor.post(API, json=again).json()
    assert answer["name"] == made["name"] and answer["made_at"] == made["made_at"]
    assert set(answer["files"]) - set(made["files"]) == {"report.de.csv"}
    assert not [p.name for p in (home.path / "reports").iterdir() if p.name.startswith(".")]


def test_two_reports_are_compared(auditor: TestClient, made: dict[str, Any]) -> None:
    newer = auditor.post(API, json={"kind": "gdpr-art30", "reason": "later"}).json()
    found = auditor.get(f"{API}/{made['name']}/changes/{newer['name']}").json()["changes"]
    assert found[0].startswith("The log grew by ")
    other = auditor.post(API, json={"kind": "transfers", "reason": "other"}).json()
    answer = auditor.get(f"{API}/{made['name']}/changes/{other['name']}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GOV-804")
    page = auditor.get("/pages/reports/changes", params={"one": made["name"], "other": newer["name"]}).text
    assert "The log grew by" in page


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "nothing"},
        {"kind": "gdpr-art30", "period": "2026-01-01/2026-06-30"},
        {"kind": "hipaa-528", "period": "yesterday"},
        {"kind": "gdpr-art30", "as_of": 2**60},
        {"kind": "gdpr-art30", "audience": "subject"},
        {"kind": "gdpr-art30", "audience": "everybody"},
        {"kind": "gdpr-art30", "language": "xx"},
        {"kind": "gdpr-art30", "forms": ["exe"]},
        {"kind": "gdpr-art30", "asked": {"dataset": "x"}},
        {"kind": "dpia", "asked": {"dataset": "a\nb"}},
        {"kind": "gdpr-art15", "asked": {"subject": "0f"}},
        {"kind": "gdpr-art30", "reason": " "},
        {"kind": "gdpr-art30", "reason": "a\x00b"},
        {"kind": "gdpr-art30", "subject": "somebody", "domain": "patient"},
    ],
)
def test_what_a_kind_does_not_take_is_refused_and_leaves_nothing(
    officer: TestClient, home: Home, wrong: dict[str, Any]
) -> None:
    before, kept = len(traces(home)), sorted((home.path / "reports").iterdir())
    answer = officer.post(API, json={"reason": "test", **wrong})
    assert answer.status_code == 400 and answer.json()["error"]["code"] in ("GOV-804", "GOV-613"), answer.text
    assert sorted((home.path / "reports").iterdir()) == kept
    assert len(traces(home)) - before <= (
        "as_of" in wrong or (wrong["kind"] == "gdpr-art30" and "period" in wrong)
    )


def test_who_may_not_audit_gets_nothing(service: Callable[..., TestClient], made: dict[str, Any]) -> None:
    reader = service("read")
    for path in ("", "/kinds", f"/{made['name']}", f"/{made['name']}/files/report.html"):
        assert reader.get(f"{API}{path}").status_code == 403, path
    assert reader.post(API, json={"kind": "gdpr-art30", "reason": "x"}).status_code == 403
    assert reader.post(f"{API}/verify", content=b"PK").status_code == 403
    for path in (
        "/pages/reports",
        f"/pages/reports/{made['name']}",
        f"/pages/reports/{made['name']}/report.html",
    ):
        assert reader.get(path).status_code == 403, path
    assert "/pages/reports" not in reader.get("/pages/").text
    assert "/pages/reports" in service("read", "audit").get("/pages/").text


@pytest.fixture(scope="module")
def subject(home: Home) -> str:
    return str(next(iter(german_subjects(home))))


def test_what_is_for_one_person_needs_rights_a_reason_and_leaves_a_trace_at_each_view(
    service: Callable[..., TestClient], home: Home, subject: str
) -> None:
    wanted = {"kind": "gdpr-art15", "reason": "DSR-7", "subject": subject, "domain": "customer"}
    assert service("read", "audit").post(API, json=wanted).json()["error"]["code"] == "GOV-611"
    officer = service("read", "audit", "rights")
    for stranger in ({"subject": "nobody@example.com"}, {"domain": "nothing"}, {"domain": "a\x00/../b"}):
        assert officer.post(API, json=wanted | stranger).status_code in (400, 404), stranger
    accounting = {**wanted, "kind": "hipaa-528-individual", "asked": {"request": "no such request"}}
    assert officer.post(API, json=accounting).status_code == 400
    answer = officer.post(API, json=wanted)
    assert answer.status_code == 201, answer.text
    report = answer.json()
    assert (report["audience"], report["for_one_subject"], report["asked"]) == ("subject", True, {})
    trace = traces(home)[-1]
    record = json.loads((home.path / "reports" / report["name"] / "report.json").read_bytes())
    assert trace["what"]["pseudonym"] == record["asked"]["subject"] and trace["reason"] == "DSR-7"
    assert subject not in json.dumps(trace)

    page = f"/pages/reports/{report['name']}"
    before = len(traces(home))
    for path in (f"{API}/{report['name']}/files/report.json", f"{page}/report.html"):
        assert officer.get(path).status_code == 400
        assert officer.get(path, params={"reason": "DSR-7"}).status_code == 200
    assert len(traces(home)) == before + 2
    assert "Why you read it" in officer.get(page).text and "<iframe" not in officer.get(page).text
    assert "<iframe" in officer.get(page, params={"reason": "DSR-7"}).text
    bundle = officer.get(f"{API}/{report['name']}/files/report.zip", params={"reason": "send"}).content
    verdict = verify_bundle(bundle, home.workspace().vkey)
    assert verdict.ok and verdict.audience == "subject" and verdict.bodies_withheld

    auditor = service("read", "audit")
    assert report["name"] not in auditor.get(API).text + auditor.get("/pages/reports").text
    for path in (f"{API}/{report['name']}", page, f"{page}/report.html"):
        assert auditor.get(path, params={"reason": "curious"}).status_code == 403, path


def bundle(auditor: TestClient, made: dict[str, Any]) -> bytes:
    return auditor.get(f"{API}/{made['name']}/files/report.zip", params={"reason": "test"}).content


def test_a_bundle_is_verified_under_this_services_key_or_anothers(
    auditor: TestClient, home: Home, made: dict[str, Any]
) -> None:
    data = bundle(auditor, made)
    verdict = auditor.post(f"{API}/verify", content=data).json()
    assert verdict["ok"] and verdict["key"] == home.workspace().vkey and verdict["audience"] == "internal"
    altered = data.replace(b"Meridian", b"Meridiam", 1)
    assert altered != data
    assert auditor.post(f"{API}/verify", content=altered).json()["code"] == "GOV-802"
    other = "other.example/log+c94e5d20+AfVcFG+uVOYtTVLZR1B9rUeyXe8FIGA+7hN9v4lGkD9X"
    answer = auditor.post(f"{API}/verify", params={"key": other}, content=data)
    assert answer.status_code in (200, 400) and not answer.json().get("ok")
    assert (
        auditor.post(f"{API}/verify", params={"key": "x"}, content=data).json()["error"]["code"] == "GOV-506"
    )


def test_what_is_no_bundle_or_a_bomb_is_refused(auditor: TestClient) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record.json", bytes(50 << 20))
    for junk in (b"", b"PK\x03\x04", b"nothing", bomb.getvalue(), bytes(1000)):
        answer = auditor.post(f"{API}/verify", content=junk)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GOV-801"), junk[:20]
    assert auditor.post(f"{API}/verify", content=bytes((64 << 20) + 1)).status_code == 413
    gzipped = {"content-encoding": "gzip"}
    assert (
        auditor.post(
            f"{API}/verify", content=gzip.compress(bytes((64 << 20) + 1)), headers=gzipped
        ).status_code
        == 413
    )
    assert auditor.post(API, content=b"{" + b" " * (64 << 10)).status_code == 413


def test_the_pages_lead_from_the_list_to_the_verdict(auditor: TestClient, home: Home) -> None:
    listed = auditor.get("/pages/reports").text
    for kind in PLAIN:
        assert f"/pages/reports/new?kind={kind}" in listed
    assert "gdpr-art15" not in listed
    form = auditor.get("/pages/reports/new", params={"kind": "breach"}).text
    for field in (
        "asked.dataset",
        "asked.key",
        "asked.discovered",
        "period",
        "as_of",
        "audience",
        "language",
        "reason",
    ):
        assert f'name="{field}"' in form, field
    said = {"kind": "breach", "asked.dataset": "customer_profiles", "asked.key": "", "period": "", "as_of": "",
            "audience": "regulator", "language": "de", "forms": ["csv"], "reason": "drill"}  # fmt: skip
    answer = auditor.post("/pages/reports", data=said)
    assert answer.status_code == 303, answer.text
    page = auditor.get(answer.headers["location"])
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    frame = re.search(r'<iframe class="report" title="[^"]+" sandbox="" src="([^"]+)"', page.text)
    assert frame is not None
    shown = auditor.get(frame[1])
    assert "Breach assessment" in shown.text and "customer_profiles" in shown.text
    policy = shown.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
    assert shown.headers["content-disposition"] == "inline"
    taken = auditor.get(f"{frame[1].rpartition('/')[0]}/report.zip", params={"reason": "to verify"})
    assert taken.headers["content-disposition"].startswith('attachment; filename="breach-regulator-')
    upload = {"bundle": ("breach.zip", taken.content, "application/zip")}
    verdict = auditor.post("/pages/reports/verify", files=upload, data={"key": "", "checkpoint": ""}).text
    assert (
        "Verified" in verdict
        and "regulator" in verdict
        and home.workspace().vkey.replace("+", "+") in verdict
    )
    older = home.workspace().log.storage.checkpoints()
    checked = auditor.post("/pages/reports/verify", files=upload, data={"checkpoint": next(iter(older))}).text
    assert "The log extends the older checkpoint" in checked or "own" in checked


def test_a_store_without_its_home_makes_nothing_and_verifies(
    auditor: TestClient, home: Home, made: dict[str, Any], tmp_path: Path
) -> None:
    from governance.log import Log, open_storage

    data = bundle(auditor, made)
    storage = open_storage(str(tmp_path / "store"), create=True, origin="governance.example/other")
    served = ServedStore(
        Log(storage, signer=None, clock=lambda: datetime.now(UTC)), clock=lambda: datetime.now(UTC)
    )
    token = create_token(
        served.log, name="a", scopes=("read", "audit"), namespaces=None, expires_at=None, principal="admin:t"
    )
    served.fresh()
    with TestClient(build_app(served)) as client:
        client.headers["authorization"] = f"Bearer {token}"
        assert client.get(API).status_code == 404
        assert "makes and keeps no reports" in client.get("/pages/reports").text
        assert client.post(f"{API}/verify", content=data).json()["code"] == "GOV-803"
        assert client.post(f"{API}/verify", params={"key": home.workspace().vkey}, content=data).json()["ok"]
