"""Which storage a vault's directory stands for: a file in it, or a database where the directory names it."""

from __future__ import annotations

import re
from pathlib import Path

from governance.errors import ProtectionError, SettingError
from governance.keys.vault.postgres import PostgresVault
from governance.keys.vault.rows import MOVED, VaultStorage
from governance.keys.vault.sqlite import ARRIVING_FILE, FILE, NAME, SqliteVault


def new_storage(directory: Path, postgres: str | None, vault: str) -> VaultStorage:
    """Where a vault of that id may be created; nothing is made yet.

    Raises:
        SettingError: GOV-901 if there is one already, or the connection string cannot be read.
    """
    if (directory / NAME).exists() or (postgres is not None and (directory / FILE).exists()):
        raise SettingError(
            "GOV-901", f"there is a subject vault in {directory}", "open it, or choose another place"
        )
    return SqliteVault(directory) if postgres is None else PostgresVault(postgres, directory, vault)


def storage_of(directory: Path, postgres: str | None) -> VaultStorage:
    """The storage of an existing vault. A move that was killed once the former one was retired is finished.

    Raises:
        ProtectionError: GOV-307 when that cannot be told.
    """
    file = SqliteVault(directory)
    try:
        named = (directory / NAME).read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return _file_or_where_it_went(file, directory, postgres)
    if not re.fullmatch("[0-9a-f]{16}", named):
        raise _untold(directory, "is damaged", "restore it from a backup")
    if file.format() == MOVED:
        file.discard()
    if (directory / FILE).exists():
        remedy = "take away the one of the two that is not the newest vault"
        raise _untold(directory, f"lies beside a {FILE}", remedy)
    if postgres is None:
        raise _untold(directory, "names a vault of a database that was not named", "name that database")
    database = PostgresVault(postgres, directory, named)
    if database.format() != MOVED:
        return database
    database.close()
    if not (directory / ARRIVING_FILE).exists():
        raise _untold(
            directory, "names a vault that was moved into a file", f"use the directory with its {FILE}"
        )
    file.arrive()
    return file


def _file_or_where_it_went(file: SqliteVault, directory: Path, postgres: str | None) -> VaultStorage:
    if not (directory / FILE).exists():
        file.arrive()
    if file.format() != MOVED:
        return file
    if postgres is None:
        raise ProtectionError(
            "GOV-307", f"{file.where} was moved into a database that was not named", "name that database"
        )
    database = PostgresVault(postgres, directory, file.identity())
    database.arrive()
    file.discard()
    return database


def _untold(directory: Path, fault: str, remedy: str) -> ProtectionError:
    return ProtectionError("GOV-307", f"{directory / NAME} {fault}", remedy)
