"""A connection that belongs to one process and is used by one thread at a time, and that forks survive."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)


class InUse(Exception):
    """Another thread has the connection, and it was not to be waited for."""


class OwnConnection(Generic[C]):
    """Opened when first asked for, and again after a fork or when it is found broken.

    Args:
        connect: opens a connection.
        usable: whether an opened one still works.
    """

    def __init__(self, connect: Callable[[], C], usable: Callable[[C], bool] = lambda _: True) -> None:
        self._connect = connect
        self._usable = usable
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._connection: C | None = None
        self._inherited: list[C] = []

    @contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[None]:
        """Other threads wait until it is let go; the same thread may enter again. Nothing is opened.

        Raises:
            InUse: without ``wait``, when another thread is alone with it.
        """
        if self._process != os.getpid():
            # What was inherited by fork must be neither used nor closed: both would reach the parent's.
            # Its lock may have been held by a thread that does not exist here.
            if self._connection is not None:
                self._inherited.append(self._connection)
                self._connection = None
            self._lock = threading.RLock()
            self._process = os.getpid()
        if not self._lock.acquire(blocking=wait):
            raise InUse
        try:
            yield
        finally:
            self._lock.release()

    def opened(self) -> C:
        """The connection, for whoever is `alone` with it."""
        if self._connection is None or not self._usable(self._connection):
            self._connection = self._connect()
        return self._connection

    @contextmanager
    def held(self, *, wait: bool = True) -> Iterator[C]:
        """Alone with the opened connection; raises as :meth:`alone`."""
        with self.alone(wait=wait):
            yield self.opened()

    def close(self) -> None:
        """Close it; holding it again opens another."""
        with self.alone():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
