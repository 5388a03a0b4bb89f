"""Events, destinations that misbehave, and a consumer over HTTP that misbehaves when told to."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from governance.lineage.emission.destination import Outcome, Refusal, Unavailable
from governance.lineage.emission.framing import Event

RUN = "01a20b6a-c323-7f68-b456-23cd917a82a4"


def run_event(name: str = "job", state: RunState = RunState.START) -> RunEvent:
    return RunEvent(
        eventType=state,
        eventTime="2026-11-24T10:00:00Z",
        run=Run(RUN),
        job=Job("ns", name),
        producer="https://example.org/p",
    )


def name_in(body: bytes) -> str:
    return str(json.loads(body)["job"]["name"])


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds; fail when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class Sink:
    """A destination in memory. ``down`` refuses all, ``gate`` holds up, ``refuse`` and ``defer`` by body."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.principals: list[str] = []
        self.down = False
        self.attempts = 0
        self.gate = threading.Event()
        self.gate.set()
        self.refuse: Callable[[bytes], str | None] = lambda _: None
        self.defer: Callable[[bytes], bool] = lambda _: False

    def send(self, events: Sequence[Event]) -> Outcome:
        self.attempts += 1
        self.gate.wait(60)
        if self.down:
            raise Unavailable("GOV-527", "down", "wait")
        outcome = Outcome()
        for position, event in enumerate(events):
            if (code := self.refuse(event.body)) is not None:
                outcome.refused.append(Refusal(position, code, "because"))
            elif self.defer(event.body):
                outcome.again.append(position)
            else:
                self.bodies.append(event.body)
                self.principals.append(event.principal)
        return outcome

    def names(self) -> list[str]:
        return [name_in(body) for body in self.bodies]


Answer = tuple[int, dict[str, str], bytes]


class Consumer:
    """A consumer over real HTTP. Each entry of ``script`` decides one request, then ``default`` does.

    An entry is a status, a whole answer, or a name: ``hang``, ``reset``, ``garbage``, ``drip``.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.script: list[int | Answer | str] = []
        self.default: int | Answer | str = 201
        self.batches = True
        self.refuse: Callable[[bytes], int | None] = lambda _: None
        self.taken: list[bytes] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()

    def names(self) -> list[str]:
        return [name_in(body) for body in self.taken]

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def handle(self, path: str, body: bytes) -> Answer | str:
        told = self.script.pop(0) if self.script else self.default
        if isinstance(told, str):
            return told
        if isinstance(told, tuple):
            return told
        if told >= 300:
            return told, {}, b"no"
        if path.endswith("/batch"):
            return self._batch(body)
        if (status := self.refuse(body)) is not None:
            return status, {}, b"refused alone"
        self.taken.append(body)
        return told, {}, b""

    def _batch(self, body: bytes) -> Answer:
        if not self.batches:
            return 404, {}, b""
        events = [json.dumps(e, sort_keys=True).encode() for e in json.loads(body)]
        failed = []
        for index, event in enumerate(events):
            status = self.refuse(event)
            if status is None:
                self.taken.append(event)
            else:
                failed.append({"index": index, "reason": "refused", "retriable": status >= 500})
        if not failed:
            return 204, {}, b""
        answer = {
            "status": "partial_success",
            "summary": {
                "received": len(events),
                "successful": len(events) - len(failed),
                "failed": len(failed),
            },
            "failed_events": failed,
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


@contextmanager
def consumer() -> Iterator[Consumer]:
    """A consumer that listens on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            made.requests.append((self.path, dict(self.headers)))
            answer = made.handle(self.path, body)
            if isinstance(answer, str):
                self.misbehave(answer)
                return
            status, headers, content = answer
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def misbehave(self, how: str) -> None:
            self.close_connection = True
            if how == "hang":
                made.released.wait(60)
            elif how == "garbage":
                self.wfile.write(b"\x00\xff not HTTP\r\n\r\n")
            elif how == "drip":
                self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
                while not made.released.wait(0.02):
                    self.wfile.write(b" ")
                    self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    made = Consumer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
