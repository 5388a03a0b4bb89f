"""HTTP/1.1 as the service speaks it: heads are bounded, and a small event is taken without a task of its own.

Routing a request through ASGI, with a task and an event to wait on, costs about as much as making one durable.
What is not a plain, whole, small `POST /api/v1/lineage` goes that way, and is answered alike.
"""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from governance.server.answers import named_fault, unexpected
from governance.server.app import LineageApp
from governance.server.ingest.ingest import SMALL, Answer, Ingest

_LONGEST_HEAD = 64 << 10
_PATH = b"/api/v1/lineage"
_UNUSUAL = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"})

_log = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    """One connection."""

    _head = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ingest = self.config.app.ingest if isinstance(self.config.app, LineageApp) else None

    def data_received(self, data: bytes) -> None:
        """Close the connection when a request line with its headers is larger than 64 KiB.

        A head is kept before anybody was asked for a token.
        """
        self._head += len(data)
        super().data_received(data)
        if self._head > _LONGEST_HEAD:
            self.transport.close()

    def on_message_begin(self) -> None:
        """The scope is made only for what goes through ASGI."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """The head is over; what follows is a body, which its reader bounds."""
        if self._ingest is not None and self._takes():
            self.cycle = _Taken(self, self._ingest)  # type: ignore[assignment]
        else:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = url, headers, expects
            self.scope["headers"] = headers
            super().on_headers_complete()
        self._head = -(1 << 62)

    def on_message_complete(self) -> None:
        """What follows is the next request."""
        super().on_message_complete()
        self._head = 0

    def _takes(self) -> bool:
        """Whether this is one small event, whole and plain, on a connection where nothing waits."""
        if self.url != _PATH or self.parser.get_method() != b"POST":
            return False
        if (self.cycle is not None and not self.cycle.response_complete) or self.flow.write_paused:
            return False
        size = b""
        for name, value in self.headers:
            if name == b"content-length":
                size = value
            elif name in _UNUSUAL:
                return False
        return size.isdigit() and int(size) <= SMALL and self.parser.get_http_version() == "1.1"


class _Taken:
    """A request being taken, in the place of uvicorn's own cycle, whose members the protocol uses."""

    def __init__(self, protocol: Protocol, ingest: Ingest) -> None:
        self._protocol = protocol
        self._ingest = ingest
        self._headers = protocol.headers
        self.body = bytearray()
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = protocol.parser.should_keep_alive()
        self.message_event = self

    def set(self) -> None:
        """Something came: a part of the body, its end, or the end of the connection."""
        if self.more_body or self.disconnected:
            return
        self.more_body = True
        try:
            self._ingest.take(self._headers, bytes(self.body), self._answer)
        except Exception as fault:
            _log.error("unexpected %s", named_fault(fault))
            self._answer(unexpected())

    def _answer(self, answer: Answer) -> None:
        protocol = self._protocol
        if self.disconnected or self.response_complete:
            return
        status, headers, body = answer
        content = [STATUS_LINE[status]]
        for name, value in protocol.server_state.default_headers:
            content += (name, b": ", value, b"\r\n")
        for header, text in headers.items():
            content.append(f"{header.lower()}: {text}\r\n".encode("latin-1"))
        if body:
            content.append(b"content-type: application/json\r\n")
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
        content += (b"content-length: %d\r\n\r\n" % len(body), body)
        protocol.transport.write(b"".join(content))
        self.response_complete = True
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()
