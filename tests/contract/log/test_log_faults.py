"""A clock that jumps back and a disk that fills: nothing acknowledged is lost, nothing half is kept."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.errors import LogError
from governance.log import Log, NewEntry, open_storage, verify_log


def entry(number: int, size: int = 8) -> NewEntry:
    return NewEntry(number.to_bytes(size, "big"), "text/plain", "ingest:test")


def test_a_clock_that_jumps_back(log: Log) -> None:
    """The order is that of the indexes; the times stay as the clock said, and verifying counts the jumps."""
    instants = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hours) for hours in (5, 2, 9, -48, 9)]
    clock = iter(instants)
    log._clock = lambda: next(clock)
    for number in range(len(instants)):
        assert log.append([entry(number)]) == [number]
    log.checkpoint()
    times = [datetime.fromisoformat(found.envelope.received_at) for found in log.entries()]
    assert times == instants
    report = verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.faults
    assert "the true time of some entries: the log's clock went back 2 times" in report.unknown


FILLING = """
import resource, sys
from datetime import UTC, datetime
from governance.errors import LogError
from governance.log import GroupCommit, Log, NewEntry, open_storage
log = Log(open_storage(sys.argv[1]), signer=None, clock=lambda: datetime.now(UTC))
group = GroupCommit(log)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
number = int(sys.argv[3])
try:
    while True:
        sent = [NewEntry((number + n).to_bytes(4096, "big"), "text/plain", "ingest:test") for n in range(3)]
        print(number, *group.submit(sent).result(), flush=True)
        number += 3
except LogError as error:
    print(error.code, flush=True)
try:
    group.submit([NewEntry(bytes(1 << 20), "text/plain", "ingest:test")]).result()
except LogError as error:
    print(error.code, flush=True)
print(sum(1 for entry in log.entries() if entry.body), flush=True)
"""


def test_a_full_disk_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """The file system refuses to let files grow, in the write-ahead log or in the database, where it falls."""
    folder = str(tmp_path / "store")
    log = Log(open_storage(folder, create=True), signer=None, clock=lambda: datetime.now(UTC))
    log.append([entry(number, 4096) for number in range(30)])
    promised = {index: index for index in range(30)}
    for limit in (300_000, 1_500_000, 5_000_000):
        number = 1_000 * limit
        done = subprocess.run(
            [sys.executable, "-c", FILLING, folder, str(limit), str(number)],
            capture_output=True,
            text=True,
            check=True,
        )
        *acknowledged, first, second, readable = done.stdout.splitlines()
        assert (first, second) == ("GOV-501", "GOV-501")
        for line in acknowledged:
            sent, *indexes = map(int, line.split())
            promised |= {index: sent + n for n, index in enumerate(indexes)}
        assert int(readable) >= len(promised)
        assert log.append([entry(number - 1, 4096)]) == [log.size() - 1], "with room again it goes on"
        promised[log.size() - 1] = number - 1
    stored = {found.index: int.from_bytes(found.body or b"", "big") for found in log.entries()}
    assert list(stored) == list(range(len(stored)))
    assert promised.items() <= stored.items()
    log.close()


def test_a_page_too_many_is_said_to_be_a_full_disk(tmp_path: Path) -> None:
    log = Log(
        open_storage(str(tmp_path / "store"), create=True), signer=None, clock=lambda: datetime.now(UTC)
    )
    log.append([entry(0)])
    with log.storage._connected(log.storage._writing) as connection:  # type: ignore[attr-defined]
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(LogError) as caught:
        log.append([entry(1, 1 << 16)])
    assert caught.value.code == "GOV-501"
    assert "Free space" in caught.value.remedy
    with log.storage._connected(log.storage._writing) as connection:  # type: ignore[attr-defined]
        connection.execute("PRAGMA max_page_count = 1000000")
    assert log.append([entry(1, 1 << 16)]) == [1]
    log.close()
