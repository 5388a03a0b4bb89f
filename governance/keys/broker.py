"""The keys of a process that holds none: each is asked of the broker, for one claim, and forgotten with its grant.

``GOVERNANCE_KEYS=broker+https://HOST:PORT`` puts :class:`BrokeredKeyring` in the place of the key store.
What the broker hands out is sealed to a key pair that this process makes for each grant (HPKE, RFC 9180:
X25519, HKDF-SHA256, AES-256-GCM) and signed with the evidence key, so that whatever lies between the two,
a proxy that ends TLS included, neither reads a key nor puts its own in its place. ``docs/broker.md`` has the
protocol.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from governance.errors import ProtectionError
from governance.keys.broker_service import BrokerService
from governance.keys.sealing import KEY_SIZE
from governance.keys.signing import Ed25519Signer
from governance.keys.store import Keyring
from governance.model.canonical import canonical, digest, parse
from governance.model.key_grant import Claim, TaskTry

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = "governance key release v1"
_TOGETHER = 200
_MARGIN_S = 5.0
"""A grant that ends so soon is replaced: what is asked under it should still arrive in time."""


def seal_release(
    keys: Mapping[str, Any], public_key: bytes, grant_id: str, signer: Ed25519Signer
) -> dict[str, str]:
    """What the broker answers: keys sealed to the caller's X25519 key, signed by the evidence key."""
    info = canonical([_INFO, grant_id])
    sealed = _SUITE.encrypt(canonical(keys), X25519PublicKey.from_public_bytes(public_key), info=info)
    return {
        "sealed": base64.b64encode(sealed).decode(),
        "signature": base64.b64encode(signer.sign(_signed(grant_id, sealed))).decode(),
    }


def takes_releases(public_key: bytes) -> bool:
    """Whether anything can be sealed to an X25519 key: a point of small order takes nothing (RFC 7748, section 6.1)."""
    try:
        _SUITE.encrypt(b"", X25519PublicKey.from_public_bytes(public_key), info=b"")
    except ValueError:
        return False
    return True


def _signed(grant_id: str, sealed: bytes) -> bytes:
    return canonical([_INFO, grant_id, digest(sealed)])


class _Grant:
    """A grant as its holder knows it; the private key never leaves this object."""

    __slots__ = ("grant_id", "held", "private", "until")

    def __init__(self, grant_id: str, private: X25519PrivateKey, until: float) -> None:
        self.grant_id = grant_id
        self.private = private
        self.until = until
        self.held: dict[str, bytes] = {}


class BrokeredKeyring(Keyring):
    """The keyring of a worker. Safe to share between threads.

    Every method that needs a key may raise GOV-310 (the broker does not grant it) and GOV-311 (it does not
    answer). What only the holder of the key store can do, such as rotating, raises GOV-310.

    Args:
        task: the Airflow try that asks; the broker may want Airflow to confirm it.
    """

    __slots__ = ("_asking", "_claimed", "_expected", "_grant", "_public", "_service", "_task")

    def __init__(self, service: BrokerService, task: TaskTry | None = None) -> None:
        # Not the base's: there is no database and no provider here, see below.
        self._service = service
        self._task = task
        self._claimed: Claim | None = None
        self._grant: _Grant | None = None
        self._public: tuple[bytes, bytes] | None = None
        self._expected: frozenset[str] = frozenset()
        self._asking = threading.RLock()

    def claim(self, claim: Claim) -> None:
        """Say what keys are wanted for from here on. A grant for something else is let go, with its keys."""
        with self._asking:
            if claim != self._claimed:
                self._claimed, self._grant, self._expected = claim, None, frozenset()

    def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
        """Have the broker make a segment's key, and hold it."""
        key_id = f"seg.{segment_id}.{sensitivity}"
        self._asked(f"key {key_id}", {"create": [{"segment_id": segment_id, "sensitivity": sensitivity}]})
        return key_id

    def expect(self, key_ids: Iterable[str]) -> None:
        """Say which segment keys may be read, so that those of one sensitivity are asked for together."""
        with self._asking:
            self._expected = frozenset(key_ids)

    def segment_key(self, key_id: str) -> bytes:
        """A segment's 32-byte key."""
        with self._asking:
            grant = self._live()
            held = grant.held if grant is not None else {}
            if f"key {key_id}" in held:
                return held[f"key {key_id}"]
            level = key_id.rpartition(".")[2]
            alike = (k for k in self._expected if k.rpartition(".")[2] == level and f"key {k}" not in held)
            together = [key_id, *islice((k for k in alike if k != key_id), _TOGETHER - 1)]
            return self._asked(f"key {key_id}", {"keys": together})

    def secret(self, label: str) -> bytes:
        """The 32 bytes of a label that the claim has to do with."""
        return self._asked(f"label {label}", {"labels": [label]})

    def run_signer(self, version: str, attempt: str) -> Ed25519Signer:
        """The signing key of the claimed run, and of no other."""
        claimed = self._claimed
        if claimed is None or (claimed.version, claimed.attempt) != (version, attempt):
            raise _unclaimed(f"the signing key of run {version}")
        return Ed25519Signer(self._asked("run", {"run_key": True}))

    @property
    def evidence_signer(self) -> Ed25519Signer:
        """Signs at the broker, which looks at what it signs; the key stays there."""
        return _RemoteSigner(self._keys()[0], self._sign)

    @property
    def log_signer(self) -> Ed25519Signer:
        """The log's public key. Checkpoints are signed by the broker: :meth:`checkpoint`."""
        return _RemoteSigner(self._keys()[1], _unsigned)

    @property
    def next_log_signer(self) -> None:
        """None: a rotation of the checkpoint key is finished where the key is."""
        return None

    def checkpoint(self) -> str:
        """A signed note over the log as the broker sees it now."""
        answer = self._service.ask("POST", "/checkpoint", {})
        return _text(answer, "checkpoint")

    def close(self) -> None:
        """Let go of the grant and of every key held under it."""
        with self._asking:
            self._grant = None

    def __getattr__(self, name: str) -> NoReturn:
        # The store's own members are never set here, so whatever else it can do ends here, closed.
        if name not in Keyring.__slots__:
            raise AttributeError(name)
        raise ProtectionError(
            "GOV-310",
            "the keys are at the key broker; here they can be used, not managed",
            "run this where the key store is, without GOVERNANCE_KEYS",
        )

    def _keys(self) -> tuple[bytes, bytes]:
        if self._public is None:
            answer = self._service.ask("GET", "", None)
            self._public = (
                _decoded(answer, "evidence_public_key", KEY_SIZE),
                _decoded(answer, "log_public_key", KEY_SIZE),
            )
        return self._public

    def _asked(self, name: str, wanted: dict[str, Any]) -> bytes:
        with self._asking:
            grant = self._live()
            if grant is None or name not in grant.held:
                answer, grant = self._under_grant("keys", wanted)
                grant.held.update(self._opened(answer, grant))
            try:
                return grant.held[name]
            except KeyError:
                raise _malformed("it answered without the key that was asked for") from None

    def _sign(self, data: bytes) -> bytes:
        with self._asking:
            answer, _ = self._under_grant("signatures", {"data": base64.b64encode(data).decode()})
        signature = _decoded(answer, "signature", 64)
        self._verify(signature, data)
        return signature

    def _under_grant(self, what: str, wanted: dict[str, Any]) -> tuple[dict[str, Any], _Grant]:
        grant = self._live()
        if grant is not None:
            try:
                return self._service.ask("POST", f"/grants/{grant.grant_id}/{what}", wanted), grant
            except ProtectionError as fault:
                if fault.code != "GOV-310":
                    raise
                # It may have been ended by a rotation while the run goes on; a new grant tells.
        grant = self._grant = self._granted()
        return self._service.ask("POST", f"/grants/{grant.grant_id}/{what}", wanted), grant

    def _live(self) -> _Grant | None:
        grant = self._grant
        if grant is not None and grant.until <= time.monotonic():
            grant = self._grant = None
        return grant

    def _granted(self) -> _Grant:
        claimed = self._claimed
        if claimed is None:
            raise _unclaimed("a key")
        private = X25519PrivateKey.generate()
        asked = {
            **claimed.to_json(),
            "public_key": base64.b64encode(private.public_key().public_bytes_raw()).decode(),
            **({} if self._task is None else {"task": asdict(self._task)}),
        }
        began = time.monotonic()
        answer = self._service.ask("POST", "/grants", asked)
        lasts = answer.get("expires_in")
        if not isinstance(lasts, int | float):
            raise _malformed("it does not say when the grant ends")
        return _Grant(_text(answer, "grant_id"), private, began + max(float(lasts) - _MARGIN_S, 0.0))

    def _opened(self, answer: Mapping[str, Any], grant: _Grant) -> dict[str, bytes]:
        sealed = _decoded(answer, "sealed")
        self._verify(_decoded(answer, "signature", 64), _signed(grant.grant_id, sealed))
        try:
            info = canonical([_INFO, grant.grant_id])
            opened = parse(_SUITE.decrypt(sealed, grant.private, info=info))
            return {name: base64.b64decode(key, validate=True) for name, key in opened.items()}
        except (InvalidTag, ValueError, TypeError, AttributeError):
            raise _malformed("what it sealed does not open") from None

    def _verify(self, signature: bytes, data: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self._keys()[0]).verify(signature, data)
        except InvalidSignature:
            raise _malformed("what it answered is not signed by the evidence key") from None


class _RemoteSigner(Ed25519Signer):
    """The public half here, the private half there."""

    __slots__ = ("_remote",)

    def __init__(self, public_key: bytes, sign: Any) -> None:
        self._public = public_key
        self._remote = sign

    def sign(self, data: bytes) -> bytes:
        """A 64-byte signature, made by the broker."""
        signature: bytes = self._remote(data)
        return signature


def _unsigned(_data: bytes) -> NoReturn:
    raise _unclaimed("a signature by the log's key")


def _unclaimed(what: str) -> ProtectionError:
    return ProtectionError(
        "GOV-310",
        f"{what} was asked for and no governed step that claims it has begun",
        "with a key broker keys are for open runs, reads and disclosures; do the rest where the key store is",
    )


def _malformed(what: str) -> ProtectionError:
    return ProtectionError(
        "GOV-310",
        f"the answer of the key broker cannot be used: {what}",
        "check that GOVERNANCE_KEYS names this home's own broker and that nothing between rewrites its answers",
    )


def _text(answer: Mapping[str, Any], name: str) -> str:
    found = answer.get(name)
    if not isinstance(found, str):
        raise _malformed(f"it lacks {name}")
    return found


def _decoded(answer: Mapping[str, Any], name: str, size: int | None = None) -> bytes:
    try:
        decoded = base64.b64decode(_text(answer, name), validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"{name} is not base64") from None
    if size is not None and len(decoded) != size:
        raise _malformed(f"{name} has not {size} bytes")
    return decoded
