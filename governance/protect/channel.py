"""A bounded hand-over between two threads that cannot deadlock: either side may leave at any time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class ChannelLeft(Exception):
    """The other side is gone."""


class Channel(Generic[T]):
    """At most ``size`` items wait. The writer ends it, with an error perhaps; the reader may leave."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._left = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Hand an item over, waiting for room. Raises :class:`ChannelLeft` if nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or len(self._items) < self._size)
            if self._left:
                raise ChannelLeft
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more items. ``error`` is raised at the reader after those that wait."""
        with self._changed:
            self._ended = True
            self._error = self._error or error
            self._changed.notify_all()

    def leave(self) -> None:
        """Stop reading; what waits is dropped."""
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or bool(self._items))
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


@contextmanager
def read_ahead(items: Iterable[T], size: int) -> Iterator[Iterator[T]]:
    """Iterate ``items`` in a thread of its own, at most ``size`` ahead; its errors are raised here."""
    channel: Channel[T] = Channel(size)

    def fill() -> None:
        try:
            for item in items:
                channel.put(item)
        except ChannelLeft:
            pass
        except BaseException as error:
            channel.end(error)
        else:
            channel.end()
        finally:
            if (close := getattr(items, "close", None)) is not None:
                close()

    thread = threading.Thread(target=fill, name="governance-reader", daemon=True)
    thread.start()
    try:
        yield iter(channel)
    finally:
        channel.leave()
        thread.join()


@contextmanager
def write_behind(write: Callable[[T], None], size: int) -> Iterator[Callable[[T], None]]:
    """Give a function that hands items to ``write`` in a thread of its own, at most ``size`` behind.

    An error of ``write`` is raised by the next hand-over, or when the context ends.
    """
    channel: Channel[T] = Channel(size)
    failure: list[BaseException] = []

    def drain() -> None:
        try:
            for item in channel:
                write(item)
        except BaseException as error:
            failure.append(error)
            channel.leave()

    def put(item: T) -> None:
        try:
            channel.put(item)
        except ChannelLeft:
            raise failure[0] from None

    thread = threading.Thread(target=drain, name="governance-writer", daemon=True)
    thread.start()
    try:
        yield put
    finally:
        channel.end()
        thread.join()
    if failure:
        raise failure[0]


def in_order(items: Iterable[S], work: Callable[[S], T], workers: int) -> Generator[T, None, None]:
    """What ``work`` makes of each item, in their order, several at once.

    ``items`` are asked for in the caller's thread, at most ``workers`` ahead of what was taken. The error of the
    first item that fails is raised in its place; what runs beside it ends first, what waits is dropped.
    """
    if workers < 2:
        yield from map(work, items)
        return
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, "governance-compute")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            # The loop would keep the item until the next one is there.
            del item
            if len(waiting) >= workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
