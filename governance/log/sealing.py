"""What is done to an entry before its turn: its names checked, its body salted, hashed and keyed.

Two passes of SHA-256 over the body are the least that serves: the salted one is under the leaf's hash, and
the plain one feeds both keyed digests. It never leaves this module: without the key it could be guessed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from governance.errors import LogError
from governance.log.envelope import SALT_SIZE, check_names, leaf_names, salted_digest

_SENDERS = 1_024


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Something to append: the body as received, what it is, and who sent it (``evidence:pipeline``)."""

    body: bytes
    media_type: str
    principal: str


class Sealed(NamedTuple):
    """An entry ready for its turn.

    ``names`` are the members of its leaf that say what it is and who sent it, ``digest`` is
    :func:`governance.log.envelope.salted_digest`, ``marker`` and ``refusal`` are :func:`keyed_digests`.
    """

    body: bytes
    names: str
    salt: bytes
    digest: str
    marker: bytes
    refusal: bytes


class Sealer:
    """Seals entries for one store, under its key. Safe from many threads."""

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(64, b"\x00")
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in padded))
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in padded))
        self._refusal = self._inner.copy()
        self._refusal.update(b"refusal\x00")
        self._sender = lru_cache(_SENDERS)(self._begin)

    def seal(self, entries: Sequence[NewEntry]) -> list[Sealed]:
        """Seal entries, each with a random salt.

        Raises:
            LogError: GOV-508 when a principal or media type is unusable.
        """
        sealed = []
        salts = secrets.token_bytes(SALT_SIZE * len(entries))
        for number, entry in enumerate(entries):
            check_names(entry.principal, entry.media_type)
            salt = salts[number * SALT_SIZE : (number + 1) * SALT_SIZE]
            digest = salted_digest(salt, entry.body)
            names = leaf_names(entry.principal, entry.media_type)
            sealed.append(Sealed(entry.body, names, salt, digest, *self.keyed(entry)))
        return sealed

    def keyed(self, entry: NewEntry) -> tuple[bytes, bytes]:
        """See :func:`keyed_digests`."""
        body = hashlib.sha256(entry.body).digest()
        return (
            self._finished(self._sender(entry.principal, entry.media_type), body),
            self._finished(self._refusal, body),
        )

    def marker(self, body: bytes, principal: str, media_type: str) -> bytes:
        """The first of :meth:`keyed`."""
        return self._finished(self._sender(principal, media_type), hashlib.sha256(body).digest())

    def _begin(self, principal: str, media_type: str) -> hashlib._Hash:
        begun = self._inner.copy()
        begun.update(b"entry\x00")
        for part in (principal.encode(), media_type.encode()):
            begun.update(len(part).to_bytes(4, "big") + part)
        return begun

    def _finished(self, begun: hashlib._Hash, body: bytes) -> bytes:
        """HMAC-SHA-256 (RFC 2104) whose key and prefix are in ``begun`` already."""
        inner, outer = begun.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()


def redacted(sealed: Sequence[Sealed], refused: Mapping[bytes, int]) -> LogError | None:
    """The refusal of what holds a body that was redacted."""
    for position, item in enumerate(sealed):
        if item.refusal in refused:
            return LogError(
                "GOV-505",
                f"entry {position + 1} of {len(sealed)} has the body of entry"
                f" {refused[item.refusal]}, which was redacted",
                "Send it again without the personal data for which it was redacted.",
            )
    return None


@lru_cache(8)
def _sealer(key: bytes) -> Sealer:
    return Sealer(key)


def marker_of(key: bytes, body: bytes, principal: str, media_type: str) -> bytes:
    """The first of :func:`keyed_digests`."""
    return _sealer(key).marker(body, principal, media_type)


def keyed_digests(key: bytes, entry: NewEntry) -> tuple[bytes, bytes]:
    """The marker that recognises a duplicate, and the one that refuses a redacted body; 32 bytes each.

    The first covers principal, media type and body, the second the body alone: personal data is
    refused whoever sends it again. Both are HMAC-SHA-256 under the store's key.
    """
    return _sealer(key).keyed(entry)
