"""A vault moves from a file into PostgreSQL and back; killed at any step it is in the one place or in the other."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from vault_place import Place, in_schema, names

from governance.errors import GovernanceError
from governance.keys.vault.moving import move_vault
from governance.keys.vault.postgres import PostgresRows, PostgresVault
from governance.keys.vault.sqlite import SqliteRows, SqliteVault

PEOPLE = names(0, 5000)


@pytest.fixture(scope="module")
def both(postgres: str, keys: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A vault in a file, and a database it may go to."""
    schema = f"moved_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        place = Place(tmp_path_factory.mktemp("moved") / "vault", *keys, None)
        vault = place.create()
        vault.resolve("patient", PEOPLE, create=True)
        vault.pseudonyms("patient", "released:patient", np.arange(3))
        vault.reseal(
            {"patient": np.array([1])},
            suppressed={"patient": vault.suppression_marks("patient", names(1, 2))},
        )
        vault.close()
        yield replace(place, postgres=in_schema(postgres, schema))
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def content(place: Place) -> list[bytes]:
    vault = place.open()
    found = [
        vault.resolve("patient", PEOPLE, create=True),
        vault.internal("patient"),
        vault.secrets("patient", np.arange(3)),
        vault.pseudonyms("patient", "released:patient", np.arange(3), create=False),
        vault.suppressed("patient", PEOPLE[:4]),
        np.array([vault.generation, vault.usage.seals]),
    ]
    vault.close()
    return [array.tobytes() for array in found]


def move(place: Place, to_file: bool) -> None:
    move_vault(
        place.directory, place.keyring(), postgres=place.postgres,
        into_postgres=None if to_file else place.postgres,
    )  # fmt: skip


def live(place: Place) -> list[str]:
    """Every storage that a vault could be read from, whatever the directory says."""
    found = ["file"] if SqliteVault(place.directory).format() == 1 else []
    with psycopg.connect(place.postgres or "") as connection:
        if connection.execute("SELECT to_regclass('governance_vault')").fetchall() != [(None,)]:
            rows = connection.execute("SELECT 1 FROM governance_vault WHERE format = 1").fetchall()
            found += ["database"] * len(rows)
    return found


def test_back_and_forth_with_everything_and_nothing_left_behind(both: Place) -> None:
    before, old = content(both), replace(both).open()
    assert old.generation
    with pytest.raises(GovernanceError, match="already"):
        move(both, to_file=True)
    move(both, to_file=False)
    assert content(both) == before
    assert live(both) == ["database"]
    assert [path.name for path in both.directory.iterdir()] == ["vault.name"]
    with pytest.raises(GovernanceError) as caught:
        # A process that had it open neither reads on nor writes into what nobody will look at.
        old.resolve("patient", names(9000, 9001), create=True)
    assert caught.value.code in ("GOV-307", "GOV-724")
    old = both.open()
    assert old.generation
    move(both, to_file=True)
    assert content(both) == before
    assert live(both) == ["file"]
    with pytest.raises(GovernanceError) as caught:
        old.resolve("patient", names(9000, 9001), create=True)
    assert caught.value.code == "GOV-307"


def test_a_copy_of_the_directory_does_not_overwrite_the_vault_it_was_copied_from(
    both: Place, tmp_path: Path
) -> None:
    copy = replace(both, directory=tmp_path / "copy")
    copy.directory.mkdir()
    (copy.directory / "vault.sqlite").write_bytes((both.directory / "vault.sqlite").read_bytes())
    before = content(both)
    move(both, to_file=False)
    with pytest.raises(GovernanceError, match="GOV-901"):
        move(copy, to_file=False)
    assert content(both) == before
    move(both, to_file=True)


def test_what_is_altered_does_not_move(both: Place) -> None:
    file = replace(both, postgres=None)
    [(sealed,)] = file.sql("SELECT sealed FROM {pages} ORDER BY column_id, number LIMIT 1")
    change = "UPDATE {pages} SET sealed = ? WHERE sealed = ?"
    file.sql(change, bytes([sealed[0] ^ 1]) + sealed[1:], sealed)
    with pytest.raises(GovernanceError) as caught:
        move(both, to_file=False)
    assert caught.value.code == "GOV-307"
    assert live(both) == ["file"]
    file.sql(change, sealed, bytes([sealed[0] ^ 1]) + sealed[1:])


def dies(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killing_after(call: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> None:
        call(*arguments, **named)
        dies()

    return called


Break = Callable[[], None]
INTO_DATABASE: dict[str, tuple[str, Break]] = {
    "copying": (
        "file",
        lambda: setattr(PostgresRows, "write_pages", killing_after(PostgresRows.write_pages)),
    ),
    "before it retires": ("file", lambda: setattr(SqliteRows, "retire", dies)),
    "within its retirement": (
        "file",
        lambda: setattr(SqliteRows, "retire", killing_after(SqliteRows.retire)),
    ),
    "before it arrives": ("database", lambda: setattr(PostgresVault, "arrive", dies)),
    "before it is named": ("database", lambda: setattr(PostgresVault, "_name", dies)),
    "before the file goes": ("database", lambda: setattr(SqliteVault, "discard", dies)),
}
INTO_FILE: dict[str, tuple[str, Break]] = {
    "copying": (
        "database",
        lambda: setattr(SqliteRows, "write_pages", killing_after(SqliteRows.write_pages)),
    ),
    "before it retires": ("database", lambda: setattr(PostgresRows, "retire", dies)),
    "within its retirement": (
        "database",
        lambda: setattr(PostgresRows, "retire", killing_after(PostgresRows.retire)),
    ),
    "before it arrives": ("file", lambda: setattr(SqliteVault, "arrive", dies)),
    "before the copy has its name": ("file", lambda: setattr(Path, "replace", dies)),
}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("to_file", [False, True])
def test_killed_at_any_step_it_is_in_one_place_and_the_same(both: Place, to_file: bool) -> None:
    before = content(both)
    for moment, (where, broken) in (INTO_FILE if to_file else INTO_DATABASE).items():
        if live(both) != ["database" if to_file else "file"]:
            move(both, to_file=not to_file)
        child = os.fork()
        if child == 0:
            try:
                broken()
                move(both, to_file=to_file)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, moment
        assert len(live(both)) <= 1, moment
        assert content(both) == before, moment
        assert live(both) == [where], moment
