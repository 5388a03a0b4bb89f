"""Which storage a vault's directory stands for: a file in it, or a database where the directory names it."""

from __future__ import annotations

import re
from pathlib import Path

from governance.errors import ProtectionError, SettingError
from governance.keys.vault.postgres import NAME, PostgresVault
from governance.keys.vault.rows import VaultStorage
from governance.keys.vault.sqlite import FILE, SqliteVault


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
    """The storage of an existing vault.

    Raises:
        ProtectionError: GOV-307 when that cannot be told.
    """
    try:
        named = (directory / NAME).read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return SqliteVault(directory)
    if not re.fullmatch("[0-9a-f]{16}", named):
        fault, remedy = "is damaged", "restore it from a backup"
    elif (directory / FILE).exists():
        fault, remedy = f"lies beside a {FILE}", "take away the one of the two that is not the newest vault"
    elif postgres is None:
        fault, remedy = "names a vault of a database that was not named", "name that database"
    else:
        return PostgresVault(postgres, directory, named)
    raise ProtectionError("GOV-307", f"{directory / NAME} {fault}", remedy)
