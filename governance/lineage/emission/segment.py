"""One file of an outbox: written by one process, emptied by whoever holds its lock.

A process locks the file it writes for as long as it lives. Whoever gets the lock of a file knows that
its writer is gone. Offsets count from the first byte ever written: a file that was emptied is cut
back to nothing and used again, so an emit costs one write and one ``fdatasync`` whatever came before.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from governance.durable import sync
from governance.lineage.emission.framing import Scanned, scan

SUFFIX = ".events"
_NEW = ".new"
_READ = 1 << 20
_NAME = re.compile(r"(\d{20})\.(\d+)\.[0-9a-f]+\.(.*)" + re.escape(SUFFIX))


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote a file, as its name says."""

    pid: int
    host: str


class Segment:
    """An open and locked file. Any thread may append; one thread at a time may read and acknowledge."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.broken = False
        self._descriptor = descriptor
        self._identity = _identity(os.fstat(descriptor))
        self._base = self._acknowledged = 0
        self._written = self._synced = size
        self._frozen = False
        self._writing = threading.Lock()
        self._syncing = threading.Lock()

    @classmethod
    def create(cls, directory: Path) -> Segment:
        """A new file of this process. It gets its name once it is locked, durably.

        Raises:
            OSError: the directory cannot be made or written.
        """
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(directory.parent)
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:100]
        path = directory / f"{time.time_ns():020d}.{os.getpid()}.{secrets.token_hex(4)}.{host}{SUFFIX}"
        unnamed = path.with_suffix(_NEW)
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unnamed.rename(path)
            sync(directory)
            return cls(path, descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def take(cls, path: Path) -> Segment | None:
        """The file of a process that is gone; None while its writer lives or another empties it."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment = cls(path, descriptor, os.fstat(descriptor).st_size)
            if segment.is_named():
                return segment
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._written - self._base

    @property
    def sent(self) -> int:
        """Bytes at the start of the file whose events are acknowledged."""
        return self._acknowledged - self._base

    @property
    def durable(self) -> int:
        """The position up to which records are on the disk."""
        return self._synced

    @property
    def end(self) -> int:
        """The position up to which records were written; beyond ``durable``, their emit failed."""
        return self._written

    @property
    def is_drained(self) -> bool:
        """Whether all that was written is acknowledged."""
        return self._acknowledged >= self._written

    def append(self, record: bytes) -> bool:
        """Write a record and return when it is on the disk.

        False when the file is frozen or lost its name meanwhile: the record belongs into another file.
        Threads that append at once share a sync.

        Raises:
            OSError: it could not be written. What a failed sync left behind is unknown, so the
                segment is then ``broken`` and takes no more.
        """
        with self._writing:
            if self._frozen:
                return False
            if self.broken:
                raise OSError("the outbox file failed before")
            # Written at a position of our own, not appended: a write cut short by a full disk or by
            # an exception from a signal handler is overwritten by the next.
            view, at = memoryview(record), self.size
            try:
                while view:
                    done = os.pwrite(self._descriptor, view, at)
                    view, at = view[done:], at + done
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self.size)
                raise
            self._written += len(record)
            end = self._written
        with self._syncing:
            if self._synced < end:
                if self.broken:
                    raise OSError("the outbox file failed before")
                target = self._written
                try:
                    os.fdatasync(self._descriptor)
                except BaseException:
                    self.broken = True
                    raise
                self._synced = target
        return self._acknowledged >= end or self.is_named()

    def freeze(self) -> None:
        """Take no more records."""
        with self._writing:
            self._frozen = True

    def read(self, stop: int, *, limit: int, max_bytes: int) -> Scanned:
        """The next records that are not acknowledged, before the position ``stop``."""
        size = _READ
        while True:
            wanted = min(size, stop - self._acknowledged)
            data = os.pread(self._descriptor, wanted, self._acknowledged - self._base)
            # A file that was cut by someone else gives less than was written.
            ended = wanted == stop - self._acknowledged or len(data) < wanted
            scanned = scan(data, ended=ended, limit=limit, max_bytes=max_bytes)
            if scanned.length or ended:
                if ended and len(data) < wanted and scanned.length == len(data):
                    return Scanned(scanned.events, scanned.damaged, wanted)
                return scanned
            size *= 2

    def acknowledge(self, length: int) -> None:
        """Let go of what was read; cut the file back when nothing is left in it."""
        with self._writing:
            self._acknowledged += length
            # What is durable at the destination needs no sync here any more.
            self._synced = max(self._synced, self._acknowledged)
            if self.is_drained and self.size:
                os.ftruncate(self._descriptor, 0)
                self._base = self._written

    def is_named(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return _identity(self.path.stat()) == self._identity
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        """Delete the file and let go of it."""
        if self.is_named():
            self.path.unlink()
            sync(self.path.parent)
        self.close()

    def close(self) -> None:
        """Let go of the file as it is; after a fork, in the child, without giving up the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def segment_paths(directory: Path) -> list[Path]:
    """The files of an outbox, oldest first."""
    try:
        return sorted(p for p in directory.iterdir() if p.name.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []


def writer_of(path: Path) -> Writer | None:
    """Who wrote a file; None when its name does not say."""
    named = _NAME.fullmatch(path.name)
    return Writer(int(named[2]), named[3]) if named else None


def is_held(path: Path) -> bool:
    """Whether a living process writes or empties a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
