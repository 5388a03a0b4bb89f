"""What lies in a key store's SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from governance.errors import ProtectionError
from governance.keys import destructions, usage
from governance.keys.epoch import EpochKey
from governance.keys.sealing import KeyMaterial

FORMAT = 2
LIVE = "SELECT key_id, segment_id, sensitivity, epoch, wrapped FROM keys WHERE wrapped IS NOT NULL"

_SCHEMA = (
    """CREATE TABLE keyring(
        id INTEGER PRIMARY KEY CHECK (id = 1),
        format INTEGER NOT NULL, store TEXT NOT NULL, epoch INTEGER NOT NULL, provider TEXT NOT NULL)""",
    """CREATE TABLE keys(
        key_id TEXT PRIMARY KEY,
        segment_id TEXT NOT NULL, sensitivity TEXT NOT NULL, epoch INTEGER NOT NULL, wrapped BLOB)""",
    "CREATE INDEX keys_by_segment ON keys(segment_id)",
    destructions.SCHEMA,
    usage.SCHEMA,
)
_INSERT = "INSERT INTO keys(key_id, segment_id, sensitivity, epoch, wrapped) VALUES (?, ?, ?, ?, ?)"


def create(connection: sqlite3.Connection, store: str, provider: str) -> None:
    """Make the tables of a store whose live epoch is the first."""
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO keyring VALUES (1, ?, ?, 1, ?)", (FORMAT, store, provider))


def follow_format(connection: sqlite3.Connection, provider: str) -> None:
    """Bring a store of format 1, which neither counted seals nor noted destructions, to this one."""
    written, _, epoch = described(connection) or (0, "", 0)
    if written != 1:
        return
    connection.execute("ALTER TABLE keyring ADD COLUMN provider TEXT NOT NULL DEFAULT ''")
    connection.execute(destructions.SCHEMA)
    connection.execute(usage.SCHEMA)
    connection.execute("UPDATE keyring SET format = ?, provider = ?", (FORMAT, provider))
    usage.count(connection, epoch_id(epoch), connection.execute("SELECT count(*) FROM keys").fetchone()[0])
    if epoch > 1:
        destructions.doom(connection, provider, epoch - 1)


def described(connection: sqlite3.Connection) -> tuple[int, str, int] | None:
    """Format, store id and epoch; nothing while the first transaction has not committed."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'keyring'").fetchall():
        return None
    row: tuple[int, str, int] | None = connection.execute(
        "SELECT format, store, epoch FROM keyring"
    ).fetchone()
    return row


def live_epoch(connection: sqlite3.Connection) -> int:
    epoch: int = connection.execute("SELECT epoch FROM keyring").fetchone()[0]
    return epoch


def insert(
    connection: sqlite3.Connection, epoch: EpochKey, key_id: str, segment_id: str, sensitivity: str
) -> None:
    """Make a random key and store it wrapped."""
    wrapped = epoch.wrap(KeyMaterial.random(), key_id, segment_id, sensitivity)
    usage.count(connection, epoch_id(epoch.epoch), 1)
    connection.execute(_INSERT, (key_id, segment_id, sensitivity, epoch.epoch, wrapped))


def forget(connection: sqlite3.Connection, key_id: str) -> None:
    """Remove a segment's key, but not what stands for a destroyed one: that must not come back."""
    connection.execute(
        "DELETE FROM keys WHERE key_id = ? AND segment_id != '' AND wrapped IS NOT NULL", (key_id,)
    )


def rewrap(
    connection: sqlite3.Connection, former: EpochKey, latter: EpochKey, doomed: Collection[str]
) -> tuple[int, tuple[str, ...]]:
    """Wrap every key anew, but those of doomed segments; returns how many survived and which did not."""
    survivors, destroyed = [], []
    for key_id, segment_id, sensitivity, _, wrapped in connection.execute(LIVE).fetchall():
        if segment_id and segment_id in doomed:
            destroyed.append((key_id,))
        else:
            rewrapped = former.rewrap(latter, wrapped, key_id, segment_id, sensitivity)
            survivors.append((latter.epoch, rewrapped, key_id))
    connection.executemany("UPDATE keys SET epoch = ?, wrapped = ? WHERE key_id = ?", survivors)
    connection.executemany("UPDATE keys SET wrapped = NULL WHERE key_id = ?", destroyed)
    connection.execute("DELETE FROM usage WHERE key_id = ?", (epoch_id(former.epoch),))
    usage.count(connection, epoch_id(latter.epoch), len(survivors))
    return len(survivors), tuple(key_id for (key_id,) in destroyed)


def epoch_id(epoch: int) -> str:
    """What an epoch's key is called where its seals are counted."""
    return f"epoch.{epoch}"


def unknown(key_id: str) -> ProtectionError:
    return ProtectionError(
        "GOV-303",
        f"the key store has no key {key_id!r}",
        "use the key store the segment was written with, or its newest backup",
    )


def destroyed(key_id: str) -> ProtectionError:
    return ProtectionError(
        "GOV-303", f"the key {key_id} was destroyed", "what it sealed is gone; release the dataset again"
    )
