"""SQLite's tables, and how a turn on them begins and ends."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from governance.log.storage import migrations, new_origin, newer_schema

WAIT_MS = 60_000
PATIENT = f"PRAGMA busy_timeout = {WAIT_MS}"


@contextmanager
def committed(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits what was begun, or undoes it."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def begin(connection: sqlite3.Connection, *, wait: bool) -> bool:
    if wait:
        connection.execute("BEGIN IMMEDIATE")
        return True
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    finally:
        connection.execute(PATIENT)
    return True


def tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is not None


def migrate(connection: sqlite3.Connection, location: str) -> None:
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


def write_meta(connection: sqlite3.Connection, origin: str | None) -> None:
    connection.execute(
        "INSERT INTO meta VALUES ('origin', ?), ('dedup_key', ?) ON CONFLICT DO NOTHING",
        ((origin or new_origin()).encode(), secrets.token_bytes(32)),
    )
