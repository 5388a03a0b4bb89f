"""One HTTP POST with a bound on everything: time, size, redirects. For witnesses and timestamp authorities."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.parse
from dataclasses import dataclass

_MAX_ANSWER = 1 << 18


@dataclass(frozen=True, slots=True)
class Posted:
    """An answer: its status, media type without parameters, and body."""

    status: int
    content_type: str
    body: bytes


class Unreachable(Exception):
    """There was no complete answer in time. Its text says why."""


def post(url: str, body: bytes, content_type: str, timeout: float) -> Posted:
    """POST ``body`` to an http: or https: URL and wait at most ``timeout`` seconds for the whole answer.

    Redirects are not followed and proxies not asked.

    Raises:
        Unreachable: there was none in time, or one longer than 256 KiB.
    """
    answers: list[Posted | Unreachable] = []

    def ask() -> None:
        try:
            answers.append(_ask(url, body, content_type, timeout))
        except (OSError, http.client.HTTPException, ValueError, UnicodeError) as fault:
            answers.append(Unreachable(_reason(fault)))
        except Unreachable as fault:
            answers.append(fault)

    # A socket's timeout bounds one read, not a name look-up nor an answer that trickles in. A thread that is
    # left behind ends at its next timeout and, as a daemon, keeps no process alive.
    thread = threading.Thread(target=ask, name="governance-post", daemon=True)
    thread.start()
    thread.join(timeout)
    if not answers:
        raise Unreachable(f"no answer within {timeout:g} seconds")
    [answer] = answers
    if isinstance(answer, Unreachable):
        raise answer
    return answer


def _ask(url: str, body: bytes, content_type: str, timeout: float) -> Posted:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable("it is not an http: or https: URL")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": content_type, "Connection": "close"})
        response = connection.getresponse()
        answer = response.read(_MAX_ANSWER + 1)
        if len(answer) > _MAX_ANSWER:
            raise Unreachable("the answer is too long")
        return Posted(response.status, response.headers.get_content_type(), answer)
    finally:
        connection.close()


def _reason(fault: Exception) -> str:
    if isinstance(fault, socket.gaierror):
        return "its host name is not known"
    if isinstance(fault, ssl.SSLError):
        return f"TLS failed: {fault.reason or type(fault).__name__}"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return type(fault).__name__
