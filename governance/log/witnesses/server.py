"""Serves a witness over HTTP. Standard library only: a witness is worth what little there is to trust in it.

It speaks HTTP/1.1 with keep-alive and no TLS; put a proxy before it, or bind it to a private network.
"""

from __future__ import annotations

import logging
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from governance.errors import LogError
from governance.log.witnesses.witness import MAX_REQUEST, Answer, Witness

_PATH = "/add-checkpoint"
_IDLE_S = 30.0
_log = logging.getLogger(__name__)


class WitnessServer(ThreadingHTTPServer):
    """Listens at once; ``serve_forever`` answers. ``port`` 0 takes a free one."""

    daemon_threads = True

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        self.witness = witness
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """The submission prefix."""
        host = str(self.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "governance-witness"
    sys_version = ""
    timeout = _IDLE_S
    server: WitnessServer

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or int(length) > MAX_REQUEST:
            # What follows is not read, so the connection cannot be used again.
            self.close_connection = True
            self._answer(
                Answer(413 if length.isdecimal() else 411, "a Content-Length is needed, up to 64 KiB\n")
            )
            return
        body = self.rfile.read(int(length))
        if self.path != _PATH:
            self._answer(Answer(404, f"POST {_PATH}\n"))
            return
        try:
            answer = self.server.witness.add_checkpoint(body)
        except LogError as error:
            _log.error("%s %s", error.code, error.message)
            answer = Answer(500, f"{error.code}\n")
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as http.server has it)
        _log.info("%s", format % args)
