"""Asking the key broker over HTTPS: bounded in time and size, to one host, never in the clear over a network."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import urllib.parse
from pathlib import Path
from typing import Any

from governance.errors import ProtectionError, SettingError

SCHEME = "broker+"
_PATH = "/api/v1/keys"
_LARGEST = 1 << 20
_TIMEOUT_S = 20.0
_AGAIN_S = 0.2
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class BrokerService:
    """The broker that a URL names.

    Args:
        url: ``broker+https://HOST[:PORT][/ROOT]``; ``broker+http:`` for this machine only. Certificates are
            checked against the system's authorities, or those of ``SSL_CERT_FILE``.
        token_file: holds the workload's token; read at each request, because the platform replaces it.

    Raises:
        SettingError: GOV-901 for another URL, or without a token file.
    """

    def __init__(self, url: str, token_file: Path | None) -> None:
        parts = urllib.parse.urlsplit(url.removeprefix(SCHEME))
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        secure = parts.scheme == "https"
        named = url.startswith(SCHEME) and host and not (parts.username or parts.query or parts.fragment)
        if not named or not (secure or (parts.scheme == "http" and host in _LOOPBACK)):
            raise SettingError(
                "GOV-901",
                "GOVERNANCE_KEYS does not name a key broker",
                "write broker+https://HOST:PORT; broker+http:// is for a broker on this machine only",
            )
        if token_file is None:
            raise SettingError(
                "GOV-901",
                "GOVERNANCE_KEYS_TOKEN_FILE is missing",
                "name the file with this workload's token, e.g. where Kubernetes projects its service account's",
            )
        self._host, self._port, self._root = str(host), port, parts.path.rstrip("/")
        self._token_file = token_file
        self._tls = ssl.create_default_context() if secure else None

    def ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One question and its answer. What fails to arrive is sent a second time: that does no harm.

        Raises:
            ProtectionError: GOV-310 when the broker refuses, GOV-311 when it does not answer.
        """
        try:
            return self._ask(method, path, body)
        except ProtectionError as fault:
            if fault.code != "GOV-311":
                raise
        time.sleep(_AGAIN_S)
        return self._ask(method, path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            token = self._token_file.read_text("ascii").strip()
        except (OSError, ValueError) as fault:
            raise SettingError(
                "GOV-901",
                f"the workload's token cannot be read: {type(fault).__name__}",
                "check the file that GOVERNANCE_KEYS_TOKEN_FILE names and who may read it",
            ) from None
        headers = {"Authorization": f"Bearer {token}", "Connection": "close", "Accept": "application/json"}
        sent = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            sent = json.dumps(body).encode()
        try:
            connection = self._connection()
            try:
                connection.request(method, f"{self._root}{_PATH}{path}", sent, headers)
                response = connection.getresponse()
                status, answer = response.status, response.read(_LARGEST + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as fault:
            raise _down(_reason(fault)) from None
        if len(answer) > _LARGEST:
            raise _down("its answer is too long")
        return _understood(status, answer)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        return http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._tls)


def _understood(status: int, answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer) if answer else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _down(f"HTTP {status} without a JSON object")
    if 200 <= status < 300:
        return document
    said = document.get("error")
    error = said if isinstance(said, dict) else {}
    message = f"{error.get('code', f'HTTP {status}')} {error.get('message', '')}".strip()[:500]
    if status >= 500:
        raise _down(message)
    gone = error.get("code") == "GOV-303"
    raise ProtectionError(
        "GOV-303" if gone else "GOV-310",
        str(error.get("message", ""))[:500] if gone else f"the key broker refuses: {message}",
        str(error.get("remedy") or "see the broker's log for the refusal")[:500],
    )


def _down(why: str) -> ProtectionError:
    return ProtectionError(
        "GOV-311",
        f"the key broker does not answer: {why}",
        "check GOVERNANCE_KEYS and that the broker and its log are up, then run again; nothing was released",
    )


def _reason(fault: Exception) -> str:
    if isinstance(fault, socket.gaierror):
        return "its host name is not known"
    if isinstance(fault, ssl.SSLError):
        return f"TLS failed: {fault.reason or type(fault).__name__}"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return type(fault).__name__
