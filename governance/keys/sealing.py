"""The two primitives everything here is made of: AES-256-GCM and HKDF-SHA256.

Sources: NIST SP 800-38D (GCM) and RFC 5869 (HKDF). A sealed value is ``nonce (12) ‖ ciphertext ‖
tag (16)``. Every context is canonical JSON (RFC 8785) of a list that starts with what the value is
and its format's version, so two contexts are equal only if every part is.
"""

from __future__ import annotations

import os
from typing import NoReturn, SupportsIndex

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.model.canonical import canonical

KEY_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16
OVERHEAD = _NONCE_SIZE + _TAG_SIZE


class Secretive:
    """Holds a secret: shows nothing of it and refuses to be copied or pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} redacted>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds key material and cannot be pickled or copied")


class Altered(Exception):
    """A sealed value does not open in this context; the caller knows which code that is."""


class Sealer(Secretive):
    """AES-256-GCM under one key with random nonces.

    SP 800-38D §8.3 allows 2^32 seals under a key this way. A key here seals a few hundred values a
    transaction at most, so that bound is out of reach between two rotations.
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError("an AES-256 key has 32 bytes")
        self._aead = AESGCM(key)

    def seal(self, plaintext: bytes, *context: str | int) -> bytes:
        """Encrypt ``plaintext``, bound to ``context``."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._aead.encrypt(nonce, plaintext, canonical(list(context)))

    def unseal(self, sealed: bytes, *context: str | int) -> bytes:
        """Decrypt; raises :class:`Altered` if a bit of it or of its context differs."""
        # SQLite keeps whatever type was put into a column.
        if not isinstance(sealed, bytes) or len(sealed) < OVERHEAD:
            raise Altered
        try:
            return self._aead.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], canonical(list(context)))
        except InvalidTag:
            raise Altered from None


def derive(secret: bytes, *label: str | int) -> bytes:
    """32 bytes from a secret with full entropy; different labels give independent keys."""
    return HKDF(SHA256(), KEY_SIZE, salt=None, info=canonical(list(label))).derive(secret)
