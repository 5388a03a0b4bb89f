"""A private SQLite file that several processes and threads share, and that forks survive.

WAL with ``synchronous=FULL``: a transaction is durable when it returns. ``secure_delete`` is on,
but nothing rests on it: deleted bytes were found in files and WALs, so what must die is sealed
under a key that dies elsewhere.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.connection import OwnConnection
from governance.durable import sync
from governance.errors import ProtectionError, StorageError

_BUSY_SECONDS = 120
_PAGE_SIZE = 16_384


class Database:
    """``damaged`` is the code raised when SQLite finds the file malformed."""

    def __init__(self, path: Path, damaged: str) -> None:
        self.path = path.absolute()
        self._damaged = damaged
        self._own = OwnConnection(self._connect)

    def create(self) -> None:
        """Make the directory (0700) and an empty file (0600) where they do not exist."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        sync(self.path.parent)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent snapshot."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The only writer among all processes; committed and durable on leaving, else undone."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
        self._own.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._own.alone():
            try:
                connection = self._own.opened()
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except sqlite3.DatabaseError as error:
                # An error that Python itself raises has no name, and its text may quote a cell.
                name = getattr(error, "sqlite_errorname", None)
                if isinstance(error, sqlite3.OperationalError) and name:
                    raise StorageError(
                        "GOV-724",
                        f"{self.path} cannot be used: {name}",
                        "check free space and permissions, and that no other process holds it for long",
                    ) from None
                raise ProtectionError(
                    self._damaged,
                    f"{self.path} is damaged: {name or 'a cell has the wrong type'}",
                    "restore it from a backup of the same epoch",
                ) from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        for setting in (
            f"page_size={_PAGE_SIZE}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return connection
