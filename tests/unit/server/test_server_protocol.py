"""Small events over real sockets, past ASGI: answered as the others are, however their bytes arrive."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

import pytest
import uvicorn

from governance.errors import LogError
from governance.server.app import LineageApp, build_app
from governance.server.protocol import Protocol
from governance.server.served import ServedStore

EVENT = b'{"run":{"runId":"%d"},"job":{"namespace":"n","name":"j"}}'


@dataclass
class Listening:
    """A server in this process."""

    port: int
    app: LineageApp
    token: str

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def request(self, body: bytes, *more: str, token: str | None = None, version: str = "1.1") -> bytes:
        lines = (
            f"POST /api/v1/lineage HTTP/{version}",
            "host: h",
            f"authorization: Bearer {token or self.token}",
            f"content-length: {len(body)}",
            *more,
        )
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


@pytest.fixture
def listening(served: ServedStore, token: Callable[..., str]) -> Iterator[Listening]:
    app = build_app(served)
    assert isinstance(app, LineageApp)
    config = uvicorn.Config(app, port=0, http=Protocol, loop="uvloop", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Listening(server.servers[0].sockets[0].getsockname()[1], app, token("ingest"))
    server.should_exit = True
    thread.join()
    served.close()


def answer(peer: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = HTTPResponse(peer)
    response.begin()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def stored(served: ServedStore) -> list[bytes]:
    return [e.body or b"" for e in served.log.entries() if b"governance.token" not in e.leaf]


def test_events_are_taken_however_they_arrive(listening: Listening, served: ServedStore) -> None:
    """One by one, byte by byte, many sent before the first is answered; in order, each once."""
    with listening.connect() as peer:
        peer.sendall(listening.request(EVENT % 1))
        status, headers, body = answer(peer)
        assert (status, headers["content-length"], body) == (201, "0", b"")
        assert "date" in headers
        for octet in listening.request(EVENT % 2):
            peer.sendall(bytes([octet]))
        assert answer(peer)[0] == 201
        # What is compressed or asks first goes the long way, and comes back.
        packed = gzip.compress(EVENT % 3)
        peer.sendall(listening.request(packed, "content-encoding: gzip"))
        assert answer(peer)[0] == 201
        peer.sendall(listening.request(EVENT % 4, "expect: 100-continue"))
        assert peer.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert answer(peer)[0] == 201
    with listening.connect() as peer:
        peer.sendall(b"".join(listening.request(EVENT % number) for number in range(5, 25)))
        received = b""
        while received.count(b"HTTP/1.1 201 Created\r\n") < 20:
            received += peer.recv(65_536)
        assert received.count(b"HTTP/1.1 ") == 20
    assert stored(served) == [EVENT % number for number in range(1, 25)]
    assert listening.app.ingest.counts.events == 24
    assert listening.app.ingest.counts.answers == {201: 24}


def test_a_connection_ends_where_its_client_says_so(listening: Listening) -> None:
    for request in (
        listening.request(EVENT % 1, "connection: close"),
        listening.request(EVENT % 1, version="1.0"),
    ):
        with listening.connect() as peer:
            peer.sendall(request)
            status, headers, _ = answer(peer)
            assert (status, headers.get("connection")) == (201, "close")
            assert peer.recv(1) == b""


def test_refusals_are_those_of_the_long_way(listening: Listening, token: Callable[..., str]) -> None:
    def same(request: Callable[..., bytes]) -> tuple[int, str]:
        """Status and code, once past ASGI and once through it."""
        seen = []
        with listening.connect() as peer:
            for more in ((), ("content-encoding: identity",)):
                peer.sendall(request(*more))
                status, headers, body = answer(peer)
                assert headers["content-type"] == "application/json"
                seen.append((status, headers.get("www-authenticate"), json.loads(body)))
        assert seen[0] == seen[1]
        return seen[0][0], seen[0][2]["error"]["code"]

    reading, other = token("read"), token("ingest", namespaces=["other"])
    assert same(lambda *more: listening.request(b"{", *more)) == (400, "GOV-508")
    assert same(lambda *more: listening.request(b"", *more)) == (400, "GOV-508")
    assert same(lambda *more: listening.request(EVENT % 1, *more, token="gov_no")) == (401, "GOV-610")
    assert same(lambda *more: listening.request(EVENT % 1, *more, token=reading)) == (403, "GOV-611")
    assert same(lambda *more: listening.request(EVENT % 1, *more, token=other)) == (403, "GOV-611")


def test_nothing_is_answered_before_it_is_durable_and_faults_are_told(
    listening: Listening, served: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Future[list[int]]] = []

    def hold(_entries: Any, **_: Any) -> Future[list[int]]:
        held.append(Future())
        return held[-1]

    def overloaded(_entries: Any, **_: Any) -> Any:
        raise LogError("GOV-510", "the lineage store is overloaded", "wait")

    def wait_for_held(number: int) -> Future[list[int]]:
        for _ in range(400):
            if len(held) == number:
                return held[-1]
            time.sleep(0.01)
        raise AssertionError("it was not submitted")

    monkeypatch.setattr(served.group, "submit", hold)
    with listening.connect() as peer:
        peer.sendall(listening.request(EVENT % 1))
        waiting = wait_for_held(1)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(30)
        waiting.set_exception(LogError("GOV-501", "away", "wait"))
        status, headers, body = answer(peer)
        assert (status, headers["retry-after"], json.loads(body)["error"]["code"]) == (503, "1", "GOV-501")
        peer.sendall(listening.request(EVENT % 1))
        wait_for_held(2).set_exception(ValueError("5ecret"))
        status, _, body = answer(peer)
        assert (status, json.loads(body)["error"]["code"], b"5ecret" in body) == (500, "GOV-999", False)
        monkeypatch.setattr(served.group, "submit", overloaded)
        peer.sendall(listening.request(EVENT % 1))
        assert answer(peer)[0] == 503
    # A client that went away is not written to; the next is served.
    monkeypatch.setattr(served.group, "submit", hold)
    with listening.connect() as peer:
        peer.sendall(listening.request(EVENT % 1))
        gone = wait_for_held(3)
    monkeypatch.undo()
    with listening.connect() as peer:
        peer.sendall(listening.request(EVENT % 2))
        assert answer(peer)[0] == 201
        gone.set_result([0])
        peer.sendall(listening.request(EVENT % 3))
        assert answer(peer)[0] == 201
