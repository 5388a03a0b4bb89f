"""The shared storage: PostgreSQL 15 or later through psycopg 3, one commit for each turn.

A transaction-scoped advisory lock is the sequencer. It is let go only after the commit is durable and
visible, so indexes are dense and readers see a prefix of the log. Tables lie in the connection's
``search_path``; their names begin with ``governance_log_``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from governance.connection import OwnConnection
from governance.errors import LogError, SettingError
from governance.log.archives.archive_rows import ArchiveReads, ArchiveWrites
from governance.log.storage import (
    PAGE,
    SPAN,
    TABLES,
    NewRow,
    Redaction,
    StoredEntry,
    migrations,
    new_origin,
    newer_schema,
    next_page,
    no_store,
    other_origin,
    pick_nodes,
)
from governance.log.tree import Node, home

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

# Advisory locks are per database; the second key, the table's or schema's oid, tells logs apart.
_TURN_LOCK = 0x474F5631
_MIGRATION_LOCK = 0x474F5632
_ROWS = (
    "SELECT e.idx, e.nodes, e.leaf, e.salt, e.body, r.leaf FROM governance_log_entry e"
    " LEFT JOIN governance_log_redaction r USING (idx) WHERE e.idx >= %b AND e.idx < %b"
)
_ROW = f"{_ROWS} ORDER BY e.idx LIMIT %b"
_MARKED = f"{_ROWS} AND position(%b::bytea in e.leaf) > 0 ORDER BY e.idx"
_TABLES = {name: f"governance_log_{name}" for name in TABLES}
_MARKERS = "SELECT digest, idx FROM governance_log_marker WHERE digest = ANY(%b)"
_START = (
    "(SELECT 0, nodes, idx FROM governance_log_entry ORDER BY idx DESC LIMIT 1) UNION ALL"
    " SELECT 1, digest, idx FROM governance_log_marker WHERE digest = ANY(%b::bytea[]) UNION ALL"
    " SELECT 2, refusal, min(idx) FROM governance_log_redaction WHERE refusal = ANY(%b::bytea[])"
    " GROUP BY refusal"
)
_WRITE = (
    "WITH added AS (SELECT * FROM unnest(%b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[],"
    " %b::bytea[]) AS added (idx, nodes, leaf, salt, body, digest)), entries AS (INSERT INTO"
    " governance_log_entry SELECT idx, nodes, leaf, salt, body FROM added)"
    " INSERT INTO governance_log_marker SELECT digest, idx FROM added"
)
_APPEND_IF = (
    "SELECT governance_log_append_if(%b::int, %b::bigint, %b::bytea, %b::bytea[], %b::bytea[], %b::bytea[],"
    " %b::bytea[], %b::bytea[], %b::bytea[])"
)
_NODES = "SELECT idx, nodes FROM governance_log_entry WHERE idx = ANY(%b)"


class PostgresStorage(ArchiveReads):
    """See :class:`governance.log.storage.Storage`."""

    def __init__(self, location: str, *, create: bool, origin: str | None) -> None:
        self._conninfo = location
        self._location = _without_credentials(location)
        self._writing = OwnConnection(self._connect, _usable)
        # A connection of their own: readers never wait for a turn, nor for its commit.
        self._reading = OwnConnection(self._connect, _usable)
        with self._connected(self._writing) as connection:
            exists = _one(connection, "SELECT to_regclass('governance_log_meta') IS NOT NULL")
            if not exists and not create:
                raise no_store(self._location)
            _migrate(connection, self._location)
            if create:
                connection.execute(
                    "INSERT INTO governance_log_meta VALUES ('origin', %b), ('dedup_key', %b)"
                    " ON CONFLICT DO NOTHING",
                    ((origin or new_origin()).encode(), secrets.token_bytes(32)),
                )
            meta = dict(_all(connection, "SELECT name, value FROM governance_log_meta"))
        if "origin" not in meta or "dedup_key" not in meta:
            self.close()
            raise no_store(self._location)
        self._origin: str = meta["origin"].decode()
        self._dedup_key: bytes = meta["dedup_key"]
        if origin is not None and origin != self._origin:
            self.close()
            raise other_origin(self._location, self._origin, origin)

    @property
    def location(self) -> str:
        return self._location

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def dedup_key(self) -> bytes:
        return self._dedup_key

    @property
    def local(self) -> bool:
        return False

    @property
    def residue(self) -> str:
        return "PostgreSQL's free pages and write-ahead log, its archives, replicas and backups"

    def size(self) -> int:
        with self._connected() as connection:
            return int(_one(connection, "SELECT coalesce(max(idx) + 1, 0) FROM governance_log_entry"))

    @contextmanager
    def turn(self, markers: Sequence[bytes] = (), refusals: Sequence[bytes] = ()) -> Iterator[PostgresTurn]:
        # The pipeline saves round trips while others wait; leaving it waits for the commit's answer.
        with self._connected(self._writing) as connection, connection.pipeline(), connection.transaction():
            yield PostgresTurn(connection, markers, refusals)

    def append_if(
        self,
        size: int,
        last_nodes: bytes,
        rows: Sequence[NewRow],
        refusals: Sequence[bytes],
        *,
        wait: bool = True,
    ) -> bool:
        if not wait:
            return False
        _, nodes, leaves, salts, bodies, markers = map(list, zip(*rows, strict=True))
        parameters = (_TURN_LOCK, size, last_nodes, list(refusals), nodes, leaves, salts, bodies, markers)
        with self._connected(self._writing) as connection:
            return bool(_all(connection, _APPEND_IF, parameters)[0][0])

    def read(self, start: int, stop: int) -> Iterator[StoredEntry]:
        page = PAGE
        while start < stop:
            with self._connected() as connection:
                rows = [StoredEntry(*row) for row in _all(connection, _ROW, (start, stop, page))]
            if not rows:
                return
            yield from rows
            start, page = rows[-1].index + 1, next_page(rows)

    def marked(self, mark: bytes, start: int, stop: int) -> Iterator[StoredEntry]:
        for first in range(start, stop, SPAN):
            with self._connected() as connection:
                span = (first, min(first + SPAN, stop), mark)
                rows = [StoredEntry(*row) for row in _all(connection, _MARKED, span)]
            yield from rows

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        with self._connected() as connection:
            return _nodes(connection, nodes)

    def markers(self, markers: Sequence[bytes]) -> dict[bytes, int]:
        with self._connected() as connection:
            return dict(_all(connection, _MARKERS, (list(markers),)))

    def marker_count(self) -> int:
        with self._connected() as connection:
            return int(_one(connection, "SELECT count(*) FROM governance_log_marker"))

    def redactions(self) -> list[Redaction]:
        with self._connected() as connection:
            rows = _all(connection, "SELECT idx, leaf, refusal FROM governance_log_redaction ORDER BY idx")
        return [Redaction(*row) for row in rows]

    def checkpoints(self) -> list[str]:
        with self._connected() as connection:
            rows = _all(connection, "SELECT note FROM governance_log_checkpoint ORDER BY size")
        return [row[0] for row in rows]

    def latest_checkpoint(self) -> str | None:
        with self._connected() as connection:
            rows = _all(connection, "SELECT note FROM governance_log_checkpoint ORDER BY size DESC LIMIT 1")
        return str(rows[0][0]) if rows else None

    def save_checkpoint(self, size: int, note: str) -> None:
        with self._connected(self._writing) as connection:
            connection.execute(
                "INSERT INTO governance_log_checkpoint VALUES (%s, %s) ON CONFLICT DO NOTHING", (size, note)
            )

    def replace_checkpoint(self, size: int, former: str, note: str) -> bool:
        with self._connected(self._writing) as connection:
            statement = "UPDATE governance_log_checkpoint SET note = %s WHERE size = %s AND note = %s"
            return connection.execute(statement, (note, size, former)).rowcount == 1

    def _run(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        with self._connected() as connection:
            return _run(connection, statement, parameters)

    def scrub(self) -> None:
        with self._connected(self._writing) as connection:
            connection.execute("VACUUM governance_log_entry")

    def close(self) -> None:
        self._reading.close()
        self._writing.close()

    @contextmanager
    def _connected(self, connection: OwnConnection[Connection] | None = None) -> Iterator[Connection]:
        psycopg = _driver()
        try:
            with (connection or self._reading).held() as held:
                yield held
        except psycopg.Error as error:
            state = getattr(error, "sqlstate", None) or type(error).__name__
            raise LogError(
                "GOV-501",
                f"the lineage store at {self._location} failed: {state}",
                "Check that PostgreSQL runs and that the URL and its role's rights are right; run again.",
            ) from None

    def _connect(self) -> Connection:
        connection: Connection = _driver().connect(
            self._conninfo, autocommit=True, connect_timeout=10, application_name="governance-log"
        )
        try:
            # A role or database that turned this off would make "acknowledged" a lie.
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
            # Every statement here looks up keys; a plan made while the tables were small must not scan them
            # once they have grown.
            connection.execute("SET enable_seqscan = off; SET jit = off")
            # A snapshot for each statement: those after the lock see what the turn before committed.
            connection.execute("SET default_transaction_isolation = 'read committed'")
            if _one(connection, "SELECT current_setting('fsync')") != "on":
                raise LogError(
                    "GOV-501",
                    f"the PostgreSQL server at {self._location} runs with fsync = off and may lose entries",
                    "Set fsync = on in postgresql.conf and restart the server.",
                )
        except BaseException:
            connection.close()
            raise
        return connection


class PostgresTurn(ArchiveWrites):
    """See :class:`governance.log.storage.Turn`."""

    known: Mapping[bytes, int]
    refused: Mapping[bytes, int]

    def __init__(self, connection: Connection, markers: Sequence[bytes], refusals: Sequence[bytes]) -> None:
        self._connection = connection
        connection.execute(
            "SELECT pg_advisory_xact_lock(%s, 'governance_log_entry'::regclass::oid::int)", (_TURN_LOCK,)
        )
        found: tuple[dict[bytes, int], ...] = ({}, {}, {})
        for kind, value, index in _all(connection, _START, (list(markers), list(refusals))):
            found[kind][value] = index
        head, self.known, self.refused = found
        [(self.last_nodes, last)] = head.items() or [(b"", -1)]
        self.size = last + 1

    _EMPTY = ("UPDATE {entry} SET salt = NULL, body = NULL",)

    def _run(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return _run(self._connection, statement, parameters)

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        return _nodes(self._connection, nodes)

    def entry(self, index: int) -> StoredEntry | None:
        rows = _all(self._connection, _ROW, (index, index + 1, 1))
        return StoredEntry(*rows[0]) if rows else None

    def write(self, rows: Sequence[NewRow]) -> None:
        self._connection.execute(_WRITE, [list(column) for column in zip(*rows, strict=True)])

    def forget(self, redaction: Redaction, marker: bytes) -> None:
        self._connection.execute(
            "UPDATE governance_log_entry SET salt = NULL, body = NULL WHERE idx = %s", (redaction.index,)
        )
        self._connection.execute("DELETE FROM governance_log_marker WHERE digest = %b", (marker,))
        self._connection.execute(
            "INSERT INTO governance_log_redaction VALUES (%s, %s, %b)",
            (redaction.index, redaction.leaf, redaction.refusal),
        )


def _usable(connection: Connection) -> bool:
    return not connection.closed and not connection.broken


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise SettingError(
            "GOV-902",
            "a lineage store on PostgreSQL needs the psycopg package",
            "Install airflow-governance[postgres].",
        ) from None
    return psycopg


def _without_credentials(location: str) -> str:
    psycopg = _driver()
    try:
        members = psycopg.conninfo.conninfo_to_dict(location)
    except psycopg.Error:
        raise LogError(
            "GOV-501",
            "the lineage store's PostgreSQL URL cannot be read",
            "Write it as postgresql://user@host:port/database.",
        ) from None
    host = members.get("host") or "local"
    port = f":{members['port']}" if members.get("port") else ""
    return f"postgresql://{host}{port}/{members.get('dbname') or ''}"


def _all(connection: Connection, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters, binary=True).fetchall()


def _one(connection: Connection, query: str) -> Any:
    return _all(connection, query)[0][0]


def _run(connection: Connection, statement: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
    query = statement.replace("?", "%s").format_map(_TABLES).encode()
    cursor = connection.execute(query, parameters, binary=True)
    # Inside a pipeline a cursor does not know yet whether it will have rows.
    return cursor.fetchall() if statement.startswith("SELECT") else []


def _nodes(connection: Connection, nodes: Sequence[Node]) -> list[bytes]:
    rows = dict(_all(connection, _NODES, (list({home(node) for node in nodes}),))) if nodes else {}
    return pick_nodes(rows, nodes)


def _migrate(connection: Connection, location: str) -> None:
    steps = migrations("postgres")
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(%s, current_schema()::regnamespace::oid::int)", (_MIGRATION_LOCK,)
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS governance_log_migration"
            " (number int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        found = int(_one(connection, "SELECT coalesce(max(number), 0) FROM governance_log_migration"))
        if found > steps[-1][0]:
            raise newer_schema(location, found, steps[-1][0])
        for number, script in steps:
            if number > found:
                connection.execute(script.encode())
                connection.execute("INSERT INTO governance_log_migration VALUES (%s)", (number,))
