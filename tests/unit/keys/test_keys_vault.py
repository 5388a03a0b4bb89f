"""The subject vault: one pseudonym a subject whoever asks first, and no damage unnoticed."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import GovernanceError, ProtectionError, SettingError
from governance.keys.blind_index import BlindIndex
from governance.keys.identifiers import distinct
from governance.keys.provider import KeyProvider, provider_for
from governance.keys.store import Keyring
from governance.keys.vault import SubjectVault


def _code(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(GovernanceError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return caught.value.code


def _names(start: int, stop: int) -> pa.Array:
    return pa.array([f"MRN-{number:07d}" for number in range(start, stop)])


def _edit(directory: Path, statement: str, *arguments: object) -> None:
    with sqlite3.connect(directory / "vault.sqlite") as connection:
        connection.execute(statement, arguments)


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    with sqlite3.connect(source / "vault.sqlite") as live, sqlite3.connect(target / "vault.sqlite") as copy:
        live.backup(copy)


@pytest.mark.parametrize(
    ("values", "codes", "unique"),
    [
        (pa.array(["a", " a", None, "", "b\u00a0", "  ", "b"]), [0, 0, -1, -1, 1, -1, 1], ["a", "b"]),
        (pa.array([7, None, -7, 7], pa.int32()), [0, -1, 1, 0], ["7", "-7"]),
        (pa.array([2**64 - 1], pa.uint64()), [0], ["18446744073709551615"]),
        (pa.array(["x", None, "x"]).dictionary_encode(), [0, -1, 0], ["x"]),
        (pa.array(["x", "y", "x"], pa.large_string()).slice(1), [0, 1], ["y", "x"]),
        (pa.chunked_array([["a", "b"], [], ["c", "a", None]]), [0, 1, 2, 0, -1], ["a", "b", "c"]),
        (pa.chunked_array([], pa.string()), [], []),
        (pa.nulls(2, pa.string()), [-1, -1], []),
    ],
)
def test_identifiers_are_normalised(
    values: pa.Array | pa.ChunkedArray, codes: list[int], unique: list[str]
) -> None:
    found, names = distinct(values)
    assert found.dtype == np.int64
    assert (found.tolist(), names.to_pylist()) == (codes, unique)


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.binary(), pa.date32(), pa.null()])
def test_types_that_cannot_name_a_subject(vault: SubjectVault, kind: pa.DataType) -> None:
    assert _code(vault.resolve, "patient", pa.nulls(2, kind), create=True) == "GOV-304"


@given(st.lists(st.integers(0, 2**40), unique=True, max_size=300), st.integers(1, 4), st.booleans())
@settings(deadline=None)
def test_blind_index_equals_a_dict(numbers: list[int], parts: int, colliding: bool) -> None:
    keys = np.zeros((len(numbers), 2), np.uint64)
    keys[:, 1] = numbers
    keys[:, 0] = 0 if colliding else numbers
    index = BlindIndex()
    for stop in np.linspace(0, len(numbers), parts).astype(int).tolist():
        index.extend(keys[:stop].view(np.uint8).reshape(stop, 16))
    index.extend(keys.view(np.uint8).reshape(-1, 16))
    absent = keys ^ np.uint64(1 << 50)
    wanted = np.concatenate([keys[::-1], absent]).view(np.uint8).reshape(-1, 16)
    found = index.find(keys.view(np.uint8).reshape(-1, 16), wanted)
    assert found.tolist() == [*range(len(numbers))][::-1] + [-1] * len(numbers)


def test_blind_index_grows() -> None:
    keys = np.random.default_rng(1).integers(0, 256, (50_000, 16), np.uint8)
    index = BlindIndex()
    for stop in (0, 10, 5_000, 50_000):
        index.extend(keys[:stop])
    np.testing.assert_array_equal(index.find(keys, keys), np.arange(50_000))


def test_get_or_create(vault: SubjectVault, vault_directory: Path, keyring: Keyring) -> None:
    names = pa.array(["b", None, "a ", "b", "", "a"])
    assert vault.resolve("patient", names, create=False).tolist() == [-1] * 6
    ordinals = vault.resolve("patient", names, create=True)
    assert ordinals.tolist() == [0, -1, 1, 0, -1, 1]
    more = vault.resolve("patient", pa.chunked_array([["c", "a"], ["d"]]), create=True)
    assert more.tolist() == [2, 1, 3]
    assert vault.resolve("patient", pa.array(["a", "e"]), create=False).tolist() == [1, -1]
    internal = vault.internal("patient")
    assert internal.shape == (4, 16)
    assert internal.dtype == np.uint8
    assert len(np.unique(internal, axis=0)) == 4
    with pytest.raises(ValueError, match="read-only"):
        internal[0] = 0
    again = SubjectVault.open(vault_directory, keyring)
    assert again.resolve("patient", names, create=True).tolist() == ordinals.tolist()
    np.testing.assert_array_equal(again.internal("patient"), internal)
    assert again.generation == vault.generation == 3
    assert (vault_directory / "vault.sqlite").stat().st_mode & 0o777 == 0o600


def test_domains_are_apart(vault: SubjectVault) -> None:
    assert vault.resolve("patient", pa.array(["a"]), create=True).tolist() == [0]
    assert vault.resolve("customer", pa.array(["a"]), create=False).tolist() == [-1]
    assert vault.resolve("customer", pa.array(["b", "a"]), create=True).tolist() == [0, 1]
    assert not (vault.internal("patient")[0] == vault.internal("customer")[1]).all()
    assert vault.internal("nobody").shape == (0, 16)


def test_many_batches_over_page_boundaries(
    vault: SubjectVault, vault_directory: Path, keyring: Keyring
) -> None:
    parts = [
        vault.resolve("patient", _names(start, start + 3_001), create=True)
        for start in range(0, 24_008, 3_001)
    ]
    ordinals = np.concatenate(parts)
    np.testing.assert_array_equal(ordinals, np.arange(24_008))
    again = SubjectVault.open(vault_directory, keyring)
    np.testing.assert_array_equal(again.resolve("patient", _names(0, 24_008), create=False), ordinals)
    np.testing.assert_array_equal(again.internal("patient"), vault.internal("patient"))
    secrets = again.secrets("patient", ordinals)
    assert len(np.unique(secrets, axis=0)) == 24_008
    np.testing.assert_array_equal(secrets[[4_095, 4_096]], vault.secrets("patient", np.array([4_095, 4_096])))


def test_pseudonyms_per_audience(vault: SubjectVault, vault_directory: Path, keyring: Keyring) -> None:
    ordinals = vault.resolve("patient", _names(0, 5_000), create=True)
    assert _code(vault.pseudonyms, "patient", "research", ordinals, create=False) == "GOV-307"
    research = vault.pseudonyms("patient", "research", ordinals)
    training = vault.pseudonyms("patient", "training", ordinals)
    everything = np.concatenate([research, training, vault.internal("patient")])
    assert len(np.unique(everything, axis=0)) == 15_000
    later = vault.resolve("patient", _names(4_990, 6_000), create=True)
    mixed = np.array([5, -1, int(later[-1]), 5])
    again = SubjectVault.open(vault_directory, keyring)
    taken = again.pseudonyms("patient", "research", mixed)
    np.testing.assert_array_equal(taken, vault.pseudonyms("patient", "research", mixed, create=False))
    np.testing.assert_array_equal(taken[0], research[5])
    assert not taken[1].any()
    assert taken[2].any()
    assert not vault.pseudonyms("patient", "training", np.array([-1, -1]), create=False).any()
    assert vault.pseudonyms("patient", "training", np.empty(0, np.int64)).shape == (0, 16)
    assert not vault.pseudonyms("empty", "training", np.array([-1])).any()
    assert _code(vault.pseudonyms, "patient", "training", np.array([6_000])) == "GOV-307"


def test_nothing_readable_in_the_files(vault: SubjectVault, vault_directory: Path, keyring: Keyring) -> None:
    ordinals = vault.resolve("patient", pa.array(["Zx8-canary-7Q", "other"]), create=True)
    found = [vault.internal("patient")[0], vault.secrets("patient", ordinals)[0]]
    found.append(vault.pseudonyms("patient", "training", ordinals)[0])
    held = b"".join(path.read_bytes() for path in vault_directory.iterdir())
    for secret in (b"Zx8-canary", *(record.tobytes() for record in found)):
        assert secret not in held


def _enrol(directory: str, keys: str, kek: str, worker: int) -> tuple[list[int], list[bytes]]:
    keyring = Keyring.open(Path(keys), provider_for(f"file:{kek}"))
    vault = SubjectVault.open(Path(directory), keyring)
    order = np.random.default_rng(worker).permutation(6_000)
    names = _names(0, 6_000).take(pa.array(order))
    ordinals = np.empty(6_000, np.int64)
    for start in range(0, 6_000, 500):
        part = vault.resolve("patient", names.slice(start, 500), create=True)
        ordinals[order[start : start + 500]] = part
        vault.pseudonyms("patient", "training", part)
    pseudonyms = vault.pseudonyms("patient", "training", ordinals)
    return ordinals.tolist(), [row.tobytes() for row in pseudonyms]


def test_processes_never_give_two_pseudonyms(
    vault: SubjectVault, vault_directory: Path, key_store: Path, kek: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(str(vault_directory), str(key_store), str(kek), worker) for worker in range(4)]
    with context.Pool(4) as pool:
        results = pool.starmap(_enrol, arguments)
    assert all(result == results[0] for result in results)
    assert sorted(results[0][0]) == list(range(6_000))
    assert len(set(results[0][1])) == 6_000
    assert len(vault.internal("patient")) == 6_000


def test_threads_share_a_vault(vault: SubjectVault) -> None:
    results: list[list[int]] = []

    def work() -> None:
        parts = [
            vault.resolve("patient", _names(start, start + 300), create=True)
            for start in range(0, 3_000, 300)
        ]
        results.append(np.concatenate(parts).tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(result == results[0] for result in results)
    assert len(vault.internal("patient")) == 3_000


def test_an_undone_transaction_leaves_nothing(vault: SubjectVault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.resolve("patient", _names(0, 10), create=True)

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SubjectVault, "_publish", stop)
        with pytest.raises(KeyboardInterrupt):
            vault.resolve("patient", _names(0, 20), create=True)
    assert len(vault.internal("patient")) == 10
    np.testing.assert_array_equal(vault.resolve("patient", _names(5, 25), create=True), np.arange(5, 25))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pages SET sealed = x'00' WHERE number = 1",
        "UPDATE pages SET sealed = substr(sealed, 1, 100) || x'ff00' || substr(sealed, 103) WHERE number = 0",
        "UPDATE pages SET sealed = 'text' WHERE number = 0",
        "UPDATE vault SET sealed = 'a text that is longer than a nonce and a tag'",
        "DELETE FROM pages WHERE number = 1",
        "UPDATE pages SET generation = generation + 1",
        "UPDATE pages SET sealed = (SELECT sealed FROM pages AS other WHERE other.number = 0"
        " AND other.column_id = pages.column_id) WHERE number = 1",
        "UPDATE columns SET sealed = x''",
        "UPDATE columns SET domain = 'customer'",
        "DELETE FROM columns",
        "UPDATE vault SET sealed = x''",
        "UPDATE vault SET generation = generation + 1",
        "DELETE FROM vault",
    ],
)
def test_damage_is_found(vault: SubjectVault, vault_directory: Path, keyring: Keyring, change: str) -> None:
    vault.resolve("patient", _names(0, 8_192), create=True)
    vault.close()
    _edit(vault_directory, change)

    def use() -> None:
        SubjectVault.open(vault_directory, keyring).resolve("patient", _names(0, 1), create=False)

    assert _code(use) == "GOV-307"


def test_a_page_put_back_is_found(vault: SubjectVault, vault_directory: Path, keyring: Keyring) -> None:
    vault.resolve("patient", _names(0, 10), create=True)
    with sqlite3.connect(vault_directory / "vault.sqlite") as connection:
        pages = connection.execute("SELECT generation, sealed, column_id FROM pages").fetchall()
        columns = connection.execute("SELECT generation, sealed, column_id FROM columns").fetchall()
    vault.resolve("patient", _names(10, 20), create=True)
    for page in pages:
        _edit(vault_directory, "UPDATE pages SET generation = ?, sealed = ? WHERE column_id = ?", *page)
    vault.close()
    assert _code(vault.internal, "patient") == "GOV-307"
    for column in columns:
        _edit(vault_directory, "UPDATE columns SET generation = ?, sealed = ? WHERE column_id = ?", *column)
    vault.close()
    assert _code(SubjectVault.open(vault_directory, keyring).internal, "patient") == "GOV-307"


def test_missing_existing_and_foreign_vaults(
    tmp_path: Path, vault: SubjectVault, vault_directory: Path, keyring: Keyring, provider: KeyProvider
) -> None:
    assert _code(SubjectVault.open, tmp_path / "none", keyring) == "GOV-307"
    with pytest.raises(SettingError, match="there is a subject vault"):
        SubjectVault.create(vault_directory, keyring)
    other = Keyring.create(tmp_path / "others", provider)
    with pytest.raises(ProtectionError, match="GOV-307"):
        SubjectVault.open(vault_directory, other)


def test_a_file_that_is_no_vault(vault: SubjectVault, vault_directory: Path, keyring: Keyring) -> None:
    vault.close()
    (vault_directory / "vault.sqlite").write_bytes(b"not a database, and longer than a header" * 100)
    assert _code(SubjectVault.open, vault_directory, keyring) == "GOV-307"


def test_rotation_leaves_the_vault_alone(
    vault: SubjectVault, vault_directory: Path, keyring: Keyring
) -> None:
    vault.resolve("patient", _names(0, 10), create=True)
    internal = vault.internal("patient").copy()
    keyring.rotate_epoch()
    vault.resolve("patient", _names(10, 20), create=True)
    again = SubjectVault.open(vault_directory, keyring)
    np.testing.assert_array_equal(again.internal("patient")[:10], internal)
    assert vault.retired == ()


def test_erasure_and_older_copies(
    vault: SubjectVault, vault_directory: Path, keyring: Keyring, tmp_path: Path
) -> None:
    ordinals = vault.resolve("patient", _names(0, 5_000), create=True)
    other = vault.resolve("customer", _names(0, 3), create=True)
    before = vault.pseudonyms("patient", "training", ordinals).copy()
    customers = vault.internal("customer").copy()
    reader = SubjectVault.open(vault_directory, keyring)
    reader.resolve("patient", _names(0, 1), create=False)
    backup = tmp_path / "backup"
    _copy(vault_directory, backup)
    vault.expects(0)
    assert _code(vault.expects, 1) == "GOV-307"

    retired = vault.reseal({"patient": np.array([7, 4_500])}, tombstones=2)
    assert len(retired) == 1
    SubjectVault.open(backup, keyring)
    assert _code(SubjectVault.open(backup, keyring).expects, 2) == "GOV-307"
    keyring.destroy_segment_keys(retired)
    assert _code(SubjectVault.open, backup, keyring) == "GOV-307"

    for view in (vault, reader, SubjectVault.open(vault_directory, keyring)):
        view.expects(2)
        found = view.resolve("patient", _names(0, 5_000), create=False)
        assert np.flatnonzero(found < 0).tolist() == [7, 4_500]
        pseudonyms = view.pseudonyms("patient", "training", ordinals)
        assert np.flatnonzero((pseudonyms != before).any(axis=1)).tolist() == [7, 4_500]
        assert not view.internal("patient")[[7, 4_500]].any()
        assert not view.secrets("patient", np.array([7, 4_500])).any()
        np.testing.assert_array_equal(view.resolve("customer", _names(0, 3), create=False), other)
        np.testing.assert_array_equal(view.internal("customer"), customers)
    assert vault.resolve("patient", _names(7, 8), create=True).tolist() == [5_000]
    vault.reseal()
    vault.expects(2)
    assert len(vault.retired) == 2


def test_a_vault_rolled_back_while_open(vault: SubjectVault, vault_directory: Path, tmp_path: Path) -> None:
    vault.resolve("patient", _names(0, 10), create=True)
    backup = tmp_path / "backup"
    _copy(vault_directory, backup)
    vault.resolve("patient", _names(10, 20), create=True)
    assert vault.generation == 3
    with (
        sqlite3.connect(backup / "vault.sqlite") as old,
        sqlite3.connect(vault_directory / "vault.sqlite") as live,
    ):
        old.backup(live)
    assert _code(vault.internal, "patient") == "GOV-307"


def _enrol_forever(directory: str, keys: str, kek: str, started: object) -> None:
    keyring = Keyring.open(Path(keys), provider_for(f"file:{kek}"))
    vault = SubjectVault.open(Path(directory), keyring)
    start = 0
    while True:
        vault.resolve("patient", _names(start, start + 700), create=True)
        vault.pseudonyms("patient", "training", np.arange(start, start + 700))
        start += 700
        started.set()  # type: ignore[attr-defined]


@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_writer_leaves_a_whole_vault(
    vault: SubjectVault, vault_directory: Path, key_store: Path, kek: Path, attempt: int
) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    arguments = (str(vault_directory), str(key_store), str(kek), started)
    writer = context.Process(target=_enrol_forever, args=arguments)
    writer.start()
    assert started.wait(60)
    while vault.generation < 20 + 7 * attempt:
        pass
    writer.kill()
    writer.join()
    vault.close()
    count = len(vault.internal("patient"))
    assert count % 700 == 0
    ordinals = np.arange(count)
    np.testing.assert_array_equal(vault.resolve("patient", _names(0, count), create=False), ordinals)
    assert vault.secrets("patient", ordinals).any(axis=1).all()
    assert len(np.unique(vault.pseudonyms("patient", "training", ordinals), axis=0)) == count
