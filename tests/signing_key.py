"""An Ed25519 key as the keyring hands it out."""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Key:
    """A signer (:class:`governance.model.evidence.Signer`). The same seed, 32 bytes, is the same key."""

    def __init__(self, seed: bytes = bytes(range(32))) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def new_key() -> Key:
    """A key of its own."""
    return Key(secrets.token_bytes(32))
