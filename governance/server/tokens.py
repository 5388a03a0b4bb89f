"""Bearer tokens: made once, shown once, kept as leaves of the log.

A token is ``gov_<id>_<secret>``: 16 hexadecimal digits and 43 characters of base64url, 256 random bits. The
log holds SHA-256 of the secret, never the secret, so who was let in, by whom and until when is as
tamper-evident as everything else, on either storage. A secret of 256 bits needs no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from governance.errors import AccessError
from governance.lineage.index import Index
from governance.log import Log, NewEntry
from governance.model.canonical import canonical, timestamp
from governance.model.principal import SCOPES

TOKEN = "application/vnd.governance.token+json"  # noqa: S105 - a media type
TOKEN_REVOCATION = "application/vnd.governance.token-revocation+json"  # noqa: S105 - a media type

_TOKEN = re.compile(r"gov_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``namespaces`` are exact names or prefixes that end in ``*``; None means all."""

    name: str
    token_id: str
    scopes: frozenset[str]
    namespaces: tuple[str, ...] | None = None

    def principal(self, scope: str) -> str:
        """The principal of what this caller does under ``scope``."""
        return f"{scope}:{self.name}"

    def sees(self, namespace: str) -> bool:
        """Whether a namespace is within what the token was given."""
        return self.namespaces is None or any(
            namespace.startswith(pattern[:-1]) if pattern.endswith("*") else namespace == pattern
            for pattern in self.namespaces
        )


def create_token(
    log: Log,
    *,
    name: str,
    scopes: Iterable[str],
    namespaces: Sequence[str] | None,
    expires_at: datetime | None,
    principal: str,
) -> str:
    """Make a token, put its digest into the log and return it; nobody can show it again.

    Raises:
        AccessError: GOV-613 when the name or a scope is unusable.
        LogError: it was not durably recorded; the token does not exist then.
    """
    chosen = sorted(set(scopes))
    if _NAME.fullmatch(name) is None or not chosen or not SCOPES.issuperset(chosen):
        raise AccessError(
            "GOV-613",
            "a token's name or scopes are unusable",
            f"use a name of lower-case letters, digits, '.', '_', '-' and scopes from {', '.join(sorted(SCOPES))}",
        )
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    record: dict[str, Any] = {
        "v": 1,
        "id": token_id,
        "name": name,
        "digest": _digest(secret),
        "scopes": chosen,
    }
    if namespaces is not None:
        record["namespaces"] = list(namespaces)
    if expires_at is not None:
        record["expires_at"] = timestamp(expires_at)
    log.append([NewEntry(canonical(record), TOKEN, principal)])
    return f"gov_{token_id}_{secret}"


def revoke_token(log: Log, token_id: str, principal: str) -> None:
    """End a token. A server that runs notices within a second."""
    log.append([NewEntry(canonical({"v": 1, "id": token_id}), TOKEN_REVOCATION, principal)])


class TokenBook:
    """The tokens that the index knows, checked without asking it each time."""

    def __init__(self, index: Callable[[], Index], clock: Callable[[], datetime]) -> None:
        self._index = index
        self._clock = clock
        self._size = -1
        self._known: dict[str, dict[str, Any]] = {}

    def caller(self, token: str) -> Caller | None:
        """Whom a token belongs to; None when it is unknown, wrong, revoked or expired."""
        matched = _TOKEN.fullmatch(token)
        if matched is None:
            return None
        index = self._index()
        if index.size != self._size:
            self._read(index)
        record = self._known.get(matched[1])
        if record is None or not hmac.compare_digest(record["digest"], _digest(matched[2])):
            return None
        expires_at = record["expires_at"]
        if expires_at is not None and expires_at.replace(tzinfo=UTC) <= self._clock():
            return None
        namespaces = record["namespaces"]
        return Caller(
            record["name"],
            matched[1],
            frozenset(record["scopes"]),
            None if namespaces is None else tuple(namespaces),
        )

    def _read(self, index: Index) -> None:
        size = index.size
        rows = index.query("FROM tokens WHERE log_index < $as_of ORDER BY log_index", {"as_of": size})
        known: dict[str, dict[str, Any]] = {}
        revoked = {row["token_id"] for row in rows if row["revoked"]}
        for row in rows:
            if not row["revoked"] and row["token_id"] not in revoked:
                known.setdefault(row["token_id"], row)
        self._known, self._size = known, size


def _digest(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
