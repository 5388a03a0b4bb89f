"""The ledger's heads in PostgreSQL, through psycopg 3, for a ledger that several machines share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from governance.consent.heads import Connection, Heads
from governance.errors import ConsentError, SettingError

_IMPORT_LOCK = 0x676F7663
"""``govc``: the first key of the advisory lock; the second is of the ledger's name."""


class PostgresHeads(Heads):
    """A connection for each transaction; imports are rare and snapshots read two rows."""

    def __init__(self, conninfo: str, *, ledger: str) -> None:
        self._conninfo = conninfo
        self.ledger = ledger

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._connected() as connection, connection.transaction():
            yield _Translated(connection)

    @contextmanager
    def alone(self) -> Iterator[None]:
        # Of the session, so a killed importer's lock goes with its connection.
        with self._connected() as connection:
            connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", (_IMPORT_LOCK, self.ledger))
            yield

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        psycopg = _driver()
        try:
            with psycopg.connect(
                self._conninfo, autocommit=True, connect_timeout=10, application_name="governance-consent"
            ) as connection:
                connection.execute("SET synchronous_commit = on")
                yield connection
        except psycopg.Error as error:
            # The message may quote the connection string.
            state = getattr(error, "sqlstate", None) or type(error).__name__
            raise ConsentError(
                "GOV-203",
                f"the consent ledger's heads in PostgreSQL cannot be used: {state}",
                "check that PostgreSQL runs and that the URL and its role's rights are right; run again",
            ) from None


class _Translated:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        return self._connection.execute(statement.replace("?", "%s"), parameters)


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise SettingError(
            "GOV-902",
            "a consent ledger with its heads in PostgreSQL needs the psycopg package",
            "Install airflow-governance[postgres].",
        ) from None
    return psycopg
