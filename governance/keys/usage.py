"""How often a key may seal, and how often it did.

NIST SP 800-38D §8.3: with random 96-bit nonces a key may be used for 2^32 invocations of GCM at most. Of that
we use half: what a crash undid is not counted. Counts lie in the key store and are written before the seals
they stand for, or with them.

Inside Parquet the format itself is the bound. A data key seals the modules of one column of one file, two for
each page and a few for each row group; both are numbered by 16-bit integers that are never negative, so there
are fewer than 2 · 2^15 · 2^15 = 2^31, each shorter than 2^31 bytes. A segment key wraps one key for each file
of its segment.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from governance.errors import ProtectionError

SCHEMA = "CREATE TABLE usage(key_id TEXT PRIMARY KEY, seals INTEGER NOT NULL)"
GCM_INVOCATIONS = 1 << 32
LIMIT = GCM_INVOCATIONS // 2
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """``seals`` is an upper bound: reserved ones count, and are lost when a process ends."""

    key: str
    seals: int

    @property
    def remaining(self) -> int:
        """Seals until the key is refused."""
        return LIMIT - self.seals


def count(connection: sqlite3.Connection, key_id: str, seals: int) -> None:
    """Add to a key's seals within the transaction that stores them.

    Raises:
        ProtectionError: GOV-312 if the key may not seal that often.
    """
    row = connection.execute("SELECT seals FROM usage WHERE key_id = ?", (key_id,)).fetchone()
    total = seals + (0 if row is None else row[0])
    if total > LIMIT:
        raise ProtectionError(
            "GOV-312",
            f"the key {key_id} sealed so often that another seal is not safe",
            "run `governance keys rotate` for an epoch; seal the subject vault anew for its own key",
        )
    connection.execute(
        "INSERT INTO usage VALUES (?, ?) ON CONFLICT (key_id) DO UPDATE SET seals = excluded.seals",
        (key_id, total),
    )


class SealBudget:
    """Seals of one key, reserved in blocks, so that one durable count serves for thousands.

    Args:
        reserve: adds to the durable count of a key; :meth:`governance.keys.store.Keyring.reserve_seals`.
    """

    def __init__(self, reserve: Callable[[str, int], None]) -> None:
        self._reserve = reserve
        self._key_id = ""
        self._left = 0

    def take(self, key_id: str) -> None:
        """Before each seal. Raises GOV-312."""
        if key_id != self._key_id or not self._left:
            self._reserve(key_id, _BLOCK)
            self._key_id, self._left = key_id, _BLOCK
        self._left -= 1
