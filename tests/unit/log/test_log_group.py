"""Grouping, overload, withdrawal and closing, seen while a turn is held open."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.errors import LogError
from governance.log import REDACTION, GroupCommit, Log, NewEntry, open_storage
from governance.log.log import Submission
from governance.log.sealing import Sealed


class HeldLog(Log):
    """A log whose turns wait until they are let go; ``groups`` is what each turn was given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_storage(str(folder), create=True), signer=None, clock=lambda: datetime.now(UTC))
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.groups: list[int] = []
        self.fault: BaseException | None = None

    def append_sealed(self, submissions: Sequence[Submission]) -> list[list[int] | LogError]:
        self.groups.append(len(submissions))
        self.begun.release()
        assert self.go.acquire(timeout=30)
        if self.fault is not None:
            raise self.fault
        return super().append_sealed(submissions)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[HeldLog]:
    log = HeldLog(tmp_path / "store")
    yield log
    log.go.release(100)
    log.close()


def entry(number: int, size: int = 10) -> NewEntry:
    return NewEntry(number.to_bytes(size, "big"), "text/plain", "ingest:test")


def test_what_waits_becomes_one_group(log: HeldLog) -> None:
    group = GroupCommit(log)
    first = group.submit([entry(0)])
    assert log.begun.acquire(timeout=30)
    rest = [group.submit([entry(2 * n + 1), entry(2 * n + 2)]) for n in range(9)]
    assert (group.waiting, group.waiting_bytes) == (19, 190)
    assert not first.done()
    log.go.release(2)
    assert first.result(30) == [0]
    assert [future.result(30) for future in rest] == [[2 * n + 1, 2 * n + 2] for n in range(9)]
    assert log.groups == [1, 9]
    assert (group.waiting, group.waiting_bytes) == (0, 0)
    assert group.close()


def test_a_group_is_bounded_and_a_large_submission_goes_alone(log: HeldLog) -> None:
    group = GroupCommit(log, max_entries=3, max_bytes=100)
    log.go.release(100)
    held = group.submit([entry(0)])
    held.result(30)
    log.groups.clear()
    log.go = threading.Semaphore(0)
    group.submit([entry(1)])
    for _ in range(2):
        assert log.begun.acquire(timeout=30)
    futures = [group.submit([entry(n)]) for n in range(2, 6)]
    futures.append(group.submit([entry(6, 101)]))
    futures.append(group.submit([entry(n) for n in range(7, 12)]))
    log.go.release(100)
    assert [index for future in futures for index in future.result(30)] == list(range(2, 12))
    assert log.groups == [1, 3, 1, 1, 1]
    assert group.close()


def test_overload_is_refused_at_once(log: HeldLog) -> None:
    group = GroupCommit(log, max_waiting_bytes=100)
    oversized = group.submit([entry(0, 500)])
    assert log.begun.acquire(timeout=30)
    with pytest.raises(LogError) as caught:
        group.submit([entry(1)])
    assert caught.value.code == "GOV-510"
    log.go.release(100)
    assert oversized.result(30) == [0]
    assert group.submit([entry(1)]).result(30) == [1]
    assert group.close()


def test_refused_submissions_fail_alone(log: HeldLog) -> None:
    log.go.release(100)
    log.append([entry(0)])
    log.redact(0, "ground", "rights:dpo")
    group = GroupCommit(log)
    log.begun, log.go = threading.Semaphore(0), threading.Semaphore(0)
    held = group.submit([entry(1)])
    assert log.begun.acquire(timeout=30)
    good = [group.submit([entry(2)]), group.submit([])]
    bad = [
        group.submit([entry(3), entry(0)]),
        group.submit([entry(3), NewEntry(b"", "text/plain", "nobody\n")]),
        group.submit([entry(3), NewEntry(b"{}", REDACTION, "ingest:test")]),
    ]
    good.append(group.submit([entry(4), entry(2)]))
    log.go.release(100)
    assert held.result(30) == [2]
    assert [future.result(30) for future in good] == [[3], [], [4, 3]]
    codes = []
    for future in bad:
        with pytest.raises(LogError) as caught:
            future.result(30)
        codes.append(caught.value.code)
    assert codes == ["GOV-505", "GOV-508", "GOV-509"]
    assert log.groups[-1] == 3, "what can never be appended does not wait"
    assert log.size() == 5
    assert group.close()


def test_a_withdrawn_submission_is_not_appended(log: HeldLog) -> None:
    group = GroupCommit(log)
    held = group.submit([entry(0)])
    assert log.begun.acquire(timeout=30)
    withdrawn, kept = group.submit([entry(1)]), group.submit([entry(2)])
    assert withdrawn.cancel()
    assert not held.cancel()
    log.go.release(100)
    assert kept.result(30) == [1]
    with pytest.raises(CancelledError):
        withdrawn.result(30)
    assert group.close()
    assert group.waiting == 0


def test_closing_drains_and_then_refuses(log: HeldLog) -> None:
    group = GroupCommit(log)
    futures = [group.submit([entry(n)]) for n in range(5)]
    log.go.release(100)
    assert group.close()
    assert sorted(index for future in futures for index in future.result(0)) == list(range(5))
    with pytest.raises(LogError, match="GOV-510"):
        group.submit([entry(9)])
    assert GroupCommit(log).close()


def test_closing_in_vain_says_what_was_not_appended(log: HeldLog) -> None:
    group = GroupCommit(log)
    held = group.submit([entry(0)])
    assert log.begun.acquire(timeout=30)
    waits = group.submit([entry(1)])
    assert not group.close(timeout=0)
    with pytest.raises(LogError, match="GOV-510"):
        waits.result(30)
    assert group.waiting == 1
    log.go.release(100)
    assert held.result(30) == [0]
    assert group.close()
    assert log.size() == 1


@pytest.mark.parametrize("fault", [LogError("GOV-501", "down", "wait"), ZeroDivisionError()])
def test_a_fault_fails_its_group_and_not_the_next(log: HeldLog, fault: Exception) -> None:
    log.go.release(100)
    log.fault = fault
    group = GroupCommit(log)
    with pytest.raises(type(fault)):
        group.submit([entry(0)]).result(30)
    log.fault = None
    assert group.submit([entry(0)]).result(30) == [0]
    assert group.close()


def test_a_child_process_is_refused(log: HeldLog) -> None:
    log.go.release(100)
    group = GroupCommit(log)
    assert group.submit([entry(0)]).result(30) == [0]
    child = os.fork()
    if child == 0:
        try:
            group.submit([entry(1)])
        except LogError as error:
            os._exit(0 if error.code == "GOV-510" and group.close() else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert group.close()


def test_nothing_is_done_at_once(log: HeldLog) -> None:
    group = GroupCommit(log)
    assert group.submit([]).result(0) == []
    assert log.groups == []
    assert group.close()


def test_those_just_answered_are_waited_for(log: HeldLog) -> None:
    """Four submitters, each submitting again when answered, share turns; one alone is not kept waiting."""
    group = GroupCommit(log)
    log.go.release(1_000)
    rounds = 60

    def work(thread: int) -> list[int]:
        return [group.submit([entry(thread * rounds + number)]).result(30)[0] for number in range(rounds)]

    with ThreadPoolExecutor(4) as pool:
        indexes = [index for answers in pool.map(work, range(4)) for index in answers]
    assert sorted(indexes) == list(range(4 * rounds))
    assert sum(log.groups) == 4 * rounds
    for number in range(5):
        assert group.submit([entry(1_000 + number)]).result(30) == [4 * rounds + number]
    assert log.groups[-4:] == [1, 1, 1, 1]
    assert group.close()


def test_few_entries_are_appended_on_the_submitters_thread(log: HeldLog) -> None:
    log.go.release(100)
    group = GroupCommit(log)
    assert group.submit([entry(0)], at_once=True).result(30) == [0], "the head was not known yet"
    turns = len(log.groups)
    assert group.submit([entry(1), entry(2)], at_once=True).done()
    assert len(log.groups) == turns
    # What is there already, what is much and what follows a slow turn is the writer's.
    assert group.submit([entry(1)], at_once=True).result(30) == [1]
    assert group.submit([entry(n) for n in range(3, 140)], at_once=True).result(30)[-1] == 139
    group._took = 1.0
    assert group.submit([entry(140)], at_once=True).result(30) == [140]
    assert len(log.groups) == turns + 3
    assert (group.waiting, group.waiting_bytes) == (0, 0)
    assert group.close(30)


def test_nobody_is_waited_for_at_once(log: HeldLog) -> None:
    group = GroupCommit(log)
    log.go.release(1)
    assert group.submit([entry(0)]).result(30) == [0]
    with log.storage.turn():
        # Another process has the turn, or another thread of this one the connection.
        other = open_storage(log.storage.location)
        assert not other.append_if(1, b"", [], [], wait=False)
        other.close()
        waiting = threading.Thread(target=lambda: futures.append(group.submit([entry(1)], at_once=True)))
        futures: list[Future[list[int]]] = []
        waiting.start()
        waiting.join(30)
        assert not waiting.is_alive()
        behind = group.submit([entry(2)], at_once=True)
        assert not futures[0].done()
    log.go.release(100)
    assert [futures[0].result(30), behind.result(30)] == [[1], [2]]
    assert group.close(30)


@pytest.mark.parametrize("written_before", [False, True], ids=["no writer yet", "a writer waits"])
@pytest.mark.parametrize("gives_up", [False, True], ids=["appended", "given up"])
def test_closing_waits_for_a_turn_on_another_thread(
    log: HeldLog, monkeypatch: pytest.MonkeyPatch, written_before: bool, gives_up: bool
) -> None:
    log.go.release(100)
    log.append([entry(0)])
    group = GroupCommit(log)
    if written_before:
        group.submit([entry(1)]).result(30)
    begun, go = threading.Event(), threading.Event()
    at_once = log.append_at_once

    def held(sealed: list[Sealed]) -> list[int] | LogError | None:
        begun.set()
        assert go.wait(30)
        return None if gives_up else at_once(sealed)

    monkeypatch.setattr(log, "append_at_once", held)
    with ThreadPoolExecutor(2) as pool:
        submitted = pool.submit(lambda: group.submit([entry(2)], at_once=True))
        assert begun.wait(30)
        closed = pool.submit(group.close, 20)
        while not group._closing:
            pass
        go.set()
        assert submitted.result(30).result(30) == [1 + written_before]
        assert closed.result(10) is True
