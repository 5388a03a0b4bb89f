"""The ledger's heads: which batches it has, in order, and the one that is on its way into the log."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from governance.durable import sync
from governance.errors import ConsentError
from governance.model.canonical import instant

_FORMAT = "1"
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE batch (position INTEGER PRIMARY KEY, body TEXT NOT NULL, log_index INTEGER NOT NULL);
CREATE TABLE pending (position INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """One import. ``position`` counts from 1; ``rows`` are new records, ``duplicates`` those known before.

    ``log_index`` is the leaf that makes it recorded; −1 for an import that brought nothing new.
    """

    position: int
    segment: str
    log_index: int
    recorded_at: datetime
    source_digest: str
    rows: int
    duplicates: int
    backdated: int
    actions: Mapping[str, int]

    @classmethod
    def from_body(cls, body: Mapping[str, Any], log_index: int) -> Batch:
        """From the JSON that is the batch's leaf."""
        return cls(
            position=body["position"],
            segment=body["segment"],
            log_index=log_index,
            recorded_at=instant(body["recorded_at"]),
            source_digest=body["source"],
            rows=body["rows"],
            duplicates=body["duplicates"],
            backdated=body["backdated"],
            actions=body["actions"],
        )


class Heads:
    """SQLite in WAL mode with ``synchronous=FULL``: a commit that returned survives a loss of power."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if self._meta("format") != _FORMAT:
            raise ConsentError(
                "GOV-203",
                f"{path} has an unknown format",
                "open it with the version of governance that made it",
            )
        self.ledger = self._meta("ledger")
        self.salt = bytes.fromhex(self._meta("salt"))

    @classmethod
    def create(cls, path: Path) -> Heads:
        """A ledger without batches. ``salt`` keeps record ids from being guessed from their digests."""
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        connection = sqlite3.connect(temporary)
        try:
            with connection:
                connection.executescript("BEGIN IMMEDIATE;" + _TABLES)
                connection.executemany(
                    "INSERT INTO meta VALUES (?, ?)",
                    [
                        ("format", _FORMAT),
                        ("ledger", secrets.token_hex(16)),
                        ("salt", secrets.token_hex(32)),
                    ],
                )
        finally:
            connection.close()
        temporary.rename(path)
        sync(path.parent)
        return cls(path)

    def batches(self) -> list[Batch]:
        """All batches in order."""
        with self._connected() as connection:
            rows = connection.execute("SELECT body, log_index FROM batch ORDER BY position").fetchall()
        return [Batch.from_body(json.loads(body), log_index) for body, log_index in rows]

    def position(self) -> int:
        with self._connected() as connection:
            return int(connection.execute("SELECT count(*) FROM batch").fetchone()[0])

    def pending(self) -> dict[str, Any] | None:
        """The body of a batch whose segment is durable and whose leaf may or may not be in the log."""
        with self._connected() as connection:
            row = connection.execute("SELECT body FROM pending").fetchone()
        return json.loads(row[0]) if row else None

    def announce(self, body: Mapping[str, Any]) -> None:
        """Durably state that this batch is about to be recorded."""
        with self._connected() as connection, connection:
            connection.execute("INSERT INTO pending VALUES (?, ?)", (body["position"], json.dumps(body)))

    def commit(self, body: Mapping[str, Any], log_index: int) -> None:
        """Make the announced batch the newest."""
        with self._connected() as connection, connection:
            connection.execute(
                "INSERT INTO batch VALUES (?, ?, ?)", (body["position"], json.dumps(body), log_index)
            )
            connection.execute("DELETE FROM pending")

    def _meta(self, name: str) -> str:
        with self._connected() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = _connect(self._path)
        except sqlite3.Error:
            raise _unreadable(self._path) from None
        try:
            yield connection
        except sqlite3.DatabaseError:
            raise _unreadable(self._path) from None
        finally:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _unreadable(path: Path) -> ConsentError:
    return ConsentError(
        "GOV-203",
        f"{path} is not a consent ledger or cannot be used",
        "name the directory the ledger was created in, or restore it from a backup",
    )
