"""A subject vault's rows in PostgreSQL 15 or later, through psycopg 3, for a vault that several machines share.

Tables lie in the connection's ``search_path``; several vaults may share them. A writer holds an advisory lock until
its transaction ended, so a killed one lets go with its connection. Nothing that is sent there is in the
clear but names of domains and audiences, numbers of pages and the vault's and its key's ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.connection import OwnConnection
from governance.durable import replace_file
from governance.errors import GovernanceError, ProtectionError, SettingError, StorageError
from governance.keys.vault.rows import ARRIVING, FORMAT, MOVED, ColumnName, VaultRows, VaultStorage
from governance.keys.vault.sqlite import NAME

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_WRITING_LOCK = 0x676F7676
"""``govv``: the first key of the advisory lock; the second is of the vault's id, or of the schema."""

_SCHEMA = (
    """CREATE TABLE governance_vault (
        vault text PRIMARY KEY, format integer NOT NULL, key_id text NOT NULL,
        generation bigint NOT NULL, sealed bytea NOT NULL)""",
    """CREATE TABLE governance_vault_column (
        vault text NOT NULL, column_id integer NOT NULL, kind text NOT NULL, domain text NOT NULL,
        audience text NOT NULL, generation bigint NOT NULL, sealed bytea NOT NULL,
        PRIMARY KEY (vault, column_id), UNIQUE (vault, kind, domain, audience))""",
    """CREATE TABLE governance_vault_page (
        vault text NOT NULL, column_id integer NOT NULL, number integer NOT NULL,
        generation bigint NOT NULL, sealed bytea NOT NULL, PRIMARY KEY (vault, column_id, number))""",
    # Ciphertext does not compress; trying costs more than writing it.
    "ALTER TABLE governance_vault_page ALTER COLUMN sealed SET STORAGE EXTERNAL",
)
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A snapshot from before the lock was had would be another writer's past, so each statement takes its own.
_WRITE = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '120s';"
    " SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)


class PostgresVault(VaultStorage):
    """``directory`` names the vault among those of the database; without that file one is made there."""

    def __init__(self, conninfo: str, directory: Path, vault: str) -> None:
        self._conninfo = conninfo
        self._named = directory / NAME
        self._vault = vault
        self._driver = _driver()
        self.where = f"{self._location()} ({vault})"
        self._own: OwnConnection[Connection] = OwnConnection(
            self._connect, lambda held: not (held.closed or held.broken)
        )

    def format(self) -> int | None:
        with self._transaction(_READ) as connection:
            rows = []
            if _exists(connection, "governance_vault"):
                rows = connection.execute(
                    "SELECT format FROM governance_vault WHERE vault = %s", (self._vault,)
                ).fetchall()
        return rows[0][0] if rows else None

    @contextmanager
    def creating(self) -> Iterator[VaultRows]:
        with self._transaction(_WRITE) as connection:
            _with_tables(connection)
            yield PostgresRows(connection, self._vault)
        self._name()

    @contextmanager
    def arriving(self) -> Iterator[VaultRows]:
        with self._transaction(_WRITE) as connection:
            _with_tables(connection)
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_WRITING_LOCK, self._vault))
            rows = PostgresRows(connection, self._vault)
            if rows.written() not in (None, MOVED, ARRIVING):
                raise SettingError(
                    "GOV-901",
                    f"there is a subject vault {self.where} already, and this directory holds a copy of it",
                    f"take the copy away and restore {NAME}",
                )
            rows.clear()
            yield rows

    def arrive(self) -> None:
        with self._transaction(_WRITE) as connection:
            connection.execute(
                "UPDATE governance_vault SET format = %s WHERE vault = %s AND format = %s",
                (FORMAT, self._vault, ARRIVING),
            )
        self._name()

    def _name(self) -> None:
        self._named.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._named, self._vault.encode())

    @contextmanager
    def reading(self) -> Iterator[VaultRows]:
        with self._transaction(_READ) as connection:
            yield PostgresRows(connection, self._vault)

    @contextmanager
    def writing(self) -> Iterator[VaultRows]:
        with self._transaction(_WRITE) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_WRITING_LOCK, self._vault))
            yield PostgresRows(connection, self._vault)

    def close(self) -> None:
        self._own.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._own.alone():
            try:
                connection = self._begun(begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    try:
                        connection.execute("ROLLBACK")
                    except self._driver.Error:
                        connection.close()
                    raise
            except self._driver.Error as error:
                raise self._fault(error) from None

    def _begun(self, begin: str) -> Connection:
        connection = self._own.opened()
        try:
            connection.execute(begin.encode())
        except self._driver.OperationalError:
            if not connection.closed:
                raise
            # Kept from an earlier transaction, and the server was restarted or cut it since.
            connection = self._own.opened()
            connection.execute(begin.encode())
        return connection

    def _connect(self) -> Connection:
        connection: Connection = self._driver.connect(
            self._conninfo, autocommit=True, connect_timeout=10, application_name="governance-vault"
        )
        return connection

    def _fault(self, error: Exception) -> GovernanceError:
        # The message may quote the connection string.
        state = getattr(error, "sqlstate", None) or type(error).__name__
        if state.startswith("XX"):
            return ProtectionError(
                "GOV-307",
                f"the subject vault {self.where} is damaged: {state}",
                "restore the newest backup of the vault; pseudonyms cannot be made again",
            )
        return StorageError(
            "GOV-724",
            f"the subject vault {self.where} cannot be used: {state}",
            "check that PostgreSQL runs, that its URL and the role's rights are right,"
            " and that no other process holds the vault for long",
        )

    def _location(self) -> str:
        try:
            members = self._driver.conninfo.conninfo_to_dict(self._conninfo)
        except self._driver.Error:
            raise SettingError(
                "GOV-901",
                "the PostgreSQL URL of the subject vault cannot be read",
                "write it as postgresql://user@host:port/database",
            ) from None
        port = f":{members['port']}" if members.get("port") else ""
        return f"postgresql://{members.get('host') or 'local'}{port}/{members.get('dbname') or ''}"


class PostgresRows(VaultRows):
    def __init__(self, connection: Connection, vault: str) -> None:
        self._connection = connection
        self._vault = vault

    def enter(self, vault: str, key_id: str, written: int) -> None:
        self._connection.execute(
            "INSERT INTO governance_vault VALUES (%s, %s, %s, 0, '')", (vault, written, key_id)
        )

    def head(self) -> tuple[object, object, object, object] | None:
        rows = self._all(
            "SELECT vault, key_id, generation, sealed FROM governance_vault WHERE vault = %s AND format <> %s",
            self._vault, MOVED,
        )  # fmt: skip
        return rows[0] if rows else None

    def write_head(self, key_id: str, generation: int, sealed: bytes) -> None:
        self._connection.execute(
            "UPDATE governance_vault SET key_id = %s, generation = %s, sealed = %b WHERE vault = %s",
            (key_id, generation, sealed, self._vault),
        )

    def directory(self, name: ColumnName) -> tuple[int, object, object] | None:
        rows = self._all(
            "SELECT column_id, generation, sealed FROM governance_vault_column"
            " WHERE vault = %s AND kind = %s AND domain = %s AND audience = %s",
            self._vault, *name,
        )  # fmt: skip
        return rows[0] if rows else None

    def column(self, name: ColumnName, generation: int) -> int:
        held = self.directory(name)
        if held is not None:
            return held[0]
        [(column_id,)] = self._all(
            "INSERT INTO governance_vault_column SELECT %s, coalesce(max(column_id), 0) + 1, %s, %s, %s, %s, ''"
            " FROM governance_vault_column WHERE vault = %s RETURNING column_id",
            self._vault, *name, generation, self._vault,
        )  # fmt: skip
        return int(column_id)

    def write_directory(self, column_id: int, generation: int, sealed: bytes) -> None:
        self._connection.execute(
            "UPDATE governance_vault_column SET generation = %s, sealed = %b"
            " WHERE vault = %s AND column_id = %s",
            (generation, sealed, self._vault, column_id),
        )

    def pages(self, column_id: int, numbers: Sequence[int]) -> Mapping[int, tuple[object, object]]:
        rows = self._all(
            "SELECT number, generation, sealed FROM governance_vault_page"
            " WHERE vault = %s AND column_id = %s AND number = ANY(%s)",
            self._vault, column_id, list(numbers),
        )  # fmt: skip
        return {number: (generation, sealed) for number, generation, sealed in rows}

    def write_pages(self, column_id: int, pages: Sequence[tuple[int, int, bytes]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO governance_vault_page VALUES (%s, %s, %s, %s, %b)"
                " ON CONFLICT (vault, column_id, number)"
                " DO UPDATE SET generation = excluded.generation, sealed = excluded.sealed",
                [(self._vault, column_id, *page) for page in pages],
            )

    def cut(self, column_id: int, pages: int) -> None:
        self._connection.execute(
            "DELETE FROM governance_vault_page WHERE vault = %s AND column_id = %s AND number >= %s",
            (self._vault, column_id, pages),
        )

    def retire(self) -> None:
        key = self.head()
        self.clear()
        if key is not None:
            self.enter(self._vault, str(key[1]), MOVED)

    def written(self) -> int | None:
        """The format, or what stands in its place."""
        rows = self._all("SELECT format FROM governance_vault WHERE vault = %s", self._vault)
        return rows[0][0] if rows else None

    def clear(self) -> None:
        """Remove every row of the vault."""
        for table in ("governance_vault_page", "governance_vault_column", "governance_vault"):
            self._connection.execute(f"DELETE FROM {table} WHERE vault = %s".encode(), (self._vault,))

    def _all(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), parameters, binary=True).fetchall()


def _with_tables(connection: Connection) -> None:
    connection.execute(
        "SELECT pg_advisory_xact_lock(%s, current_schema()::regnamespace::oid::int)", (_WRITING_LOCK,)
    )
    # Where another vault's tables are, this role need not own them.
    if not _exists(connection, "governance_vault_page"):
        for statement in _SCHEMA:
            connection.execute(statement.encode())


def _exists(connection: Connection, table: str) -> bool:
    [(found,)] = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchall()
    return bool(found)


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise SettingError(
            "GOV-902",
            "a subject vault in PostgreSQL needs the psycopg package",
            "Install airflow-governance[postgres].",
        ) from None
    return psycopg
