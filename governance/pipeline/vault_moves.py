"""Moving a home's subject vault to another storage, recorded in the log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from governance.errors import SettingError
from governance.keys.vault.moving import move_vault
from governance.keys.vault.vault import SubjectVault
from governance.model.canonical import timestamp
from governance.pipeline.rotation import KEYS
from governance.pipeline.tombstones import erasing
from governance.pipeline.workspace import Workspace, shared_database


def move_home_vault(workspace: Workspace, *, into_database: bool) -> dict[str, Any]:
    """Move the vault into the database of the home's store, or into a file in the home, and seal it anew there.

    Sealed anew, because what the former storage keeps in free pages and copies is then under a key that dies with the next
    erasure. The log says that it begins and that it is done; killed in between it says the former, and the vault
    is in one of the two places. ``workspace`` has to be opened again.

    Returns:
        ``source`` and ``target`` without credentials, ``generation`` and ``pages``.

    Raises:
        SettingError: GOV-901 where it is already, where the home's store is no database, or a database that has
            the vault already. ProtectionError: GOV-307, GOV-310 where a broker keeps the keys.
        StorageError: GOV-724. LogError: GOV-50x.
    """
    database = shared_database(workspace.settings)
    if into_database and database is None:
        raise SettingError(
            "GOV-901",
            "the home's store is not in PostgreSQL, which is where its vault would go",
            "set GOVERNANCE_STORE to the postgresql:// URL of the home's log",
        )
    home, keyring = workspace.settings.home, workspace.keyring
    with erasing(home):
        begun = {
            "action": "vault-move-begun",
            "into": "database" if into_database else "file",
            "at": timestamp(workspace.clock()),
        }
        # Asked before it is announced: a worker has no such key.
        _ = keyring.provider
        workspace.append_json(begun, KEYS)
        move = move_vault(
            home / "vault", keyring, postgres=database, into_postgres=database if into_database else None
        )
        vault = SubjectVault.open(home / "vault", keyring, postgres=database)
        vault.reseal()
        vault.close()
        done = {"action": "vault-moved", **asdict(move), "at": timestamp(workspace.clock())}
        workspace.append_json(done, KEYS)
        workspace.log.checkpoint()
    return asdict(move)
