"""Moving a vault from a file into PostgreSQL or back: sealed rows as they are, one of the two live at any moment.

Under the former storage's writing lock the rows are copied, read back and unsealed; that copy is committed and is not the
vault yet. One transaction then retires the former storage: from there on nobody reads or writes it, also who has it
open. Then the copy arrives. Killed before the retirement, the former is the vault and the next move clears the
copy; killed after it, the next opening lets the copy arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from governance.errors import SettingError
from governance.keys.store import Keyring
from governance.keys.vault.pages import AT_ONCE, Head, Pages
from governance.keys.vault.postgres import PostgresVault
from governance.keys.vault.rows import ARRIVING, VaultRows, VaultStorage
from governance.keys.vault.sqlite import SqliteVault
from governance.keys.vault.storage import storage_of


@dataclass(frozen=True, slots=True)
class Move:
    """``source`` and ``target`` without credentials; ``generation`` is the vault's, ``pages`` how many were moved."""

    source: str
    target: str
    generation: int
    pages: int


def move_vault(directory: Path, keyring: Keyring, *, postgres: str | None, into_postgres: str | None) -> Move:
    """Move the vault of a directory; who has it open afterwards gets GOV-307 and opens it again.

    Args:
        postgres: connection string of the database that holds it, or that it may have been moved to.
        into_postgres: connection string of the database it goes to; ``None`` for a file in the directory.

    Raises:
        SettingError: GOV-901 if it is there already, or the database has it and the directory is a copy.
        ProtectionError: GOV-307 if the vault is damaged; it stays where it is. StorageError: GOV-724.
    """
    source = storage_of(directory, postgres)
    if isinstance(source, SqliteVault) is (into_postgres is None):
        raise SettingError(
            "GOV-901", f"the subject vault is in {source.where} already", "name the other kind of storage"
        )
    pages = Pages(keyring.segment_key, source.where)
    with source.reading() as rows:
        vault = pages.refresh(rows).vault
    target: VaultStorage = (
        SqliteVault(directory) if into_postgres is None else PostgresVault(into_postgres, directory, vault)
    )
    with source.writing() as rows:
        head = pages.refresh(rows)
        with target.arriving() as copy:
            moved = _copied(rows, copy, pages, head)
            _verified(copy, Pages(keyring.segment_key, target.where))
        rows.retire()
    target.arrive()
    if isinstance(source, SqliteVault):
        source.discard()
    source.close()
    target.close()
    return Move(source.where, target.where, head.generation, moved)


def _copied(rows: VaultRows, copy: VaultRows, pages: Pages, head: Head) -> int:
    """Every sealed row as it is; how many pages there were."""
    copy.enter(head.vault, head.key_id, ARRIVING)
    count = 0
    for name in head.columns:
        directory = pages.directory(rows, name)
        _, generation, sealed = rows.directory(name) or (0, 0, b"")
        column = copy.column(name, int(str(generation)))
        copy.write_directory(column, int(str(generation)), bytes(sealed))  # type: ignore[call-overload]
        numbers = range(len(directory.generations))
        for first in numbers[::AT_ONCE]:
            part = rows.pages(directory.column_id, numbers[first : first + AT_ONCE])
            copy.write_pages(
                column,
                [(number, int(str(at)), bytes(page)) for number, (at, page) in part.items()],  # type: ignore[call-overload]
            )
            count += len(part)
    _, _, _, sealed = rows.head() or (0, 0, 0, b"")
    copy.write_head(head.key_id, head.generation, bytes(sealed))  # type: ignore[call-overload]
    return count


def _verified(copy: VaultRows, pages: Pages) -> None:
    """Unseal all of a copy. Raises GOV-307 where anything is missing or is not what the head binds."""
    head = pages.refresh(copy)
    for name in head.columns:
        directory = pages.directory(copy, name)
        for _ in pages.pages(copy, name, directory, list(range(len(directory.generations)))):
            pass
