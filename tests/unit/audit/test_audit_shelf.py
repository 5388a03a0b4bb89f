"""The shelf: reports kept by the digest of their record, whole or not at all, whoever puts them there at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_world import World

from governance.audit import making, verify_bundle
from governance.audit.shelf import BUNDLE, RECORD_FILE, Shelf, Shelved
from governance.model.canonical import canonical, digest

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf") / "reports")


def put(shelf: Shelf, world: World, kind: str, **asked: Any) -> Shelved:
    return shelf.put(world, kind, by="audit:ada", at=NOW, **asked)


def test_a_report_is_named_by_its_record_and_read_back(shelf: Shelf, world: World) -> None:
    kept = put(shelf, world, "transfers", forms=["csv"])
    assert digest(canonical(kept.record))[7:39] == kept.name
    assert kept.files == ["report.html", "report.csv", RECORD_FILE, BUNDLE]
    assert verify_bundle(kept.read(BUNDLE), world.vkey).ok
    assert shelf.find(kept.name) == kept and kept in shelf.listed()
    assert (kept.made_at, kept.made_by) == ("2026-06-01T12:00:00.000000Z", "audit:ada")
    assert kept.folder.stat().st_mode & 0o077 == shelf.folder.stat().st_mode & 0o077 == 0
    for wrong in ("made.json", "../made.json", ""):
        with pytest.raises(KeyError):
            kept.read(wrong)


def test_many_at_once_make_one_and_nothing_is_overwritten(shelf: Shelf, world: World) -> None:
    asked = [{"forms": ["csv"]}, {"forms": ["xlsx"]}, {"forms": ["csv"], "language": "de"}, {}]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda each: put(shelf, world, "dpia", **each), asked))
    assert len({one.name for one in made}) == 1
    files = {f"report.{end}" for end in ("html", "json", "zip", "csv", "xlsx", "de.csv")}
    assert set(made[0].files) == files
    before = {name: (made[0].folder / name).stat().st_ino for name in made[0].files}
    again = shelf.put(world, "dpia", by="audit:eve", at=NOW + timedelta(days=1), forms=["csv"])
    assert again.made_by == "audit:ada"
    assert {name: (again.folder / name).stat().st_ino for name in again.files} == before
    assert not [path.name for path in shelf.folder.iterdir() if path.name.startswith(".")]


def test_what_was_left_half_done_is_never_listed_and_goes_a_day_later(
    shelf: Shelf, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [one.name for one in shelf.listed()]
    old, new = shelf.folder / ".making-old", shelf.folder / ".taking-new"
    for folder, age in ((old, timedelta(days=2)), (new, timedelta(hours=1))):
        folder.mkdir()
        (folder / RECORD_FILE).write_bytes(b"{}")
        os.utime(folder, ((NOW - age).timestamp(),) * 2)
    (shelf.folder / ("0" * 32)).mkdir()
    (shelf.folder / ("1" * 32)).mkdir()
    (shelf.folder / ("1" * 32) / "made.json").write_bytes(b'{"kind": 1}')
    (shelf.folder / "20260101T000000").mkdir()
    assert [one.name for one in shelf.listed()] == kept

    def torn(path: Path, data: bytes, **_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk full"):
        patched.setattr(making, "replace_file", torn)
        put(shelf, world, "gdpr-art30")
    assert [one.name for one in shelf.listed()] == kept
    assert (old.exists(), new.exists()) == (False, True)


def test_reports_that_rest_on_an_entry(shelf: Shelf, world: World) -> None:
    kept = put(shelf, world, "transfers")
    [cited] = [i for row in kept.record["rows"][:1] for i in row["cells"]["importer"]["cites"]][:1]
    assert kept in shelf.concerning([cited])
    assert shelf.concerning([]) == shelf.concerning([10**9]) == []
