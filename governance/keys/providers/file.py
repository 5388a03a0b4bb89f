"""``file:`` keys: a KEK in a private file, or stretched from a passphrase.

The file is JSON, mode 0600, and says which it is::

    {"v": 1, "kind": "key", "key": base64 of 32 random bytes}
    {"v": 1, "kind": "scrypt", "salt": base64, "n": …, "r": …, "p": …, "verifier": base64}

scrypt is RFC 7914; KEK and verifier are derived apart from its output, so the verifier tells a
wrong passphrase without helping to guess faster than the KEK itself would. Beside it lies
``<file>.epochs.json``, replaced as a whole under a lock::

    {"v": 1, "check": base64, "stores": {store id: {epoch: base64 of the sealed epoch key}}}

``check`` names the KEK without telling it, so that another key is GOV-302 and a flipped bit GOV-308.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from governance.durable import locked
from governance.errors import ProtectionError, SettingError, StorageError
from governance.keys.durable import create_file, is_private, replace_file
from governance.keys.epoch import Destruction, EpochKey
from governance.keys.providers.provider import Passphrase
from governance.keys.sealing import KEY_SIZE, Altered, KeyMaterial, Sealer, Secretive, confined, derive
from governance.model.canonical import canonical, parse

_EPOCH = "governance epoch key v1"
_MINIMUM_PASSPHRASE = 8
_DEFAULT_COST = 1 << 17
_COSTS = range(1 << 14, (1 << 22) + 1)
_BACKUPS = "backups of the epochs file"
_NO_CLAIM = "a passphrase can be remembered or guessed: it earns no claim of erasure"


class _Kek(Secretive):
    """The KEK as an AEAD, and a public value that names it."""

    __slots__ = ("check", "sealer")

    def __init__(self, key: bytes) -> None:
        self.sealer = Sealer(key)
        self.check = base64.b64encode(derive(key, "governance kek check v1")).decode()


@confined
def create_file_key(path: Path, passphrase: Passphrase | None = None, *, cost: int = _DEFAULT_COST) -> str:
    """Write a new key file, mode 0600, and return its URI.

    Args:
        path: where; an existing file is never replaced.
        passphrase: if given, the file holds no key but what is needed to stretch this.
        cost: scrypt's N, a power of two of at least 2^14; memory is 1 KiB times N.

    Raises:
        SettingError: GOV-901 if the file exists, the passphrase is shorter than 8 characters or the
            cost is out of bounds.
    """
    path = path.absolute()
    if passphrase is None:
        key = base64.b64encode(KeyMaterial.random()).decode()
        document: dict[str, Any] = {"v": 1, "kind": "key", "key": key}
    else:
        document = {"v": 1, "kind": "scrypt", "salt": base64.b64encode(os.urandom(16)).decode()}
        document |= {"n": cost, "r": 8, "p": 1}
        if not _sound(document):
            raise SettingError(
                "GOV-901",
                "scrypt's cost is not a power of two between 2^14 and 2^22",
                f"leave it out; it is then {_DEFAULT_COST}",
            )
        stretched = _stretched(document, passphrase)
        if stretched is None:
            raise SettingError(
                "GOV-901",
                f"the passphrase is shorter than {_MINIMUM_PASSPHRASE} characters",
                "choose a longer one, best several random words",
            )
        document["verifier"] = stretched[1]
    try:
        create_file(path, canonical(document))
    except FileExistsError:
        raise SettingError(
            "GOV-901",
            f"{path} exists; a key file is never replaced",
            "choose another path, or open the key that is there",
        ) from None
    return path.as_uri()


def open_provider(uri: str, passphrase: Passphrase | None) -> FileProvider:
    """The factory that :mod:`governance.keys.providers.provider` registers."""
    parts = urlsplit(uri)
    if parts.netloc or parts.query or parts.fragment or not parts.path:
        raise ProtectionError(
            "GOV-301",
            "a file: key is named by a local path alone",
            "write file:/path/to/kek.json; whether it needs a passphrase stands in the file",
        )
    return FileProvider(Path(unquote(parts.path)), passphrase)


class FileProvider(Secretive):
    """A :class:`governance.keys.providers.provider.KeyProvider` in two files.

    Raises:
        ProtectionError: GOV-301 if the file is missing, readable by others, or its passphrase is;
            GOV-302 if the passphrase is wrong; GOV-308 if the file is not a key file.
    """

    __slots__ = ("_epochs", "_kek", "_lock", "_path", "_stretched")

    def __init__(self, path: Path, passphrase: Passphrase | None = None) -> None:
        self._path = path.absolute()
        self._epochs = self._path.with_name(self._path.name + ".epochs.json")
        self._lock = self._epochs.with_name(self._epochs.name + ".lock")
        self._stretched, self._kek = _opened(self._path, passphrase)

    @property
    def uri(self) -> str:
        return self._path.as_uri()

    def lies_in(self, directory: Path) -> bool:
        return self._epochs.resolve().is_relative_to(directory.resolve())

    def epochs(self, store: str) -> tuple[int, ...]:
        with self._locked(exclusive=False):
            return tuple(sorted(int(epoch) for epoch in self._stores().get(store, {})))

    @confined
    def create_epoch(self, store: str, epoch: int) -> EpochKey:
        with self._locked(exclusive=True):
            stores = self._stores()
            if str(epoch) in stores.get(store, {}):
                return self._unwrapped(stores, store, epoch)
            created, sealed = self._generated(store, epoch)
            stores.setdefault(store, {})[str(epoch)] = base64.b64encode(sealed).decode()
            self._save(stores)
            return created

    @confined
    def epoch_key(self, store: str, epoch: int) -> EpochKey:
        with self._locked(exclusive=False):
            return self._unwrapped(self._stores(), store, epoch)

    @confined
    def destroy_epochs(self, store: str, before: int) -> Destruction:
        pending = (_BACKUPS, _NO_CLAIM) if self._stretched else (_BACKUPS,)
        with self._locked(exclusive=True):
            stores = self._stores()
            held = stores.get(store, {})
            gone = tuple(sorted(int(epoch) for epoch in held if int(epoch) < before))
            if gone:
                for epoch in gone:
                    del held[str(epoch)]
                self._save(stores)
        return Destruction(gone, confirmed=False, pending=pending)

    def _generated(self, store: str, epoch: int) -> tuple[EpochKey, bytes]:
        key = KeyMaterial.random()
        return EpochKey(store, epoch, key), self._kek.sealer.seal(key, _EPOCH, store, epoch)

    @contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        try:
            with locked(self._lock, exclusive=exclusive):
                yield
        except OSError as error:
            raise StorageError(
                "GOV-724",
                f"{self._epochs} or its lock cannot be used: {error.strerror}",
                "check free space and permissions of the key's directory, then try again",
            ) from None

    def _stores(self) -> dict[str, dict[str, str]]:
        if not self._epochs.exists():
            return {}
        document = _document(self._epochs)
        if document is None or not isinstance(document.get("stores"), dict):
            raise _altered(self._epochs)
        if document.get("check") != self._kek.check:
            raise ProtectionError(
                "GOV-302",
                f"{self._epochs} was wrapped by another key than {self._path}",
                "name the key the epochs file was made with",
            )
        stores: dict[str, dict[str, str]] = document["stores"]
        return stores

    def _save(self, stores: dict[str, dict[str, str]]) -> None:
        replace_file(self._epochs, canonical({"v": 1, "check": self._kek.check, "stores": stores}))

    def _unwrapped(self, stores: dict[str, dict[str, str]], store: str, epoch: int) -> EpochKey:
        if str(epoch) not in stores.get(store, {}):
            raise ProtectionError(
                "GOV-303",
                f"{self._epochs} holds no epoch {epoch} of this key store: it was destroyed, or is another's",
                "use the key store's newest copy with the epochs file that belongs to it",
            )
        sealed = _decoded(stores[store][str(epoch)])
        try:
            return EpochKey(store, epoch, self._kek.sealer.unseal(sealed, _EPOCH, store, epoch))
        except Altered:
            raise _altered(self._epochs) from None


@confined
def _opened(path: Path, passphrase: Passphrase | None) -> tuple[bool, _Kek]:
    """Whether the KEK comes from a passphrase, and the KEK."""
    if not path.is_file():
        raise ProtectionError(
            "GOV-301", f"there is no key file {path}", "create one with `governance keys init`"
        )
    kek = _kept(path)
    if kek is not None:
        return False, kek
    kek = _remembered(path, passphrase)
    if kek is not None:
        return True, kek
    raise _altered(path)


def _kept(path: Path) -> _Kek | None:
    """The KEK of a key file; returns where it might raise, so that no traceback holds the file."""
    document = _document(path)
    if document is None or document.get("kind") != "key":
        return None
    key = _decoded(document.get("key"))
    return _Kek(key) if len(key) == KEY_SIZE else None


def _remembered(path: Path, passphrase: Passphrase | None) -> _Kek | None:
    document = _document(path)
    if document is None or document.get("kind") != "scrypt" or not _sound(document):
        return None
    if passphrase is None:
        raise ProtectionError(
            "GOV-301", f"{path} needs a passphrase and none was given", "hand in the passphrase"
        )
    stretched = _stretched(document, passphrase)
    if stretched is None or not hmac.compare_digest(stretched[1], str(document.get("verifier"))):
        raise ProtectionError(
            "GOV-302", f"the passphrase does not open {path}", "try again; nothing was changed"
        )
    return stretched[0]


def _stretched(document: dict[str, Any], passphrase: Passphrase) -> tuple[_Kek, str] | None:
    """The KEK and its verifier; nothing if the passphrase is too short to be one.

    The text is asked for here so that no frame that raises holds it.
    """
    # RFC 8265 §4.2: the same passphrase typed on another keyboard is the same bytes.
    text = unicodedata.normalize("NFC", passphrase())
    if len(text) < _MINIMUM_PASSPHRASE:
        return None
    scrypt = Scrypt(_decoded(document["salt"]), KEY_SIZE, document["n"], document["r"], document["p"])
    secret = scrypt.derive(text.encode())
    verifier = derive(secret, "governance scrypt verifier v1")
    return _Kek(derive(secret, "governance scrypt kek v1")), base64.b64encode(verifier).decode()


def _sound(document: dict[str, Any]) -> bool:
    """Whether the scrypt parameters are ones this module would write: others may exhaust memory."""
    n, r, p = (document.get(name) for name in ("n", "r", "p"))
    salt = _decoded(document.get("salt"))
    return type(n) is int and n in _COSTS and n & (n - 1) == 0 and (r, p) == (8, 1) and len(salt) == 16


def _document(path: Path) -> dict[str, Any] | None:
    """A private JSON file of format 1, or nothing; a parser's error would quote it."""
    if not is_private(path):
        raise ProtectionError(
            "GOV-301", f"{path} can be read by others than its owner", f"run chmod 600 {path}"
        )
    try:
        document = parse(path.read_bytes())
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("v") == 1 else None


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        return b""


def _altered(path: Path) -> ProtectionError:
    return ProtectionError("GOV-308", f"{path} was altered or is incomplete", "restore it from a safe copy")
