"""The thread that empties an outbox behind a process, and sends first where the disk is ephemeral.

One daemon thread a process, begun at the first event and again after a fork. Only it talks to the
destination, so a destination that hangs holds up this thread and nobody else.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

from governance.errors import GovernanceError
from governance.lineage.emission.destination import Destination, Unavailable
from governance.lineage.emission.framing import Event
from governance.lineage.emission.outbox import Drained, Outbox

FIRST_DELAY = 0.5
"""Seconds to wait after a first failure; doubled at each further one."""

LONGEST_DELAY = 60.0
_LONGEST_ASKED = 300.0
_LEFTOVERS_EVERY = 15.0
_AT_ONCE = 100

_log = logging.getLogger("governance.lineage")


class Drainer:
    """Drains an outbox in the background.

    Args:
        outbox: what to drain.
        destination: makes the destination, in the thread and process that use it.
        exit_timeout: seconds to drain for when the interpreter exits.
        patient: whether :meth:`close` goes on trying until its time is up, because what is left then is lost
            with the disk; otherwise one failed attempt ends it.
    """

    def __init__(
        self, outbox: Outbox, destination: Callable[[], Destination], *, exit_timeout: float, patient: bool
    ) -> None:
        self._outbox = outbox
        self._make_destination = destination
        self._exit_timeout = exit_timeout
        self._patient = patient
        self._begin()
        reborn = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (method := reborn()) and method())

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._new = threading.Event()
        self._hurry = threading.Event()
        self._direct: deque[tuple[Event, Future[bool]]] = deque()
        self._thread: threading.Thread | None = None
        self._exits = False
        self._drained_at_end = True
        self._deadline: float | None = None
        self._failures = 0
        self._not_before = 0.0
        self._attempt_since: float | None = None

    def wake(self) -> None:
        """There are new events."""
        if not self._new.is_set():
            self._new.set()
        if self._thread is None or self._deadline is not None:
            self._start()

    def send(self, event: Event, timeout: float) -> bool:
        """Send one event first; False when that is futile, fails or takes too long: keep it, then.

        A destination known to be down or to hang is not waited for.
        """
        now = time.monotonic()
        hangs = self._attempt_since is not None and now - self._attempt_since > timeout
        if hangs or now < self._not_before or self._outbox.unreachable_for():
            self.wake()
            return False
        future: Future[bool] = Future()
        self._direct.append((event, future))
        self.wake()
        try:
            return future.result(timeout)
        except FutureTimeout:
            future.cancel()
            self._outbox.note_unreachable(timeout)
            return False

    def close(self, timeout: float) -> bool:
        """Drain for at most so many seconds. False if events of this process are still in the outbox."""
        deadline = time.monotonic() + timeout
        with self._lock:
            thread = self._thread
            if thread is not None:
                self._deadline = deadline
        if thread is None and not self._outbox.is_drained():
            self._start(deadline)
            thread = self._thread
        if thread is None:
            return self._outbox.is_drained()
        self._new.set()
        self._hurry.set()
        thread.join(timeout)
        return self._drained_at_end if not thread.is_alive() else self._outbox.is_drained()

    def _start(self, deadline: float | None = None) -> None:
        with self._lock:
            self._deadline = deadline
            self._hurry.clear()
            if self._thread is not None:
                return
            if not self._exits:
                # Here and not when made: a process that Airflow forked forgets what was registered before.
                self._exits = True
                atexit.register(_close_at_exit, weakref.WeakMethod(self._at_exit))
            thread = threading.Thread(target=self._run, name="governance-outbox", daemon=True)
            # Refused when the interpreter is ending; the events are durable and others drain them.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        destination: Destination | None = None
        while True:
            self._new.clear()
            try:
                self._attempt_since = time.monotonic()
                if destination is None:
                    destination = self._make_destination()
                self._send_direct(destination)
                done = self._outbox.drain(destination)
            except Exception as error:
                self._failed(error)
            else:
                self._succeeded(done)
            finally:
                self._attempt_since = None
                self._turn_away()
            if self._ended():
                # Closed in time or not, what is left may now be drained by other processes.
                self._outbox.release()
                return
            self._wait()

    def _send_direct(self, destination: Destination) -> None:
        while self._direct:
            taken = [self._direct.popleft() for _ in range(min(len(self._direct), _AT_ONCE))]
            taken = [(event, future) for event, future in taken if future.set_running_or_notify_cancel()]
            events = [event for event, _ in taken]
            try:
                outcome = destination.send(events) if events else None
                if outcome is not None:
                    self._outbox.bury(events, outcome.refused)
            except BaseException:
                for _, future in taken:
                    future.set_result(False)
                raise
            again = set(outcome.again) if outcome is not None else set()
            for position, (_, future) in enumerate(taken):
                future.set_result(position not in again)

    def _turn_away(self) -> None:
        """Whoever still waits keeps the event itself."""
        while self._not_before > time.monotonic() and self._direct:
            _, future = self._direct.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(False)

    def _succeeded(self, done: Drained) -> None:
        if self._failures:
            _log.info("the lineage destination takes events again")
            self._outbox.note_unreachable(0)
        self._failures, self._not_before = 0, 0.0
        if done.refused or done.damaged:
            _log.warning(
                "%d events were refused for good and %d records were damaged: see `governance outbox status`",
                done.refused,
                done.damaged,
            )
        if done.deferred:
            # They failed alone: the destination is up, but they are not to be tried without a pause.
            self._pause(FIRST_DELAY)

    def _failed(self, error: Exception) -> None:
        if not self._failures:
            what = str(error) if isinstance(error, GovernanceError) else type(error).__name__
            _log.warning("events wait in the outbox %s: %s", self._outbox.directory, what)
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)  # noqa: S311
        asked = error.retry_after if isinstance(error, Unavailable) else None
        self._failures += 1
        self._pause(max(delay, min(asked or 0.0, _LONGEST_ASKED)))
        self._outbox.note_unreachable(delay)

    def _pause(self, seconds: float) -> None:
        self._not_before = time.monotonic() + seconds

    def _ended(self) -> bool:
        """Whether :meth:`close` was called and there is nothing more to do in its time."""
        with self._lock:
            if self._deadline is None:
                return False
            if not self._outbox.is_drained() and time.monotonic() < self._deadline:
                failed = time.monotonic() < self._not_before
                if self._patient or not failed:
                    return False
            self._thread, self._deadline = None, None
            self._drained_at_end = self._outbox.is_drained()
            return True

    def _wait(self) -> None:
        pause = self._not_before - time.monotonic()
        if pause <= 0:
            if not self._direct:
                self._new.wait(_LEFTOVERS_EVERY)
        elif self._deadline is None:
            self._hurry.wait(pause)
        else:
            time.sleep(max(0.0, min(pause, FIRST_DELAY, self._deadline - time.monotonic())))

    def _at_exit(self) -> None:
        self.close(self._exit_timeout)


def _close_at_exit(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    if (close := method()) is not None:
        close()
