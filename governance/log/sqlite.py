"""The embedded storage: one SQLite file in WAL mode, one fsync for each turn.

``BEGIN IMMEDIATE`` is the sequencer: SQLite lets one process at a time write, so indexes are dense and
readers, who never wait, see a prefix of the log. The file must lie on a local file system.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from governance.errors import LogError
from governance.log.archive_rows import ArchiveReads, ArchiveWrites
from governance.log.storage import (
    PAGE,
    TABLES,
    NewRow,
    Redaction,
    StoredEntry,
    migrations,
    new_origin,
    newer_schema,
    no_store,
    other_origin,
    pick_nodes,
)
from governance.log.tree import Node, home

FILE = "log.sqlite"
_WAIT_MS = 60_000
_TABLES = {name: name for name in TABLES}
_ROW = (
    "SELECT e.idx, e.nodes, e.leaf, e.salt, e.body, r.leaf"
    " FROM entry e LEFT JOIN redaction r ON r.idx = e.idx"
    " WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx LIMIT ?"
)

_log = logging.getLogger(__name__)


class SqliteStorage(ArchiveReads):
    """See :class:`governance.log.storage.Storage`. The directory is 0700, the files 0600."""

    def __init__(self, location: str, *, create: bool, origin: str | None) -> None:
        self.directory = Path(location)
        self._file = self.directory / FILE
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        # Closing a connection that was inherited by fork would break the parent's: keep it referenced.
        self._inherited: list[sqlite3.Connection] = []
        if create:
            self._make_file()
        elif not self._file.is_file():
            raise no_store(location)
        with self._connected() as connection:
            if create:
                _migrate(connection, location)
                _write_meta(connection, origin)
            elif not _tables(connection):
                raise no_store(location)
            else:
                _migrate(connection, location)
            meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
            if "origin" not in meta or "dedup_key" not in meta:
                raise no_store(location)
        self._origin = bytes(meta["origin"]).decode()
        self._dedup_key = bytes(meta["dedup_key"])
        if origin is not None and origin != self._origin:
            self.close()
            raise other_origin(location, self._origin, origin)
        if "scrub" in meta:
            self.scrub()

    @property
    def location(self) -> str:
        return str(self.directory)

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def dedup_key(self) -> bytes:
        return self._dedup_key

    @property
    def residue(self) -> str:
        with self._connected() as connection:
            pending = connection.execute("SELECT 1 FROM meta WHERE name = 'scrub'").fetchone()
        return "the write-ahead log file, until no reader holds it" if pending else ""

    def size(self) -> int:
        with self._connected() as connection:
            return int(connection.execute("SELECT coalesce(max(idx) + 1, 0) FROM entry").fetchone()[0])

    @contextmanager
    def turn(self, markers: Sequence[bytes] = (), refusals: Sequence[bytes] = ()) -> Iterator[SqliteTurn]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteTurn(connection, markers, refusals)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def read(self, start: int, stop: int) -> Iterator[StoredEntry]:
        while start < stop:
            with self._connected() as connection:
                rows = connection.execute(_ROW, (start, stop, PAGE)).fetchall()
            if not rows:
                return
            for row in rows:
                yield _entry(row)
            start = rows[-1][0] + 1

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        with self._connected() as connection:
            return _nodes(connection, nodes)

    def markers(self, markers: Sequence[bytes]) -> dict[bytes, int]:
        with self._connected() as connection:
            return _find(connection, "SELECT idx FROM marker WHERE digest = ?", markers)

    def marker_count(self) -> int:
        with self._connected() as connection:
            return int(connection.execute("SELECT count(*) FROM marker").fetchone()[0])

    def redactions(self) -> list[Redaction]:
        with self._connected() as connection:
            rows = connection.execute("SELECT idx, leaf, refusal FROM redaction ORDER BY idx").fetchall()
        return [Redaction(*row) for row in rows]

    def checkpoints(self) -> list[str]:
        with self._connected() as connection:
            return [row[0] for row in connection.execute("SELECT note FROM checkpoint ORDER BY size")]

    def latest_checkpoint(self) -> str | None:
        with self._connected() as connection:
            row = connection.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def save_checkpoint(self, size: int, note: str) -> None:
        with self._connected() as connection:
            connection.execute("INSERT OR IGNORE INTO checkpoint VALUES (?, ?)", (size, note))

    def replace_checkpoint(self, size: int, former: str, note: str) -> bool:
        with self._connected() as connection:
            statement = "UPDATE checkpoint SET note = ? WHERE size = ? AND note = ?"
            return connection.execute(statement, (note, size, former)).rowcount == 1

    def _run(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        with self._connected() as connection:
            return connection.execute(statement.format_map(_TABLES), parameters).fetchall()

    def scrub(self) -> None:
        with self._connected() as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                _log.warning("a reader holds the log at %s: removed bodies go later", self.location)
                return
            connection.execute("DELETE FROM meta WHERE name = 'scrub'")

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._owner == os.getpid():
                connection.close()

    def _make_file(self) -> None:
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(mode=0o700, parents=True)
            # SQLite gives its -wal and -shm files the mode of this one.
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            for folder in (self.directory, self.directory.parent):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise LogError(
                "GOV-501",
                f"the lineage store at {self.location} cannot be created: {error.strerror}",
                "Give a directory that this user may write, on a local file system.",
            ) from None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None or self._owner != os.getpid():
                    if self._connection is not None:
                        self._inherited.append(self._connection)
                    self._connection, self._owner = self._connect(), os.getpid()
                yield self._connection
            except sqlite3.Error as error:
                name = getattr(error, "sqlite_errorname", type(error).__name__)
                raise LogError(
                    "GOV-501", f"the lineage store at {self.location} failed: {name}", _remedy(name)
                ) from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._file.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_WAIT_MS / 1000,
        )
        connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


class SqliteTurn(ArchiveWrites):
    """See :class:`governance.log.storage.Turn`."""

    def __init__(
        self, connection: sqlite3.Connection, markers: Sequence[bytes], refusals: Sequence[bytes]
    ) -> None:
        self._connection = connection
        head = connection.execute("SELECT idx, nodes FROM entry ORDER BY idx DESC LIMIT 1").fetchone()
        self.size: int = head[0] + 1 if head else 0
        self.last_nodes: bytes = head[1] if head else b""
        self.known: Mapping[bytes, int] = _find(
            connection, "SELECT idx FROM marker WHERE digest = ?", markers
        )
        self.refused: Mapping[bytes, int] = _find(
            connection, "SELECT idx FROM redaction WHERE refusal = ? LIMIT 1", refusals
        )

    # Zeros first, in place: when the emptied row shrinks and moves, only zeros move.
    _EMPTY = (
        "UPDATE {entry} SET salt = zeroblob(length(salt)), body = zeroblob(length(body))",
        "UPDATE {entry} SET salt = X'', body = X''",
    )

    def _run(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(statement.format_map(_TABLES), parameters).fetchall()

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        return _nodes(self._connection, nodes)

    def entry(self, index: int) -> StoredEntry | None:
        row = self._connection.execute(_ROW, (index, index + 1, 1)).fetchone()
        return None if row is None else _entry(row)

    def write(self, rows: Sequence[NewRow]) -> None:
        self._connection.executemany(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?)",
            [(row.index, row.nodes, row.leaf, row.salt, row.body) for row in rows],
        )
        self._connection.executemany(
            "INSERT INTO marker VALUES (?, ?)", [(row.marker, row.index) for row in rows]
        )

    def forget(self, redaction: Redaction, marker: bytes) -> None:
        # Zeros of the same length are written over the old bytes in place.
        self._connection.execute(
            "UPDATE entry SET salt = zeroblob(length(salt)), body = zeroblob(length(body)) WHERE idx = ?",
            (redaction.index,),
        )
        self._connection.execute("DELETE FROM marker WHERE digest = ?", (marker,))
        self._connection.execute(
            "INSERT INTO redaction VALUES (?, ?, ?)", (redaction.index, redaction.leaf, redaction.refusal)
        )
        # Whoever opens the store next finishes the removal if this process dies before it could.
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('scrub', X'01')")


def _entry(row: tuple[int, bytes, bytes, bytes, bytes, int | None]) -> StoredEntry:
    index, nodes, leaf, salt, body, redacted_by = row
    if not salt:
        return StoredEntry(index, nodes, leaf, None, None, redacted_by)
    if redacted_by is not None and not any(salt) and not any(body):
        return StoredEntry(index, nodes, leaf, None, None, redacted_by)
    return StoredEntry(index, nodes, leaf, salt, body, redacted_by)


def _nodes(connection: sqlite3.Connection, nodes: Sequence[Node]) -> list[bytes]:
    rows = {}
    for index in {home(node) for node in nodes}:
        row = connection.execute("SELECT nodes FROM entry WHERE idx = ?", (index,)).fetchone()
        if row is not None:
            rows[index] = row[0]
    return pick_nodes(rows, nodes)


def _find(connection: sqlite3.Connection, query: str, digests: Sequence[bytes]) -> dict[bytes, int]:
    found = {}
    for digest in digests:
        row = connection.execute(query, (digest,)).fetchone()
        if row is not None:
            found[digest] = int(row[0])
    return found


def _tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is not None


def _migrate(connection: sqlite3.Connection, location: str) -> None:
    steps = migrations("sqlite")
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > steps[-1][0]:
        raise newer_schema(location, found, steps[-1][0])
    if found == steps[-1][0]:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        for number, script in steps:
            if number > found:
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script; ``executescript`` would commit the transaction it stands in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _write_meta(connection: sqlite3.Connection, origin: str | None) -> None:
    connection.execute(
        "INSERT INTO meta VALUES ('origin', ?), ('dedup_key', ?) ON CONFLICT DO NOTHING",
        ((origin or new_origin()).encode(), secrets.token_bytes(32)),
    )


def _remedy(name: str) -> str:
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "Another process holds the store; end it, or try again when it is done."
    if name.startswith("SQLITE_FULL"):
        return "Free space on the disk and run again; what was acknowledged is kept."
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "The file is damaged: run `governance log verify`, then restore it from a backup."
    return "Check that this user may read and write the store and that its disk is sound."
