"""A failure injected at each point where keys are in memory; nothing that formats failures shows one."""

from __future__ import annotations

import base64
import cgitb
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from governance.errors import ProtectionError
from governance.keys import epoch, rows, sealing, signing, store
from governance.keys.epoch import EpochKey
from governance.keys.providers import file
from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import provider_for
from governance.keys.sealing import KeyMaterial, Sealer, derive
from governance.keys.store import Keyring
from governance.protect.encryption import SegmentKeyClient


def _passphrase() -> str:
    """Not a constant, for cgitb shows what the names in a line of source stand for."""
    return " ".join(("correct", "horse", "battery", "staple"))


class Injected(Exception):
    pass


def _formatted(error: BaseException) -> str:
    """As the standard library with locals, rich, cgitb and a logger would show it."""
    shown = list(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    text = StringIO()
    trace = Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_length=None,
        locals_max_string=None,
    )
    Console(file=text, width=1000).print(trace)
    shown += [text.getvalue(), cgitb.text((type(error), error, error.__traceback__), 9)]
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "%s", (error,), (type(error), error, error.__traceback__)
    )
    handler.emit(record)
    return "\n".join([*shown, stream.getvalue(), repr(error.args), repr(vars(error))])


def _spellings(secret: bytes) -> Iterator[str]:
    yield secret.hex()
    yield base64.b64encode(secret).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    yield repr(secret)[2:-1]


# Where keys are made, opened, derived, stretched, sealed and read: (where it is looked up, name).
_POINTS: list[tuple[Any, str]] = [
    (sealing.AESGCM, "encrypt"),
    (sealing.AESGCM, "decrypt"),
    (sealing, "HKDF"),
    (sealing, "canonical"),
    (Sealer, "__init__"),
    (Sealer, "seal"),
    (Sealer, "unseal"),
    (EpochKey, "__init__"),
    (EpochKey, "wrap"),
    (EpochKey, "unwrap"),
    (epoch, "KeyMaterial"),
    (rows, "insert"),
    (rows, "rewrap"),
    (rows, "live_epoch"),
    (store, "derive"),
    (store, "Ed25519Signer"),
    (signing.Ed25519PrivateKey, "from_private_bytes"),
    (file, "create_file"),
    (file, "replace_file"),
    (file, "parse"),
    (file, "canonical"),
    (file, "derive"),
    (file, "Scrypt"),
    (file, "_decoded"),
    (file, "_Kek"),
    (file, "is_private"),
]


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every key that any cipher or derivation is given, as it is given."""
    seen: list[bytes] = []
    aead = sealing.AESGCM

    class Spied:
        def __init__(self, key: bytes) -> None:
            seen.append(bytes(key))
            self._aead = aead(key)

        def encrypt(self, nonce: bytes, data: bytes, context: bytes) -> bytes:
            return self._aead.encrypt(nonce, data, context)

        def decrypt(self, nonce: bytes, data: bytes, context: bytes) -> bytes:
            opened = self._aead.decrypt(nonce, data, context)
            seen.append(bytes(opened))
            return opened

    monkeypatch.setattr(sealing, "AESGCM", Spied)
    return seen


def _uses(tmp_path: Path, *, stretching: bool) -> list[Callable[[], object]]:
    """Everything that is done with keys; made anew for each point, as an injected failure may end it halfway."""
    provider = provider_for(create_file_key(tmp_path / "kek.json"))
    worded = create_file_key(tmp_path / "worded.json", _passphrase, cost=1 << 14) if stretching else ""
    stretched: list[Callable[[], object]] = [
        lambda: create_file_key(tmp_path / "fresh-words.json", _passphrase, cost=1 << 14),
        lambda: provider_for(worded, _passphrase).create_epoch("store", 1),
    ]
    keyring = Keyring.create(tmp_path / "keys", provider)
    key_id = keyring.new_segment_key("a", "restricted")
    return [
        lambda: create_file_key(tmp_path / "fresh.json"),
        *(stretched if stretching else ()),
        lambda: provider_for(f"file:{tmp_path / 'kek.json'}").epoch_key(keyring._store, 1),
        lambda: provider.create_epoch("other", 1),
        lambda: provider.destroy_epochs("other", 2),
        lambda: Keyring.create(tmp_path / "more", provider),
        lambda: Keyring.open(tmp_path / "keys", provider),
        lambda: keyring.new_segment_key("b", "restricted"),
        lambda: keyring.segment_key(key_id),
        lambda: keyring.secret("x"),
        lambda: (keyring.evidence_signer, keyring.run_signer("v", "1")),
        lambda: keyring.promote_log_signer(keyring.make_next_log_signer().public_key),
        lambda: keyring.rotate_epoch(),
    ]


def _failures(uses: list[Callable[[], object]]) -> Iterator[BaseException]:
    for use in uses:
        try:
            use()
        except Exception as error:
            yield error


def test_no_injected_failure_shows_a_key(
    tmp_path: Path, secrets: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    places: set[tuple[object, ...]] = set()
    reached = 0
    for number, (owner, name) in enumerate(_POINTS):
        owner = sealing.AESGCM if owner is not None and name in ("encrypt", "decrypt") else owner
        directory = tmp_path / str(number)
        directory.mkdir()
        uses = _uses(directory, stretching=owner is file)
        with monkeypatch.context() as patch:

            def fail(*_: object, **__: object) -> None:
                raise Injected

            patch.setattr(owner, name, fail)
            failures = list(_failures(uses))
        reached += any(isinstance(error, Injected) or error.__context__ is not None for error in failures)
        assert failures, f"nothing uses {name}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for error in failures:
                place = (
                    type(error),
                    *((f.f_code, line) for f, line in traceback.walk_tb(error.__traceback__)),
                )
                if place not in places:
                    places.add(place)
                    shown.append(_formatted(error))
        for path in directory.glob("*.json"):
            secrets += [base64.b64decode(text) for text in _keys_in(path)]
    everything = "\n".join(shown)
    assert reached == len(_POINTS)
    assert len(shown) > len(_POINTS)
    assert "Injected" in everything
    assert _passphrase() not in everything
    for secret in {secret for secret in secrets if len(secret) == sealing.KEY_SIZE}:
        for spelling in _spellings(secret):
            assert spelling not in everything


def _keys_in(path: Path) -> list[str]:
    import json

    document = json.loads(path.read_bytes())
    return [document["key"]] if "key" in document else []


def test_key_material_hides_itself_and_works_as_bytes() -> None:
    key = KeyMaterial.random()
    raw = bytes(key)
    assert (key == raw, len(key), hash(key)) == (True, 32, hash(raw))
    for text in (
        repr(key),
        str(key),
        f"{key}",
        f"{key!r}",
        repr({"k": [key]}),
        repr(derive(key, "x")),
    ):
        assert "redacted" in text
        for spelling in _spellings(raw):
            assert spelling not in text
    import copy
    import pickle

    for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            refuse(key)


def test_parquets_own_keys_are_not_shown_when_a_segment_key_is_gone() -> None:
    def gone(key_id: str) -> bytes:
        raise ProtectionError("GOV-303", f"{key_id} was destroyed", "release the dataset again")

    client = SegmentKeyClient(gone)
    for call in (client.wrap_key, client.unwrap_key):
        key = bytes(range(16))
        try:
            call(bytes(key), "seg.a.restricted")
        except ProtectionError as error:
            key = b""
            shown = _formatted(error)
            assert "GOV-303" in shown
        for spelling in _spellings(bytes(range(16))):
            assert spelling not in shown


def test_a_traceback_begins_above_what_is_confined() -> None:
    @sealing.confined
    def inner(argument: str) -> None:
        secret = _passphrase()
        try:
            raise ValueError(len(secret + argument))
        except ValueError as error:
            raise KeyError("wrapped") from error

    with pytest.raises(KeyError, match="wrapped") as caught:
        inner(_passphrase())
    names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert names[-1] == "call" and "inner" not in names
    assert isinstance(caught.value.__cause__, ValueError) and caught.value.__cause__.__traceback__ is None
    shown = _formatted(caught.value)
    assert _passphrase() not in shown
    assert sys.exc_info() == (None, None, None)
