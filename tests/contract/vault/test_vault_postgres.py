"""What only a vault in PostgreSQL has to stand: a server, its log, its write-ahead log and its other tenants."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from vault_place import TABLES, Place, in_schema, names

from governance.errors import GovernanceError, ProtectionError, SettingError, StorageError
from governance.keys.providers.provider import provider_for
from governance.keys.sealing import Altered, Sealer
from governance.keys.store import Keyring
from governance.keys.vault import postgres as vault_postgres
from governance.keys.vault.vault import SubjectVault


@pytest.fixture(params=["postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """As the folder's, on PostgreSQL alone; the server logs every statement with its parameters."""
    import psycopg

    server = request.getfixturevalue("postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        schema = f"vault_{secrets.token_hex(6)}"
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        yield in_schema(server, schema, "log_statement=all", "log_min_duration_statement=0")
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture
def data(place: Place) -> Path:
    """The server's data directory: heap, write-ahead log and, where it is configured so, its own log."""
    found = Path(place.sql("SHOW data_directory")[0][0])
    if not (found / "pg_wal").is_dir():
        pytest.skip("the server's data directory is not on this machine")
    return found


def everything_below(data: Path, place: Place) -> bytes:
    place.sql("CHECKPOINT")
    read = []
    for path in sorted(data.rglob("*")):
        try:
            read.append(path.read_bytes() if path.is_file() else b"")
        except FileNotFoundError:
            continue
    return b"".join(read)


def forms(value: bytes) -> list[bytes]:
    """As bytes, and as the server's log writes bytea."""
    return [value, value.hex().encode()]


def test_a_copy_of_heap_and_log_from_before_an_erasure_does_not_open_after_it(
    own_keys: Place, data: Path, tmp_path: Path
) -> None:
    """Rows that were replaced are still in the server's files; what ends them is their key.

    The raw directory stands for a file-system snapshot, a base backup, a replica's disk or archived WAL.
    """
    place = own_keys
    vault = place.create()
    ordinals = vault.resolve("patient", names(0, 300), create=True)
    canary = vault.resolve("patient", pa.array(["Zx8-canary-7Q"]), create=True)
    erased = vault.pseudonyms("patient", "training", canary)[0].tobytes()
    vault.pseudonyms("patient", "training", ordinals)
    clear = [b"Zx8-canary", erased, vault.internal("patient")[300].tobytes()]
    clear += [
        vault.secrets("patient", canary)[0].tobytes(),
        *(row.tobytes() for row in vault.internal("patient")[:5]),
    ]
    rows = place.sql(
        "SELECT c.kind, p.generation, p.sealed FROM {pages} p JOIN {columns} c USING (vault, column_id)"
    )
    [(identity, key_id)] = place.sql("SELECT vault, key_id FROM {vault}")
    shutil.copytree(place.keys, tmp_path / "keys-before")

    before = everything_below(data, place)
    assert b"governance_vault_page" in before, "it is this server's directory"
    if "GOVERNANCE_TEST_POSTGRES" not in os.environ:
        assert rows[0][2][:24].hex().encode() in before, "its log has the parameters of every statement"
    for value in clear:
        for form in forms(value):
            assert form not in before
    # TOAST cuts a value into chunks of about 2 kB; the beginning of each page lies in one piece.
    assert all(sealed[:1_500] in before for _, _, sealed in rows)

    retired = vault.reseal({"patient": canary}, tombstones=1)
    dying = Sealer(place.keyring().segment_key(key_id))
    [page] = [(generation, sealed) for kind, generation, sealed in rows if kind == "pseudonym"]
    context = ("governance vault page v1", identity, "pseudonym", "patient", "training", 0, page[0])
    assert erased in dying.unseal(page[1], *context), "until its key is destroyed the old page opens"
    place.keyring().destroy_segment_keys(retired)

    after = everything_below(data, place)
    assert page[1][:1_500] in after, "the row is gone and its bytes are not: deleting is no erasure"
    # With all that a thief could have copied, the key store from before and the provider as it is now.
    for keys in (place.keys, tmp_path / "keys-before"):
        with pytest.raises(ProtectionError, match="GOV-303"):
            Keyring.open(keys, provider_for(place.kek)).segment_key(key_id)
    live = place.keyring()
    for held in place.sql("SELECT key_id FROM {vault}"):
        with pytest.raises(Altered):
            Sealer(live.segment_key(held[0])).unseal(page[1], *context)
    assert not place.open().pseudonyms("patient", "training", canary).any()
    for value in clear[:4]:
        for form in forms(value):
            assert form not in after


def test_vaults_of_one_database_are_apart(vault: SubjectVault, place: Place, tmp_path: Path) -> None:
    vault.resolve("patient", names(0, 3), create=True)
    second = replace(place, directory=tmp_path / "second")
    other = second.create()
    assert other.resolve("patient", names(0, 3), create=False).tolist() == [-1] * 3
    other.resolve("patient", names(3, 6), create=True)
    together = np.concatenate([vault.internal("patient"), other.internal("patient")])
    assert len(np.unique(together, axis=0)) == 6
    # Rows of one under the other's name do not open.
    mine, its = (p.directory.joinpath("vault.name").read_text("ascii") for p in (place, second))
    place.sql("DELETE FROM {pages} WHERE vault = ?", mine)
    place.sql("UPDATE {pages} SET vault = ? WHERE vault = ?", mine, its)
    with pytest.raises(ProtectionError, match="GOV-307"):
        place.open().internal("patient")


def test_where_a_vault_is_must_be_plain(vault: SubjectVault, place: Place) -> None:
    keyring, directory = place.keyring(), place.directory

    def refused(directory: Path = directory, postgres: str | None = place.postgres) -> str:
        with pytest.raises(GovernanceError) as caught:
            SubjectVault.open(directory, keyring, postgres=postgres)
        return str(caught.value)

    assert "was not named" in refused(postgres=None)
    with pytest.raises(SettingError, match="there is a subject vault"):
        SubjectVault.create(directory, keyring)
    (directory / "vault.sqlite").touch()
    assert "beside a vault.sqlite" in refused()
    (directory / "vault.name").rename(directory / "kept")
    with pytest.raises(SettingError, match="there is a subject vault"):
        place.create()
    (directory / "vault.sqlite").unlink()
    for nonsense in (b"", b"0" * 15, b"x'; DROP TABLE governance_vault", b"\xff" * 16):
        (directory / "vault.name").write_bytes(nonsense)
        assert "GOV-307" in refused()
    (directory / "vault.name").write_text("0" * 16)
    assert "there is no subject vault" in refused()
    (directory / "kept").rename(directory / "vault.name")
    for table in TABLES:
        place.sql(f"DROP TABLE {table}")
    assert "there is no subject vault" in refused()


def test_no_message_names_the_database_s_password(vault: SubjectVault, place: Place) -> None:
    away = "postgresql://u:s3cr3t@127.0.0.1:1/x"
    with pytest.raises(StorageError, match=r"GOV-724.*//127\.0\.0\.1:1/x") as caught:
        SubjectVault.open(place.directory, place.keyring(), postgres=away)
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(SettingError, match="GOV-901") as unread:
        SubjectVault.open(place.directory, place.keyring(), postgres="postgresql://u:s3cr3t@[/")
    assert "s3cr3t" not in str(unread.value)


def test_a_server_that_cut_the_connection_is_asked_again(vault: SubjectVault, place: Place) -> None:
    vault.resolve("patient", names(0, 3), create=True)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'governance-vault'"
    place.sql(cut)
    assert vault.resolve("patient", names(0, 4), create=True).tolist() == [0, 1, 2, 3]
    # In the middle of a transaction nothing is tried again: it is undone, and said.
    with pytest.raises(StorageError, match="GOV-724"), vault._storage.writing() as rows:
        rows.cut(1, 0)
        place.sql(cut)
        rows.cut(1, 0)
    assert len(vault.internal("patient")) == 4


def test_a_writer_does_not_wait_for_ever(
    vault: SubjectVault, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_postgres, "_WRITE", vault_postgres._WRITE.replace("120s", "20ms"))
    other = place.open()
    outcome: list[str] = []

    def write() -> None:
        try:
            other.resolve("patient", names(0, 1), create=True)
        except StorageError as error:
            outcome.append(str(error))

    with vault._storage.writing():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert "55P03" in outcome[0]
    assert other.resolve("patient", names(0, 1), create=True).tolist() == [0]


def test_commits_wait_for_the_disk_whatever_the_role_says(place: Place) -> None:
    assert place.postgres is not None
    for said, done in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
        eager = replace(
            place,
            directory=place.directory / said,
            postgres=f"{place.postgres}%20-csynchronous_commit%3D{said}",
        )
        eager.directory.mkdir(parents=True)
        with eager.create()._storage.writing() as rows:
            assert rows._all("SHOW synchronous_commit") == [(done,)]  # type: ignore[attr-defined]


def test_one_who_may_only_read_may_look_up(vault: SubjectVault, place: Place) -> None:
    """A role with SELECT alone resolves; enrolling is refused by the server."""
    vault.resolve("patient", names(0, 3), create=True)
    role = f"reader_{secrets.token_hex(4)}"
    [(schema,)] = place.sql("SELECT current_schema()")
    place.sql(f"CREATE ROLE {role} LOGIN")
    place.sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    place.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
    try:
        reading = replace(place, postgres=f"{place.postgres}%20-crole%3D{role}").open()
        assert reading.resolve("patient", names(0, 4), create=False).tolist() == [0, 1, 2, -1]
        with pytest.raises(StorageError, match="42501"):
            reading.resolve("patient", names(0, 4), create=True)
        np.testing.assert_array_equal(reading.internal("patient"), vault.internal("patient"))
    finally:
        place.sql(f"DROP OWNED BY {role}")
        place.sql(f"DROP ROLE {role}")
