"""Small private files that are either the old or the new one, whenever the machine stops."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRIVATE = 0o600


def create_file(path: Path, data: bytes) -> None:
    """Write a new file, mode 0600. Raises FileExistsError rather than replace one."""
    staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(staged, data)
        # A link, unlike a rename, refuses to replace.
        os.link(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    sync_directory(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file's content, then overwrite the old one's blocks.

    The overwriting is best effort: a journal, a copy-on-write file system, an SSD or a backup may
    keep what it removes. It runs under the caller's exclusive lock and the staged name is fixed, so
    a crash leaves at most one staged file, which the next call truncates.
    """
    staged = path.with_name(path.name + ".new")
    former = os.open(path, os.O_RDWR) if path.exists() else None
    try:
        _write(staged, data)
        staged.replace(path)
        sync_directory(path.parent)
        if former is not None:
            os.pwrite(former, bytes(os.fstat(former).st_size), 0)
            os.fsync(former)
    finally:
        if former is not None:
            os.close(former)


@contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold an advisory lock between processes; ``path`` is created empty and stays."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, _PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make names created, replaced or removed in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_private(path: Path) -> bool:
    """Whether neither group nor world may read, write or execute the file."""
    return path.stat().st_mode & 0o077 == 0


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, _PRIVATE)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
