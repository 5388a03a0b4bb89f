"""What every storage can do, whatever its scheme."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from governance.errors import StorageError

if TYPE_CHECKING:
    import pyarrow.fs as pafs


class Storage(Protocol):
    """A root that holds one dataset's segments, manifests and pointers.

    A *relative path* is POSIX, below the root, without ``.`` and ``..``. Every method raises
    :class:`StorageError` GOV-724 for another path, and where the location cannot be used (full disk,
    permissions). What a method wrote is durable when it returns, and after a crash at any point a
    reader finds the old bytes or the new ones, never a part.
    """

    @property
    def uri(self) -> str:
        """The root as a URI."""

    def filesystem(self) -> pafs.FileSystem:
        """The PyArrow file system that :meth:`path` addresses."""

    def path(self, relative: str) -> str:
        """``relative`` as :meth:`filesystem` wants it. ``""`` is the root."""

    def make_directory(self, relative: str) -> str:
        """Make a directory and its parents where the scheme has any; returns its :meth:`path`."""

    def write(self, relative: str, data: bytes) -> None:
        """Write a whole file, replacing what is there in one step."""

    def read(self, relative: str) -> bytes:
        """The bytes of a file; GOV-724 if there is none."""

    def exists(self, relative: str) -> bool:
        """Whether a file or directory is there."""

    def list(self, prefix: str = "") -> list[str]:
        """Relative paths of all files below the directory ``prefix``, sorted; ``[]`` if it is not there."""

    def remove_tree(self, relative: str) -> None:
        """Remove a file or directory in one visible step. What is not there is removed already."""

    def sync(self, relative: str) -> None:
        """Make durable, and private, a tree written through :meth:`filesystem`."""

    def pointer(self, name: str) -> bytes | None:
        """What the pointer ``name`` holds, or ``None`` before its first swap."""

    def swap_pointer(self, name: str, expected: bytes | None, new: bytes) -> None:
        """Compare-and-swap: of many callers with one ``expected`` exactly one wins.

        Raises :class:`StorageError` GOV-721 if the pointer does not hold ``expected``.
        """

    def sweep(self) -> int:
        """Remove what crashed writers and removers left behind; the number of things removed."""


def relative_parts(relative: str) -> tuple[str, ...]:
    """The parts of a relative path; ``()`` for the root.

    Raises :class:`StorageError` GOV-724 for an absolute path, ``.``, ``..``, an empty part or NUL.
    """
    if relative == "":
        return ()
    parts = tuple(relative.split("/"))
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise StorageError(
            "GOV-724",
            f"the path {relative!r} does not stay below its root",
            "name a path relative to the root, with plain parts separated by one '/'",
        )
    return PurePosixPath(relative).parts


def pointer_moved(name: str) -> StorageError:
    """The error of a lost compare-and-swap."""
    return StorageError(
        "GOV-721",
        f"the pointer {name!r} moved since it was read: another release was published first",
        "run again: the new run starts from the version that is published now",
    )
