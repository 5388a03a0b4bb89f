"""Archiving stopped at every step, killed at any moment, and done by several at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from archived_log import LATER, WHO, event, in_two_archives, reopened, verify

from governance.errors import LogError
from governance.log import Log, open_storage, verify_log
from governance.log.archives.archive import Selection, archive, resume
from governance.log.archives.archive_file import ArchiveFile
from governance.log.archives.archives import Archives


@pytest.fixture
def archived(log: Log, tmp_path: Path) -> Log:
    return in_two_archives(log, tmp_path / "archive")


STEPS = [
    ("_finish", "before"),
    ("_finish", "after"),
    ("_name", "before"),
    ("_name", "after"),
    ("resume", "before"),
    ("_empty", "before"),
    ("_empty", "after"),
]


@pytest.mark.parametrize(("step", "when"), STEPS)
def test_stopped_at_each_step(log: Log, tmp_path: Path, monkeypatch: Any, step: str, when: str) -> None:
    import governance.log.archives.archive as module

    log.append([event(number) for number in range(24)])
    real, calls = getattr(module, step), []

    def stopped(*arguments: Any) -> Any:
        calls.append(step)
        # The first resume finishes what an earlier call began; the second is this one's.
        if when == "before" and (step != "resume" or len(calls) == 2):
            raise KeyboardInterrupt
        done = real(*arguments)
        if when == "after":
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patched:
        patched.setattr(module, step, stopped)
        with pytest.raises(KeyboardInterrupt):
            archive(log, tmp_path / "a", Selection(LATER), ground="old", authoriser=WHO, rows=10)
    other = reopened(log)
    assert [entry.body for entry in other.entries(0, 24)] == [event(number).body for number in range(24)]
    log.checkpoint()
    report = verify(log)
    assert report.ok, report.faults
    archive(log, tmp_path / "a", Selection(LATER), ground="old", authoriser=WHO, rows=10)
    report = verify(log)
    assert report.ok, report.faults
    assert report.archived == 24
    assert {p.name for p in (tmp_path / "a").iterdir()} == {".lock"} | {
        r.file for r in log.storage.archives()
    }


VICTIM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from governance.log import CheckpointSigner, Log, open_storage
from governance.log.archives.archive import Selection, archive
from tests.signing_key import Key

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
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"start\n"
    time.sleep(delay)
    os.kill(victim.pid, signal.SIGKILL)
    said = victim.stdout.read().splitlines()
    victim.wait()
    victim.stdout.close()
    return said


@pytest.mark.parametrize("seed", range(2))
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


@pytest.mark.parametrize("seed", range(2))
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
    import governance.log.archives.archive as module

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
    import governance.log.archives.archive as module

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


def test_archiving_while_the_log_is_verified_and_read(log: Log, tmp_path: Path) -> None:
    log.append([event(number) for number in range(1500)])
    log.checkpoint()
    calls: list[int] = []

    def put_away(done: int, _total: int) -> None:
        if not calls:
            calls.append(done)
            archive(log, tmp_path / "a", Selection(LATER), ground="old", authoriser=WHO)

    report = verify_log(log.storage, log._signer.vkey, progress=put_away)  # type: ignore[union-attr]
    assert report.ok, report.faults
    assert 0 < calls[0] < 1500
    assert 0 < report.archived < 1500
    read = reopened(log).entries(0, 1500)
    bodies = [next(read).body]
    log.redact(700, "ground", WHO)
    bodies += [entry.body for entry in read]
    assert [n for n, body in enumerate(bodies) if body != event(n).body] == [700]


def test_readers_in_threads_share_the_files(archived: Log) -> None:
    from concurrent.futures import ThreadPoolExecutor

    log = reopened(archived)
    assert isinstance(log.archives, Archives)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: log.entry(n % 40).body, range(200)))
    assert found == [event(n % 40).body for n in range(200)]
