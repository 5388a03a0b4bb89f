"""Health, metrics, the index that follows, and what an unexpected fault shows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from governance.errors import LogError
from governance.lineage.index.index import Index
from governance.log import Log, NewEntry, open_storage
from governance.pipeline.workspace import now
from governance.server.app import build_app
from governance.server.served import ServedStore
from governance.server.tokens import create_token

EVENT = b'{"run":{"runId":"%d"},"job":{"namespace":"n","name":"j"}}'
MEDIA_TYPE = "application/vnd.openlineage.event+json"


def wait_until(holds: Callable[[], bool], attempts: int = 400) -> None:
    for _ in range(attempts):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def metric(client: TestClient, name: str) -> float:
    text = client.get("/metrics").text
    return float(next(line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name} ")))


def test_metrics_count_what_happened(client: TestClient, served: ServedStore) -> None:
    before = metric(client, "governance_events_total")
    client.post("/api/v1/lineage", content=EVENT % 1)
    client.post("/api/v1/lineage/batch", content=b"[%s,1]" % (EVENT % 2))
    client.post("/api/v1/lineage", content=b"{")
    assert metric(client, "governance_events_total") == before + 2
    assert metric(client, 'governance_ingest_answers_total{status="400"}') == 1
    assert metric(client, "governance_ingest_seconds_count") == 3
    assert metric(client, 'governance_ingest_seconds_bucket{le="+Inf"}') == 3
    assert metric(client, "governance_store_up") == 1
    assert metric(client, "governance_tokens") == len(served.tokens)
    wait_until(lambda: metric(client, "governance_index_lag_entries") == 0)


def test_metrics_need_a_token(client: TestClient, token: Callable[..., str]) -> None:
    assert client.get("/metrics", headers={"authorization": ""}).status_code == 401
    assert client.get("/metrics", headers={"authorization": f"Bearer {token('ingest')}"}).status_code == 403


def test_the_index_and_the_findings_follow_by_themselves(client: TestClient, served: ServedStore) -> None:
    """More than one slice, from another writer of the log, with nobody asking."""
    served.log.append([NewEntry(EVENT % n, MEDIA_TYPE, "ingest:other") for n in range(2_500)])
    size = served.log.size()
    wait_until(lambda: served.index.size == size)
    wait_until(lambda: served.conformance.size == size)


def test_a_store_that_does_not_answer_shows_in_health_and_recovers(
    client: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> int:
        raise LogError("GOV-501", "away", "wait")

    assert client.get("/healthz").json() == {"status": "ok"}
    with monkeypatch.context() as during:
        during.setattr(served.log.storage, "size", away)
        wait_until(lambda: client.get("/healthz").status_code == 503)
        assert client.get("/healthz", headers={"authorization": ""}).json() == {"status": "GOV-501"}
        answer = client.get("/api/v1/audit/evidence")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    wait_until(lambda: client.get("/healthz").status_code == 200)


def test_an_index_that_fails_does_not_stop_ingest(
    client: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> int:
        raise ValueError("quotes 5ecret data")

    monkeypatch.setattr(served.index, "catch_up", fails)
    assert client.post("/api/v1/lineage", content=EVENT % 1).status_code == 201
    wait_until(lambda: "the index is behind: unexpected ValueError" in caplog.text)
    assert client.get("/api/v1/namespaces").status_code == 500
    assert "5ecret" not in caplog.text


def test_an_unexpected_fault_shows_its_place_and_no_text(
    client: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> int:
        raise ValueError("quotes 5ecret data")

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(served.group, "submit", fails)
    monkeypatch.setattr(served, "fresh", fails)
    for answer in (
        client.post("/api/v1/lineage", content=EVENT % 1),
        client.post("/api/v1/lineage/batch", content=b"[%s]" % (EVENT % 1)),
        client.get("/api/v1/audit/evidence"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "GOV-999")
        assert "5ecret" not in answer.text
    assert "unexpected ValueError at " in caplog.text
    assert "5ecret" not in caplog.text


def test_what_is_not_there_is_said_as_json(client: TestClient) -> None:
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "GOV-612")
    answer = client.put("/api/v1/audit/log")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "GOV-617")
    assert answer.headers["allow"] == "GET"


def test_the_index_is_kept_between_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(**options: Any) -> ServedStore:
        log = Log(open_storage(str(tmp_path / "store"), create=True), signer=None, clock=now)
        return ServedStore(log, clock=now, snapshots=tmp_path / "index", **options)

    first = opened(snapshot_every=0.05)
    first.log.append([NewEntry(EVENT % n, MEDIA_TYPE, "ingest:x") for n in range(3)])
    made = create_token(
        first.log, name="x", scopes=["read"], namespaces=None, expires_at=None, principal="admin:x"
    )
    wait_until(lambda: (tmp_path / "index" / "manifest.json").exists())
    first.log.append([NewEntry(EVENT % 9, MEDIA_TYPE, "ingest:x")])
    first.fresh()
    first.close()
    monkeypatch.setattr("governance.server.served.Index", lambda *_, **__: pytest.fail("it was built"))
    second = opened()
    assert second.index.size == 5
    assert len(second.index.runs()) == 4
    assert second.tokens.caller(made) is not None
    second.close()


def test_a_long_log_is_read_behind_the_back_of_a_server_that_takes_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(open_storage(str(tmp_path / "store"), create=True), signer=None, clock=now)
    log.append([NewEntry(EVENT % n, MEDIA_TYPE, "ingest:x") for n in range(50)])
    made = create_token(
        log, name="x", scopes=["ingest", "read"], namespaces=None, expires_at=None, principal="admin:x"
    )
    may_read, catch_up = threading.Event(), Index.catch_up

    def slow(index: Index, *arguments: Any) -> int:
        assert may_read.wait(30)
        return catch_up(index, *arguments)

    monkeypatch.setattr("governance.server.served._AHEAD", 10)
    monkeypatch.setattr("governance.server.served._BUILD_SLICE", 7)
    monkeypatch.setattr(Index, "catch_up", slow)
    served = ServedStore(log, clock=now, warm=True)
    with TestClient(build_app(served)) as client:
        client.headers["authorization"] = f"Bearer {made}"
        assert client.post("/api/v1/lineage", content=EVENT % 99).status_code == 201
        assert client.get("/pages/?q=j").status_code == 503
        for path in ("/api/v1/jobs", "/api/v1/search?q=j", "/api/v1/lineage?nodeId=job:n:j"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), path
        assert client.get("/api/v1/jobs").json()["error"]["code"] == "GOV-525"
        assert client.get("/healthz").json() == {"status": "ok", "index": "catching up"}
        assert metric(client, "governance_index_lag_entries") > 50
        may_read.set()
        wait_until(lambda: not served.building)
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/api/v1/jobs").json()["totalCount"] == 1
        assert served.index.size == log.size() == 52


def test_the_graph_and_the_present_are_read_ahead(tmp_path: Path) -> None:
    log = Log(open_storage(str(tmp_path / "store"), create=True), signer=None, clock=now)
    served = ServedStore(log, clock=now, warm=True)
    log.append([NewEntry(EVENT % 1, MEDIA_TYPE, "ingest:x")])
    wait_until(lambda: served._graph is not None and served._graph.size == log.size())
    wait_until(lambda: served._current is not None and served._current.size == log.size())
    served.close()
