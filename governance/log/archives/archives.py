"""Reads bodies that left the database, out of the archive files that the log names.

A row of the database says which file; the archive leaf that the row points at, checked against its
envelope, says which digest the file must have. Without that digest nothing in a file is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.durable import locked, sync
from governance.errors import LogError
from governance.log.archives.archive_file import ArchiveFile
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.envelope import Envelope
from governance.log.storage import Storage, StoredEntry

ARCHIVE = "application/vnd.governance.archive+json"
PRUNE = "application/vnd.governance.prune+json"
_OPEN = 4
_NAME = re.compile(r"([0-9a-f]{8})-([0-9]{12,})-[0-9]{12,}[.][0-9a-f]{16}[.]parquet")
_PENDING = re.compile(rf"[.](?:{_NAME.pattern}|[0-9a-f]{{8}}-[0-9a-f]{{16}})[.]new")


@dataclass(frozen=True, slots=True)
class Statement:
    """What an archive leaf says: the file of a range, its digest and how many bodies are in it.

    ``oldest`` and ``newest`` are the recorded times of the archived bodies, RFC 3339.
    """

    first: int
    stop: int
    file: str
    digest: str
    bodies: int
    oldest: str
    newest: str


def tag(origin: str) -> str:
    """What the names of a log's archive files begin with: several logs may share a folder."""
    return hashlib.sha256(origin.encode()).hexdigest()[:8]


def pending(path: Path) -> Path:
    """Where a file lies until the log names it."""
    return path.with_name(f".{path.name}.new")


class Archives:
    """The archive files of one store. Safe for many threads.

    Args:
        folders: where files are looked for before the folder they were written to.
    """

    def __init__(self, storage: Storage, folders: Sequence[Path] = ()) -> None:
        self._storage = storage
        self._folders = tuple(folders)
        self._lock = threading.RLock()
        self._open: dict[ArchiveRow, ArchiveFile] = {}

    def fill(self, row: StoredEntry) -> StoredEntry:
        """The row with its salt and body out of its archive; as it is where they were pruned.

        Raises:
            LogError: GOV-516 when the file is not at hand, GOV-517 when it does not verify.
        """
        with self._lock:
            archive = self._covering(row.index)
            if archive is None or archive.pruned is not None:
                return row
            found = self.file(archive).body(row.index, row.leaf)
            if found is not None:
                return StoredEntry(row.index, row.nodes, row.leaf, *found)
            now = next(iter(self._storage.read(row.index, row.index + 1)), row)
            if now.redacted_by is None and now.body is None:
                raise self.file(archive).altered(f"the body of entry {row.index} is missing")
            return now

    def file(self, archive: ArchiveRow) -> ArchiveFile:
        """The opened file of an archive, its digest compared with the one that the log states."""
        with self._lock:
            opened = self._open.get(archive)
            if opened is None:
                statement = self.statement(archive)
                opened = ArchiveFile(self.path(archive), statement.digest)
                if (opened.header.first, opened.header.stop) != (archive.first, archive.stop):
                    raise opened.altered("it is of another range")
                while len(self._open) >= _OPEN:
                    self._open.pop(next(iter(self._open))).close()
                self._open[archive] = opened
            return opened

    def path(self, archive: ArchiveRow) -> Path:
        """Where the file is. Raises GOV-516 when it is nowhere known."""
        for folder in (*self._folders, Path(archive.folder)):
            for path in (folder / archive.file, pending(folder / archive.file)):
                if path.is_file():
                    return path
        raise LogError(
            "GOV-516",
            f"the bodies of entries {archive.first} to {archive.stop - 1} are in the archive {archive.file},"
            f" written to {archive.folder}, which is not there",
            "Bring the file back, or say where it is: `governance log archive --moved-to DIRECTORY`.",
        )

    def statement(self, archive: ArchiveRow) -> Statement:
        """What the log says about an archive. Raises GOV-517 when the row names no such leaf."""
        said = stated(self._storage, archive.leaf, ARCHIVE)
        try:
            statement = Statement(**{name: said[name] for name in Statement.__slots__})
        except (KeyError, TypeError):
            statement = None
        named = (archive.first, archive.stop, archive.file)
        if statement is None or (statement.first, statement.stop, statement.file) != named:
            raise LogError(
                "GOV-517",
                f"entry {archive.leaf} does not name the archive of the entries from {archive.first}",
                "The store was altered: run `governance log verify`.",
            )
        return statement

    def settle(self) -> list[str]:
        """Finish what a killed process began: give files their names, delete those that were replaced.

        Returns:
            The files that should be deleted and are not where they were written to.
        """
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
        folders = {Path(row.folder) for row in self._storage.archives()}
        for folder in folders | {Path(name).parent for name in self._storage.leftovers()}:
            # A folder that is away or cannot be written keeps what should go; the caller is told.
            with contextlib.suppress(OSError):
                if folder.is_dir():
                    with held(folder):
                        self._settle(folder)
        return self._storage.leftovers()

    def _settle(self, folder: Path) -> None:
        mine = tag(self._storage.origin)
        for path in folder.glob(f".{mine}-*.new"):
            if _PENDING.fullmatch(path.name) is None:
                continue
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Someone is writing it. Once the lock is ours the log names it, or never will.
                    continue
                named = {pending(row.path) for row in self._storage.archives() if row.pruned is None}
                if path not in named:
                    path.unlink()
                elif not (target := path.with_name(path.name[1 : -len(".new")])).exists():
                    path.rename(target)
        sync(folder)
        rows = [row for row in self._storage.archives() if row.pruned is None]
        lost = {row.first for row in rows if not row.path.exists()}
        for name in self._storage.leftovers():
            path, matched = Path(name), _NAME.fullmatch(Path(name).name)
            # The database only points: nothing but a replaced archive file of this log is deleted, and not
            # while the newer one of its range is not where it should be.
            ours = matched is not None and matched[1] == mine and path not in {row.path for row in rows}
            if path.parent == folder and ours and matched is not None and int(matched[2]) not in lost:
                path.unlink(missing_ok=True)
                sync(folder)
                self._storage.deleted(name)

    def _covering(self, index: int) -> ArchiveRow | None:
        for row, file in self._open.items():
            if row.first <= index < row.stop and not file.deleted():
                return row
        return next((row for row in self._storage.archives() if row.first <= index < row.stop), None)


def stated(storage: Storage, index: int, media_type: str) -> dict[str, Any]:
    """The body of a statement, checked against its envelope; empty when it is none."""
    for row in storage.read(index, index + 1):
        try:
            envelope = Envelope.from_leaf(row.leaf)
            if row.body is None or row.salt is None or envelope.media_type != media_type:
                return {}
            said = json.loads(row.body)
        except (LogError, ValueError):
            return {}
        return said if envelope.covers(row.salt, row.body) and isinstance(said, dict) else {}
    return {}


def held(folder: Path) -> AbstractContextManager[object]:
    """One process at a time works on the files of a folder."""
    return locked(folder / ".lock")
