"""Group commit on every storage: under load, under faults, and when the process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from governance.errors import LogError
from governance.log import OPENLINEAGE_EVENT, GroupCommit, Log, NewEntry, open_storage, verify_log

if TYPE_CHECKING:
    from tests.contract.log.conftest import CrashingPostgres

THREADS = 16
ROUNDS = 40


def entry(*said: object) -> NewEntry:
    return NewEntry(json.dumps(said).encode(), OPENLINEAGE_EVENT, "ingest:test")


def test_many_threads_submit_at_once(log: Log) -> None:
    """Each round: one submission of its own, one that every thread sends, one that is refused."""
    log.append([entry("redacted")])
    log.redact(0, "ground", "rights:dpo")
    group = GroupCommit(log, max_entries=50)
    together = threading.Barrier(THREADS)

    def work(thread: int) -> list[tuple[bytes, int]]:
        together.wait(30)
        acknowledged: list[tuple[bytes, int]] = []
        for number in range(ROUNDS):
            own = [entry(thread, number, part) for part in range(1 + number % 3)]
            shared = [entry("shared", number)]
            refused = group.submit([entry("never", thread, number), entry("redacted")])
            for sent, future in [(own, group.submit(own)), (shared, group.submit(shared))]:
                acknowledged += zip([e.body for e in sent], future.result(60), strict=True)
            with pytest.raises(LogError, match="GOV-505"):
                refused.result(60)
        return acknowledged

    with ThreadPoolExecutor(THREADS) as pool:
        acknowledged = [pair for pairs in pool.map(work, range(THREADS)) for pair in pairs]
    assert group.close(30)
    stored = {e.body: e.index for e in log.entries(2)}
    assert set(acknowledged) == set(stored.items())
    assert len(stored) == log.size() - 2 == THREADS * sum(1 + n % 3 for n in range(ROUNDS)) + ROUNDS
    log.checkpoint()
    assert verify_log(log.storage, log._signer.vkey).ok  # type: ignore[union-attr]


def test_a_lost_connection_fails_one_group(log: Log, location: str, sql: Callable[..., object]) -> None:
    group = GroupCommit(log)
    assert group.submit([entry(0)]).result(30) == [0]
    if location.startswith("postgresql:"):
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'governance-log'"
        )
        with pytest.raises(LogError, match="GOV-501"):
            group.submit([entry(1)]).result(30)
    else:
        sql("ALTER TABLE {entry} RENAME TO away")
        with pytest.raises(LogError, match="GOV-501"):
            group.submit([entry(1)]).result(30)
        sql("ALTER TABLE away RENAME TO {entry}")
    assert group.submit([entry(1)]).result(30) == [1]
    assert group.close(30)


def test_a_killed_server_fails_what_it_held_and_loses_nothing(crashing_postgres: CrashingPostgres) -> None:
    storage = open_storage(crashing_postgres.url, create=True)
    log = Log(storage, signer=None, clock=lambda: datetime.now(UTC))
    group = GroupCommit(log)
    stop = threading.Event()
    served = threading.Semaphore(0)

    def work(thread: int) -> dict[bytes, int]:
        """Send each entry until it is acknowledged, as a client with an outbox does."""
        acknowledged: dict[bytes, int] = {}
        number = 0
        while not stop.is_set():
            sent = entry(thread, number)
            try:
                [acknowledged[sent.body]] = group.submit([sent]).result(60)
            except LogError as error:
                assert error.code == "GOV-501"
                stop.wait(0.05)
            else:
                number += 1
                served.release()
        return acknowledged

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, thread) for thread in range(8)]
        for _ in range(3):
            for _ in range(200):
                assert served.acquire(timeout=60)
            crashing_postgres.kill()
            with pytest.raises(LogError, match="GOV-501"):
                while True:
                    group.submit([entry("while it is down")]).result(60)
            crashing_postgres.start()
        for _ in range(200):
            assert served.acquire(timeout=60)
        stop.set()
        acknowledged: dict[bytes, int] = {}
        for future in running:
            acknowledged |= future.result()
    assert group.close(30)
    stored = {e.body: e.index for e in log.entries()}
    assert len(stored) == log.size()
    assert acknowledged.items() <= stored.items()
    assert len(stored) - len(acknowledged) <= 1 + 8
    log.close()


VICTIM = """
import os, sys, threading
from datetime import UTC, datetime
from governance.log import GroupCommit, Log, NewEntry, open_storage
group = GroupCommit(Log(open_storage(sys.argv[1]), signer=None, clock=lambda: datetime.now(UTC)))
def work(thread):
    number = 0
    while True:
        bodies = [f"{sys.argv[2]} {thread} {number + n}".encode() * 50 for n in range(3)]
        indexes = group.submit([NewEntry(body, "text/plain", "ingest:victim") for body in bodies]).result()
        os.write(1, (" ".join(map(str, [thread, number, *indexes])) + "\\n").encode())
        number += 3
for thread in range(8):
    threading.Thread(target=work, args=(thread,)).start()
"""


def test_kill_9_mid_load_loses_nothing_acknowledged(log: Log, location: str) -> None:
    promised: dict[int, bytes] = {}
    for attempt in range(4):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, location, str(attempt)], stdout=subprocess.PIPE
        )
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(100 + 37 * attempt)]
        os.kill(victim.pid, signal.SIGKILL)
        lines += victim.stdout.readlines()
        victim.wait()
        victim.stdout.close()
        for line in lines:
            if line.endswith(b"\n"):
                thread, number, *indexes = map(int, line.split())
                for n, index in enumerate(indexes):
                    assert index not in promised
                    promised[index] = f"{attempt} {thread} {number + n}".encode() * 50
    assert len(promised) > 400
    stored = {e.index: e.body for e in log.entries()}
    assert list(stored) == list(range(len(stored)))
    assert promised.items() <= stored.items()
    assert len(stored) % 3 == 0, "half a submission was kept"
    log.checkpoint()
    report = verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.faults
