"""Many processes, and processes that die, on every storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import pytest

from governance.log import OPENLINEAGE_EVENT, Log, NewEntry, open_storage, verify_log

WRITERS = 8
READERS = 2
ROUNDS = 20


def event(writer: int, number: int) -> NewEntry:
    return NewEntry(json.dumps([writer, number]).encode(), OPENLINEAGE_EVENT, f"ingest:{writer}")


def write(location: str, writer: int, answers: Any) -> None:
    """Append batches of one to three, each followed by one that every writer sends."""
    log = Log(open_storage(location), signer=None, clock=lambda: datetime.now(UTC))
    acknowledged = []
    for number in range(ROUNDS):
        batch = [event(writer, number * 3 + offset) for offset in range(1 + number % 3)]
        shared = NewEntry(json.dumps(["shared", number]).encode(), OPENLINEAGE_EVENT, "ingest:shared")
        indexes = log.append([*batch, shared])
        acknowledged += zip([entry.body for entry in [*batch, shared]], indexes, strict=True)
    log.close()
    answers.put(acknowledged)


def watch(location: str, stop: Any, answers: Any) -> None:
    """Read the log over and over; answer with how often, and with the first thing that is not in order."""
    storage = open_storage(location)
    log = Log(storage, signer=None, clock=lambda: datetime.now(UTC))
    rounds, before, fault, last = 0, [], "", False
    while not fault and not last:
        last = stop.is_set()
        size = log.size()
        seen = [(entry.index, entry.leaf) for entry in log.entries()]
        if len(seen) < size or [index for index, _ in seen] != list(range(len(seen))):
            fault = f"a gap among {len(seen)} of {size}"
        if seen[: len(before)] != before:
            fault = "what was read before changed"
        if storage.markers([bytes(32)]) or storage.marker_count() < len(before):
            fault = "markers are missing"
        rounds, before = rounds + 1, seen
    log.close()
    answers.put((rounds, len(before), fault))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_many_processes_append_at_once(log: Log, location: str, method: Any) -> None:
    context = get_context(method)
    answers: Any = context.SimpleQueue()
    writers = [context.Process(target=write, args=(location, number, answers)) for number in range(WRITERS)]
    stop, watched = context.Event(), context.SimpleQueue()
    readers = [context.Process(target=watch, args=(location, stop, watched)) for _ in range(READERS)]
    for process in [*readers, *writers]:
        process.start()
    acknowledged = [pair for _ in writers for pair in answers.get()]
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    stop.set()
    for _ in readers:
        rounds, size, fault = watched.get()
        assert (rounds > 0, size, fault) == (True, log.size(), "")
    for reader in readers:
        reader.join()
        assert reader.exitcode == 0
    entries = list(log.entries())
    assert [entry.index for entry in entries] == list(range(len(entries)))
    bodies = {entry.body: entry.index for entry in entries}
    assert len(bodies) == len(entries), "an entry was written twice"
    assert set(acknowledged) == set(bodies.items())
    assert len(entries) == WRITERS * sum(1 + number % 3 for number in range(ROUNDS)) + ROUNDS
    times = [entry.envelope.received_at for entry in entries]
    assert times == sorted(times), "stamped before its turn"
    log.checkpoint()
    report = verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.faults


def test_readers_never_see_a_gap(log: Log, location: str, open_log: Callable[..., Log]) -> None:
    context = get_context("spawn")
    answers: Any = context.SimpleQueue()
    writer = context.Process(target=write, args=(location, 0, answers))
    writer.start()
    reader = open_log(signed=False)
    seen = 0
    while writer.is_alive():
        indexes = [entry.index for entry in reader.entries()]
        assert indexes == list(range(len(indexes)))
        assert len(indexes) >= seen
        seen = len(indexes)
    answers.get()
    writer.join()
    assert reader.size() == sum(2 + number % 3 for number in range(ROUNDS))


def test_many_signers_sign_one_history(log: Log, open_log: Callable[..., Log]) -> None:
    logs = [log, open_log(), open_log()]
    sizes = []
    for number in range(9):
        log.append([event(0, number)])
        sizes += [other.checkpoint().size for other in logs]
    assert sizes == sorted(sizes)
    assert verify_log(log.storage, log._signer.vkey).compared == 9  # type: ignore[union-attr]


def test_an_inherited_log_works_in_parent_and_child(log: Log) -> None:
    """Airflow's executors fork: the child must not use or close its parent's connection."""
    log.append([event(0, 0)])
    child = os.fork()
    if child == 0:
        try:
            log.append([event(1, 1)])
            log.close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert log.append([event(0, 2)]) == [2]
    assert [entry.index for entry in log.entries()] == [0, 1, 2]


VICTIM = """
import sys
from datetime import UTC, datetime
from governance.log import Log, NewEntry, open_storage
log = Log(open_storage(sys.argv[1]), signer=None, clock=lambda: datetime.now(UTC))
number = 0
while True:
    bodies = [f"{sys.argv[2]} {number + n}".encode() * 50 for n in range(3)]
    indexes = log.append([NewEntry(body, "text/plain", "ingest:victim") for body in bodies])
    print(number, *indexes, flush=True)
    number += 3
"""


def test_kill_9_loses_nothing_acknowledged(log: Log, location: str) -> None:
    promised: dict[int, bytes] = {}
    for attempt in range(5):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, location, str(attempt)], stdout=subprocess.PIPE
        )
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(10 + 7 * attempt)]
        os.kill(victim.pid, signal.SIGKILL)
        lines += victim.stdout.readlines()
        victim.wait()
        victim.stdout.close()
        for line in lines:
            if line.endswith(b"\n"):
                number, *indexes = map(int, line.split())
                promised |= {
                    index: f"{attempt} {number + n}".encode() * 50 for n, index in enumerate(indexes)
                }
        checkpoint = log.checkpoint()
        assert checkpoint.size >= len(promised)
    assert promised
    for entry in log.entries():
        assert promised.get(entry.index, entry.body) == entry.body
    report = verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.faults
    assert report.size % 3 == 0, "half a batch was kept"
