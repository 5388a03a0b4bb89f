"""An HTTP server that answers as a subclass says, and misbehaves when told to."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]


class Misbehaving:
    """What is to go wrong next; shared by servers of every protocol."""

    def __init__(self) -> None:
        self.failures = 0
        self.status = 429
        self.garbage = False
        self.refused = False
        self.asked = 0
        self.stalled = threading.Event()
        self.stalled.set()

    def stall(self) -> None:
        """Keep every caller waiting until :meth:`behave`."""
        self.stalled.clear()

    def behave(self) -> None:
        self.failures, self.garbage, self.refused, self.asked = 0, False, False, 0
        self.stalled.set()

    def fails(self) -> bool:
        """Count a request, wait while stalled, and say whether this one is to fail."""
        self.asked += 1
        self.stalled.wait(20)
        self.failures -= 1
        return self.failures >= 0


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate: Path | None = None) -> None:
        self.faults = Misbehaving()
        self.lock = threading.RLock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        """The status, and a JSON value or raw bytes."""
        raise NotImplementedError

    def challenge(self) -> dict[str, str]:
        """Headers of an answer 401."""
        return {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up closes its connection; that is what some tests are about."""

    def stop(self) -> None:
        self.faults.behave()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpServer

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        faults = self.server.faults
        if faults.fails():
            status, answer = faults.status, {"errors": ["slow down"]}
        elif faults.garbage:
            status, answer = 200, b"<html>welcome</html>"
        else:
            with self.server.lock:
                status, answer = self.server.answer(self.command, self.path, self.headers, body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if status != 204 else 0))
        self.send_header("Content-Type", "application/json")
        if status in (429, 503):
            self.send_header("Retry-After", "0")
        for name, value in (self.server.challenge() if status == 401 else {}).items():
            self.send_header(name, value)
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = do_LIST = _respond  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
