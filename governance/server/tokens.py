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
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from governance.errors import AccessError
from governance.lineage.index.index import Index
from governance.lineage.index.token_facts import TOKEN_MEDIA_TYPES, token_row
from governance.log import Log, NewEntry
from governance.model.canonical import canonical, timestamp
from governance.model.principal import SCOPES

TOKEN = "application/vnd.governance.token+json"  # noqa: S105 - a media type
TOKEN_REVOCATION = "application/vnd.governance.token-revocation+json"  # noqa: S105 - a media type

_MARK = b"governance.token"
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


def issued_tokens(log: Log, size: int | None = None) -> list[dict[str, Any]]:
    """Every token that the log's first ``size`` entries name, oldest first, without its digest.

    Each with ``id``, ``name``, ``scopes``, ``namespaces``, ``expires_at``, ``log_index`` and
    ``revoked_by``, the entry that ended it.
    """
    issued: dict[str, dict[str, Any]] = {}
    ended: dict[str, int] = {}
    for index, row in _token_rows(log, 0, log.size() if size is None else size):
        revokes, token_id, _, name, scopes, namespaces, until = row
        if revokes:
            ended.setdefault(token_id, index)
        elif token_id not in issued:
            issued[token_id] = {
                "id": token_id,
                "name": name,
                "scopes": scopes,
                "namespaces": namespaces,
                "expires_at": until and timestamp(until.replace(tzinfo=UTC)),
                "log_index": index,
            }
    return [token | {"revoked_by": ended.get(token_id)} for token_id, token in issued.items()]


def _token_rows(log: Log, start: int, stop: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """What entries say of tokens, those that say it. Events are not read."""
    for entry in log.marked(_MARK, start, stop):
        envelope = entry.envelope
        if entry.body is not None and envelope.media_type in TOKEN_MEDIA_TYPES:
            row = token_row(entry.body, envelope.media_type, envelope.principal)
            if row is not None:
                yield entry.index, row


_NOBODY: tuple[None, str, None] = (None, "sha256:", None)


class TokenBook:
    """The tokens that are valid, in memory: a request with a wrong one costs a hash and asks nothing.

    Args:
        index: where the tokens of the log's first ``index.size`` entries are read from, once.
        clock: the current time, aware.
    """

    def __init__(self, index: Index, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen = index.size
        self._following = threading.Lock()
        self._known: dict[str, tuple[Caller, str, datetime | None]] = {}
        self._revoked: set[str] = set()
        for row in index.query("FROM token_facts WHERE log_index < $as_of ORDER BY log_index"):
            members = ("revocation", "token_id", "digest", "name", "scopes", "namespaces", "expires_at")
            self._learn(tuple(row[member] for member in members))

    def __len__(self) -> int:
        now = self._clock()
        return sum(until is None or until > now for _, _, until in list(self._known.values()))

    def follow(self, log: Log, size: int) -> None:
        """Learn which tokens were made and revoked up to a log size. Reads no event.

        Raises:
            LogError: GOV-501 when the store does not answer.
        """
        if self._seen >= size:
            return
        with self._following:
            for index, row in _token_rows(log, self._seen, size):
                self._learn(row)
                self._seen = index + 1
            self._seen = max(self._seen, size)

    def skip(self, indexes: Sequence[int]) -> None:
        """Entries that this server appended itself as events need not be read again to find no token in them."""
        first, stop = indexes[0], indexes[-1] + 1
        if first <= self._seen < stop and list(indexes) == list(range(first, stop)):
            self._seen = stop

    def caller(self, token: str) -> Caller | None:
        """Whom a token belongs to; None when it is unknown, wrong, revoked or expired."""
        matched = _TOKEN.fullmatch(token)
        if matched is None:
            return None
        caller, digest, until = self._known.get(matched[1], _NOBODY)
        if not hmac.compare_digest(digest, _digest(matched[2])) or caller is None:
            return None
        return caller if until is None or until > self._clock() else None

    def _learn(self, row: tuple[Any, ...]) -> None:
        revokes, token_id, digest, name, scopes, namespaces, until = row
        if revokes:
            self._revoked.add(token_id)
            self._known.pop(token_id, None)
        elif token_id not in self._revoked and token_id not in self._known and name and digest.isascii():
            within = None if namespaces is None else tuple(namespaces)
            caller = Caller(name, token_id, SCOPES.intersection(scopes), within)
            self._known[token_id] = (caller, digest, until and until.replace(tzinfo=UTC))


def _digest(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
