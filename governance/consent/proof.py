"""Proof of consent that outlives an erasure: the imported file as it came, sealed to a custodian.

GDPR Art. 7(1) asks for proof, Art. 17(3)(e) lets it stay for legal claims. It lies apart from the ledger
and only the custodian's private key, which is nowhere in this home, opens it (RFC 9180: X25519,
HKDF-SHA256, AES-256-GCM): whoever erases a subject here keeps no way to find that subject in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any

from governance.durable import replace_file
from governance.errors import ConsentError, SettingError

_SUFFIX = ".sealed"
_INFO = b"governance consent proof 1 "


def custodian_key(text: bytes) -> bytes:
    """The X25519 key, 32 bytes, that `governance keys recipient` wrote in base64.

    Raises:
        SettingError: GOV-901 when it holds none.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise SettingError(
            "GOV-901",
            "the custodian's file holds no X25519 key",
            "use what `governance keys recipient` made: the line it prints, or the file it writes",
        )
    return key


def keep_proof(directory: Path, data: bytes, source: str, custodian: bytes) -> str:
    """Seal a file durably under the name of its digest; returns the digest of what was written."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    directory.mkdir(mode=0o700, exist_ok=True)
    public = X25519PublicKey.from_public_bytes(custodian)
    sealed: bytes = _suite().encrypt(data, public, info=_INFO + source.encode())
    replace_file(proof_path(directory, source), sealed)
    return "sha256:" + hashlib.sha256(sealed).hexdigest()


def open_proof(path: Path, private: bytes) -> bytes:
    """The file as it was imported.

    Raises:
        ConsentError: GOV-203 when the key is another one, or the proof was altered or renamed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    source = "sha256:" + path.name.removesuffix(_SUFFIX)
    try:
        key = X25519PrivateKey.from_private_bytes(private)
        data: bytes = _suite().decrypt(path.read_bytes(), key, info=_INFO + source.encode())
        opened = "sha256:" + hashlib.sha256(data).hexdigest() == source
    except (InvalidTag, ValueError, OSError):
        opened = False
    if not opened:
        raise ConsentError(
            "GOV-203",
            f"{path.name} is no proof that this key opens, or was altered",
            "use the custodian's private key, and the file under the name it was written as",
        )
    return data


def proof_path(directory: Path, source: str) -> Path:
    """Where the proof of a source file lies, by the digest in its batch."""
    return directory / (source.removeprefix("sha256:") + _SUFFIX)


def sweep_proofs(directory: Path, sources: set[str]) -> None:
    """Remove the proofs of imports that did not come about."""
    if directory.is_dir():
        keep = {proof_path(directory, source).name for source in sources}
        for path in directory.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)


def _suite() -> Any:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
