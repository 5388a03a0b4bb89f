"""Ed25519 signers (RFC 8032) that show their public half only."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.keys.sealing import Secretive, confined


class Ed25519Signer(Secretive):
    """A :class:`governance.model.evidence.Signer` over a private key in memory."""

    __slots__ = ("_private", "_public")

    @confined
    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """32 raw bytes."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """A 64-byte signature."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        # A traceback may show one that is not made yet.
        return f"<Ed25519Signer public_key={getattr(self, '_public', b'').hex()}>"
