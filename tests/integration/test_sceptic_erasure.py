"""What a sceptic asks about copies and keys: tests 3, 4 and 12 of twelve.

3. Erase, then restore a backup. 4. A copy is made outside the pipeline. 12. Keys are rotated, then destroyed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home, refused
from sceptic_reports import cell, record, remarks
from test_erasure import erase, pseudonyms, sealed_names

from governance.audit import make_report, verify_bundle
from governance.log import NewEntry
from governance.model.canonical import canonical
from governance.model.statements import INVENTORY
from governance.protect import open_version
from governance.rights import finish
from governance.rights.inventory import take_inventory


def test_3_a_restored_backup_is_erased_again_before_it_is_read_and_the_certificate_shows_both(
    released: Home, tmp_path: Path
) -> None:
    shutil.copytree(released.path / "vault", tmp_path / "vault")
    subject = next(iter(german_subjects(released)))
    [name] = pseudonyms(released, subject)
    erase(released, "DSR-3", subject)
    assert not remarks(record(released, "gdpr-art17", request="DSR-3"), "tombstone-replayed")
    shutil.rmtree(released.path / "vault")
    shutil.copytree(tmp_path / "vault", released.path / "vault")
    size = released.workspace().log.size()
    released.run(CUSTOMERS)
    assert name not in sealed_names(released), "replayed before the release"
    said = record(released, "gdpr-art17", request="DSR-3")
    [replayed] = remarks(said, "tombstone-replayed")
    [index] = replayed["cites"]
    assert index >= size - 1, "an entry of its own"
    assert cell(said, "DSR-3", "suppression")["value"]["tombstone"] < index
    finish(released.workspace())
    said = record(released, "gdpr-art17", request="DSR-3")
    assert cell(said, "DSR-3", "verification")["value"][0]["found"] == 0
    assert remarks(said, "tombstone-replayed")
    # Once it is finished its request is gone: a backup from before is refused, not replayed.
    shutil.rmtree(released.path / "vault")
    shutil.copytree(tmp_path / "vault", released.path / "vault")
    with refused("GOV-303", "GOV-307"):
        released.workspace()


def test_4_a_copy_outside_the_pipeline_is_a_gap_and_complete_is_refused(
    released: Home, tmp_path: Path
) -> None:
    def coverage() -> str:
        [found] = [s for s in record(released, "compliance")["statements"] if s.startswith("Coverage")]
        return found

    assert remarks(record(released, "compliance"), "coverage-not-reconciled")[0]["basis"] == "unknown"
    assert "unknown" in coverage()
    place = tmp_path / "lake"
    place.mkdir()
    code, out, err = released.cli("inventory", str(place))
    assert (code, err) == (0, "")
    assert ": complete in 2 listed places" in coverage()

    [data] = sorted(released.root(CUSTOMERS).glob("segments/*/*.parquet"))[:1]
    shutil.copy(data, place / "export.parquet")
    (place / "notes.txt").write_text("nobody knows this file")
    shutil.copy(data, data.with_name("stray.parquet"))
    code, out, _ = released.cli("inventory", str(place), "--json")
    assert code == 1
    found = {(each["what"], Path(each["path"]).name) for each in json.loads(out)["found"]}
    assert found == {
        ("copies", "export.parquet"),
        ("unaccounted", "notes.txt"),
        ("unaccounted", "stray.parquet"),
    }
    said = record(released, "compliance")
    gaps = remarks(said, "coverage-gap")
    assert [(g["basis"], g["count"]) for g in gaps] == [("observed", 1), ("observed", 2)]
    assert "not complete" in coverage()
    assert not remarks(said, "coverage-not-reconciled")
    body = released.workspace().log.entry(gaps[0]["cites"][0]).body or b""
    assert b"export.parquet" not in body and json.loads(body)["copies"][0]["files"] == 1

    # The gap is removed and looked for again: complete, until the next release.
    for stray in (place / "export.parquet", place / "notes.txt", data.with_name("stray.parquet")):
        stray.unlink()
    take_inventory(released.workspace(), [str(place)])
    assert ": complete in 2 listed places" in coverage()
    released.run(CUSTOMERS)
    assert "unknown since" in coverage()


def test_4_an_inventory_that_nobody_signed_says_nothing(released: Home) -> None:
    workspace = released.workspace()
    said = {
        "v": 1,
        "log_size": 1,
        "places": [{"place": "lake", "known": 1}],
        "copies": [],
        "wrapped_keys": [],
    }
    for forged in (said, said | {"signature": "AAAA"}, said | {"signature": 7}):
        workspace.log.append([NewEntry(canonical(forged), INVENTORY, "admin:cli")])
    assert remarks(record(released, "compliance"), "coverage-not-reconciled")


def test_4_a_place_that_is_not_there_is_no_empty_place(released: Home, tmp_path: Path) -> None:
    size = released.workspace().log.size()
    with refused("GOV-724"):
        take_inventory(released.workspace(), [str(tmp_path / "nowhere")])
    assert released.workspace().log.size() == size


def test_12_rotated_keys_open_destroyed_ones_do_not_and_a_backup_of_them_fails_the_certificate(
    released: Home, tmp_path: Path
) -> None:
    first = released.manifest(CUSTOMERS)
    assert released.cli("keys", "rotate")[0] == 0
    workspace = released.workspace()
    storage = workspace.dataset_storage(CUSTOMERS)
    opened = pa.Table.from_batches(open_version(storage, first, workspace.keyring.segment_key))
    assert opened.num_rows == first.body["rows"], "old versions open after a rotation"

    backups = tmp_path / "backups"
    shutil.copytree(released.path / "keys", backups / "keys")
    segments = released.root(CUSTOMERS) / "segments"
    shutil.copytree(segments, tmp_path / "segments")
    subject = next(iter(german_subjects(released)))
    erase(released, "DSR-12", subject)
    finish(released.workspace())
    shutil.copytree(tmp_path / "segments", segments, dirs_exist_ok=True)
    workspace = released.workspace()
    with refused("GOV-303", "GOV-723"):
        list(open_version(storage, first, workspace.keyring.segment_key))
    for segment in first.segments:
        shutil.rmtree(segments / segment.segment_id)

    said = record(released, "gdpr-art17", request="DSR-12")
    assert not remarks(said, "key-backup-found")
    _, found = take_inventory(released.workspace(), [str(backups)])
    # The side files of the database are there too: keys may be in its write-ahead log alone.
    sealed = [each for each in found if each.what == "wrapped_keys"]
    assert {Path(each.path).name.partition("-")[0] for each in sealed} == {"keys.sqlite"}
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "x-wal").write_bytes(
        b"\x37\x7f\x06\x82" + f"seg.{sealed[0].of[0]}.restricted".encode()
    )
    _, beside = take_inventory(released.workspace(), [str(tmp_path / "log")])
    assert [each.what for each in beside] == ["wrapped_keys"]
    assert {each.path.split("/")[0] for each in found} == {"keys"}, (
        "after an erasure the datasets are accounted for"
    )
    made = make_report(released.workspace(), "gdpr-art17", tmp_path / "out", bundle=True)
    [failed] = remarks(made.record, "key-backup-found")
    assert failed["text"].startswith("Request DSR-12: a backup of its destroyed keys exists")
    state = cell(made.record, "DSR-12", "state")
    assert (state["basis"], "not complete" in state["note"]) == ("conflicting", True)
    assert cell(made.record, "DSR-12", "backups")["basis"] == "conflicting"
    assert made.bundle is not None
    verdict = verify_bundle(made.bundle, released.workspace().vkey)
    assert verdict.ok, verdict.first_failure


@pytest.mark.parametrize("other", ["sqlite", "text"])
def test_12_what_only_looks_like_a_key_store_is_none(other: str, released: Home, tmp_path: Path) -> None:
    data = b"SQLite format 3\x00" + b"\x00" * 100 if other == "sqlite" else b"seg.v1-1.restricted"
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "file").write_bytes(data)
    _, found = take_inventory(released.workspace(), [str(tmp_path / "place")])
    assert [each.what for each in found] == ["unaccounted"]
