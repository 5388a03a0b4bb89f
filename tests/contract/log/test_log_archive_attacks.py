"""Archive files altered, exchanged, lost or put back, and the store beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archived_log import LATER, WHO, event, in_two_archives, reopened, verify

from governance.errors import LogError
from governance.log import FaultKind, Log, verify_log
from governance.log.archives.archive import Selection, archive
from governance.log.archives.archive_file import ArchiveFile, verify_archive
from governance.log.archives.archives import tag

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def archived(log: Log, tmp_path: Path) -> Log:
    return in_two_archives(log, tmp_path / "archive")


def assert_bad(log: Log, first: int, words: str = "", last: int | None = None) -> None:
    report = verify(log)
    assert not report.ok
    fault = report.faults[0]
    assert fault.kind is FaultKind.ARCHIVE, fault
    assert fault.first == first, fault
    if last is not None:
        assert fault.last == last, fault
    assert words in fault.reason, fault


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_flipped_byte(archived: Log, where: float) -> None:
    row = archived.storage.archives()[1]
    data = bytearray(row.path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    row.path.write_bytes(data)
    report = verify(archived)
    assert not report.ok
    assert report.faults[0].kind is FaultKind.ARCHIVE
    assert report.first_bad is not None
    assert 20 <= report.first_bad < 40
    log = reopened(archived)
    with pytest.raises(LogError, match="GOV-517"):
        log.entry(25)
    with pytest.raises(LogError, match="GOV-517"):
        log.redact(25, "ground", WHO)
    assert log.entry(5).body == event(5).body


def test_an_altered_body_in_a_well_formed_file_is_named(archived: Log) -> None:
    """Someone rewrites the file with the package's own writer, and can even make the store name its digest."""
    from governance.log.archives.archive_file import Writer

    row = archived.storage.archives()[1]
    old = ArchiveFile(row.path)
    writer = Writer(row.path.with_suffix(".forged"))
    for index, leaf, salt, body in old.rows():
        writer.add((index, leaf, salt, body.replace(b"event", b"edits") if index == 27 and body else body))
    writer.finish(old.header)
    writer.close()
    writer.path.replace(row.path)
    assert_bad(archived, 27, "entry 27", last=27)
    with pytest.raises(LogError, match=r"(?s)GOV-517.*entry 27"):
        verify_archive(row.path, archived._signer.vkey)  # type: ignore[union-attr]


def test_a_missing_file(archived: Log) -> None:
    archived.storage.archives()[1].path.unlink()
    assert_bad(archived, 20, "not there", last=39)
    with pytest.raises(LogError, match="GOV-516"):
        reopened(archived).entry(25)


def test_an_empty_file(archived: Log) -> None:
    archived.storage.archives()[0].path.write_bytes(b"")
    assert_bad(archived, 0)


def test_two_files_exchanged(archived: Log) -> None:
    one, two = (row.path for row in archived.storage.archives())
    aside = one.with_suffix(".aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    assert_bad(archived, 0, "that of the entries 20 to 39")
    with pytest.raises(LogError, match="GOV-517"):
        reopened(archived).entry(3)


def test_an_older_archive_put_back(archived: Log, sql: Sql) -> None:
    row = archived.storage.archives()[0]
    kept = row.path.read_bytes()
    archived.redact(7, "ground", WHO)
    archived.checkpoint()
    assert verify(archived).ok
    new = archived.storage.archives()[0]
    new.path.write_bytes(kept)
    assert_bad(archived, 7, "an older archive was put back", last=7)
    assert reopened(archived).entry(7).body is None
    with pytest.raises(LogError, match="GOV-517"):
        reopened(archived).entry(8)
    # With the row pointing at the old leaf as well.
    row.path.write_bytes(kept)
    sql("UPDATE {archive} SET leaf = ?, file = ? WHERE first = 0", row.leaf, row.file)
    report = verify(archived)
    assert not report.ok
    assert report.faults[0].kind is FaultKind.ARCHIVE


def test_a_row_that_is_gone_or_points_elsewhere(archived: Log, sql: Sql) -> None:
    row = archived.storage.archives()[1]
    sql("UPDATE {archive} SET leaf = 40 WHERE first = 20")
    assert_bad(archived, 20, "entry 40 does not name")
    sql("UPDATE {archive} SET leaf = ? WHERE first = 20", row.leaf)
    assert verify(archived).ok
    sql("DELETE FROM {archive} WHERE first = 20")
    report = verify(archived)
    assert (report.ok, report.first_bad) == (False, 20)
    assert report.faults[0].kind is FaultKind.REDACTION


def test_an_archive_that_no_leaf_names(archived: Log, sql: Sql) -> None:
    sql("INSERT INTO {archive} VALUES (42, 43, 41, 'x', 'y', ?, ?)", True, None)
    assert_bad(archived, 42, "no entry names")


def test_an_edited_statement(archived: Log, sql: Sql) -> None:
    [(body,)] = sql("SELECT body FROM {entry} WHERE idx = 40")
    sql("UPDATE {entry} SET body = ? WHERE idx = 40", bytes(body).replace(b"sha256:", b"sha256;"))
    report = verify(archived)
    assert (report.ok, report.first_bad) == (False, 0)
    with pytest.raises(LogError, match="GOV-517"):
        reopened(archived).entry(3)


def test_what_is_wrong_before_an_archive_comes_first(archived: Log, sql: Sql) -> None:
    row = archived.storage.archives()[1]
    row.path.unlink()
    sql("UPDATE {entry} SET leaf = ? WHERE idx = 12", archived.entry(13).leaf)
    assert verify(archived).first_bad == 12


def test_bodies_in_the_database_do_not_hide_a_bad_file(log: Log, tmp_path: Path, monkeypatch: Any) -> None:
    log.append([event(number) for number in range(8)])
    with monkeypatch.context() as patched:
        patched.setattr("governance.log.archives.archive.resume", lambda _log: log.archives.settle())
        archive(log, tmp_path / "archive", Selection(LATER), ground="old", authoriser=WHO)
    [row] = log.storage.archives()
    assert not row.emptied
    assert verify(log).ok
    row.path.write_bytes(row.path.read_bytes()[:-1])
    assert_bad(log, 0)
    assert reopened(log).entry(3).body == event(3).body


def test_a_truncated_log_is_called_that_although_its_archives_are_there(archived: Log, sql: Sql) -> None:
    sql("DELETE FROM {entry} WHERE idx >= 40")
    sql("DELETE FROM {marker} WHERE idx >= 40")
    report = verify(archived)
    fault = report.faults[0]
    assert (fault.kind, fault.first, fault.last) == (FaultKind.TRUNCATED, 40, 44), fault
    sql("DELETE FROM {checkpoint} WHERE size > 40")
    sql("DELETE FROM {entry} WHERE idx >= 39")
    assert verify(archived).first_bad == 39


def test_an_older_store_restored_beside_newer_archives(
    archived: Log, location: str, tmp_path: Path, sql: Sql
) -> None:
    """The store's files are put back from a backup; the archive files are not, and one was rewritten since."""
    outside = archived.latest()
    assert outside is not None
    rows = {table: sql(f"SELECT * FROM {{{table}}}") for table in ("entry", "archive", "redaction", "marker")}
    archived.redact(7, "ground", WHO)
    newest = archived.checkpoint()
    for table, kept in rows.items():
        sql(f"DELETE FROM {{{table}}}")
        for row in kept:
            sql(f"INSERT INTO {{{table}}} VALUES ({', '.join('?' * len(row))})", *row)
    sql("DELETE FROM {checkpoint} WHERE size > ?", outside.size)
    report = verify_log(archived.storage, archived._signer.vkey, [newest.note])  # type: ignore[union-attr]
    kinds = [fault.kind for fault in report.faults]
    assert kinds == [FaultKind.ARCHIVE, FaultKind.TRUNCATED], report.faults
    assert (report.faults[1].first, report.faults[1].last) == (outside.size, newest.size - 1)
    with pytest.raises(LogError, match="GOV-503"):
        archived.checkpoint()


def test_the_database_cannot_name_what_is_deleted(archived: Log, tmp_path: Path, sql: Sql) -> None:
    precious = [tmp_path / "precious.txt", tmp_path / ".precious.new"]
    for path in precious:
        path.write_text("mine")
    named = archived.storage.archives()[0].path
    other = named.with_name("0" * 8 + named.name[8:])
    other.write_text("another log's")
    for path in (*precious, named, other):
        sql("INSERT INTO {leftover} VALUES (?)", str(path))
    left = archived.archives.settle()
    assert set(left) == {str(path) for path in (*precious, named, other)}
    assert all(path.exists() for path in (*precious, named, other))
    sql("DELETE FROM {leftover}")
    assert verify(archived).ok


def test_what_another_log_writes_beside_is_left_alone(archived: Log) -> None:
    folder = archived.storage.archives()[0].path.parent
    own, foreign = (
        folder / f".{tag(origin)}-{'a' * 16}.new" for origin in (archived.origin, "example.com/other")
    )
    for path in (own, foreign):
        path.write_text("half a file")
    archived.archives.settle()
    assert [own.exists(), foreign.exists()] == [False, True]
