"""What a key store knows of epochs it had destroyed: told, pending, confirmed.

A row is written in the transaction that makes an epoch the former one, before the provider is told, so that
whoever opens the store next finishes what a crash left. It stays: it is what a certificate cites.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from governance.keys.epoch import Destruction

SCHEMA = """
CREATE TABLE destructions(
    provider TEXT NOT NULL, epoch INTEGER NOT NULL, told_at TEXT, confirmed_at TEXT,
    pending TEXT NOT NULL DEFAULT '[]', declared TEXT, PRIMARY KEY (provider, epoch))
"""
_NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"


@dataclass(frozen=True, slots=True)
class DestroyedEpoch:
    """``told_at`` and ``confirmed_at`` are UTC by RFC 3339; None until the provider was told, or confirmed.

    ``declared`` is a person's statement of what no provider can know, such as that backups are gone.
    """

    provider: str
    epoch: int
    told_at: str | None
    confirmed_at: str | None
    pending: tuple[str, ...]
    declared: str | None = None

    @property
    def state(self) -> str:
        """``confirmed`` by the provider, ``declared`` by a person, else ``pending``."""
        if self.confirmed_at is not None:
            return "confirmed"
        return "pending" if self.declared is None else "declared"


def doom(connection: sqlite3.Connection, provider: str, epoch: int) -> None:
    """Note that an epoch is to be destroyed at a provider."""
    connection.execute("INSERT OR IGNORE INTO destructions(provider, epoch) VALUES (?, ?)", (provider, epoch))


def note(connection: sqlite3.Connection, provider: str, before: int, said: Destruction) -> None:
    """Note what a provider says of its epochs below ``before``. What was confirmed once stays so."""
    for each in destroyed(connection):
        if each.provider == provider and each.epoch < before and each.confirmed_at is None:
            sure = said.confirms(each.epoch)
            connection.execute(
                f"UPDATE destructions SET told_at = coalesce(told_at, {_NOW}), pending = ?,"
                f" confirmed_at = CASE WHEN ? THEN {_NOW} END WHERE provider = ? AND epoch = ?",
                (json.dumps([] if sure else said.pending), sure, provider, each.epoch),
            )


def destroyed(connection: sqlite3.Connection) -> tuple[DestroyedEpoch, ...]:
    """Every former epoch, the oldest first."""
    rows = connection.execute(
        "SELECT provider, epoch, told_at, confirmed_at, pending, declared FROM destructions"
        " ORDER BY epoch, provider"
    ).fetchall()
    return tuple(
        DestroyedEpoch(provider, epoch, told, confirmed, tuple(json.loads(words)), declared)
        for provider, epoch, told, confirmed, words, declared in rows
    )


def declare(connection: sqlite3.Connection, epoch: int, statement: str) -> bool:
    """Keep a person's statement beside an epoch the provider was told to destroy; whether there is one."""
    changed = connection.execute(
        "UPDATE destructions SET declared = ? WHERE epoch = ? AND told_at IS NOT NULL", (statement, epoch)
    )
    return changed.rowcount > 0
