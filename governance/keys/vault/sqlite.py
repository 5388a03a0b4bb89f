"""A subject vault's rows in a private SQLite file, for the processes of one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from governance.durable import locked, sync
from governance.errors import SettingError
from governance.keys.database import Database
from governance.keys.vault.rows import FORMAT, MOVED, ColumnName, VaultRows, VaultStorage

FILE = "vault.sqlite"
ARRIVING_FILE = "vault.arriving.sqlite"
LOCK = "vault.moving.lock"
NAME = "vault.name"
"""In the vault's directory: its id among those of a database, where it lies in one."""

_SCHEMA = (
    """CREATE TABLE vault(
        id INTEGER PRIMARY KEY CHECK (id = 1),
        format INTEGER NOT NULL, vault TEXT NOT NULL, key_id TEXT NOT NULL,
        generation INTEGER NOT NULL, sealed BLOB NOT NULL)""",
    """CREATE TABLE columns(
        column_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, audience TEXT NOT NULL,
        generation INTEGER NOT NULL, sealed BLOB NOT NULL, UNIQUE (kind, domain, audience))""",
    """CREATE TABLE pages(
        column_id INTEGER NOT NULL, number INTEGER NOT NULL,
        generation INTEGER NOT NULL, sealed BLOB NOT NULL, UNIQUE (column_id, number))""",
)


class SqliteVault(VaultStorage):
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._database = Database(directory / FILE, "GOV-307")
        self.where = str(self._database.path)

    def format(self) -> int | None:
        if not self._database.path.is_file():
            return None
        with self._database.reading() as connection:
            row = None
            if _has_tables(connection):
                row = connection.execute("SELECT format FROM vault").fetchone()
        return None if row is None else row[0]

    @contextmanager
    def creating(self) -> Iterator[VaultRows]:
        self._database.create()
        with self._database.writing() as connection:
            if _has_tables(connection):
                raise SettingError(
                    "GOV-901",
                    f"there is a subject vault in {self._database.path.parent}",
                    "open it, or choose another place",
                )
            for statement in _SCHEMA:
                connection.execute(statement)
            yield SqliteRows(connection)

    @contextmanager
    def reading(self) -> Iterator[VaultRows]:
        with self._database.reading() as connection:
            yield SqliteRows(connection)

    @contextmanager
    def writing(self) -> Iterator[VaultRows]:
        with self._database.writing() as connection:
            yield SqliteRows(connection)

    @contextmanager
    def arriving(self) -> Iterator[VaultRows]:
        _removed(self._directory / ARRIVING_FILE)
        arriving = Database(self._directory / ARRIVING_FILE, "GOV-307")
        arriving.create()
        try:
            with arriving.writing() as connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
                yield SqliteRows(connection)
        finally:
            # Which also moves the write-ahead log into the file.
            arriving.close()

    def arrive(self) -> None:
        arriving = self._directory / ARRIVING_FILE
        if not arriving.exists():
            return
        with locked(self._directory / LOCK):
            if not arriving.exists():
                return
            database = Database(arriving, "GOV-307")
            with database.writing() as connection:
                connection.execute("UPDATE vault SET format = ?", (FORMAT,))
            database.close()
            # In this order: a copy without a name is the vault, a file beside a name is a mistake.
            (self._directory / NAME).unlink(missing_ok=True)
            sync(self._directory)
            # A write-ahead log that a former file left would be taken for this one's.
            _removed(self._directory / FILE)
            arriving.replace(self._directory / FILE)
            sync(self._directory)

    def identity(self) -> str:
        """The vault's id, of one that moved away too."""
        with self._database.reading() as connection:
            return str(connection.execute("SELECT vault FROM vault").fetchone()[0])

    def discard(self) -> None:
        """Remove the file of a vault that moved away."""
        self.close()
        _removed(self._directory / FILE)

    def close(self) -> None:
        self._database.close()


class SqliteRows(VaultRows):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def enter(self, vault: str, key_id: str, written: int) -> None:
        self._connection.execute("INSERT INTO vault VALUES (1, ?, ?, ?, 0, x'')", (written, vault, key_id))

    def head(self) -> tuple[object, object, object, object] | None:
        row: tuple[object, object, object, object] | None = self._connection.execute(
            "SELECT vault, key_id, generation, sealed FROM vault WHERE format <> ?", (MOVED,)
        ).fetchone()
        return row

    def write_head(self, key_id: str, generation: int, sealed: bytes) -> None:
        self._connection.execute(
            "UPDATE vault SET key_id = ?, generation = ?, sealed = ?", (key_id, generation, sealed)
        )

    def directory(self, name: ColumnName) -> tuple[int, object, object] | None:
        row: tuple[int, object, object] | None = self._connection.execute(
            "SELECT column_id, generation, sealed FROM columns"
            " WHERE kind = ? AND domain = ? AND audience = ?",
            name,
        ).fetchone()
        return row

    def column(self, name: ColumnName, generation: int) -> int:
        self._connection.execute(
            "INSERT OR IGNORE INTO columns(kind, domain, audience, generation, sealed) VALUES (?, ?, ?, ?, x'')",
            (*name, generation),
        )
        (column_id,) = self._connection.execute(
            "SELECT column_id FROM columns WHERE kind = ? AND domain = ? AND audience = ?", name
        ).fetchone()
        return int(column_id)

    def write_directory(self, column_id: int, generation: int, sealed: bytes) -> None:
        self._connection.execute(
            "UPDATE columns SET generation = ?, sealed = ? WHERE column_id = ?",
            (generation, sealed, column_id),
        )

    def pages(self, column_id: int, numbers: Sequence[int]) -> Mapping[int, tuple[object, object]]:
        found: dict[int, tuple[object, object]] = {}
        for number in numbers:
            row = self._connection.execute(
                "SELECT generation, sealed FROM pages WHERE column_id = ? AND number = ?",
                (column_id, number),
            ).fetchone()
            if row is not None:
                found[number] = row
        return found

    def write_pages(self, column_id: int, pages: Sequence[tuple[int, int, bytes]]) -> None:
        self._connection.executemany(
            "INSERT INTO pages VALUES (?, ?, ?, ?) ON CONFLICT (column_id, number)"
            " DO UPDATE SET generation = excluded.generation, sealed = excluded.sealed",
            [(column_id, *page) for page in pages],
        )

    def cut(self, column_id: int, pages: int) -> None:
        self._connection.execute("DELETE FROM pages WHERE column_id = ? AND number >= ?", (column_id, pages))

    def retire(self) -> None:
        self._connection.execute("UPDATE vault SET format = ?, sealed = x''", (MOVED,))
        for table in ("columns", "pages"):
            self._connection.execute(f"DELETE FROM {table}")


def _removed(path: Path) -> None:
    # The file first: without its write-ahead log it would be what it was before it was retired.
    for side in ("", "-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    sync(path.parent)


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vault'").fetchall())
