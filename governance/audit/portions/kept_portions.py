"""Portions of a log that reports have read, kept so that the next one need not read them again.

    FOLDER/FIRST-STOP.portion    MAGIC ‖ signature (64 bytes) ‖ portion (msgpack)

A kept portion saves time, nothing else: the evidence key signs for what it says, its roots must add up to the signed
checkpoint, and one that holds a body which the log no longer has is deleted when that is noticed. Mode 0700 and 0600:
evidence and leaves are in it as the log has them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path

import msgspec

import governance
from governance.audit.portions.portion import Portion
from governance.durable import replace_file
from governance.model.evidence import Signer

_MAGIC = b"governance-portion/1\n"
"""The number changes whenever the same entries would give another portion."""

_SIGNATURE = 64
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Portion).decode
_log = logging.getLogger(__name__)


class KeptPortions:
    """The portions of one log in a folder.

    Args:
        origin: the log's name.
        signer: the evidence key.
    """

    def __init__(self, folder: Path, origin: str, signer: Signer) -> None:
        self._folder = folder
        self._origin = origin
        self._signer = signer

    def has(self, first: int, stop: int) -> bool:
        """Whether something is kept of a span; :meth:`get` says whether it is of use."""
        return self._path(first, stop).exists()

    def get(self, first: int, stop: int, gone: frozenset[int]) -> Portion | None:
        """The portion of a span, if it is kept and lacks just the bodies that are ``gone``."""
        path = self._path(first, stop)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        portion = self._read(data)
        lacking = frozenset(e.index for e in portion.entries if e.body is None) if portion else None
        if portion is not None and (portion.first, portion.stop) == (first, stop) and lacking == gone:
            return portion
        _log.info("a kept portion is not used and deleted: %s", path.name)
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def put(self, portion: Portion) -> None:
        """Keep a portion; where that fails the next report reads the log again."""
        try:
            data = _encode(portion)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            signature = self._signer.sign(self._signed(data))
            replace_file(self._path(portion.first, portion.stop), _MAGIC + signature + data)
        except (OSError, ValueError, OverflowError) as error:
            _log.info("a portion cannot be kept: %s", type(error).__name__)

    def _read(self, data: bytes) -> Portion | None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        start = len(_MAGIC) + _SIGNATURE
        try:
            key = Ed25519PublicKey.from_public_bytes(self._signer.public_key)
            key.verify(data[len(_MAGIC) : start], self._signed(data[start:]))
            return _decode(data[start:])
        except (InvalidSignature, ValueError):
            return None

    def _signed(self, data: bytes) -> bytes:
        """What is signed: the log, the version of what read it, and what it read."""
        said = f"{self._origin}\n{governance.__version__}\n{hashlib.sha256(data).hexdigest()}\n"
        return _MAGIC + said.encode()

    def _path(self, first: int, stop: int) -> Path:
        return self._folder / f"{first:012}-{stop:012}.portion"
