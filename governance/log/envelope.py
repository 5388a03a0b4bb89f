"""What a leaf holds: who sent what kind of body when, and a salted digest of the body.

The body itself is not under the hash, only its salted digest is. So a body can be removed, nobody can
guess a removed one from its digest, and an entry fits C2SP tlog-tiles (at most 65,535 bytes) however
large its body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from functools import lru_cache

from governance.errors import LogError
from governance.model.principal import SCOPES, is_principal

VERSION = 1
SALT_SIZE = 32
_MAX_NAME = 255
_SMALL = 1 << 16
_MEMBERS = frozenset({"digest", "media_type", "principal", "received_at", "size", "v"})
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_INSTANT = re.compile("[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}[.][0-9]{6}Z")
_PLAIN = re.compile(
    r'\{"digest":"(sha256:[0-9a-f]{64})","media_type":"([ !#-\[\]-~]*)","principal":"([ !#-\[\]-~]*)",'
    r'"received_at":"([0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}[.][0-9]{6}Z)",'
    rf'"size":(0|[1-9][0-9]{{0,14}}),"v":{VERSION}\}}'
)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_REMEDY = "The entry was altered; run `governance log verify` on the store it came from."


def salted_digest(salt: bytes, body: bytes) -> str:
    """``sha256:`` and SHA-256(salt ‖ body) in hexadecimal."""
    if len(body) < _SMALL:
        return "sha256:" + hashlib.sha256(salt + body).hexdigest()
    hasher = hashlib.sha256(salt)
    hasher.update(body)
    return "sha256:" + hasher.hexdigest()


# For members that are ASCII names, strings and small integers the standard library writes exactly
# RFC 8785, many times faster; a property test holds the two equal.
@lru_cache(1_024)
def leaf_names(principal: str, media_type: str) -> str:
    """The members of a leaf that recur from entry to entry, as :func:`write_leaf` takes them."""
    return f'"media_type":{_encode(media_type)},"principal":{_encode(principal)}'


def write_leaf(digest: str, names: str, received_at: str, size: int, version: int = VERSION) -> bytes:
    """The leaf of :meth:`Envelope.to_leaf` from its parts, for who writes many."""
    return (
        f'{{"digest":"{digest}",{names},"received_at":"{received_at}","size":{size},"v":{version}}}'
    ).encode()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A leaf.

    ``received_at`` is the log's clock, RFC 3339 in UTC with microseconds; ``size`` is the body's, in
    bytes; ``digest`` is :func:`salted_digest`.
    """

    received_at: str
    principal: str
    media_type: str
    size: int
    digest: str
    v: int = VERSION

    def to_leaf(self) -> bytes:
        """The leaf: RFC 8785 canonical JSON."""
        names = leaf_names(self.principal, self.media_type)
        return write_leaf(self.digest, names, self.received_at, self.size, self.v)

    @classmethod
    def from_leaf(cls, leaf: bytes) -> Envelope:
        """Read a leaf, refusing every spelling but the canonical one.

        Raises:
            LogError: GOV-504 when it is not an envelope of a version known here.
        """
        try:
            text = leaf.decode()
            plain = _PLAIN.fullmatch(text)
            if plain is not None:
                # Nothing in it is escaped, so there is no other spelling: it is canonical as it matches.
                digest, media_type, principal, received_at, size = plain.groups()
                return cls(received_at, principal, media_type, int(size), digest)
            members = json.loads(text)
            if not isinstance(members, dict) or members.keys() != _MEMBERS or members["v"] != VERSION:
                raise ValueError
            envelope = cls(**members)
            if (
                _DIGEST.fullmatch(envelope.digest) is None
                or _INSTANT.fullmatch(envelope.received_at) is None
                or not isinstance(envelope.principal, str)
                or not isinstance(envelope.media_type, str)
                or type(envelope.size) is not int
                or type(envelope.v) is not int
                or envelope.to_leaf() != leaf
            ):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise LogError("GOV-504", "a leaf is not a canonical envelope", _REMEDY) from None
        return envelope

    def covers(self, salt: bytes, body: bytes) -> bool:
        """Whether this is the envelope of that body."""
        return len(body) == self.size and hmac.compare_digest(salted_digest(salt, body), self.digest)


@lru_cache(1_024)
def check_names(principal: str, media_type: str) -> None:
    """Refuse a principal or media type that no envelope is written with.

    Raises:
        LogError: GOV-508.
    """
    if not is_principal(principal):
        raise LogError(
            "GOV-508",
            "an entry's principal is not a scope and a name",
            f"Write it as scope:name, with one of the scopes {', '.join(sorted(SCOPES))}.",
        )
    if not 0 < len(media_type) <= _MAX_NAME or not media_type.isprintable():
        raise LogError(
            "GOV-508",
            f"an entry's media type is empty, longer than {_MAX_NAME} characters or not printable",
            "Send a plain media type.",
        )
