"""Pins what a run reads, and opens it so that what is read is what was pinned.

A file is opened once: its bytes are hashed and then parsed through the same descriptor, so a path that
is replaced in between cannot put other bytes before the parser. A file rewritten in place is caught by
its inode, size and modification time after the last batch.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

from governance.errors import SourceError
from governance.model.canonical import canonical, digest
from governance.model.dataset import SourceFile, SourceSnapshot
from governance.sources.base import changed, empty, unreadable
from governance.sources.registry import kind_named, kind_of


def pin(uri: str, kind: str | None = None) -> SourceSnapshot:
    """Digest every file of the source at ``uri``: a file or a directory, as ``file:`` URI or bare path.

    Files are listed in the order of their names; those whose name begins with ``_`` or ``.`` are left
    out. The snapshot's digest is SHA-256 over the RFC 8785 serialization of ``[kind, files]``.

    Raises :class:`SourceError`: GOV-701 what cannot be opened, GOV-704 no files or no bytes, GOV-705 a
    file that changes meanwhile, GOV-706 a kind that is unknown or more than one.
    """
    root = _root(uri)
    names = _names(root)
    if not names:
        raise empty(root.name, "the directory holds no files")
    if kind is None:
        kind = kind_of(names[0])
        for name in names[1:]:
            if (other := kind_of(name)) != kind:
                raise SourceError(
                    "GOV-706",
                    f"{name} is {other} and {names[0]} is {kind}",
                    "keep one kind of file in the directory, or pin them as two sources",
                )
    else:
        kind_named(kind)
    files = tuple(_pinned(root, name) for name in names)
    covered = canonical([kind, [asdict(file) for file in files]])
    return SourceSnapshot(kind, uri, files, digest(covered))


class OpenedFile:
    """A pinned file, open. ``name`` is relative to the source and safe to show."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path = path
        self._file = _opened(path, name)
        self._stat = os.fstat(self._file.fileno())

    @property
    def size(self) -> int:
        """Bytes."""
        return self._stat.st_size

    def stream(self) -> FileIO:
        """The file from its first byte, unbuffered. One stream at a time: they share the position."""
        self._file.seek(0)
        return self._file

    def digest(self) -> str:
        """SHA-256 of the bytes, as :func:`governance.model.canonical.digest` writes it."""
        try:
            return "sha256:" + hashlib.file_digest(self.stream(), "sha256").hexdigest()
        except OSError as error:
            raise unreadable(self.name, error.strerror or "cannot be read") from None

    def verify(self, file: SourceFile) -> None:
        """Raises :class:`SourceError` GOV-705 unless size and digest are those of ``file``."""
        if self.size != file.size or self.digest() != file.digest:
            raise changed(self.name, "its bytes changed")

    def unchanged(self) -> None:
        """Raises :class:`SourceError` GOV-705 if the file, or what its path names, is another now."""
        try:
            now = (os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            raise changed(self.name, "it was removed") from None
        if any(_identity(each) != _identity(self._stat) for each in now):
            raise changed(self.name, "it was written to or replaced")

    def close(self) -> None:
        self._file.close()


@contextmanager
def open_pinned(snapshot: SourceSnapshot, file: SourceFile) -> Iterator[OpenedFile]:
    """Open one file of a snapshot. Raises :class:`SourceError` GOV-705 if it is not there any more."""
    root = _root(snapshot.uri)
    path = root / file.name if root.is_dir() else root
    if not path.exists():
        raise changed(file.name, "it was removed")
    opened = OpenedFile(path, file.name)
    try:
        if opened.size != file.size:
            raise changed(file.name, "its size changed")
        yield opened
    finally:
        opened.close()


def same_files(snapshot: SourceSnapshot) -> None:
    """Raises :class:`SourceError` GOV-705 if a file came to the source or went from it."""
    try:
        now = set(_names(_root(snapshot.uri)))
    except SourceError:
        now = set()
    pinned = {file.name for file in snapshot.files}
    for name in sorted(now ^ pinned):
        raise changed(name, "it was added" if name in now else "it was removed")


def _pinned(root: Path, name: str) -> SourceFile:
    opened = OpenedFile(root / name if root.is_dir() else root, name)
    try:
        if opened.size == 0:
            raise empty(name, "the file has no bytes")
        pinned = SourceFile(name, opened.size, opened.digest())
        opened.unchanged()
        return pinned
    finally:
        opened.close()


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _opened(path: Path, name: str) -> FileIO:
    try:
        # A FIFO would block for ever without O_NONBLOCK; regular files do not know it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(name, error.strerror or "cannot be opened") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise unreadable(name, "is not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


def _names(root: Path) -> list[str]:
    """Names of a source's files relative to it, in order; of a single file its own."""
    if root.is_file():
        return [root.name]
    if not root.is_dir():
        raise SourceError("GOV-701", f"{root.name}: no such file or directory", "check the source's location")
    names: list[str] = []
    for directory, below, files in os.walk(root, onerror=_raise_unreadable):
        below[:] = [name for name in below if not name.startswith(("_", "."))]
        for name in below:
            _check_directory(Path(directory, name))
        relative = Path(directory).relative_to(root)
        names += [(relative / name).as_posix() for name in files if not name.startswith(("_", "."))]
    return sorted(names)


def _check_directory(path: Path) -> None:
    """What would be left out in silence is refused."""
    if path.is_symlink():
        raise unreadable(path.name, "is a symbolic link to a directory")
    if "=" in path.name:
        raise unreadable(
            path.name.partition("=")[0] + "=…",
            "is a partition directory, and the value in its name would be lost",
        )


def _raise_unreadable(error: OSError) -> None:
    raise unreadable(Path(str(error.filename)).name, error.strerror or "cannot be listed")


def _root(uri: str) -> Path:
    if uri[:5].lower() != "file:":
        return Path(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path:
        raise SourceError(
            "GOV-701",
            "a file: URI names this machine and a path, nothing else",
            "write file:///absolute/path, '?' and '#' percent-encoded",
        )
    return Path(unquote(parts.path))
