"""Events that arrive together are submitted together: one hand-over to the log's writer, one wake-up back.

Between an event loop and a thread every hand-over costs more than storing an event does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from governance.errors import LogError
from governance.log import GroupCommit, NewEntry

Told = Callable[[BaseException | None], None]
"""Called once, on the event loop, when entries are durable or why they are not."""

_PATIENCE_S = 0.001
"""Those just answered tend to come back at once: so long they are waited for, rather than make the first of
them durable alone."""

_Waiting = tuple[Sequence[NewEntry], Told]


class JoinedAppends:
    """Appends through a :class:`GroupCommit`, from one event loop.

    Args:
        group: the writer.
        durable: told the indexes of each submission once it is durable.
    """

    def __init__(self, group: GroupCommit, durable: Callable[[Sequence[int]], None]) -> None:
        self._group = group
        self._durable = durable
        self._waiting: list[_Waiting] = []
        self._wanted = 1
        self._timer: asyncio.TimerHandle | None = None

    async def append(self, entries: Sequence[NewEntry]) -> None:
        """Make entries durable, all or none.

        Raises:
            LogError: as :meth:`GroupCommit.submit` and its future.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def told(fault: BaseException | None) -> None:
            if done.done():
                return
            if fault is None:
                done.set_result(None)
            else:
                done.set_exception(fault)

        self.submit(entries, told)
        await done

    def submit(self, entries: Sequence[NewEntry], told: Told) -> None:
        """As :meth:`append`, for who waits in no task. To be called on the event loop."""
        self._waiting.append((entries, told))
        if len(self._waiting) in (1, self._wanted):
            # Whatever else the loop has to run now comes before it, and may add to it.
            asyncio.get_running_loop().call_soon(self._gathered)

    def _gathered(self) -> None:
        if len(self._waiting) >= self._wanted:
            self._submit()
        elif self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._submit)

    def _submit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        self._wanted = len(waiting) if self._hand_over(waiting) else 1

    def _hand_over(self, waiting: list[_Waiting]) -> bool:
        """Submit them together; returns whether they were answered at once.

        One alone is the writer's: on a disk in use its turn on the loop was slower in ten pairs of eleven.
        """
        loop = asyncio.get_running_loop()
        try:
            future = self._group.submit(
                [entry for entries, _ in waiting for entry in entries], at_once=len(waiting) > 1
            )
        except Exception as fault:
            # Whoever waits is told, whatever it was: this runs in nobody's own task.
            self._failed(waiting, fault)
            return False
        if future.done():
            self._ended(waiting, future)
            return True
        future.add_done_callback(lambda ended: loop.call_soon_threadsafe(self._ended, waiting, ended))
        return False

    def _ended(self, waiting: list[_Waiting], ended: Future[list[int]]) -> None:
        fault = ended.exception()
        if fault is not None:
            self._failed(waiting, fault)
            return
        self._durable(ended.result())
        for _, told in waiting:
            told(None)

    def _failed(self, waiting: list[_Waiting], fault: BaseException) -> None:
        refused = isinstance(fault, LogError) and fault.code not in ("GOV-501", "GOV-510")
        if refused and len(waiting) > 1:
            # One of them was refused, which is no fault of the others.
            for alone in waiting:
                self._hand_over([alone])
            return
        for _, told in waiting:
            # One exception raised in many tasks would gather all their tracebacks.
            told(LogError(fault.code, fault.message, fault.remedy) if isinstance(fault, LogError) else fault)
