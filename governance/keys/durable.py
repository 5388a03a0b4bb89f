"""Small private files that are either the old or the new one, whenever the machine stops."""

from __future__ import annotations

import os
from pathlib import Path

from governance.durable import staged, sync

_PRIVATE = 0o600


def create_file(path: Path, data: bytes) -> None:
    """Write a new file, mode 0600. Raises FileExistsError rather than replace one."""
    with staged(path, data) as made:
        # A link, unlike a rename, refuses to replace.
        os.link(made, path)
    sync(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file's content, then overwrite the old one's blocks.

    The overwriting is best effort: a journal, a copy-on-write file system, an SSD or a backup may
    keep what it removes. It runs under the caller's exclusive lock and the staged name is fixed, so
    a crash leaves at most one staged file, which the next call truncates.
    """
    new = path.with_name(path.name + ".new")
    former = os.open(path, os.O_RDWR) if path.exists() else None
    try:
        _write(new, data)
        new.replace(path)
        sync(path.parent)
        if former is not None:
            os.pwrite(former, bytes(os.fstat(former).st_size), 0)
            os.fsync(former)
    finally:
        if former is not None:
            os.close(former)


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
