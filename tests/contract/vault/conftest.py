"""Every test of this folder runs with the vault in SQLite and in a real PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from vault_place import Place, in_schema

from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A key store that many vaults share; a test that destroys keys takes one of its own."""
    folder = tmp_path_factory.mktemp("vault-keys")
    create_file_key(folder / "kek.json")
    kek = f"file:{folder}/kek.json"
    Keyring.create(folder / "keys", provider_for(kek))
    return folder / "keys", kek


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """``None`` for SQLite, else a connection string whose schema is the test's own."""
    if request.param == "sqlite":
        yield None
        return
    import psycopg

    server = request.getfixturevalue("postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        schema = f"vault_{secrets.token_hex(6)}"
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        yield in_schema(server, schema)
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture
def place(database: str | None, keys: tuple[Path, str], tmp_path: Path) -> Place:
    return Place(tmp_path / "vault", *keys, database)


@pytest.fixture
def own_keys(place: Place, tmp_path: Path) -> Place:
    """The place with a key store of the test's own."""
    create_file_key(tmp_path / "kek.json")
    kek = f"file:{tmp_path}/kek.json"
    Keyring.create(tmp_path / "keys", provider_for(kek))
    return replace(place, keys=tmp_path / "keys", kek=kek)


@pytest.fixture
def vault(place: Place) -> SubjectVault:
    return place.create()
