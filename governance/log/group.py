"""Group commit: what many threads submit at once becomes durable with one fsync.

A single writer thread takes everything that waits and appends it in one turn of the log. While that turn
lasts the next group gathers, so the groups grow with the load. Submitters that were just answered tend to
come back at once: the writer waits for as many as there were, for a part of the time that a turn takes,
rather than commit for the first of them alone. A lone submitter is not waited for.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from governance.errors import LogError
from governance.log.log import Log
from governance.log.sealing import NewEntry, Sealed

_PATIENCE = 0.25
"""How long the writer waits for those just answered, as a part of what the last turn took."""

_QUICK_S = 0.005
"""A turn is taken on the submitter's own thread while the last one was quicker than this."""

_FEW = 128
_SMALL = 1 << 20
"""It has at most so many entries, with so many bytes of bodies."""

_Waiting = tuple[list[Sealed], int, int, "Future[list[int]]"]


class GroupCommit:
    """Appends to a log on behalf of many threads.

    Args:
        log: the log; others, in this process or another, may append to it too.
        max_entries: a group takes no further submission beyond this many entries.
        max_bytes: nor beyond this many bytes of bodies. A larger submission is a group of its own.
        max_waiting_bytes: bodies held until acknowledged, in bytes. Beyond it the queue is full; a larger
            submission is taken only while nothing else waits.
    """

    def __init__(
        self,
        log: Log,
        *,
        max_entries: int = 1_024,
        max_bytes: int = 8 << 20,
        max_waiting_bytes: int = 64 << 20,
    ) -> None:
        self._log = log
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._max_waiting_bytes = max_waiting_bytes
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._entries = 0
        self._bytes = 0
        self._wanted = 1
        self._closing = False
        self._busy = False
        self._took = 0.0
        self._writer: threading.Thread | None = None
        self._process = os.getpid()

    @property
    def waiting(self) -> int:
        """Number of entries submitted and neither acknowledged nor refused yet."""
        return self._entries

    @property
    def waiting_bytes(self) -> int:
        """Their bodies' size, in bytes."""
        return self._bytes

    def submit(self, entries: Sequence[NewEntry], *, at_once: bool = False) -> Future[list[int]]:
        """Hand over entries that belong together: all of them are appended, or none.

        Args:
            at_once: append them on this thread, before this returns, when they are few, nobody is ahead of
                them and turns are quick: then handing over costs more than the turn.

        Returns:
            A future of their indexes, done when they are durable. It fails as :meth:`Log.append` does:
            GOV-505, GOV-508 or GOV-509 when this submission is refused, GOV-501 when the storage failed,
            after which it may be submitted again. Cancelling it before its group begins withdraws it.

        Raises:
            LogError: GOV-510 when too much waits already, or when this is closed.
        """
        if self._process != os.getpid():
            raise _overload("is written by the parent process: make a GroupCommit after forking")
        future: Future[list[int]] = Future()
        size = sum([len(entry.body) for entry in entries])
        self._admit(size)
        # Hashed here, on the submitter's thread: the writer's turn is what everyone waits for.
        sealed = self._log.seal(entries)
        if isinstance(sealed, LogError):
            future.set_exception(sealed)
            return future
        if not sealed:
            future.set_result([])
            return future
        waiting = (sealed, len(entries), size, future)
        with self._changed:
            self._admit(size)
            self._entries += len(entries)
            self._bytes += size
            if at_once and self._free(len(entries), size):
                self._busy = True
            else:
                self._queue.append(waiting)
                self._wake()
                return future
        self._append_at_once(waiting)
        return future

    def close(self, timeout: float | None = None) -> bool:
        """Take nothing more and append what waits.

        Args:
            timeout: seconds to wait at most; what has not begun by then fails with GOV-510.

        Returns:
            Whether everything submitted was appended or refused in time.
        """
        if self._process != os.getpid():
            return True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            # A turn on another thread may yet give its entries to a writer.
            if not self._changed.wait_for(lambda: self._writer is not None or not self._busy, timeout):
                return False
            writer = self._writer
        if writer is None:
            return True
        writer.join(timeout)
        if not writer.is_alive():
            return True
        with self._changed:
            abandoned = list(self._queue)
            self._queue.clear()
            self._settle(abandoned)
        for _, _, _, future in abandoned:
            if future.set_running_or_notify_cancel():
                future.set_exception(_overload("was closed before this was appended"))
        return False

    def _append_at_once(self, waiting: _Waiting) -> None:
        sealed, _, _, future = waiting
        answer: list[int] | BaseException | None
        start = time.monotonic()
        try:
            answer = self._log.append_at_once(sealed)
        except BaseException as error:
            answer = error
        with self._changed:
            self._busy = False
            self._took = time.monotonic() - start
            if answer is None:
                self._queue.appendleft(waiting)
            else:
                self._settle([waiting])
            if self._queue:
                self._wake()
            if self._closing:
                self._changed.notify_all()
        if answer is not None:
            _tell(future, answer)

    def _run(self) -> None:
        patience = 0.0
        while group := self._take(patience):
            begun = [item for item in group if item[3].set_running_or_notify_cancel()]
            answers: Sequence[list[int] | BaseException]
            start = time.monotonic()
            try:
                answers = self._log.append_sealed([sealed for sealed, _, _, _ in begun])
            except LogError as error:
                # One exception raised in many threads would gather all their tracebacks.
                answers = [LogError(error.code, error.message, error.remedy) for _ in begun]
            except BaseException as error:
                answers = [error] * len(begun)
            took = time.monotonic() - start
            patience = _PATIENCE * took
            with self._changed:
                self._busy = False
                self._took = took
                self._wanted = min(self._entries, self._max_entries)
                self._settle(group)
            for (_, _, _, future), answer in zip(begun, answers, strict=True):
                _tell(future, answer)

    def _free(self, entries: int, size: int) -> bool:
        """Whether a turn would begin now and take no longer than who waits for nobody can be kept from its work."""
        return (
            not (self._busy or self._queue) and self._took < _QUICK_S and entries <= _FEW and size <= _SMALL
        )

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="governance-log-writer", daemon=True)
            self._writer.start()
        if self._enough():
            self._changed.notify()

    def _enough(self) -> bool:
        return self._entries >= self._wanted or self._bytes >= self._max_bytes or self._closing

    def _take(self, patience: float) -> list[_Waiting]:
        """What the next turn appends, in the order of submission; empty when closed and drained."""
        with self._changed:
            self._changed.wait_for(self._enough, patience)
            self._wanted = 1
            while self._busy or not (self._queue or self._closing):
                self._changed.wait()
            group: list[_Waiting] = []
            entries = size = 0
            while self._queue:
                entries += self._queue[0][1]
                size += self._queue[0][2]
                if group and (entries > self._max_entries or size > self._max_bytes):
                    break
                group.append(self._queue.popleft())
            self._busy = bool(group)
            return group

    def _admit(self, size: int) -> None:
        if self._closing:
            raise _overload("takes nothing more: it is shutting down")
        if self._entries and self._bytes + size > self._max_waiting_bytes:
            raise _overload(f"is overloaded: {self._entries} entries wait to become durable")

    def _settle(self, group: Sequence[_Waiting]) -> None:
        self._entries -= sum(entries for _, entries, _, _ in group)
        self._bytes -= sum(size for _, _, size, _ in group)


def _tell(future: Future[list[int]], answer: list[int] | BaseException) -> None:
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _overload(what: str) -> LogError:
    return LogError(
        "GOV-510",
        f"the lineage store {what}",
        "Send it again later; nothing of it was kept, nothing is lost.",
    )
