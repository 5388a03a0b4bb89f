"""The ledger's heads: which batches it has, in order, and the one that is on its way into the log.

Two homes with the same statements: :class:`SqliteHeads` beside the segments, and
:mod:`governance.consent.heads_postgres` where several machines share a ledger.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from governance.durable import locked, sync
from governance.errors import ConsentError
from governance.model.canonical import instant

_FORMAT = "2"
TABLES = (
    """CREATE TABLE IF NOT EXISTS governance_consent_ledger (
        ledger TEXT PRIMARY KEY, format TEXT NOT NULL, salt TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS governance_consent_batch (
        ledger TEXT NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL, log_index BIGINT NOT NULL,
        PRIMARY KEY (ledger, position))""",
    """CREATE TABLE IF NOT EXISTS governance_consent_pending (ledger TEXT PRIMARY KEY, body TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS governance_consent_index (
        ledger TEXT NOT NULL, domain TEXT NOT NULL, purpose TEXT NOT NULL, position INTEGER NOT NULL,
        name TEXT NOT NULL, PRIMARY KEY (ledger, domain, purpose, position))""",
)
_KEPT_INDEXES = 2


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


class Connection(Protocol):
    """What the two drivers have in common."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Any: ...


class Heads(ABC):
    """The statements; a subclass runs them, a transaction at a time, durable when it returned."""

    ledger: str

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """A connection whose statements (parameters: ``?``) take effect together."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[object]:
        """Hold off every other importer, on any machine that shares these heads."""

    def begin(self, ledger: str) -> None:
        """Enter a ledger without batches. The salt keeps record ids from being guessed from their digests."""
        with self.transaction() as connection:
            for table in TABLES:
                connection.execute(table)
            connection.execute(
                "INSERT INTO governance_consent_ledger VALUES (?, ?, ?)",
                (ledger, _FORMAT, secrets.token_hex(32)),
            )

    def check(self, where: object) -> bytes:
        """The salt.

        Raises:
            ConsentError: GOV-203 when the ledger is not there or has another format.
        """
        rows = self._all("SELECT format, salt FROM governance_consent_ledger WHERE ledger = ?")
        if not rows or rows[0][0] != _FORMAT:
            raise ConsentError(
                "GOV-203",
                f"{where} {'has an unknown format' if rows else 'is not a ledger of its database'}",
                "open it with the version of governance, and the database, that made it",
            )
        return bytes.fromhex(rows[0][1])

    def batches(self) -> list[Batch]:
        """All batches in order."""
        rows = self._all(
            "SELECT body, log_index FROM governance_consent_batch WHERE ledger = ? ORDER BY position"
        )
        return [Batch.from_body(json.loads(body), log_index) for body, log_index in rows]

    def position(self) -> int:
        [(count,)] = self._all("SELECT count(*) FROM governance_consent_batch WHERE ledger = ?")
        return int(count)

    def pending(self) -> dict[str, Any] | None:
        """The body of a batch whose segment is durable and whose leaf may or may not be in the log."""
        rows = self._all("SELECT body FROM governance_consent_pending WHERE ledger = ?")
        return json.loads(rows[0][0]) if rows else None

    def announce(self, body: Mapping[str, Any]) -> None:
        """Durably state that this batch is about to be recorded."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO governance_consent_pending VALUES (?, ?)", (self.ledger, json.dumps(body))
            )

    def commit(self, body: Mapping[str, Any], log_index: int) -> None:
        """Make the announced batch the newest."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO governance_consent_batch VALUES (?, ?, ?, ?)",
                (self.ledger, body["position"], json.dumps(body), log_index),
            )
            connection.execute("DELETE FROM governance_consent_pending WHERE ledger = ?", (self.ledger,))

    def published(self, domain: str, purpose: str, position: int) -> list[str]:
        """Names of the indexes up to a position, newest first."""
        rows = self._all(
            "SELECT name FROM governance_consent_index WHERE ledger = ? AND domain = ? AND purpose = ?"
            " AND position <= ? ORDER BY position DESC",
            domain, purpose, position,
        )  # fmt: skip
        return [name for (name,) in rows]

    def every_index(self) -> set[str]:
        """Names of all published indexes."""
        return {name for (name,) in self._all("SELECT name FROM governance_consent_index WHERE ledger = ?")}

    def publish(self, domain: str, purpose: str, position: int, name: str) -> list[str]:
        """Make an index known in place of one at its position; returns names that none stands for any more."""
        key = (self.ledger, domain, purpose)
        of_purpose = "FROM governance_consent_index WHERE ledger = ? AND domain = ? AND purpose = ?"
        with self.transaction() as connection:
            known = dict(connection.execute(f"SELECT position, name {of_purpose}", key).fetchall())
            after = {**known, position: name}
            after = {at: after[at] for at in sorted(after)[-_KEPT_INDEXES:]}
            connection.execute(f"DELETE {of_purpose}", key)
            for at, kept in after.items():
                connection.execute(
                    "INSERT INTO governance_consent_index VALUES (?, ?, ?, ?, ?)", (*key, at, kept)
                )
        return sorted({*known.values(), name} - {*after.values()})

    def _all(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.transaction() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement, (self.ledger, *parameters)).fetchall()
        return rows


class SqliteHeads(Heads):
    """SQLite in WAL mode with ``synchronous=FULL``: a commit that returned survives a loss of power."""

    def __init__(self, path: Path, *, ledger: str = "") -> None:
        self._path = path
        self.ledger = ledger
        if not ledger:
            with self.transaction() as connection:
                rows = connection.execute("SELECT ledger FROM governance_consent_ledger").fetchall()
            self.ledger = rows[0][0] if rows else ""

    @classmethod
    def create(cls, path: Path) -> SqliteHeads:
        """A ledger without batches."""
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        sqlite3.connect(temporary).close()
        temporary.touch()
        ledger = secrets.token_hex(16)
        cls(temporary, ledger=ledger).begin(ledger)
        temporary.rename(path)
        sync(path.parent)
        return cls(path, ledger=ledger)

    def alone(self) -> AbstractContextManager[object]:
        return locked(self._path.parent / "import.lock")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        try:
            connection = _connect(self._path)
        except sqlite3.Error:
            raise _unreadable(self._path) from None
        try:
            with connection:
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
