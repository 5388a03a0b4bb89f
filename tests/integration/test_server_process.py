"""The server as it is run: a process, real clients, kill -9, SIGTERM, a store that goes away."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from governed_home import Home
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, JobEvent, Run, RunEvent, RunState
from openlineage.client.facet_v2 import nominal_time_run
from openlineage.client.transport.async_http import AsyncHttpConfig, AsyncHttpTransport
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpCompression, HttpConfig, HttpTransport
from served_process import Server, bodies, make_token, postgres, power_cut

from governance.log import read_checkpoint

LINEAGE = "/api/v1/lineage"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(str(tmp_path / "store"), tmp_path)
    yield running
    running.close()


def event(run_id: str | None = None) -> dict[str, Any]:
    return {
        "eventType": "START",
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": run_id or str(uuid.uuid4())},
        "job": {"namespace": "shop", "name": "load"},
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def wait_until(holds: Any, attempts: int = 400) -> None:
    for _ in range(attempts):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


@pytest.mark.parametrize("compression", [None, HttpCompression.GZIP])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_official_client_unchanged(
    server: Server, kind: str, compression: HttpCompression | None
) -> None:
    auth = ApiKeyTokenProvider({"apiKey": server.token})
    transport: Any = (
        HttpTransport(HttpConfig(url=server.url, auth=auth, compression=compression))
        if kind == "sync"
        else AsyncHttpTransport(AsyncHttpConfig(url=server.url, auth=auth, compression=compression))
    )
    client = OpenLineageClient(transport=transport)
    runs = [str(uuid.uuid4()) for _ in range(10)]
    facets: Any = {"nominalTime": nominal_time_run.NominalTimeRunFacet("2026-11-24T08:00:00Z")}
    for run in runs:
        for state in (RunState.START, RunState.COMPLETE):
            client.emit(
                RunEvent(
                    eventType=state,
                    eventTime="2026-11-24T08:00:00.000Z",
                    run=Run(run, facets),
                    job=Job("shop", "load"),
                    producer="https://example.com/test",
                )
            )
    client.emit(
        JobEvent(
            eventTime="2026-11-24T08:00:00Z", job=Job("shop", "static"), producer="https://example.com/test"
        )
    )
    assert client.close(30)
    with server.client() as http:
        found = http.get("/api/v1/audit/conformance/entries/1").json()["finding"]
        assert found["faults"] == []
        jobs = {job["name"] for job in http.get("/api/v1/namespaces/shop/jobs").json()["jobs"]}
    assert jobs == {"load", "static"}
    sent = Counter(json.loads(body).get("eventType", "JOB") for body in bodies(server.store))
    assert sent == {"START": 10, "COMPLETE": 10, "JOB": 1}


def load(server: Server, stop: threading.Event, acknowledged: list[str]) -> None:
    """Send single events and batches until stopped; note what was acknowledged; repeat what was not."""
    pending: list[dict[str, Any]] = []
    with server.client() as http:
        while not stop.is_set():
            pending = pending or [event() for _ in range(1 + len(acknowledged) % 5)]
            try:
                path, body = (LINEAGE, pending[0]) if len(pending) == 1 else (f"{LINEAGE}/batch", pending)
                answer = http.post(path, json=body)
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code in (201, 204):
                acknowledged.extend(sent["run"]["runId"] for sent in pending)
                pending = []
            else:
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                time.sleep(0.02)


def under_load(server: Server, disturb: Any, more: int = 100) -> None:
    """Every acknowledged event is there once, whatever ``disturb`` does to the server meanwhile."""
    stop = threading.Event()
    acknowledged: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=load, args=(server, stop, mine)) for mine in acknowledged]
    for thread in threads:
        thread.start()

    def flows(beyond: int) -> bool:
        return sum(map(len, acknowledged)) > beyond

    try:
        wait_until(lambda: flows(more))
        disturb()
        before = sum(map(len, acknowledged))
        wait_until(lambda: flows(before + more))
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    stored = Counter(json.loads(body)["run"]["runId"] for body in bodies(server.store))
    assert set(stored.values()) == {1}
    assert set().union(*acknowledged) <= set(stored)


def test_killed_in_mid_load_nothing_acknowledged_is_lost(server: Server) -> None:
    def disturb() -> None:
        for _ in range(2):
            server.kill()
            server.start()

    under_load(server, disturb)
    with server.client() as http:
        assert http.get("/api/v1/audit/log").json()["size"] == len(bodies(server.store)) + 1


def test_sigterm_drains_and_exits_cleanly(server: Server) -> None:
    exits: list[int] = []

    def disturb() -> None:
        exits.append(server.terminate())
        server.start()

    under_load(server, disturb)
    assert exits == [0]
    said = server.output.read_text()
    assert not any(word in said for word in ("ERROR", "Traceback", "unexpected", "GOV-")), said


def test_an_outage_of_postgres_is_503_and_ends_by_itself(tmp_path: Path) -> None:
    with postgres() as database:
        server = Server(database.get_uri(), tmp_path)
        try:
            with server.client() as http:
                assert http.post(LINEAGE, json=event()).status_code == 201
                power_cut(database)
                answer = http.post(LINEAGE, json=event())
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "GOV-501")
                assert answer.headers["retry-after"] == "1"
                assert http.post(f"{LINEAGE}/batch", json=[event()]).status_code == 503
                assert http.get("/api/v1/audit/log").status_code == 503
                assert http.get("/api/v1/namespaces").status_code == 503
                wait_until(lambda: http.get("/healthz").status_code == 503)
                assert http.get("/metrics").status_code == 200
                database.ensure_postgres_running()
                wait_until(lambda: http.post(LINEAGE, json=event()).status_code == 201)
                wait_until(lambda: http.get("/healthz").status_code == 200)
                assert http.get("/api/v1/namespaces").status_code == 200
            assert len(bodies(server.store)) == 2
        finally:
            server.close()


def test_two_servers_of_one_store_see_each_other(tmp_path: Path) -> None:
    with postgres() as database:
        first = Server(database.get_uri(), tmp_path)
        second = Server(database.get_uri(), tmp_path, token=first.token)
        try:
            with first.client() as one, second.client() as other:
                assert one.post(LINEAGE, json=event()).status_code == 201
                assert other.post(LINEAGE, json=event()).status_code == 201
                assert [
                    len(c.get("/api/v1/namespaces/shop/jobs/load/runs").json()["runs"]) for c in (one, other)
                ] == [2, 2]
                made = one.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"]}).json()
                bearer = {"authorization": f"Bearer {made['token']}"}
                wait_until(lambda: other.get("/metrics", headers=bearer).status_code == 200)
                one.delete(f"/api/v1/tokens/{made['id']}")
                wait_until(lambda: other.get("/metrics", headers=bearer).status_code == 401)
        finally:
            first.close()
            second.close()


def test_with_a_home_checkpoints_are_signed(home: Home, tmp_path: Path) -> None:
    variables = home.settings.environment()
    server = Server(variables["GOVERNANCE_STORE"], tmp_path, "--checkpoint-every", "0.2", home=variables)
    try:
        with server.client() as http:
            assert http.post(LINEAGE, json=event()).status_code == 201
            size = http.get("/api/v1/audit/log").json()["size"]
            wait_until(lambda: http.get("/api/v1/audit/log").json()["signed"] >= size)
            assert read_checkpoint(http.get("/tlog/checkpoint").text).size >= size
            assert http.post(LINEAGE, json=event()).status_code == 201
            assert server.terminate() == 0
    finally:
        server.close()
    # What was acknowledged last is signed on the way out.
    workspace = home.workspace()
    latest = workspace.log.latest()
    assert latest is not None
    assert latest.size == workspace.log.size()


def test_tls_and_a_root_path_behind_a_proxy(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = (
        "--tls-cert",
        str(certificate),
        "--tls-key",
        str(key),
        "--root-path",
        "/lineage",
        "--trusted-proxy",
        "127.0.0.1",
    )
    server = Server(str(tmp_path / "store"), tmp_path, *tls)
    try:
        assert server.url.startswith("https://127.0.0.1:")
        assert server.url.endswith("/lineage")
        origin = server.url.removesuffix("/lineage")
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=origin, headers=server.headers, verify=context, trust_env=False) as http:
            assert http.get("/healthz").json() == {"status": "ok"}
            assert http.post(LINEAGE, json=event()).status_code == 201
            assert http.get("/openapi.json").json()["servers"] == [{"url": "/lineage"}]
    finally:
        server.close()


def test_a_head_without_end_is_cut_off(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(1_000):
                peer.sendall(b"x" * 65_536)
    with server.client() as http:
        assert http.get("/healthz").status_code == 200


def test_nothing_but_health_without_a_token_and_no_query_in_the_output(server: Server) -> None:
    with server.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
        http.get("/api/v1/audit/subjects/5ecret?reason=5ecret")
        http.get("/nowhere?5ecret")
    open_paths = set()
    with httpx.Client(base_url=server.url, trust_env=False) as anybody:
        for path, methods in paths.items():
            for method in methods:
                answer = anybody.request(method, path.replace("{", "").replace("}", ""), content=b"{}")
                # This server is no key broker and says so to anybody.
                if answer.status_code != (404 if path.startswith("/api/v1/keys") else 401):
                    open_paths.add(path)
        assert anybody.get("/openapi.json").status_code == 401
        assert anybody.get("/docs").status_code == 404
    assert open_paths == {"/healthz"}
    assert server.terminate() == 0
    assert "5ecret" not in server.output.read_text()
    assert server.token not in server.output.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--store", "nowhere"], "GOV-501"),
        (["--store", "{store}", "--host", "192.0.2.1"], "GOV-901"),
        (["--store", "{store}", "--port", "{taken}"], "GOV-901"),
        (["--store", "{store}", "--root-path", "x"], "GOV-901"),
        (["--store", "{store}", "--tls-cert", "{junk}"], "GOV-901"),
        (["--store", "{store}", "--tls-cert", "{junk}", "--tls-key", "{junk}"], "GOV-901"),
    ],
)
def test_what_cannot_be_served_is_said_with_a_code(tmp_path: Path, options: list[str], said: str) -> None:
    make_token(str(tmp_path / "store"))
    (tmp_path / "junk").write_text("no key")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"store": tmp_path / "store", "taken": taken.getsockname()[1], "junk": tmp_path / "junk"}
        done = subprocess.run(
            [sys.executable, "-m", "governance.cli", "serve", *(option.format(**values) for option in options)],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
