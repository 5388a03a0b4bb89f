"""``file:`` storage: a directory on a POSIX file system.

Every write goes to a temporary name beside its target, is fsynced, renamed and the directory fsynced.
Compare-and-swap holds an exclusive ``flock`` (per open file, so it holds between threads too) over
read, compare and rename. Files are 0600, directories 0700.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from governance.durable import locked, sync
from governance.errors import StorageError
from governance.storage.base import pointer_moved, relative_parts

if TYPE_CHECKING:
    import pyarrow.fs as pafs

_TEMPORARY = ".tmp-"
_TRASH = ".trash-"
_LOCK = ".lock-"
_HIDDEN = (_TEMPORARY, _TRASH, _LOCK)


def open_file_storage(uri: str) -> FileStorage:
    """The storage at a ``file:`` URI (RFC 8089, and ``file:relative``) or a bare path.

    Raises :class:`StorageError` GOV-724 for another host, a query or a fragment.
    """
    return FileStorage(file_path(uri))


def file_path(uri: str) -> Path:
    """The path that a ``file:`` URI or a bare path names. Raises as :func:`open_file_storage`."""
    if uri[:5].lower() != "file:":
        path = uri
    else:
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise StorageError(
                "GOV-724",
                "a file: URI names this machine and a path, nothing else",
                "write file:///absolute/path or file:relative/path, '?' and '#' percent-encoded",
            )
        path = unquote(parts.path)
    if not path or "\0" in path:
        raise StorageError("GOV-724", "a storage URI without a path", "name a directory")
    return Path(path)


class FileStorage:
    """A :class:`~governance.storage.base.Storage` below the directory ``root``, made at the first write."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        # Resolved once: a later chdir must not move the store.
        self._root = Path(os.path.realpath(root))

    def __repr__(self) -> str:
        return f"FileStorage({str(self._root)!r})"

    @property
    def root(self) -> Path:
        """The absolute root."""
        return self._root

    @property
    def uri(self) -> str:
        return self._root.as_uri()

    def filesystem(self) -> pafs.FileSystem:
        import pyarrow.fs as pafs

        return pafs.LocalFileSystem()

    def path(self, relative: str) -> str:
        return str(self._located(relative))

    def make_directory(self, relative: str) -> str:
        with _reported(relative):
            directory = self._located(relative)
            _make_directory(directory)
            return str(directory)

    def write(self, relative: str, data: bytes) -> None:
        target = self._target(relative)
        with _reported(relative):
            _make_directory(target.parent)
            _replace(target, data)

    def read(self, relative: str) -> bytes:
        with _reported(relative):
            return self._target(relative).read_bytes()

    def exists(self, relative: str) -> bool:
        with _reported(relative):
            return self._located(relative).exists()

    def list(self, prefix: str = "") -> list[str]:
        top = self._located(prefix)
        cut = len(str(self._root)) + 1
        found: list[str] = []
        with _reported(prefix):
            for directory, names, files in os.walk(top, onerror=_unless_missing):
                names[:] = [n for n in names if not n.startswith(_HIDDEN)]
                links = [n for n in names if os.path.islink(os.path.join(directory, n))]  # noqa: PTH114,PTH118
                # A linked directory is not entered, but a reader that looks for added files must see it.
                below = directory[cut:]
                found += [f"{below}/{n}".lstrip("/") for n in [*files, *links] if not n.startswith(_HIDDEN)]
        return sorted(found)

    def remove_tree(self, relative: str) -> None:
        target = self._target(relative)
        trash = target.with_name(_TRASH + secrets.token_hex(8))
        with _reported(relative):
            try:
                target.rename(trash)  # gone for readers in one step, whatever interrupts the removal
            except FileNotFoundError:
                return
            sync(target.parent)
            _remove(trash)
            sync(target.parent)

    def sync(self, relative: str) -> None:
        top = self._located(relative)
        with _reported(relative):
            if not top.exists():
                raise FileNotFoundError(2, "No such file or directory")
            if top.is_file():
                _sync_file(top)
            for directory, names, files in os.walk(top, topdown=False, onerror=_raise):
                for name in files:
                    _sync_file(Path(directory, name))
                if any(Path(directory, name).is_symlink() for name in names):
                    raise OSError("holds a symbolic link")
                Path(directory).chmod(0o700)
                sync(Path(directory))
            while top != self._root:
                top = top.parent
                sync(top)

    def pointer(self, name: str) -> bytes | None:
        target = self._target(name)
        with _reported(name):
            try:
                return target.read_bytes()
            except FileNotFoundError:
                return None

    def swap_pointer(self, name: str, expected: bytes | None, new: bytes) -> None:
        target = self._target(name)
        with _reported(name):
            _make_directory(target.parent)
            with locked(target.with_name(_LOCK + target.name)):
                if self.pointer(name) != expected:
                    raise pointer_moved(name)
                _replace(target, new)

    def sweep(self) -> int:
        removed = 0
        with _reported(""):
            for directory, names, files in os.walk(self._root, onerror=_unless_missing):
                for name in [n for n in [*names, *files] if n.startswith(_TRASH)]:
                    _remove(Path(directory, name))
                    removed += 1
                names[:] = [n for n in names if not n.startswith(_TRASH)]
                removed += sum(
                    _remove_abandoned(Path(directory, n)) for n in files if n.startswith(_TEMPORARY)
                )
        return removed

    def _located(self, relative: str) -> Path:
        """The absolute path, after following links; refused outside the root (GOV-724)."""
        path = self._root.joinpath(*relative_parts(relative))
        real = Path(os.path.realpath(path))
        if real != path and not real.is_relative_to(self._root):
            raise StorageError(
                "GOV-724",
                f"{relative} leads out of its root through a symbolic link",
                "remove the link: a dataset root holds its own files only",
            )
        return path

    def _target(self, relative: str) -> Path:
        """:meth:`_located` for what cannot be the root or one of the names kept for writing."""
        path = self._located(relative)
        if path == self._root or any(part.startswith(_HIDDEN) for part in relative_parts(relative)):
            raise StorageError("GOV-724", f"the path {relative!r} cannot be used here", "name another path")
        return path


@contextlib.contextmanager
def _reported(relative: str) -> Iterator[None]:
    """Turn an ``OSError`` into GOV-724 that names the relative path and the system's reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            "GOV-724",
            f"{relative or 'the root'} cannot be used: {reason}",
            "check free space, permissions and that the path is what the dataset root expects; "
            "what was there before is unchanged",
        ) from error


def _replace(target: Path, data: bytes) -> None:
    """Through a durable file beside ``target``, kept locked: :meth:`FileStorage.sweep` sees that it is alive."""
    path = target.with_name(_TEMPORARY + secrets.token_hex(8))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
    sync(target.parent)


def _make_directory(directory: Path) -> None:
    """``mkdir -p`` with mode 0700 for what is new, each new entry made durable in its parent."""
    missing: list[Path] = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync(path.parent)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(FileNotFoundError):  # a sweep may remove the same tree
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _raise(error: OSError) -> None:
    raise error


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
