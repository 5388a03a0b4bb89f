"""Every test of this folder runs with the heads in SQLite and in a real PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """``None`` for SQLite, else a connection string whose schema is the test's own."""
    if request.param == "sqlite":
        yield None
        return
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"consent_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())
