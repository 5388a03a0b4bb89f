"""Bodies leave for archives, and everything stays readable and verifiable, on every storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from governance.errors import LogError
from governance.log import CONTRACT, GENESIS, OPENLINEAGE_EVENT, Log, NewEntry, open_storage, verify_log
from governance.log.archives import archive_file
from governance.log.archives.archive import Selection, archive, resume
from governance.log.archives.archive_file import verify_archive
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.archives.archives import ARCHIVE, PRUNE, Archives
from governance.log.verify import LogReport

LATER = datetime(2027, 1, 1, tzinfo=UTC)
WHO = "admin:dpo"
GROUND = "older than the quarter"


def event(number: int, principal: str = "ingest:airflow") -> NewEntry:
    return NewEntry(
        json.dumps({"event": number, "pad": "x" * (number % 97)}).encode(), OPENLINEAGE_EVENT, principal
    )


def verify(log: Log, *folders: Path) -> LogReport:
    return verify_log(log.storage, log._signer.vkey, archives=folders)  # type: ignore[union-attr]


def put_away(log: Log, folder: Path, before: datetime = LATER, **more: Any) -> list[ArchiveRow]:
    return archive(log, folder, Selection(before), ground=GROUND, authoriser=WHO, **more)


@pytest.fixture
def filled(log: Log) -> Log:
    log.append([NewEntry(b"{}", GENESIS, "admin:cli"), NewEntry(b"a: 1", CONTRACT, "evidence:pipeline")])
    log.append([event(number) for number in range(40)])
    log.append([event(100, "evidence:pipeline")])
    return log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def test_bodies_move_and_are_read_as_before(
    filled: Log, folder: Path, sql: Callable[..., Any], open_log: Callable[..., Log]
) -> None:
    before = list(filled.entries())
    [row] = put_away(filled, folder)
    assert (row.first, row.stop, row.leaf, row.emptied) == (0, 43, 43, True)
    assert list(filled.entries(0, 43)) == before
    assert list(open_log().entries(0, 43)) == before
    assert filled.entry(7) == before[7]
    # What the log stands on stays in the database, and so does what the pipeline observed.
    kept = {index for index, body in sql("SELECT idx, body FROM {entry} WHERE idx < 43") if body}
    assert kept == {0, 1, 42}
    said = json.loads(filled.entry(43).body or b"")
    assert filled.entry(43).envelope.media_type == ARCHIVE
    assert filled.entry(43).envelope.principal == WHO
    assert (said["bodies"], said["ground"], said["first"], said["stop"]) == (40, GROUND, 0, 43)
    assert (said["oldest"], said["newest"]) == (
        before[2].envelope.received_at,
        before[41].envelope.received_at,
    )
    latest = filled.latest()
    assert latest is not None
    assert latest.size == 44, "the archive's leaf is not under a signature"
    report = verify(filled)
    assert report.ok, report.reason
    assert (report.archived, report.pruned, report.redacted) == (40, 0, 0)
    assert json.loads(json.dumps(report.to_json()))["archived"] == 40
    assert (folder.stat().st_mode & 0o777, row.path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == [row.file]


def test_a_repeated_event_is_still_recognised(filled: Log, folder: Path) -> None:
    put_away(filled, folder)
    assert filled.append([event(3), event(1000)]) == [5, 44]


def test_a_file_verifies_by_itself(filled: Log, folder: Path) -> None:
    [row] = put_away(filled, folder)
    vkey = filled._signer.vkey  # type: ignore[union-attr]
    file = verify_archive(row.path, vkey)
    assert file.digest == json.loads(filled.entry(43).body or b"")["digest"]
    rows = list(file.rows())
    assert [index for index, *_ in rows] == list(range(43))
    assert [body for *_, body in rows if body is not None] == [event(n).body for n in range(40)]
    with pytest.raises(LogError, match="GOV-506"):
        verify_archive(row.path, vkey.replace("example.com/log", "example.com/other"))
    metadata = pq.ParquetFile(row.path).metadata
    assert not any(
        metadata.row_group(n).column(c).is_stats_set
        for n in range(metadata.num_row_groups)
        for c in range(metadata.num_columns)
    ), "statistics repeat parts of bodies"


def test_only_what_is_old_leaves_and_the_next_archive_goes_on(filled: Log, folder: Path) -> None:
    cut = datetime.fromisoformat(filled.entry(2).envelope.received_at) + timedelta(microseconds=1)
    [first] = put_away(filled, folder, cut)
    assert (first.first, first.stop) == (0, 42)
    assert put_away(filled, folder, cut) == []
    second = put_away(filled, folder, evidence_too := LATER, rows=20)
    assert second == []
    filled.append([event(number) for number in range(200, 250)])
    third = put_away(filled, folder, evidence_too, rows=20)
    assert all(a.stop <= b.first for a, b in pairwise(third))
    assert sum(json.loads(filled.entry(row.leaf).body or b"")["bodies"] for row in third) == 50
    report = verify(filled)
    assert report.ok, report.reason
    assert report.archived == 90


def test_evidence_leaves_only_when_asked(filled: Log, folder: Path) -> None:
    chosen = replace(Selection(LATER), evidence=True)
    archive(filled, folder, chosen, ground=GROUND, authoriser=WHO)
    assert verify(filled).archived == 41


def test_an_archive_that_moved_is_named_and_found(
    filled: Log, folder: Path, open_log: Callable[..., Log]
) -> None:
    [row] = put_away(filled, folder)
    elsewhere = folder.with_name("tape")
    folder.rename(elsewhere)
    log = open_log()
    for read in (lambda: log.entry(5), lambda: list(log.entries())):
        with pytest.raises(LogError) as caught:
            read()
        assert caught.value.code == "GOV-516"
        assert row.file in caught.value.message
        assert str(folder) in caught.value.message
    assert log.entry(0).body == b"{}"
    with_folder = Log(log.storage, signer=None, clock=log._clock, archives=[elsewhere])
    assert with_folder.entry(5).body == event(3).body
    report = verify(log)
    assert not report.ok
    assert (report.faults[0].first, report.faults[0].last) == (2, 42)
    assert verify(log, elsewhere).ok
    unread = verify_log(log.storage, log._signer.vkey, archives=None)  # type: ignore[union-attr]
    assert unread.ok
    assert any("40 archived bodies" in unknown for unknown in unread.unknown)


def test_redaction_reaches_into_an_archive(filled: Log, folder: Path, sql: Callable[..., Any]) -> None:
    [old] = put_away(filled, folder)
    leaf = filled.redact(10, "GDPR Art. 17(1)(b)", WHO)
    assert leaf == 44
    assert filled.redact(10, "again", WHO) == 44
    [new] = filled.storage.archives()
    assert new.file != old.file
    assert not old.path.exists()
    assert b'{"event": 8' not in b"".join(
        body or b"" for *_, body in archive_file.ArchiveFile(new.path).rows()
    )
    assert filled.entry(10).body is None
    assert filled.entry(11).body == event(9).body
    said = json.loads(filled.entry(45).body or b"")
    assert (said["because"], said["file"]) == (44, new.file)
    with pytest.raises(LogError, match="GOV-505"):
        filled.append([event(8)])
    filled.checkpoint()
    report = verify(filled)
    assert report.ok, report.reason
    assert (report.redacted, report.archived) == (1, 39)
    assert sql("SELECT count(*) FROM {leftover}") == [(0,)]


def test_an_entry_kept_beside_an_archive_is_redacted_without_it(filled: Log, folder: Path) -> None:
    [row] = put_away(filled, folder)
    assert filled.redact(42, "ground", WHO) == 44
    assert filled.storage.archives() == [row]
    filled.checkpoint()
    assert verify(filled).ok


def test_what_was_redacted_before_stays_out_of_the_archive(filled: Log, folder: Path) -> None:
    filled.redact(10, "ground", WHO)
    [row] = put_away(filled, folder)
    assert archive_file.ArchiveFile(row.path).row(10)[2:] == (None, None)
    report = verify(filled)
    assert report.ok, report.reason
    assert (report.redacted, report.archived) == (1, 39)


def test_redaction_of_an_archive_that_moved_leaves_no_copy(
    filled: Log, folder: Path, open_log: Callable[..., Log]
) -> None:
    put_away(filled, folder)
    folder.rename(folder.with_name("tape"))
    log = open_log()
    log.archives = Archives(log.storage, [folder.with_name("tape")])
    log.redact(10, "ground", WHO)
    [row] = log.storage.archives()
    assert list(folder.with_name("tape").glob("*.parquet")) == [row.path]
    assert open_log().entry(11).body == event(9).body


def test_redaction_needs_the_archive_and_says_so(
    filled: Log, folder: Path, open_log: Callable[..., Log]
) -> None:
    put_away(filled, folder)
    folder.rename(folder.with_name("tape"))
    size = filled.size()
    with pytest.raises(LogError, match="GOV-516"):
        open_log().redact(10, "ground", WHO)
    assert filled.size() == size


def test_statements_about_the_store_cannot_be_posed(filled: Log) -> None:
    for media_type in (ARCHIVE, PRUNE):
        with pytest.raises(LogError, match="GOV-509"):
            filled.append([NewEntry(b"{}", media_type, WHO)])


def test_a_statement_cannot_be_redacted(filled: Log, folder: Path) -> None:
    [row] = put_away(filled, folder)
    with pytest.raises(LogError, match="GOV-509"):
        filled.redact(row.leaf, "ground", WHO)


def test_an_altered_body_is_not_archived(filled: Log, folder: Path, sql: Callable[..., Any]) -> None:
    sql("UPDATE {entry} SET body = ? WHERE idx = 9", b'{"event": 99}')
    with pytest.raises(LogError) as caught:
        put_away(filled, folder)
    assert caught.value.code == "GOV-517"
    assert "entry 9" in caught.value.message
    assert filled.storage.archives() == []
    assert not [path for path in folder.iterdir() if path.suffix == ".parquet"]


def test_a_folder_that_cannot_be_written(filled: Log, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="GOV-519"):
        put_away(filled, tmp_path / "file" / "archive")
    assert filled.storage.archives() == []


def test_a_lost_file_is_written_again_while_the_bodies_are_there(
    filled: Log, folder: Path, sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named in the log, then damaged before the bodies left: nothing is removed, and the next run mends it."""
    with monkeypatch.context() as patched:
        patched.setattr("governance.log.archives.archive.resume", lambda _log: None)
        archive(filled, folder, Selection(LATER), ground=GROUND, authoriser=WHO)
    [path] = folder.glob(".*.new")
    path.write_bytes(path.read_bytes()[:-9])
    resume(filled)
    [row] = filled.storage.archives()
    assert row.emptied
    assert json.loads(filled.entry(row.leaf).body or b"")["replaces"].startswith("sha256:")
    filled.checkpoint()
    report = verify(filled)
    assert report.ok, report.reason
    assert report.archived == 40
    assert filled.entry(5).body == event(3).body


def test_an_empty_log_and_nothing_old(log: Log, folder: Path) -> None:
    assert put_away(log, folder) == []
    log.append([event(1)])
    assert put_away(log, folder, datetime(2020, 1, 1, tzinfo=UTC)) == []
    assert verify(log).ok


def test_the_database_shrinks_by_what_left(filled: Log, folder: Path, location: str) -> None:
    if location.startswith("postgresql:"):
        return
    put_away(filled, folder)
    data = (Path(location) / "log.sqlite").read_bytes()
    assert event(30).body not in data
    assert open_storage(location).size() == 44
