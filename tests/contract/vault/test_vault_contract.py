"""The subject vault: one pseudonym a subject whoever asks first, and no damage unnoticed, wherever it lies."""

from __future__ import annotations

import math
import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from vault_place import Place, names

from governance.errors import GovernanceError, SettingError
from governance.keys.vault import pages
from governance.keys.vault.vault import SubjectVault


def code_of(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(GovernanceError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return caught.value.code


def test_get_or_create(vault: SubjectVault, place: Place) -> None:
    given = pa.array(["b", None, "a ", "b", "", "a"])
    assert vault.resolve("patient", given, create=False).tolist() == [-1] * 6
    ordinals = vault.resolve("patient", given, create=True)
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
    again = place.open()
    assert again.resolve("patient", given, create=True).tolist() == ordinals.tolist()
    np.testing.assert_array_equal(again.internal("patient"), internal)
    assert again.generation == vault.generation == 3
    assert again.usage == vault.usage
    named = place.directory / ("vault.sqlite" if place.postgres is None else "vault.name")
    assert named.stat().st_mode & 0o777 == 0o600


def test_domains_are_apart(vault: SubjectVault) -> None:
    assert vault.resolve("patient", pa.array(["a"]), create=True).tolist() == [0]
    assert vault.resolve("customer", pa.array(["a"]), create=False).tolist() == [-1]
    assert vault.resolve("customer", pa.array(["b", "a"]), create=True).tolist() == [0, 1]
    assert not (vault.internal("patient")[0] == vault.internal("customer")[1]).all()
    assert vault.internal("nobody").shape == (0, 16)


def test_many_batches_over_page_boundaries(
    vault: SubjectVault, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "AT_ONCE", 2)
    parts = [
        vault.resolve("patient", names(start, start + 3_001), create=True)
        for start in range(0, 24_008, 3_001)
    ]
    ordinals = np.concatenate(parts)
    np.testing.assert_array_equal(ordinals, np.arange(24_008))
    again = place.open()
    np.testing.assert_array_equal(again.resolve("patient", names(0, 24_008), create=False), ordinals)
    np.testing.assert_array_equal(again.internal("patient"), vault.internal("patient"))
    secrets = again.secrets("patient", ordinals)
    assert len(np.unique(secrets, axis=0)) == 24_008
    np.testing.assert_array_equal(secrets[[4_095, 4_096]], vault.secrets("patient", np.array([4_095, 4_096])))
    vault.reseal()
    np.testing.assert_array_equal(again.secrets("patient", ordinals), secrets)


def test_pseudonyms_per_audience(vault: SubjectVault, place: Place) -> None:
    ordinals = vault.resolve("patient", names(0, 5_000), create=True)
    assert code_of(vault.pseudonyms, "patient", "research", ordinals, create=False) == "GOV-307"
    research = vault.pseudonyms("patient", "research", ordinals)
    training = vault.pseudonyms("patient", "training", ordinals)
    everything = np.concatenate([research, training, vault.internal("patient")])
    assert len(np.unique(everything, axis=0)) == 15_000
    later = vault.resolve("patient", names(4_990, 6_000), create=True)
    mixed = np.array([5, -1, int(later[-1]), 5])
    taken = place.open().pseudonyms("patient", "research", mixed)
    np.testing.assert_array_equal(taken, vault.pseudonyms("patient", "research", mixed, create=False))
    np.testing.assert_array_equal(taken[0], research[5])
    assert not taken[1].any()
    assert taken[2].any()
    assert not vault.pseudonyms("patient", "training", np.array([-1, -1]), create=False).any()
    assert vault.pseudonyms("patient", "training", np.empty(0, np.int64)).shape == (0, 16)
    assert not vault.pseudonyms("empty", "training", np.array([-1])).any()
    assert code_of(vault.pseudonyms, "patient", "training", np.array([6_000])) == "GOV-307"


def _enrol(place: Place, worker: int) -> tuple[list[int], list[bytes]]:
    vault = place.open()
    order = np.random.default_rng(worker).permutation(6_000)
    given = names(0, 6_000).take(pa.array(order))
    ordinals = np.empty(6_000, np.int64)
    for start in range(0, 6_000, 500):
        part = vault.resolve("patient", given.slice(start, 500), create=True)
        ordinals[order[start : start + 500]] = part
        vault.pseudonyms("patient", "training", part)
    pseudonyms = vault.pseudonyms("patient", "training", ordinals)
    return ordinals.tolist(), [row.tobytes() for row in pseudonyms]


def test_processes_never_give_two_pseudonyms(vault: SubjectVault, place: Place) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(_enrol, [(place, worker) for worker in range(2)])
    assert all(result == results[0] for result in results)
    assert sorted(results[0][0]) == list(range(6_000))
    assert len(set(results[0][1])) == 6_000
    assert len(vault.internal("patient")) == 6_000


def test_threads_share_a_vault(vault: SubjectVault) -> None:
    results: list[list[int]] = []

    def work() -> None:
        parts = [
            vault.resolve("patient", names(start, start + 300), create=True) for start in range(0, 3_000, 300)
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


def test_a_process_that_forks_goes_on_in_both(vault: SubjectVault) -> None:
    vault.resolve("patient", names(0, 10), create=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(vault.resolve("patient", names(10, 11), create=True)[0])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert vault.resolve("patient", names(10, 12), create=True).tolist() == [10, 11]


def test_readers_do_not_wait_for_a_writer_and_see_one_state(vault: SubjectVault, place: Place) -> None:
    vault.resolve("patient", names(0, 5_000), create=True)
    reader = place.open()
    before = reader.internal("patient").copy()
    with pytest.raises(KeyboardInterrupt), vault._storage.writing() as rows:
        head = vault._pages.refresh(rows)
        rows.write_head(head.key_id, head.generation + 7, b"of a writer who is not done")
        rows.cut(1, 0)
        assert reader.generation == 2
        np.testing.assert_array_equal(place.open().internal("patient"), before)
        raise KeyboardInterrupt
    np.testing.assert_array_equal(place.open().internal("patient"), before)


def test_an_undone_transaction_leaves_nothing(vault: SubjectVault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.resolve("patient", names(0, 10), create=True)

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SubjectVault, "_publish", stop)
        with pytest.raises(KeyboardInterrupt):
            vault.resolve("patient", names(0, 20), create=True)
    assert len(vault.internal("patient")) == 10
    np.testing.assert_array_equal(vault.resolve("patient", names(5, 25), create=True), np.arange(5, 25))


DAMAGE = [
    ("UPDATE {pages} SET sealed = ? WHERE number = 1", b"\0"),
    ("UPDATE {pages} SET sealed = ? WHERE number = 0", bytes(4_096 * 16 + 28)),
    ("DELETE FROM {pages} WHERE number = 1",),
    ("UPDATE {pages} SET generation = generation + 1",),
    ("UPDATE {pages} AS page SET sealed = (SELECT sealed FROM {pages} AS other WHERE other.number = 0"
     " AND other.column_id = page.column_id) WHERE number = 1",),
    ("UPDATE {columns} SET sealed = ?", b""),
    ("UPDATE {columns} SET domain = 'customer'",),
    ("DELETE FROM {columns}",),
    ("UPDATE {vault} SET sealed = ?", b""),
    ("UPDATE {vault} SET sealed = ?", b"more than a nonce and a tag, and nonsense"),
    ("UPDATE {vault} SET generation = generation + 1",),
    ("DELETE FROM {vault}",),
]  # fmt: skip


@pytest.mark.parametrize("change", DAMAGE, ids=range(len(DAMAGE)))
def test_damage_is_found(vault: SubjectVault, place: Place, change: tuple[str, ...]) -> None:
    vault.resolve("patient", names(0, 8_192), create=True)
    vault.close()
    place.sql(*change)
    assert code_of(lambda: place.open().resolve("patient", names(0, 1), create=False)) == "GOV-307"


CELLS = {
    "{vault}": ("vault", "key_id", "generation", "sealed"),
    "{columns}": ("column_id", "kind", "domain", "audience", "generation", "sealed"),
    "{pages}": ("column_id", "number", "generation", "sealed"),
}


def test_no_value_in_any_cell_is_more_than_damage(vault: SubjectVault, place: Place) -> None:
    """Whatever the database lets be put there; SQLite keeps values of any type."""
    vault.resolve("patient", names(0, 3), create=True)
    vault.close()
    tried = 0
    for table, columns in CELLS.items():
        rows = place.sql(f"SELECT * FROM {table}")
        for column in columns:
            for value in (-1, 2**62, math.inf, "seg.x-y.z", b""):
                try:
                    place.sql(f"UPDATE {table} SET {column} = ?", value)
                except (sqlite3.Error, psycopg.Error):
                    continue
                tried += 1
                assert code_of(lambda: place.open().internal("patient")) == "GOV-307", (table, column, value)
                place.sql(f"DELETE FROM {table}")
                for row in rows:
                    place.sql(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
    assert tried > 15


def test_a_page_put_back_is_found(vault: SubjectVault, place: Place) -> None:
    vault.resolve("patient", names(0, 10), create=True)
    pages = place.sql("SELECT generation, sealed, column_id FROM {pages}")
    columns = place.sql("SELECT generation, sealed, column_id FROM {columns}")
    vault.resolve("patient", names(10, 20), create=True)
    for page in pages:
        place.sql("UPDATE {pages} SET generation = ?, sealed = ? WHERE column_id = ?", *page)
    vault.close()
    assert code_of(vault.internal, "patient") == "GOV-307"
    for column in columns:
        place.sql("UPDATE {columns} SET generation = ?, sealed = ? WHERE column_id = ?", *column)
    vault.close()
    assert code_of(place.open().internal, "patient") == "GOV-307"


def test_missing_existing_and_foreign_vaults(vault: SubjectVault, own_keys: Place, place: Place) -> None:
    elsewhere = place.directory.with_name("none")
    missing = (SubjectVault.open, elsewhere, place.keyring())
    assert code_of(*missing, postgres=place.postgres) == "GOV-307"
    with pytest.raises(SettingError, match="there is a subject vault"):
        place.create()
    assert code_of(own_keys.open) == "GOV-307"
    place.sql("UPDATE {vault} SET format = 2")
    assert code_of(place.open) == "GOV-901"


def test_rotation_leaves_the_vault_alone(own_keys: Place) -> None:
    vault = own_keys.create()
    vault.resolve("patient", names(0, 10), create=True)
    internal = vault.internal("patient").copy()
    own_keys.keyring().rotate_epoch()
    vault.resolve("patient", names(10, 20), create=True)
    np.testing.assert_array_equal(own_keys.open().internal("patient")[:10], internal)
    assert vault.retired == ()


def test_erasure_and_older_copies(own_keys: Place, tmp_path: Path) -> None:
    place = own_keys
    vault = place.create()
    ordinals = vault.resolve("patient", names(0, 5_000), create=True)
    other = vault.resolve("customer", names(0, 3), create=True)
    before = vault.pseudonyms("patient", "training", ordinals).copy()
    customers = vault.internal("customer").copy()
    reader = place.open()
    reader.resolve("patient", names(0, 1), create=False)
    backup = place.copied(tmp_path / "backup")
    vault.expects(0)
    assert code_of(vault.expects, 1) == "GOV-307"

    retired = vault.reseal({"patient": np.array([7, 4_500])}, tombstones=2)
    assert len(retired) == 1
    # The log knows two tombstones, the copy has carried out none of them.
    assert code_of(backup.open().expects, 2) == "GOV-307"
    place.keyring().destroy_segment_keys(retired)
    assert code_of(backup.open) == "GOV-307"

    for view in (vault, reader, place.open()):
        view.expects(2)
        found = view.resolve("patient", names(0, 5_000), create=False)
        assert np.flatnonzero(found < 0).tolist() == [7, 4_500]
        pseudonyms = view.pseudonyms("patient", "training", ordinals)
        assert np.flatnonzero((pseudonyms != before).any(axis=1)).tolist() == [7, 4_500]
        assert not view.internal("patient")[[7, 4_500]].any()
        assert not view.secrets("patient", np.array([7, 4_500])).any()
        np.testing.assert_array_equal(view.resolve("customer", names(0, 3), create=False), other)
        np.testing.assert_array_equal(view.internal("customer"), customers)
    assert vault.resolve("patient", names(7, 8), create=True).tolist() == [5_000]
    vault.reseal()
    vault.expects(2)
    assert len(vault.retired) == 2


def test_suppressed_and_restricted_subjects(vault: SubjectVault, place: Place) -> None:
    everybody = names(0, 5_000)
    ordinals = vault.resolve("patient", everybody, create=True)
    # More than a page of them, known and unknown ones.
    marks = vault.suppression_marks("patient", pa.concat_arrays([everybody, names(6_000, 6_100)]))
    vault.reseal({"patient": ordinals}, suppressed={"patient": marks}, restricted={"patient": ordinals[3:5]})
    for view in (vault, place.open()):
        found = view.resolve("patient", pa.concat_arrays([everybody, names(5_500, 6_001)]), create=True)
        assert found.tolist() == [-1] * 5_000 + [*range(5_000, 5_500), -1]
        assert view.suppressed("patient", names(4_999, 5_001)).tolist() == [True, False]
        assert view.restricted("patient").tolist() == [3, 4]
    vault.reseal(restricted={"patient": np.empty(0, np.int64)})
    assert place.open().restricted("patient").tolist() == []
    assert place.open().suppressed("patient", names(0, 1)).all()
    place.sql("DELETE FROM {columns} WHERE kind = 'suppressed'")
    assert code_of(lambda: place.open().resolve("patient", names(0, 1), create=True)) == "GOV-307"


def test_a_vault_rolled_back_while_open(vault: SubjectVault, place: Place, tmp_path: Path) -> None:
    vault.resolve("patient", names(0, 10), create=True)
    backup = place.copied(tmp_path / "backup")
    vault.resolve("patient", names(10, 20), create=True)
    assert vault.generation == 3
    place.put_back(backup)
    assert code_of(vault.internal, "patient") == "GOV-307"


def _enrol_forever(place: Place, started: object) -> None:
    vault = place.open()
    start = 0
    while True:
        vault.resolve("patient", names(start, start + 700), create=True)
        vault.pseudonyms("patient", "training", np.arange(start, start + 700))
        start += 700
        started.set()  # type: ignore[attr-defined]


@pytest.mark.parametrize("generations", [20, 29])
def test_a_killed_writer_leaves_a_whole_vault(vault: SubjectVault, place: Place, generations: int) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    writer = context.Process(target=_enrol_forever, args=(place, started))
    writer.start()
    assert started.wait(60)
    while vault.generation < generations:
        pass
    writer.kill()
    writer.join()
    vault.close()
    # A killed writer's lock is let go: whoever comes next may write.
    vault.resolve("patient", pa.array(["who comes next"]), create=True)
    count = len(vault.internal("patient")) - 1
    assert count % 700 == 0
    ordinals = np.arange(count)
    np.testing.assert_array_equal(vault.resolve("patient", names(0, count), create=False), ordinals)
    assert vault.secrets("patient", ordinals).any(axis=1).all()
    assert len(np.unique(vault.pseudonyms("patient", "training", ordinals), axis=0)) == count
