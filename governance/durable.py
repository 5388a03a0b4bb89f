"""Files that are either the old or the new one, and locks, whenever the machine stops."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Make a file's content durable, or the names created, replaced and removed in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def staged(path: Path, data: bytes, *, mode: int = 0o600) -> Iterator[Path]:
    """A durable file beside ``path``, named ``.NAME.8hex``, that holds ``data``; gone at the end unless renamed.

    The process's umask applies to ``mode``.
    """
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield made
    finally:
        made.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file so that a reader, or a crash, sees the whole new content or the old.

    Raises:
        OSError: it could not be written; what was there is unchanged.
    """
    with staged(path, data, mode=mode) as made:
        made.replace(path)
    sync(path.parent)


@contextmanager
def locked(path: Path, *, exclusive: bool = True) -> Iterator[int]:
    """Hold an advisory lock against other processes and threads; gives the lock file's descriptor.

    ``path`` is created empty and stays: removing a lock file is a race.
    """
    # Over NFS an exclusive lock needs a file that is open for writing.
    access = os.O_RDWR if exclusive else os.O_RDONLY
    descriptor = os.open(path, access | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)
