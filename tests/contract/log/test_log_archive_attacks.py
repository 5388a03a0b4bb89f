"""Archive files altered, exchanged, lost or put back, and processes killed at any point."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from governance.errors import LogError
from governance.log import OPENLINEAGE_EVENT, FaultKind, Log, NewEntry, open_storage, verify_log
from governance.log.archive import Selection, archive, resume
from governance.log.archive_file import ArchiveFile, verify_archive
from governance.log.archives import Archives
from governance.log.verify import LogReport

LATER = datetime(2027, 1, 1, tzinfo=UTC)
WHO = "admin:dpo"
Sql = Callable[..., list[tuple[Any, ...]]]


def event(number: int) -> NewEntry:
    # Long and incompressible, so that a byte in the middle of a file lies in a body.
    pad = random.Random(number).randbytes(400).hex()
    return NewEntry(json.dumps({"event": number, "pad": pad}).encode(), OPENLINEAGE_EVENT, "ingest:airflow")


@pytest.fixture
def archived(log: Log, tmp_path: Path) -> Log:
    """Entries 0 to 19 and 20 to 39 in an archive each, 40 and 41 name them, 42 to 44 are new."""
    log.append([event(number) for number in range(40)])
    archive(log, tmp_path / "archive", Selection(LATER), ground="old", authoriser=WHO, rows=20)
    log.append([event(number) for number in range(100, 103)])
    log.checkpoint()
    return log


def verify(log: Log) -> LogReport:
    return verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]


def assert_bad(log: Log, first: int, words: str = "", last: int | None = None) -> None:
    report = verify(log)
    assert not report.ok
    fault = report.faults[0]
    assert fault.kind is FaultKind.ARCHIVE, fault
    assert fault.first == first, fault
    if last is not None:
        assert fault.last == last, fault
    assert words in fault.reason, fault


def reopened(log: Log) -> Log:
    return Log(log.storage, signer=log._signer, clock=log._clock)


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
    from governance.log.archive_file import Writer

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
        patched.setattr("governance.log.archive.resume", lambda _log: log.archives.settle())
        archive(log, tmp_path / "archive", Selection(LATER), ground="old", authoriser=WHO)
    [row] = log.storage.archives()
    assert not row.emptied
    assert verify(log).ok
    row.path.write_bytes(row.path.read_bytes()[:-1])
    assert_bad(log, 0)
    assert reopened(log).entry(3).body == event(3).body


VICTIM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from governance.log import CheckpointSigner, Log, open_storage
from governance.log.archive import Selection, archive

class Key:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public_key = key.public_key().public_bytes_raw()
    sign = key.sign

storage = open_storage(sys.argv[1])
signer = CheckpointSigner(Key(), storage.origin, Path(sys.argv[2]))
log = Log(storage, signer=signer, clock=lambda: datetime.now(UTC))
print("start", flush=True)
if sys.argv[4] == "archive":
    chosen = Selection(datetime(2999, 1, 1, tzinfo=UTC))
    archive(log, Path(sys.argv[3]), chosen, ground="old", authoriser="admin:dpo", rows=10)
else:
    for index in map(int, sys.argv[5:]):
        log.redact(index, "ground", "admin:dpo")
        print(index, flush=True)
print("end", flush=True)
"""


def struck(delay: float, *arguments: object) -> list[bytes]:
    """Run the victim, kill it ``delay`` seconds after it began; what it printed."""
    command = [sys.executable, "-c", VICTIM, *map(str, arguments)]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"start\n"
    time.sleep(delay)
    os.kill(victim.pid, signal.SIGKILL)
    said = victim.stdout.read().splitlines()
    victim.wait()
    victim.stdout.close()
    return said


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_while_archiving(log: Log, location: str, memory: Path, tmp_path: Path, seed: int) -> None:
    log.append([event(number) for number in range(60)])
    log.checkpoint()
    for attempt in range(8):
        said = struck(
            random.Random(seed * 100 + attempt).uniform(0, 0.25), location, memory, tmp_path / "a", "archive"
        )
        other = Log(open_storage(location), signer=log._signer, clock=log._clock)
        bodies = [entry.body for entry in other.entries(0, 60)]
        assert bodies == [event(number).body for number in range(60)]
        report = verify(other)
        assert report.ok, report.faults
        other.close()
        if b"end" in said:
            break
    archive(
        log,
        tmp_path / "a",
        Selection(datetime(2999, 1, 1, tzinfo=UTC)),
        ground="old",
        authoriser=WHO,
        rows=10,
    )
    report = verify(log)
    assert report.ok, report.faults
    assert report.archived == 60
    assert not list((tmp_path / "a").glob(".*.new"))
    named = {row.file for row in log.storage.archives()}
    assert {path.name for path in (tmp_path / "a").glob("*.parquet")} == named


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_while_redacting_archived_entries(
    archived: Log, location: str, memory: Path, tmp_path: Path, seed: int
) -> None:
    done: set[int] = set()
    for attempt in range(5):
        wanted = [n for n in range(attempt * 3, attempt * 3 + 12) if n not in done]
        delay = random.Random(seed * 100 + attempt).uniform(0, 0.3)
        done |= {int(n) for n in struck(delay, location, memory, "", "redact", *wanted) if n.isdigit()}
        other = Log(open_storage(location), signer=archived._signer, clock=archived._clock)
        redacted = {redaction.index for redaction in other.storage.redactions()}
        assert done <= redacted
        for entry in other.entries(0, 40):
            assert entry.body == (None if entry.index in redacted else event(entry.index).body)
        other.checkpoint()
        report = verify(other)
        assert report.ok, report.faults
        other.close()
    archived.redact(39, "ground", WHO)
    resume(archived)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "archive").iterdir())
    files = [ArchiveFile(path) for path in (tmp_path / "archive").glob("*.parquet")]
    assert len(files) == 2, "a file that was replaced is still there"
    assert kept
    held = {index for file in files for index, _, _, body in file.rows() if body is not None}
    assert not held & {redaction.index for redaction in archived.storage.redactions()}


def test_another_process_redacts_while_an_archive_is_written(
    log: Log, tmp_path: Path, monkeypatch: Any
) -> None:
    """The file that was written would keep the body: it is thrown away and written again."""
    log.append([event(number) for number in range(8)])
    import governance.log.archive as module

    real, calls = module._finish, []

    def finish(*arguments: Any) -> Any:
        written = real(*arguments)
        if not calls:
            calls.append(log.redact(3, "ground", WHO))
        return written

    monkeypatch.setattr(module, "_finish", finish)
    [row] = archive(log, tmp_path / "a", Selection(LATER), ground="old", authoriser=WHO)
    assert calls
    assert ArchiveFile(row.path).row(3)[3] is None
    assert verify(log).ok
    assert not list((tmp_path / "a").glob(".*.new"))


def test_two_processes_archive_at_once(log: Log, location: str, tmp_path: Path, monkeypatch: Any) -> None:
    log.append([event(number) for number in range(8)])
    import governance.log.archive as module

    other = Log(open_storage(location), signer=log._signer, clock=log._clock)
    real, calls = module._name, []

    def name(*arguments: Any) -> Any:
        if not calls:
            calls.append(True)
            archive(other, tmp_path / "b", Selection(LATER), ground="old", authoriser=WHO)
        return real(*arguments)

    monkeypatch.setattr(module, "_name", name)
    with pytest.raises(LogError, match="GOV-518"):
        archive(log, tmp_path / "a", Selection(LATER), ground="old", authoriser=WHO)
    assert len(log.storage.archives()) == 1
    report = verify(log)
    assert report.ok, report.faults
    other.close()


def test_readers_in_threads_share_the_files(archived: Log) -> None:
    from concurrent.futures import ThreadPoolExecutor

    log = reopened(archived)
    assert isinstance(log.archives, Archives)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: log.entry(n % 40).body, range(200)))
    assert found == [event(n % 40).body for n in range(200)]
