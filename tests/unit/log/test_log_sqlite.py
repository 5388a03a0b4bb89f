"""What only the SQLite storage promises: modes of files, bytes that really go, damage that is named."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.errors import GovernanceError, LogError
from governance.log import CheckpointSigner, FaultKind, Log, NewEntry, open_storage, verify_log
from tests.signing_key import Key

SECRET = b"4929-1234-5678-9010-canary"


def now() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


def opened(directory: Path, *, create: bool = False) -> Log:
    storage = open_storage(str(directory), create=create, origin="example.com/log")
    signer = CheckpointSigner(Key(), storage.origin, directory.parent / "memory.json")
    return Log(storage, signer=signer, clock=now)


def entry(body: bytes) -> NewEntry:
    return NewEntry(body, "application/json", "ingest:airflow")


def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        log = opened(tmp_path / "store", create=True)
        log.append([entry(b"1")])
        log.checkpoint()
        assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
        files = [*(tmp_path / "store").iterdir(), tmp_path / "memory.json"]
        assert {file.name for file in files} >= {"log.sqlite", "log.sqlite-wal", "memory.json"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(old)
    log.close()


def test_every_commit_is_synchronous(tmp_path: Path) -> None:
    log = opened(tmp_path / "store", create=True)
    with log.storage._connected() as connection:  # type: ignore[attr-defined]
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "busy_timeout": 60_000}
    log.close()


@pytest.mark.parametrize("size", [30, 3000, 5000, 90_000])
def test_a_redacted_body_is_in_no_byte_of_the_store(tmp_path: Path, size: int) -> None:
    log = opened(tmp_path / "store", create=True)
    secret = SECRET * (size // len(SECRET) + 1)
    for number in range(120):
        log.append([entry(b"%d" % number * 700)])
        if number == 60:
            secret_at, *_ = log.append([entry(secret)])
    salt = log.entry(secret_at).salt
    assert salt is not None
    for neighbour in (secret_at - 1, secret_at + 1, secret_at):
        log.redact(neighbour, "GDPR Art. 17", "rights:dpo")
    for file in (tmp_path / "store").iterdir():
        content = file.read_bytes()
        assert SECRET not in content, file.name
        assert salt not in content, file.name
    assert log.storage.residue == ""
    log.checkpoint()
    report = verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.faults
    log.close()


def test_a_reader_delays_the_removal_and_the_next_opening_finishes_it(tmp_path: Path) -> None:
    log = opened(tmp_path / "store", create=True)
    log.append([entry(SECRET)])
    with log.storage._connected(log.storage._writing) as connection:  # type: ignore[attr-defined]
        connection.execute("PRAGMA busy_timeout = 1")
    reader = sqlite3.connect(tmp_path / "store" / "log.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM entry").fetchall()
    log.redact(0, "GDPR Art. 17", "rights:dpo")
    assert "write-ahead" in log.storage.residue
    reader.close()
    log.close()
    again = opened(tmp_path / "store")
    assert again.storage.residue == ""
    assert all(SECRET not in file.read_bytes() for file in (tmp_path / "store").iterdir())
    again.close()


def test_a_restored_older_store_is_caught_by_the_signer(tmp_path: Path) -> None:
    log = opened(tmp_path / "store", create=True)
    log.append([entry(b"1"), entry(b"2")])
    log.checkpoint()
    log.close()
    shutil.copytree(tmp_path / "store", tmp_path / "backup")
    log = opened(tmp_path / "store")
    log.append([entry(b"3")])
    newest = log.checkpoint()
    log.close()
    shutil.rmtree(tmp_path / "store")
    shutil.copytree(tmp_path / "backup", tmp_path / "store")
    log = opened(tmp_path / "store")
    with pytest.raises(LogError) as caught:
        log.checkpoint()
    assert caught.value.code == "GOV-503"
    log.append([entry(b"4"), entry(b"5")])
    with pytest.raises(LogError, match="GOV-503"):
        log.checkpoint()
    report = verify_log(log.storage, log._signer.vkey, [newest.note])  # type: ignore[union-attr]
    assert not report.ok
    assert report.first_bad == 2
    log.close()


def test_a_flipped_byte_is_found_wherever_it_matters(tmp_path: Path) -> None:
    """Each byte of leaves, bodies, salts, tree nodes, markers and notes, by position in the file."""
    log = opened(tmp_path / "store", create=True)
    log.append([entry(b'{"event": %d}' % number * 20) for number in range(12)])
    log.checkpoint()
    vkey = log._signer.vkey  # type: ignore[union-attr]
    needles = [bytes(log.entry(5).leaf), log.entry(5).body or b"", log.entry(5).salt or b""]
    with log.storage._connected() as connection:  # type: ignore[attr-defined]
        needles += [bytes(connection.execute("SELECT nodes FROM entry WHERE idx = 5").fetchone()[0])]
        needles += [bytes(connection.execute("SELECT digest FROM recent WHERE idx = 5").fetchone()[0])]
    log.close()
    file = tmp_path / "store" / "log.sqlite"
    content = file.read_bytes()
    for needle in needles:
        assert content.count(needle) == 1
        for offset in range(0, len(needle), 7):
            position = content.index(needle) + offset
            with file.open("r+b") as stream:
                stream.seek(position)
                stream.write(bytes([content[position] ^ 0x20]))
            log = opened(tmp_path / "store")
            report = verify_log(log.storage, vkey)
            assert not report.ok
            if needle == needles[-1]:
                # A marker out of order hides others from a search of its B-tree too.
                assert report.faults[0].kind is FaultKind.MARKER
            else:
                assert report.first_bad in (4, 5), report.faults
            log.close()
            file.write_bytes(content)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    opened(tmp_path / "store", create=True).close()
    (tmp_path / "store" / "log.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(LogError) as caught:
        opened(tmp_path / "store")
    assert caught.value.code == "GOV-501"
    assert "NOTADB" in caught.value.message
    assert "backup" in caught.value.remedy


def test_a_damaged_page_is_reported_not_raised(tmp_path: Path) -> None:
    log = opened(tmp_path / "store", create=True)
    log.append([entry(b"%d" % number * 3000) for number in range(300)])
    log.checkpoint()
    vkey = log._signer.vkey  # type: ignore[union-attr]
    log.close()
    file = tmp_path / "store" / "log.sqlite"
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2 // 4096 * 4096)
        stream.write(b"\xff" * 4096)
    log = opened(tmp_path / "store")
    report = verify_log(log.storage, vkey)
    assert not report.ok
    assert report.faults[0].first is not None
    log.close()


@pytest.mark.parametrize("content", [None, b""])
def test_an_unfinished_creation_is_no_store_and_can_be_finished(
    tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "store").mkdir()
    if content is not None:
        (tmp_path / "store" / "log.sqlite").write_bytes(content)
    with pytest.raises(LogError, match="there is no lineage store"):
        opened(tmp_path / "store")
    opened(tmp_path / "store", create=True).close()
    opened(tmp_path / "store").close()


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError) as caught:
        open_storage(str(tmp_path / "file" / "store"), create=True)
    assert caught.value.code == "GOV-501"


def test_the_signers_memory_may_not_lie_in_the_store(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "store"), create=True)
    signer = CheckpointSigner(Key(), storage.origin, tmp_path / "store" / "deep" / "memory.json")
    with pytest.raises(GovernanceError, match="GOV-901"):
        Log(storage, signer=signer, clock=now)
    storage.close()


def test_a_store_held_by_another_process_says_so(tmp_path: Path) -> None:
    log = opened(tmp_path / "store", create=True)
    with log.storage._connected(log.storage._writing) as connection:  # type: ignore[attr-defined]
        connection.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(tmp_path / "store" / "log.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogError) as caught:
        log.append([entry(b"1")])
    assert caught.value.code == "GOV-501"
    assert "BUSY" in caught.value.message
    assert "Another process" in caught.value.remedy
    other.close()
    assert log.append([entry(b"1")]) == [0]
    log.close()
