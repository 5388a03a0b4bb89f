"""How often a key may seal, and how often it did.

NIST SP 800-38D §8.3: with random 96-bit nonces a key may be used for 2^32 invocations of GCM at most. Of that
we use half: what a crash undid is not counted. The count of an epoch lies in the key store, that of the
subject vault's key in the vault's sealed head; each is written in the transaction that stores what was sealed.

Inside Parquet the format itself is the bound. A data key seals the modules of one column of one file, two for
each page and a few for each row group; both are numbered by 16-bit integers that are never negative, so there
are about 2 · 2^15 · 2^15 = 2^31 at the very most, each shorter than 2^31 bytes. A segment key wraps one key for each file
of its segment.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from governance.errors import ProtectionError

SCHEMA = "CREATE TABLE usage(key_id TEXT PRIMARY KEY, seals INTEGER NOT NULL)"
GCM_INVOCATIONS = 1 << 32
LIMIT = GCM_INVOCATIONS // 2


@dataclass(frozen=True, slots=True)
class Usage:
    """Seals that were stored under one key."""

    key: str
    seals: int

    @property
    def remaining(self) -> int:
        """Seals until the key is refused."""
        return LIMIT - self.seals


def within_limit(key: str, seals: int) -> None:
    """Refuse a key that would have sealed so often: GOV-312."""
    if seals > LIMIT:
        raise ProtectionError(
            "GOV-312",
            f"{key} sealed so often that another seal is not safe",
            "run `governance keys rotate` for an epoch; the subject vault gets another key with an erasure",
        )


def count(connection: sqlite3.Connection, key_id: str, seals: int) -> None:
    """Add to a key's seals in the transaction that stores what is sealed. Raises GOV-312."""
    row = connection.execute("SELECT seals FROM usage WHERE key_id = ?", (key_id,)).fetchone()
    total = seals + (0 if row is None else row[0])
    within_limit(f"the key {key_id}", total)
    connection.execute(
        "INSERT INTO usage VALUES (?, ?) ON CONFLICT (key_id) DO UPDATE SET seals = excluded.seals",
        (key_id, total),
    )
