"""Seals are counted, destructions followed until they are confirmed, stores of the first format taken along."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from governance.errors import ProtectionError
from governance.keys import usage
from governance.keys.epoch import Destruction
from governance.keys.providers.file import FileProvider, create_file_key
from governance.keys.providers.provider import KeyProvider, provider_for
from governance.keys.store import HELD_SECONDS, Keyring
from governance.keys.usage import LIMIT, Usage
from governance.keys.vault.vault import SubjectVault


def _used(keyring: Keyring) -> dict[str, int]:
    return {keyring.usage.key: keyring.usage.seals}


def test_every_wrap_of_an_epoch_is_counted_and_starts_anew_with_the_next(
    keyring: Keyring, key_store: Path, provider: KeyProvider
) -> None:
    assert _used(keyring) == {"epoch.1": 3}
    keyring.new_segment_key("a", "restricted")
    keyring.new_segment_key("a", "restricted")
    keyring.promote_log_signer(keyring.make_next_log_signer().public_key)
    assert _used(Keyring.open(key_store, provider)) == {"epoch.1": 6}
    keyring.destroy_segment_keys(["a"])
    assert _used(keyring) == {"epoch.2": 3}
    assert Usage("k", 5).remaining == LIMIT - 5


def test_a_key_that_sealed_too_often_is_refused_until_it_is_rotated(
    keyring: Keyring, key_store: Path
) -> None:
    with sqlite3.connect(key_store / "keys.sqlite") as connection:
        connection.execute("UPDATE usage SET seals = ?", (LIMIT - 1,))
    keyring.new_segment_key("last", "restricted")
    with pytest.raises(ProtectionError, match=r"(?s)GOV-312.*keys rotate"):
        keyring.new_segment_key("refused", "restricted")
    with pytest.raises(ProtectionError, match="GOV-303"):
        keyring.segment_key("seg.refused.restricted")
    keyring.rotate_epoch()
    keyring.new_segment_key("refused", "restricted")


def test_the_vault_counts_what_its_key_seals_and_starts_anew_with_another(
    vault: SubjectVault, vault_directory: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vault.usage.seals == 1
    vault.resolve("patient", pa.array(["a", "b"]), create=True)
    enrolled = vault.usage
    # The pages and directories of three columns, and the head.
    assert enrolled.seals == 8
    assert SubjectVault.open(vault_directory, keyring).usage == enrolled
    with monkeypatch.context() as patch:
        patch.setattr(usage, "LIMIT", enrolled.seals + 2)
        with pytest.raises(ProtectionError, match="GOV-312"):
            vault.resolve("patient", pa.array(["c"]), create=True)
        assert SubjectVault.open(vault_directory, keyring).usage == enrolled
    vault.reseal()
    assert vault.usage.key != enrolled.key
    assert vault.usage.seals <= enrolled.seals


class _Slow(FileProvider):
    """Has something pending until it is told otherwise, as a KMS has."""

    __slots__ = ("until",)
    until: int

    def destroy_epochs(self, store: str, before: int) -> Destruction:
        gone = super().destroy_epochs(store, before).epochs
        waiting = tuple(epoch for epoch in range(self.until, before))
        return Destruction(gone, not waiting, tuple(f"epoch {epoch}" for epoch in waiting), waiting)


def test_each_destruction_is_pending_until_it_is_confirmed_and_stays_so(tmp_path: Path) -> None:
    uri = create_file_key(tmp_path / "kek.json")
    provider = _Slow(Path(uri.removeprefix("file://")))
    provider.until = 1
    keyring = Keyring.create(tmp_path / "keys", provider)
    keyring.rotate_epoch()
    keyring.rotate_epoch()
    assert [(each.epoch, each.state) for each in keyring.destructions] == [(1, "pending"), (2, "pending")]
    provider.until = 2
    first, second = keyring.confirm(provider_for)
    assert (first.state, second.state) == ("confirmed", "pending")
    assert (first.pending, second.pending) == ((), ("epoch 2",))
    provider.until = 1
    assert keyring.confirm(provider_for)[0] == first
    keyring.declare_destroyed(2, "the tapes were shredded")
    assert [each.state for each in keyring.destructions] == ["confirmed", "declared"]
    with pytest.raises(ProtectionError, match="GOV-303"):
        keyring.declare_destroyed(3, "it lives")


def test_a_former_provider_that_is_gone_leaves_its_destruction_pending(
    keyring: Keyring, kek: Path, tmp_path: Path
) -> None:
    keyring.move(provider_for(create_file_key(tmp_path / "new.json")))
    kek.unlink()
    (each,) = keyring.confirm(provider_for)
    assert (each.epoch, each.state) == (1, "pending")


def test_a_store_of_the_first_format_is_taken_along(
    keyring: Keyring, key_store: Path, provider: KeyProvider, kek: Path
) -> None:
    """As the first release wrote it, killed after its first rotation's commit."""
    key = keyring.segment_key(keyring.new_segment_key("a", "restricted"))
    keyring.rotate_epoch()
    keyring.close()
    provider.create_epoch(keyring._store, 1)
    with sqlite3.connect(key_store / "keys.sqlite") as connection:
        for statement in (
            "DROP TABLE usage",
            "DROP TABLE destructions",
            "ALTER TABLE keyring DROP COLUMN provider",
            "UPDATE keyring SET format = 1",
        ):
            connection.execute(statement)
    reopened = Keyring.open(key_store, provider_for(f"file:{kek}"))
    assert reopened.segment_key("seg.a.restricted") == key
    assert _used(reopened) == {"epoch.2": 4}
    assert provider.epochs(keyring._store) == (2,)
    assert [each.epoch for each in reopened.destructions] == [1]
    Keyring.open(key_store, provider)


def test_a_forged_destruction_destroys_nothing_that_lives(
    keyring: Keyring, key_store: Path, provider: KeyProvider
) -> None:
    with sqlite3.connect(key_store / "keys.sqlite") as connection:
        connection.execute("INSERT INTO destructions(provider, epoch) VALUES (?, 99)", (provider.uri,))
    Keyring.open(key_store, provider).confirm(provider_for)
    assert provider.epochs(keyring._store) == (1,)


def test_an_epoch_destroyed_behind_the_stores_back_ends_within_the_bound(
    keyring: Keyring, provider: KeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator destroys the key at the provider: a process that holds it goes on for minutes only."""
    key_id = keyring.new_segment_key("a", "restricted")
    clock = [1000.0]
    monkeypatch.setattr("governance.keys.store.time.monotonic", lambda: clock[0])
    keyring.close()
    keyring.segment_key(key_id)
    provider.destroy_epochs(keyring._store, 2)
    clock[0] += HELD_SECONDS
    assert keyring.segment_key(key_id)
    clock[0] += 1
    with pytest.raises(ProtectionError, match="GOV-303"):
        keyring.segment_key(key_id)
