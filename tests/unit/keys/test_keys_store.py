"""The key store: wrapping, destruction by rotation, crashes in between, several processes."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.errors import ProtectionError, SettingError
from governance.keys.epoch import Destruction
from governance.keys.providers.file import FileProvider, create_file_key
from governance.keys.providers.provider import KeyProvider, provider_for
from governance.keys.store import Keyring


def _copy(source: Path, target: Path) -> None:
    """A backup as SQLite makes one, WAL included."""
    target.mkdir()
    with sqlite3.connect(source / "keys.sqlite") as live, sqlite3.connect(target / "keys.sqlite") as copy:
        live.backup(copy)


def _code(call: object, *arguments: object) -> str:
    with pytest.raises(ProtectionError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_segment_keys_persist(keyring: Keyring, key_store: Path, provider: KeyProvider) -> None:
    key_id = keyring.new_segment_key("0af3-1", "restricted")
    assert key_id == "seg.0af3-1.restricted"
    key = keyring.segment_key(key_id)
    assert len(key) == 32
    assert keyring.new_segment_key("0af3-1", "restricted") == key_id
    other = keyring.new_segment_key("0af3-1", "internal")
    reopened = Keyring.open(key_store, provider)
    assert reopened.segment_key(key_id) == key != reopened.segment_key(other)
    assert reopened.epoch == 1
    assert (key_store / "keys.sqlite").stat().st_mode & 0o777 == 0o600
    assert key not in b"".join(path.read_bytes() for path in key_store.iterdir())


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "a;b", "a.b", "ä", "a/b", "-a", "a" * 129])
def test_names_parquet_could_not_take_are_refused(keyring: Keyring, name: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        keyring.new_segment_key(name, "restricted")


def test_unknown_keys(keyring: Keyring) -> None:
    assert _code(keyring.segment_key, "seg.none.restricted") == "GOV-303"
    for internal in ("root", "signer.log"):
        assert _code(keyring.segment_key, internal) == "GOV-303"


def test_missing_existing_and_misplaced_stores(tmp_path: Path, keyring: Keyring, key_store: Path) -> None:
    provider = provider_for(create_file_key(tmp_path / "other.json"))
    assert _code(Keyring.open, tmp_path / "none", provider) == "GOV-301"
    with pytest.raises(SettingError, match="there is a key store"):
        Keyring.create(key_store, provider)
    assert _code(Keyring.open, key_store, provider) == "GOV-303"
    with pytest.raises(SettingError, match="keep the key outside"):
        Keyring.create(tmp_path, provider)


def test_every_flipped_bit_is_found(keyring: Keyring, key_store: Path) -> None:
    key_id = keyring.new_segment_key("a", "restricted")
    with sqlite3.connect(key_store / "keys.sqlite") as connection:
        wrapped = connection.execute("SELECT wrapped FROM keys WHERE key_id = ?", (key_id,)).fetchone()[0]
    for bit in range(0, len(wrapped) * 8, 7):
        altered = bytearray(wrapped)
        altered[bit // 8] ^= 1 << bit % 8
        with sqlite3.connect(key_store / "keys.sqlite") as connection:
            connection.execute("UPDATE keys SET wrapped = ? WHERE key_id = ?", (bytes(altered), key_id))
        assert _code(keyring.segment_key, key_id) == "GOV-308"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE keys SET segment_id = 'b' WHERE key_id = 'seg.a.restricted'",
        "UPDATE keys SET sensitivity = 'public' WHERE key_id = 'seg.a.restricted'",
        "UPDATE keys SET wrapped = (SELECT wrapped FROM keys WHERE key_id = 'seg.b.restricted')"
        " WHERE key_id = 'seg.a.restricted'",
        "UPDATE keys SET wrapped = x'00' WHERE key_id = 'seg.a.restricted'",
    ],
)
def test_a_key_opens_only_where_it_belongs(keyring: Keyring, key_store: Path, change: str) -> None:
    key_id = keyring.new_segment_key("a", "restricted")
    keyring.new_segment_key("b", "restricted")
    with sqlite3.connect(key_store / "keys.sqlite") as connection:
        connection.execute(change)
    assert _code(keyring.segment_key, key_id) == "GOV-308"


def test_a_file_that_is_no_database(keyring: Keyring, key_store: Path, provider: KeyProvider) -> None:
    keyring.close()
    (key_store / "keys.sqlite").write_bytes(b"not a database, and longer than a header" * 100)
    assert _code(Keyring.open, key_store, provider) == "GOV-308"


def test_secrets_and_signers_are_stable(keyring: Keyring, key_store: Path, provider: KeyProvider) -> None:
    reopened = Keyring.open(key_store, provider)
    assert len(keyring.secret("tokens patient")) == 32
    assert keyring.secret("tokens patient") == reopened.secret("tokens patient")
    assert keyring.secret("tokens patient") != keyring.secret("tokens customer")
    assert keyring.evidence_signer.public_key == reopened.evidence_signer.public_key
    assert keyring.log_signer.public_key == reopened.log_signer.public_key
    signers = [keyring.evidence_signer, keyring.log_signer]
    signers += [keyring.run_signer("v", "1"), keyring.run_signer("v", "2"), keyring.run_signer("v1", "")]
    assert len({signer.public_key for signer in signers}) == 5
    assert keyring.run_signer("v", "1").public_key == reopened.run_signer("v", "1").public_key
    for signer in signers:
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signer.sign(b"data"), b"data")


def test_rotation_keeps_survivors(keyring: Keyring, key_store: Path, provider: KeyProvider) -> None:
    key_id = keyring.new_segment_key("a", "restricted")
    other = Keyring.open(key_store, provider)
    before = keyring.segment_key(key_id), keyring.secret("x"), keyring.log_signer.public_key
    assert other.segment_key(key_id) == before[0]
    rotation = keyring.rotate_epoch()
    assert (rotation.epoch, rotation.destroyed_keys, rotation.survivors) == (2, (), 4)
    assert rotation.destruction.epochs == (1,)
    for ring in (keyring, other, Keyring.open(key_store, provider)):
        assert (ring.segment_key(key_id), ring.secret("x"), ring.log_signer.public_key) == before
        assert ring.epoch == 2
    other.new_segment_key("b", "restricted")
    assert keyring.segment_key("seg.b.restricted")


def test_destroyed_keys_stay_dead(
    keyring: Keyring, key_store: Path, provider: KeyProvider, tmp_path: Path
) -> None:
    dead = [keyring.new_segment_key("a", "restricted"), keyring.new_segment_key("a", "internal")]
    alive = keyring.new_segment_key("b", "restricted")
    other = Keyring.open(key_store, provider)
    assert other.segment_key(dead[0])
    backup = tmp_path / "backup"
    _copy(key_store, backup)
    files = tmp_path / "files"
    shutil.copytree(key_store, files)
    rotation = keyring.destroy_segment_keys(["a", "unknown"])
    assert sorted(rotation.destroyed_keys) == sorted(dead)
    assert not rotation.destruction.confirmed
    assert "backups of the epochs file" in rotation.destruction.pending
    for ring in (keyring, other, Keyring.open(key_store, provider)):
        assert ring.segment_key(alive)
        for key_id in dead:
            assert _code(ring.segment_key, key_id) == "GOV-303"
    assert _code(keyring.new_segment_key, "a", "restricted") == "GOV-303"
    assert keyring.destroy_segment_keys(["a"]).destroyed_keys == ()
    for copy in (backup, files):
        assert _code(Keyring.open, copy, provider) == "GOV-303"


class _Interrupted(FileProvider):
    """Fails at the step a crash would leave undone."""

    def __init__(self, path: Path, step: str) -> None:
        super().__init__(path)
        self.step = step

    def create_epoch(self, store: str, epoch: int) -> object:  # type: ignore[override]
        created = super().create_epoch(store, epoch)
        if self.step == "created":
            raise KeyboardInterrupt
        return created

    def destroy_epochs(self, store: str, before: int) -> Destruction:
        raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["created", "committed"])
def test_an_interrupted_rotation_is_old_or_new(
    keyring: Keyring, key_store: Path, kek: Path, provider: KeyProvider, step: str
) -> None:
    doomed = keyring.new_segment_key("a", "restricted")
    alive = keyring.new_segment_key("b", "restricted")
    key = keyring.segment_key(alive)
    keyring.close()
    with pytest.raises(KeyboardInterrupt):
        Keyring.open(key_store, _Interrupted(kek, step)).destroy_segment_keys(["a"])
    store = keyring._store
    assert provider.epochs(store) == (1, 2)
    reopened = Keyring.open(key_store, provider)
    assert reopened.segment_key(alive) == key
    if step == "created":
        assert reopened.epoch == 1
        assert reopened.segment_key(doomed)
        reopened.destroy_segment_keys(["a"])
    assert reopened.epoch == 2
    assert provider.epochs(store) == (2,)
    assert _code(reopened.segment_key, doomed) == "GOV-303"


def test_a_forged_epoch_number_destroys_nothing(
    keyring: Keyring, key_store: Path, provider: KeyProvider
) -> None:
    with sqlite3.connect(key_store / "keys.sqlite") as connection:
        connection.execute("UPDATE keyring SET epoch = 99")
        connection.execute("UPDATE keys SET epoch = 99")
    assert _code(Keyring.open, key_store, provider) == "GOV-303"
    assert provider.epochs(keyring._store) == (1,)


def _write_keys(directory: str, kek: str, worker: int) -> None:
    keyring = Keyring.open(Path(directory), provider_for(f"file:{kek}"))
    for number in range(10):
        key_id = keyring.new_segment_key(f"w{worker}-{number}", "restricted")
        assert len(keyring.segment_key(key_id)) == 32
        if number % 4 == 0:
            keyring.rotate_epoch()


def test_processes_write_and_rotate_at_once(key_store: Path, keyring: Keyring, kek: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(str(key_store), str(kek), worker) for worker in range(3)]
    with context.Pool(3) as pool:
        pool.starmap(_write_keys, arguments)
    assert keyring.epoch == 10
    for worker in range(3):
        for number in range(10):
            assert len(keyring.segment_key(f"seg.w{worker}-{number}.restricted")) == 32


def test_a_fork_uses_its_own_connection(keyring: Keyring) -> None:
    key_id = keyring.new_segment_key("a", "restricted")
    key = keyring.segment_key(key_id)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(keyring.segment_key(key_id) == key))
    child.start()
    child.join()
    assert queue.get()
    assert keyring.segment_key(key_id) == key


def test_the_checkpoint_key_is_replaced_by_the_next(
    keyring: Keyring, key_store: Path, provider: KeyProvider
) -> None:
    old = keyring.log_signer.public_key
    assert keyring.next_log_signer is None
    keyring.promote_log_signer(old)
    assert keyring.log_signer.public_key == old
    new = keyring.make_next_log_signer().public_key
    assert keyring.make_next_log_signer().public_key == new != old
    keyring.rotate_epoch()
    reopened = Keyring.open(key_store, provider)
    following = reopened.next_log_signer
    assert following is not None and following.public_key == new
    assert reopened.log_signer.public_key == old
    reopened.promote_log_signer(new)
    assert keyring.log_signer.public_key == new
    assert keyring.next_log_signer is None
    keyring.rotate_epoch()
    assert reopened.log_signer.public_key == new


def test_a_late_promotion_does_not_promote_the_key_after_it(keyring: Keyring) -> None:
    """Another process finished the rotation for a slow one, and began the next."""
    first = keyring.make_next_log_signer().public_key
    keyring.promote_log_signer(first)
    second = keyring.make_next_log_signer().public_key
    keyring.promote_log_signer(first)
    assert keyring.log_signer.public_key == first
    assert keyring.make_next_log_signer().public_key == second
