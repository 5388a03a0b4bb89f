"""What a storage keeps about archives, in SQL that both storages speak.

A row names the file that holds the bodies of a range of entries. Rows are clues: what an archive must hold
is said by its leaf, which is under the hash.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """The archive of entries ``first <= index < stop``.

    ``leaf`` is the index of the newest archive leaf about it, ``file`` and ``folder`` say where it was
    written, ``emptied`` whether its bodies have left the database, ``pruned`` the index of the leaf by
    which the file was deleted, if it was.
    """

    first: int
    stop: int
    leaf: int
    file: str
    folder: str
    emptied: bool = False
    pruned: int | None = None

    @property
    def path(self) -> Path:
        """Where the file was written."""
        return Path(self.folder) / self.file


class _Speaks:
    """Someone who can run a statement in which tables are named as in ``{archive}``, parameters as ``?``."""

    @abstractmethod
    def _run(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]: ...

    def archives(self) -> list[ArchiveRow]:
        """Every archive, by first index."""
        rows = self._run(
            "SELECT first, stop, leaf, file, folder, emptied, pruned FROM {archive} ORDER BY first"
        )
        return [
            ArchiveRow(first, stop, leaf, file, folder, bool(emptied), pruned)
            for first, stop, leaf, file, folder, emptied, pruned in rows
        ]


class ArchiveReads(_Speaks):
    """The part of :class:`governance.log.storage.Storage` that is about archives."""

    def leftovers(self) -> list[str]:
        """Archive files that were replaced or pruned and are still to be deleted, by path."""
        return [str(row[0]) for row in self._run("SELECT path FROM {leftover} ORDER BY path")]

    def deleted(self, path: str) -> None:
        """That the leftover at ``path`` is gone."""
        self._run("DELETE FROM {leftover} WHERE path = ?", path)


class ArchiveWrites(_Speaks):
    """The part of :class:`governance.log.storage.Turn` that is about archives."""

    _EMPTY: ClassVar[Sequence[str]]

    def put_archive(self, row: ArchiveRow, replaced: Path | None = None) -> None:
        """Write the row of a range; the file at ``replaced`` is left over, to be deleted."""
        if replaced is not None:
            self._run("INSERT INTO {leftover} VALUES (?) ON CONFLICT DO NOTHING", str(replaced))
        self._run("DELETE FROM {archive} WHERE first = ?", row.first)
        self._run(
            "INSERT INTO {archive} VALUES (?, ?, ?, ?, ?, ?, ?)",
            row.first,
            row.stop,
            row.leaf,
            row.file,
            row.folder,
            row.emptied,
            row.pruned,
        )

    def redacted_in(self, first: int, stop: int) -> list[int]:
        """The redacted entries with ``first <= index < stop``."""
        rows = self._run("SELECT idx FROM {redaction} WHERE idx >= ? AND idx < ? ORDER BY idx", first, stop)
        return [int(row[0]) for row in rows]

    def empty(self, first: int, stop: int) -> None:
        """Take salt and body of the entries ``first <= index < stop`` out of the database."""
        for statement in self._EMPTY:
            self._run(f"{statement} WHERE idx >= ? AND idx < ?", first, stop)
