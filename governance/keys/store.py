"""The key store: every key wrapped under the live epoch, in one SQLite file.

``keys.sqlite`` holds segment keys, two signing seeds and a root secret, each sealed under the epoch
key with its own id, segment, sensitivity and epoch as context. The epoch key is at the provider, in
a place that no copy of this directory holds. Destroying keys is rotating: survivors are wrapped
under epoch n+1, then epoch n is destroyed there, and every copy of this file from before is noise.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from governance.errors import GovernanceError, ProtectionError, SettingError
from governance.keys import destructions, rows, usage
from governance.keys.database import Database
from governance.keys.destructions import DestroyedEpoch
from governance.keys.epoch import Destruction, EpochKey, Rotation
from governance.keys.providers.provider import KeyProvider
from governance.keys.sealing import KeyMaterial, Secretive, confined, derive
from governance.keys.signing import Ed25519Signer
from governance.keys.usage import Usage

HELD_SECONDS = 300.0
"""How long a process uses an epoch key before it asks the provider for it again."""

_FILE = "keys.sqlite"
_ROOT = "root"
_EVIDENCE = "signer.evidence"
_LOG = "signer.log"
_LOG_NEXT = "signer.log.next"
# What Parquet's ``column_keys`` and file names both take; PyArrow separates ids by ``:`` and ``;``.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Keyring(Secretive):
    """The keys of one deployment. Safe to share between threads and to use after a fork.

    Every method may raise GOV-303 (the store's epoch was destroyed: it is an old copy), GOV-308
    (the store was altered) and GOV-724 (the file cannot be used).
    """

    __slots__ = ("_database", "_epoch", "_held_until", "_provider", "_store")

    def __init__(self, database: Database, provider: KeyProvider, store: str) -> None:
        self._database = database
        self._provider = provider
        self._store = store
        self._epoch: EpochKey | None = None
        self._held_until = 0.0

    @classmethod
    def create(cls, directory: Path, provider: KeyProvider) -> Keyring:
        """Make a key store with its root secret and signing keys.

        Raises:
            SettingError: GOV-901 if there is one, or if the provider keeps its epoch keys inside.
        """
        if provider.lies_in(directory):
            raise SettingError(
                "GOV-901",
                f"the epoch keys of {provider.uri} lie in the key store's directory {directory}",
                "keep the key outside: a backup of the key store must not hold what opens it",
            )
        database = Database(directory / _FILE, "GOV-308")
        database.create()
        store = secrets.token_hex(16)
        with database.writing() as connection:
            if rows.described(connection) is not None:
                raise SettingError(
                    "GOV-901", f"there is a key store in {directory}", "open it, or choose another directory"
                )
            # Before the commit, so that a crash leaves an epoch of no store, not the reverse.
            epoch = provider.create_epoch(store, 1)
            rows.create(connection, store, provider.uri)
            for key_id in (_ROOT, _EVIDENCE, _LOG):
                rows.insert(connection, epoch, key_id, "", "")
        return cls(database, provider, store)

    @classmethod
    def open(cls, directory: Path, provider: KeyProvider) -> Keyring:
        """Open a key store and finish a rotation that was interrupted.

        Raises:
            ProtectionError: GOV-301 if there is none; GOV-303 if its epoch is not at the provider.
            SettingError: GOV-901 if it was written by a later format.
        """
        database = Database(directory / _FILE, "GOV-308")
        description = None
        if database.path.is_file():
            with database.reading() as connection:
                description = rows.described(connection)
        if description is None:
            raise ProtectionError(
                "GOV-301", f"there is no key store in {directory}", "create one with `governance keys init`"
            )
        written, store, _ = description
        if written not in (1, rows.FORMAT):
            raise SettingError(
                "GOV-901", f"the key store has format {written}, this release reads {rows.FORMAT}", "upgrade"
            )
        keyring = cls(database, provider, store)
        if written == 1:
            with database.writing() as connection:
                rows.follow_format(connection, provider.uri)
        keyring._finish_rotation()
        return keyring

    @property
    def provider(self) -> str:
        """The URI of the provider that holds the live epoch; no secret."""
        return self._provider.uri

    @property
    def epoch(self) -> int:
        """The live epoch, counted from 1."""
        with self._database.reading() as connection:
            return rows.live_epoch(connection)

    def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
        """Make a random key for a segment and sensitivity and return its id; again is harmless.

        Raises:
            ProtectionError: GOV-303 if that key was destroyed: it does not come back.
            ValueError: a name is not letters, digits, ``_`` and ``-``.
        """
        for name in (segment_id, sensitivity):
            if not _NAME.fullmatch(name):
                raise ValueError("a segment id and a sensitivity are letters, digits, _ and -")
        key_id = f"seg.{segment_id}.{sensitivity}"
        with self._database.writing() as connection:
            found = connection.execute("SELECT wrapped FROM keys WHERE key_id = ?", (key_id,)).fetchone()
            if found is None:
                rows.insert(
                    connection,
                    self._key_of(rows.live_epoch(connection), connection),
                    key_id,
                    segment_id,
                    sensitivity,
                )
            elif found[0] is None:
                raise rows.destroyed(key_id)
        return key_id

    def forget_segment_key(self, key_id: str) -> None:
        """Drop the row of a key whose only file is gone. No destruction: copies of the store hold it until a rotation."""
        with self._database.writing() as connection:
            rows.forget(connection, key_id)

    def segment_key(self, key_id: str) -> bytes:
        """A segment's 32-byte key. Raises GOV-303 if it is unknown or was destroyed."""
        if not key_id.startswith("seg."):
            raise rows.unknown(key_id)
        return self._unwrapped(key_id)

    def secret(self, label: str) -> bytes:
        """32 bytes for a label, the same for as long as this key store lives.

        Derived by HKDF from a root secret that every rotation re-wraps: what it makes, such as
        tokens, can be made again, and is therefore not erasable.
        """
        return derive(self._unwrapped(_ROOT), "governance secret v1", label)

    @property
    def evidence_signer(self) -> Ed25519Signer:
        """Signs manifests and bundles."""
        return Ed25519Signer(self._unwrapped(_EVIDENCE))

    @property
    def log_signer(self) -> Ed25519Signer:
        """Signs checkpoints."""
        return Ed25519Signer(self._unwrapped(_LOG))

    @property
    def next_log_signer(self) -> Ed25519Signer | None:
        """The key that a rotation of the checkpoint key made and did not yet put in place."""
        with self._database.reading() as connection:
            found = connection.execute("SELECT 1 FROM keys WHERE key_id = ?", (_LOG_NEXT,)).fetchone()
        return None if found is None else Ed25519Signer(self._unwrapped(_LOG_NEXT))

    def make_next_log_signer(self) -> Ed25519Signer:
        """Make the next checkpoint key beside the one that signs; again it is the same."""
        with self._database.writing() as connection:
            if not connection.execute("SELECT 1 FROM keys WHERE key_id = ?", (_LOG_NEXT,)).fetchall():
                rows.insert(
                    connection, self._key_of(rows.live_epoch(connection), connection), _LOG_NEXT, "", ""
                )
        return Ed25519Signer(self._unwrapped(_LOG_NEXT))

    def promote_log_signer(self, public_key: bytes) -> None:
        """Put the next checkpoint key in the place of the one that signed, if it is the one named.

        The old key's row is overwritten. Copies of this file still hold it until the epoch is rotated.
        """
        with self._database.writing() as connection:
            found = connection.execute(
                "SELECT epoch, wrapped FROM keys WHERE key_id = ?", (_LOG_NEXT,)
            ).fetchone()
            if found is not None:
                epoch = self._key_of(found[0], connection)
                seed = epoch.unwrap(found[1], _LOG_NEXT, "", "")
                # Meanwhile another process may have finished this rotation and begun the next.
                if Ed25519Signer(seed).public_key != public_key:
                    return
                usage.count(connection, rows.epoch_id(epoch.epoch), 1)
                wrapped = epoch.wrap(seed, _LOG, "", "")
                connection.execute(
                    "UPDATE keys SET epoch = ?, wrapped = ? WHERE key_id = ?", (found[0], wrapped, _LOG)
                )
                connection.execute("DELETE FROM keys WHERE key_id = ?", (_LOG_NEXT,))

    def run_signer(self, version: str, attempt: str) -> Ed25519Signer:
        """Signs one attempt's evidence; derived, so that any task of the run can rebuild it."""
        return Ed25519Signer(self.run_seed(version, attempt))

    def run_seed(self, version: str, attempt: str) -> bytes:
        """The 32 bytes behind :meth:`run_signer`, which a key broker hands to the run itself."""
        return derive(self._unwrapped(_ROOT), "governance run signer v1", version, attempt)

    def rotate_epoch(self) -> Rotation:
        """Move every key to the next epoch and destroy the one before."""
        return self._rotate(self._provider, frozenset())

    def destroy_segment_keys(self, segment_ids: Iterable[str]) -> Rotation:
        """Rotate without the keys of these segments.

        Re-wrapping is one transaction; the old epoch is destroyed only after the survivors were
        read back under the new one. A crash before the commit changes nothing, one after it is
        finished by the next open. Unknown or already destroyed segments are passed over. A process
        that unwrapped a key before still has it: caches and grants are ended by their owners.

        Returns:
            What died and what the provider says of it; it is ``pending`` until that is confirmed.
        """
        return self._rotate(self._provider, frozenset(segment_ids))

    def move(self, provider: KeyProvider) -> Rotation:
        """Wrap every key under an epoch of another KEK, then destroy the one at the former KEK.

        No data is written anew: segments keep their keys. Killed at any point, the former KEK goes on or
        the new one does; :meth:`confirm` tells the former again whatever it was not told.

        Raises:
            SettingError: GOV-901 if the keys are there already, or if the provider keeps them in here.
        """
        if provider.uri == self._provider.uri or provider.lies_in(self._database.path.parent):
            raise SettingError(
                "GOV-901",
                f"the keys cannot move to {provider.uri}: they are there, or it lies within the key store",
                "name another key-encryption key, on another disk than the key store",
            )
        return self._rotate(provider, frozenset())

    @property
    def usage(self) -> Usage:
        """How often the live epoch's key has sealed."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT key_id, seals FROM usage").fetchone()
        return Usage(*row)

    @property
    def destructions(self) -> tuple[DestroyedEpoch, ...]:
        """Every former epoch, the oldest first, as the providers last spoke of it."""
        with self._database.reading() as connection:
            return destructions.destroyed(connection)

    def confirm(self, opened: Callable[[str], KeyProvider]) -> tuple[DestroyedEpoch, ...]:
        """Ask every provider again about destructions it has not confirmed, and note what it says.

        Args:
            opened: opens the provider of a URI, for epochs of a KEK that the keys moved away from.

        Returns:
            All destructions. One whose provider cannot be opened or asked stays as it was.
        """
        former = {each.provider for each in self.destructions if each.confirmed_at is None}
        for uri in sorted(former - {self._provider.uri}):
            try:
                self._destroy_former(opened(uri))
            except GovernanceError:
                continue
        if self._provider.uri in former:
            self._destroy_former(self._provider)
        return self.destructions

    def declare_destroyed(self, epoch: int, statement: str) -> None:
        """Keep a person's statement on what a provider cannot know, such as that its backups are gone.

        Raises:
            ProtectionError: GOV-303 if that epoch is not one the provider was told to destroy.
        """
        with self._database.writing() as connection:
            if not destructions.declare(connection, epoch, statement):
                raise ProtectionError(
                    "GOV-303",
                    f"no provider was told to destroy epoch {epoch} of this key store",
                    "see `governance keys status`",
                )

    def close(self) -> None:
        """Forget the epoch key and close the file; the next call opens it again."""
        self._epoch = None
        self._database.close()

    def _rotate(self, provider: KeyProvider, doomed: frozenset[str]) -> Rotation:
        with self._database.writing() as connection:
            former = self._key_of(rows.live_epoch(connection), connection)
            latter = provider.create_epoch(self._store, former.epoch + 1)
            survivors, destroyed = rows.rewrap(connection, former, latter, doomed)
            connection.execute("UPDATE keyring SET epoch = ?, provider = ?", (latter.epoch, provider.uri))
            destructions.doom(connection, self._provider.uri, former.epoch)
        losing, self._provider = self._provider, provider
        self._hold(latter)
        return Rotation(latter.epoch, survivors, destroyed, self._destroy_former(losing))

    def _destroy_former(self, provider: KeyProvider) -> Destruction:
        """Destroy every epoch before the live one at a provider, once all keys open under the live one."""
        with self._database.reading() as connection:
            live = rows.live_epoch(connection)
            # A forged epoch number must not destroy anything: keys open under a true one only.
            for key_id, segment_id, sensitivity, epoch, wrapped in connection.execute(rows.LIVE):
                self._key_of(epoch, connection).unwrap(wrapped, key_id, segment_id, sensitivity)
        said = provider.destroy_epochs(self._store, live)
        with self._database.writing() as connection:
            destructions.note(connection, provider.uri, live, said)
        return said

    def _finish_rotation(self) -> None:
        # Also what tells an old copy of the store: its root secret opens no more.
        self._unwrapped(_ROOT)
        untold = {each.provider for each in self.destructions if each.told_at is None}
        if self._provider.uri in untold:
            self._destroy_former(self._provider)

    @confined
    def _unwrapped(self, key_id: str) -> KeyMaterial:
        while True:
            with self._database.reading() as connection:
                row = connection.execute(
                    "SELECT segment_id, sensitivity, epoch, wrapped FROM keys WHERE key_id = ?", (key_id,)
                ).fetchone()
            if row is None:
                raise rows.unknown(key_id)
            segment_id, sensitivity, epoch, wrapped = row
            if wrapped is None:
                raise rows.destroyed(key_id)
            try:
                return self._key_of(epoch).unwrap(wrapped, key_id, segment_id, sensitivity)
            except ProtectionError as error:
                # Another process may have rotated since the row was read.
                if error.code != "GOV-303" or self.epoch == epoch:
                    raise

    def _key_of(self, epoch: int, connection: sqlite3.Connection | None = None) -> EpochKey:
        """A live epoch's key; ``connection`` is the transaction that the caller is in, if any."""
        held = self._epoch
        if held is None or held.epoch != epoch or time.monotonic() > self._held_until:
            try:
                held = self._provider.epoch_key(self._store, epoch)
            except ProtectionError as error:
                raise self._elsewhere(error, connection) from None
            self._hold(held)
        return held

    def _hold(self, epoch: EpochKey) -> None:
        self._epoch = epoch
        self._held_until = time.monotonic() + HELD_SECONDS

    def _elsewhere(self, error: ProtectionError, connection: sqlite3.Connection | None) -> ProtectionError:
        """The error itself, or that the keys were moved to another KEK, which is why it was raised."""
        if connection is None:
            with self._database.reading() as connection:
                return self._elsewhere(error, connection)
        named = connection.execute("SELECT provider FROM keyring").fetchone()[0]
        if error.code not in ("GOV-302", "GOV-303") or named == self._provider.uri:
            return error
        return ProtectionError(
            error.code,
            f"the keys of this key store were moved: they are at {named}, not at {self._provider.uri}",
            f"set GOVERNANCE_KEK={named}",
        )
