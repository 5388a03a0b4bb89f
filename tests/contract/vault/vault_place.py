"""A vault in either storage as tests use it: made, opened anew, altered behind its back, copied and put back."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault

TABLES = ("governance_vault", "governance_vault_column", "governance_vault_page")


def names(start: int, stop: int) -> pa.Array:
    return pa.array([f"MRN-{number:07d}" for number in range(start, stop)])


def in_schema(server: str, schema: str, *options: str) -> str:
    given = "".join(f"%20-c{option.replace('=', '%3D')}" for option in options)
    return f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}{given}"


@dataclass(frozen=True)
class Place:
    """Where one vault lies, and the keys it hangs on. ``postgres`` is None for SQLite."""

    directory: Path
    keys: Path
    kek: str
    postgres: str | None

    def keyring(self) -> Keyring:
        return Keyring.open(self.keys, provider_for(self.kek))

    def create(self) -> SubjectVault:
        return SubjectVault.create(self.directory, self.keyring(), postgres=self.postgres)

    def open(self) -> SubjectVault:
        """As another process would."""
        return SubjectVault.open(self.directory, self.keyring(), postgres=self.postgres)

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        """One statement behind the vault's back; ``{vault}``, ``{columns}`` and ``{pages}`` are its tables."""
        if self.postgres is None:
            tables = {"vault": "vault", "columns": "columns", "pages": "pages"}
            with sqlite3.connect(self.directory / "vault.sqlite") as connection:
                return connection.execute(statement.format(**tables), parameters).fetchall()
        import psycopg

        tables = dict(zip(("vault", "columns", "pages"), TABLES, strict=True))
        with psycopg.connect(self.postgres) as server:
            cursor = server.execute(statement.format(**tables).replace("?", "%s").encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def copied(self, directory: Path) -> Place:
        """A copy of the rows as they are now, as a backup would hold them."""
        directory.mkdir()
        if self.postgres is None:
            with (
                sqlite3.connect(self.directory / "vault.sqlite") as live,
                sqlite3.connect(directory / "vault.sqlite") as copy,
            ):
                live.backup(copy)
            return replace(self, directory=directory)
        shutil.copy(self.directory / "vault.name", directory)
        schema = f"copy_{secrets.token_hex(6)}"
        for statement in (
            f"CREATE SCHEMA {schema}",
            *(f"CREATE TABLE {schema}.{table} (LIKE {table} INCLUDING ALL)" for table in TABLES),
            *(f"INSERT INTO {schema}.{table} SELECT * FROM {table}" for table in TABLES),
        ):
            self.sql(statement)
        server, _, _ = self.postgres.partition("options=")
        return replace(self, directory=directory, postgres=in_schema(server.rstrip("?&"), schema))

    def put_back(self, copy: Place) -> None:
        """Replace the rows by those of a copy, while the vault may be open."""
        if self.postgres is None:
            with (
                sqlite3.connect(copy.directory / "vault.sqlite") as old,
                sqlite3.connect(self.directory / "vault.sqlite") as live,
            ):
                old.backup(live)
            return
        for table in TABLES:
            rows = copy.sql(f"SELECT * FROM {table}")
            self.sql(f"DELETE FROM {table}")
            for row in rows:
                self.sql(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
