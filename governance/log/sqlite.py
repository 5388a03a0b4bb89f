"""The embedded storage: one SQLite file in WAL mode, one fsync for each turn.

``BEGIN IMMEDIATE`` is the sequencer: SQLite lets one process at a time write, so indexes are dense and
readers, who never wait, see a prefix of the log. The file must lie on a local file system.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from governance.connection import InUse, OwnConnection
from governance.durable import sync
from governance.errors import LogError
from governance.log.archives.archive_rows import ArchiveReads, ArchiveWrites
from governance.log.sqlite_markers import ROWS, STATEMENTS, MarkersRead, RecentMarkers, parts
from governance.log.sqlite_schema import PATIENT, WAIT_MS, begin, committed, migrate, tables, write_meta
from governance.log.storage import (
    PAGE,
    SPAN,
    TABLES,
    NewRow,
    Redaction,
    StoredEntry,
    next_page,
    no_store,
    other_origin,
    pick_nodes,
)
from governance.log.tree import Node, home

FILE = "log.sqlite"
_CACHE_KIB = 16_384
_TABLES = {name: name for name in TABLES}
_ROWS = (
    "SELECT e.idx, e.nodes, e.leaf, e.salt, e.body, r.leaf"
    " FROM entry e LEFT JOIN redaction r ON r.idx = e.idx WHERE e.idx >= ? AND e.idx < ?"
)
_ROW = f"{_ROWS} ORDER BY e.idx LIMIT ?"
_MARKED = f"{_ROWS} AND instr(e.leaf, ?) ORDER BY e.idx"

_HEAD = (
    "SELECT idx, nodes, (SELECT min(idx) FROM recent), EXISTS (SELECT 1 FROM redaction)"
    " FROM entry ORDER BY idx DESC LIMIT 1"
)
_INSERTS = {n: "INSERT INTO entry VALUES " + ",".join(["(?,?,?,?,?)"] * n) for n in range(1, ROWS + 1)}
_REFUSALS = {
    n: f"SELECT refusal, min(idx) FROM redaction WHERE refusal IN ({','.join('?' * n)}) GROUP BY refusal"
    for n in range(1, ROWS + 1)
}

_log = logging.getLogger(__name__)


class SqliteStorage(ArchiveReads):
    """See :class:`governance.log.storage.Storage`. The directory is 0700, the files 0600."""

    def __init__(self, location: str, *, create: bool, origin: str | None) -> None:
        self.directory = Path(location)
        self._file = self.directory / FILE
        self._writing = OwnConnection(self._connect)
        # A connection of their own: readers never wait for a turn, nor for its fsync.
        self._reading = OwnConnection(self._connect)
        self._recent = RecentMarkers()
        self._markers_read = MarkersRead()
        # What the last turn left, when nothing was redacted: while SQLite's data_version stands, no other
        # connection wrote, and head and recent markers need not be read again.
        self._seen: tuple[sqlite3.Connection, int, int, bytes] | None = None
        if create:
            self._make_file()
        elif not self._file.is_file():
            raise no_store(location)
        with self._connected(self._writing) as connection:
            if create:
                migrate(connection, location)
                write_meta(connection, origin)
            elif not tables(connection):
                raise no_store(location)
            else:
                migrate(connection, location)
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
    def local(self) -> bool:
        return True

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
        with self._connected(self._writing) as connection:
            self._seen = None
            connection.execute("BEGIN IMMEDIATE")
            with committed(connection):
                yield SqliteTurn(connection, self._recent, markers, refusals)

    def append_if(
        self,
        size: int,
        last_nodes: bytes,
        rows: Sequence[NewRow],
        refusals: Sequence[bytes],
        *,
        wait: bool = True,
    ) -> bool:
        markers = [row.marker for row in rows]
        try:
            with self._connected(self._writing, wait=wait) as connection:
                seen, self._seen = self._seen, None
                if not begin(connection, wait=wait):
                    return False
                with committed(connection):
                    [version] = connection.execute("PRAGMA data_version").fetchone()
                    if seen == (found := (connection, version, size, last_nodes)):
                        if self._recent.among(connection, markers):
                            return False
                    else:
                        turn = SqliteTurn(connection, self._recent, markers, refusals)
                        if (turn.size, turn.last_nodes) != (size, last_nodes) or turn.known or turn.refused:
                            return False
                        seen = None if turn.redacted else found
                    moved = _write(connection, self._recent, rows)
                if seen and not moved:
                    self._recent.learn(rows)
                    self._seen = (connection, version, rows[-1].place + 1, rows[-1].nodes)
        except InUse:
            return False
        return True

    def read(self, start: int, stop: int) -> Iterator[StoredEntry]:
        page = PAGE
        while start < stop:
            with self._connected() as connection:
                rows = list(map(_entry, connection.execute(_ROW, (start, stop, page))))
            if not rows:
                return
            yield from rows
            start, page = rows[-1].index + 1, next_page(rows)

    def marked(self, mark: bytes, start: int, stop: int) -> Iterator[StoredEntry]:
        for first in range(start, stop, SPAN):
            with self._connected() as connection:
                span = (first, min(first + SPAN, stop), mark)
                rows = list(map(_entry, connection.execute(_MARKED, span)))
            yield from rows

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        with self._connected() as connection:
            return _nodes(connection, nodes)

    def markers(self, markers: Sequence[bytes]) -> dict[bytes, int]:
        with self._connected() as connection:
            return self._markers_read.places(connection, markers)

    def marker_count(self) -> int:
        with self._connected() as connection:
            [count] = connection.execute(
                "SELECT (SELECT count(*) FROM marker) + (SELECT count(*) FROM recent)"
            ).fetchone()
        return int(count)

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
        with self._connected(self._writing) as connection:
            connection.execute("INSERT OR IGNORE INTO checkpoint VALUES (?, ?)", (size, note))

    def replace_checkpoint(self, size: int, former: str, note: str) -> bool:
        with self._connected(self._writing) as connection:
            statement = "UPDATE checkpoint SET note = ? WHERE size = ? AND note = ?"
            return connection.execute(statement, (note, size, former)).rowcount == 1

    def _run(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        with self._connected() as connection:
            return connection.execute(statement.format_map(_TABLES), parameters).fetchall()

    def scrub(self) -> None:
        with self._connected(self._writing) as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                _log.warning("a reader holds the log at %s: removed bodies go later", self.location)
                return
            connection.execute("DELETE FROM meta WHERE name = 'scrub'")

    def close(self) -> None:
        self._reading.close()
        self._writing.close()

    def _make_file(self) -> None:
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(mode=0o700, parents=True)
            # SQLite gives its -wal and -shm files the mode of this one.
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            for folder in (self.directory, self.directory.parent):
                sync(folder)
        except OSError as error:
            raise LogError(
                "GOV-501",
                f"the lineage store at {self.location} cannot be created: {error.strerror}",
                "Give a directory that this user may write, on a local file system.",
            ) from None

    @contextmanager
    def _connected(
        self, connection: OwnConnection[sqlite3.Connection] | None = None, *, wait: bool = True
    ) -> Iterator[sqlite3.Connection]:
        try:
            with (connection or self._reading).held(wait=wait) as held:
                yield held
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
            timeout=WAIT_MS / 1000,
            cached_statements=STATEMENTS,
        )
        connection.execute(PATIENT)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


class SqliteTurn(ArchiveWrites):
    """See :class:`governance.log.storage.Turn`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        recent: RecentMarkers,
        markers: Sequence[bytes],
        refusals: Sequence[bytes],
    ) -> None:
        self._connection = connection
        self._recent = recent
        self.last_nodes: bytes
        self.redacted: bool
        head = connection.execute(_HEAD).fetchone()
        last, self.last_nodes, first, self.redacted = head or (-1, b"", None, False)
        self.size: int = last + 1
        self.known: Mapping[bytes, int] = recent.known(connection, markers, first, self.size)
        self.refused: Mapping[bytes, int] = {
            refusal: index
            for part in (parts(refusals) if self.redacted else ())
            for refusal, index in connection.execute(_REFUSALS[len(part)], part)
        }

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
        _write(self._connection, self._recent, rows)

    def forget(self, redaction: Redaction, marker: bytes) -> None:
        # Zeros of the same length are written over the old bytes in place.
        self._connection.execute(
            "UPDATE entry SET salt = zeroblob(length(salt)), body = zeroblob(length(body)) WHERE idx = ?",
            (redaction.index,),
        )
        self._connection.execute("DELETE FROM marker WHERE digest = ?", (marker,))
        self._connection.execute("DELETE FROM recent WHERE idx = ? AND digest = ?", (redaction.index, marker))
        self._connection.execute(
            "INSERT INTO redaction VALUES (?, ?, ?)", (redaction.index, redaction.leaf, redaction.refusal)
        )
        # Whoever opens the store next finishes the removal if this process dies before it could.
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('scrub', X'01')")


def _write(connection: sqlite3.Connection, recent: RecentMarkers, rows: Sequence[NewRow]) -> bool:
    for part in parts(rows):
        connection.execute(_INSERTS[len(part)], [value for row in part for value in row[:5]])
    return recent.add(connection, rows)


def _entry(row: tuple[int, bytes, bytes, bytes, bytes, int | None]) -> StoredEntry:
    index, nodes, leaf, salt, body, redacted_by = row
    if not salt:
        return StoredEntry(index, nodes, leaf, None, None, redacted_by)
    if redacted_by is not None and not any(salt) and not any(body):
        return StoredEntry(index, nodes, leaf, None, None, redacted_by)
    return StoredEntry(index, nodes, leaf, salt, body, redacted_by)


def _nodes(connection: sqlite3.Connection, nodes: Sequence[Node]) -> list[bytes]:
    places = list({home(node) for node in nodes})
    query = f"SELECT idx, nodes FROM entry WHERE idx IN ({','.join('?' * len(places))})"
    return pick_nodes(dict(connection.execute(query, places)), nodes)


def _remedy(name: str) -> str:
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "Another process holds the store; end it, or try again when it is done."
    if name.startswith("SQLITE_FULL"):
        return "Free space on the disk and run again; what was acknowledged is kept."
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "The file is damaged: run `governance log verify`, then restore it from a backup."
    return "Check that this user may read and write the store and that its disk is sound."
