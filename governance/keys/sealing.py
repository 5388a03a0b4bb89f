"""The two primitives everything here is made of: AES-256-GCM and HKDF-SHA256.

Sources: NIST SP 800-38D (GCM) and RFC 5869 (HKDF). A sealed value is ``nonce (12) ‖ ciphertext ‖
tag (16)``. Every context is canonical JSON (RFC 8785) of a list that starts with what the value is
and its format's version, so two contexts are equal only if every part is.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import NoReturn, ParamSpec, SupportsIndex, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.model.canonical import canonical

KEY_SIZE = 32
_NONCE_SIZE = 12
_TAG_SIZE = 16
OVERHEAD = _NONCE_SIZE + _TAG_SIZE

_Asked = ParamSpec("_Asked")
_Given = TypeVar("_Given")


class Secretive:
    """Holds a secret: shows nothing of it and refuses to be copied or pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} redacted>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds key material and cannot be pickled or copied")


class KeyMaterial(bytes):
    """The bytes of a key, usable as such; what formats values (a log, a debugger, a traceback) sees nothing.

    Slices and concatenations are plain bytes: take it as a whole.
    """

    __slots__ = ()

    @classmethod
    def random(cls) -> KeyMaterial:
        """32 fresh bytes from the operating system."""
        return cls(os.urandom(KEY_SIZE))

    def __repr__(self) -> str:
        return "<KeyMaterial redacted>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("key material cannot be pickled or copied")


def confined(function: Callable[_Asked, _Given]) -> Callable[_Asked, _Given]:
    """Let no exception carry this function's frames away: what they and their arguments hold is secret.

    Type, message and causes stay. What a traceback loses is the part from here on down.
    """

    @functools.wraps(function)
    def call(*args: _Asked.args, **kwargs: _Asked.kwargs) -> _Given:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            fault = error
        _forget_frames(fault)
        args, kwargs = (), {}  # type: ignore[assignment]
        try:
            raise fault
        finally:
            del fault

    return call


def _forget_frames(fault: BaseException) -> None:
    waiting: list[BaseException | None] = [fault]
    seen: set[int] = set()
    while waiting:
        error = waiting.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            waiting += [error.__cause__, error.__context__]


class Altered(Exception):
    """A sealed value does not open in this context; the caller knows which code that is."""


class Sealer(Secretive):
    """AES-256-GCM under one key with random nonces.

    SP 800-38D §8.3 allows 2^32 seals under a key this way; :mod:`governance.keys.usage` counts them.
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


@confined
def derive(secret: bytes, *label: str | int) -> KeyMaterial:
    """32 bytes from a secret with full entropy; different labels give independent keys."""
    return KeyMaterial(HKDF(SHA256(), KEY_SIZE, salt=None, info=canonical(list(label))).derive(secret))
