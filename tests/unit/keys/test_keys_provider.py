"""``file:`` providers: what is refused, what is kept, what dies."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from governance.config import Settings
from governance.errors import GovernanceError, ProtectionError, SettingError, StorageError
from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import provider_for

_CHEAP = 1 << 14
_WORDS = "correct horse battery staple"


def _code(uri: str, passphrase: str | None = None) -> str:
    with pytest.raises(GovernanceError) as caught:
        provider_for(uri, None if passphrase is None else lambda: passphrase)
    return caught.value.code


def test_key_files_are_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    uri = create_file_key(path)
    assert uri == path.as_uri()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(json.loads(path.read_bytes())["key"])) == 32
    before = path.read_bytes()
    with pytest.raises(SettingError, match="GOV-901"):
        create_file_key(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["kek.json"]


@pytest.mark.parametrize("uri", ["pkcs11:token=kek", "kek.json", ":x", ""])
def test_unknown_schemes_name_what_exists(uri: str) -> None:
    with pytest.raises(ProtectionError, match=r"GOV-301.*file:"):
        provider_for(uri)


@pytest.mark.parametrize("uri", ["file:", "file://host/kek.json", "file:/kek.json?passphrase=hunter22"])
def test_malformed_file_uris(uri: str) -> None:
    with pytest.raises(ProtectionError, match="GOV-301") as caught:
        provider_for(uri)
    assert "hunter22" not in str(caught.value)


def test_missing_readable_by_others_or_altered(kek: Path) -> None:
    assert _code(f"file:{kek.with_name('none.json')}") == "GOV-301"
    kek.chmod(0o640)
    assert _code(f"file:{kek}") == "GOV-301"
    kek.chmod(0o600)
    for content in (b"", b"{", b"[]", b'{"v":1,"kind":"key","key":"AAAA"}', b'{"v":2,"kind":"key"}', b"\xff"):
        kek.write_bytes(content)
        assert _code(f"file:{kek}") == "GOV-308"


def test_relative_and_quoted_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = create_file_key(tmp_path / "a key.json")
    monkeypatch.chdir(tmp_path)
    assert provider_for(uri).uri == provider_for("file:a key.json").uri == uri


def test_passphrases(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    uri = create_file_key(path, lambda: _WORDS, cost=_CHEAP)
    assert set(json.loads(path.read_bytes())) == {"v", "kind", "salt", "n", "r", "p", "verifier"}
    assert _code(uri) == "GOV-301"
    assert _code(uri, "wrong horse battery staple") == "GOV-302"
    assert _code(uri, "") == "GOV-302"
    provider = provider_for(uri, lambda: _WORDS)
    epoch = provider.create_epoch("store", 1)
    wrapped = epoch.wrap(bytes(32), "seg.a.b", "a", "b")
    again = provider_for(uri, lambda: _WORDS).epoch_key("store", 1)
    assert again.unwrap(wrapped, "seg.a.b", "a", "b") == bytes(32)
    destruction = provider.destroy_epochs("store", 2)
    assert any("no claim" in reason for reason in destruction.pending)


def test_a_passphrase_in_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    told = Settings.from_environment(
        environment={"GOVERNANCE_HOME": str(tmp_path), "GOVERNANCE_PASSPHRASE_FILE": str(file)}
    )
    assert told.passphrase is not None
    with pytest.raises(SettingError, match="GOV-901"):
        told.passphrase()
    file.write_text(f"{_WORDS}\n")
    uri = create_file_key(tmp_path / "kek.json", told.passphrase, cost=_CHEAP)
    provider_for(uri, lambda: _WORDS)
    assert _WORDS not in repr(told)


def test_a_passphrase_typed_on_another_keyboard(tmp_path: Path) -> None:
    uri = create_file_key(tmp_path / "kek.json", lambda: "caf\u00e9 au lait", cost=_CHEAP)
    provider_for(uri, lambda: "cafe\u0301 au lait")


def test_short_passphrases_and_unsafe_costs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="8 characters"):
        create_file_key(tmp_path / "kek.json", lambda: "short", cost=_CHEAP)
    for cost in (1 << 10, 100_000, 1 << 30):
        with pytest.raises(SettingError, match="power of two"):
            create_file_key(tmp_path / "kek.json", lambda: _WORDS, cost=cost)
    assert not list(tmp_path.iterdir())


def test_parameters_that_would_exhaust_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    uri = create_file_key(path, lambda: _WORDS, cost=_CHEAP)
    document = json.loads(path.read_bytes())
    for change in ({"n": 1 << 40}, {"r": 1 << 20}, {"n": True}, {"salt": ""}, {"n": "16384"}):
        path.write_text(json.dumps(document | change))
        assert _code(uri, _WORDS) == "GOV-308"


def test_epochs_of_stores_are_apart_and_die(kek: Path) -> None:
    provider = provider_for(f"file:{kek}")
    wrapped = provider.create_epoch("one", 1).wrap(bytes(32), "k", "", "")
    provider.create_epoch("two", 1)
    provider.create_epoch("one", 2)
    assert provider.create_epoch("one", 1).unwrap(wrapped, "k", "", "") == bytes(32), "an existing one stays"
    destruction = provider.destroy_epochs("one", 2)
    assert destruction.epochs == (1,)
    assert not destruction.confirmed
    assert destruction.pending == ("backups of the epochs file",)
    assert provider.epochs("one") == (2,)
    assert provider.epochs("two") == (1,)
    assert provider.destroy_epochs("one", 2).epochs == ()
    with pytest.raises(ProtectionError, match="GOV-303"):
        provider.epoch_key("one", 1)


def test_destroying_overwrites_the_replaced_file(kek: Path) -> None:
    provider = provider_for(f"file:{kek}")
    provider.create_epoch("one", 1)
    epochs = kek.with_name("kek.json.epochs.json")
    assert epochs.stat().st_mode & 0o777 == 0o600
    with epochs.open("rb") as former:
        provider.create_epoch("one", 2)
        provider.destroy_epochs("one", 2)
        assert set(former.read()) == {0}
    assert sorted(entry.name for entry in kek.parent.iterdir()) == [
        "kek.json",
        "kek.json.epochs.json",
        "kek.json.epochs.json.lock",
    ]


def test_another_key_and_flipped_bits_are_told_apart(kek: Path) -> None:
    provider = provider_for(f"file:{kek}")
    provider.create_epoch("one", 1)
    epochs = kek.with_name("kek.json.epochs.json")
    document = json.loads(epochs.read_bytes())
    sealed = bytearray(base64.b64decode(document["stores"]["one"]["1"]))
    sealed[20] ^= 1
    altered = document | {"stores": {"one": {"1": base64.b64encode(sealed).decode()}}}
    epochs.write_text(json.dumps(altered))
    with pytest.raises(ProtectionError, match="GOV-308"):
        provider.epoch_key("one", 1)
    epochs.write_text(json.dumps(document | {"stores": {"two": document["stores"]["one"]}}))
    with pytest.raises(ProtectionError, match="GOV-308"):
        provider.epoch_key("two", 1)
    epochs.write_text(json.dumps(document))
    kek.unlink()
    create_file_key(kek)
    with pytest.raises(ProtectionError, match="GOV-302"):
        provider_for(f"file:{kek}").epoch_key("one", 1)


def test_a_crash_while_replacing_leaves_the_old_epochs(kek: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = provider_for(f"file:{kek}")
    provider.create_epoch("one", 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"GOV-724.*No space"):
            provider.create_epoch("one", 2)
    assert provider.epochs("one") == (1,)
    provider.create_epoch("one", 2)
    assert provider.epochs("one") == (1, 2)
    assert not kek.with_name("kek.json.epochs.json.new").exists()
