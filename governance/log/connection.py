"""A connection that belongs to one process and is used by one thread at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)


class OwnConnection(Generic[C]):
    """Opened when first held, and again after a fork or when it is found broken.

    Args:
        connect: opens a connection.
        usable: whether an opened one still works.
    """

    def __init__(self, connect: Callable[[], C], usable: Callable[[C], bool] = lambda _: True) -> None:
        self._connect = connect
        self._usable = usable
        self._lock = threading.RLock()
        self._connection: C | None = None
        self._owner = 0
        # Closing one that was inherited by fork would end the parent's: keep it referenced.
        self._inherited: list[C] = []

    @contextmanager
    def held(self) -> Iterator[C]:
        """The connection; other threads wait until it is let go, the same thread may hold it again."""
        with self._lock:
            connection = self._connection
            if connection is not None and self._owner != os.getpid():
                self._inherited.append(connection)
                connection = None
            if connection is None or not self._usable(connection):
                connection = self._connect()
                self._connection, self._owner = connection, os.getpid()
            yield connection

    def close(self) -> None:
        """Close it; holding it again opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._owner == os.getpid():
                connection.close()
