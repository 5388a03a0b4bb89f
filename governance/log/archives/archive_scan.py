"""Bodies that left the database, for the scan of a log: read from archives that verify, or pruned with a leaf.

What the archive leaves say is under the hash; what the database says about archives is compared with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.errors import LogError
from governance.log.archives.archive_file import ArchiveFile
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.archives.archives import ARCHIVE, PRUNE, Archives, stated
from governance.log.envelope import Envelope
from governance.log.storage import Storage, StoredEntry


class ArchiveFault(Exception):
    """What is wrong, in words, and with which entries ``first`` to ``last`` inclusive."""

    def __init__(self, reason: str, first: int, last: int) -> None:
        self.reason, self.first, self.last = reason, first, last
        super().__init__(reason)


class ArchivedBodies:
    """Fills in what rows of the database lack.

    ``archived``, ``pruned`` and ``unread`` count the entries met whose bodies were read from an archive,
    were pruned, or lie in archives that this verification was told not to read.

    Args:
        folders: where files are looked for first; None to read no archive at all.
    """

    def __init__(self, storage: Storage, folders: Sequence[Path] | None) -> None:
        self._storage = storage
        self._archives = None if folders is None else Archives(storage, folders)
        self._rows = storage.archives()
        self._size = storage.size()
        self._files: dict[ArchiveRow, ArchiveFile] = {}
        self._altered: dict[ArchiveRow, ArchiveFault] = {}
        self._pruned: set[ArchiveRow] = set()
        self._stated: dict[int, tuple[int, dict[str, Any]]] = {}
        self._prunings: dict[int, int] = {}
        self.archived = self.pruned = self.unread = 0

    def holds(self, index: int) -> bool:
        """Whether the store says where the missing body of an entry is, or that it was pruned."""
        return self._covering(index) is not None

    def fill(self, row: StoredEntry) -> StoredEntry:
        """The row with its body, where an archive has it. Raises ArchiveFault."""
        archive = self._covering(row.index)
        if archive is None:
            return row
        if archive.pruned is not None:
            self._check_pruning(archive)
            self.pruned += 1
            return row
        if self._archives is None:
            self.unread += 1
            return row
        _, leaf, salt, body = self._entry(archive, row.index)
        altered = self._altered.get(archive)
        if altered is not None and altered.first <= row.index:
            raise altered
        if leaf != row.leaf or salt is None or body is None:
            raise ArchiveFault(
                f"the archive {archive.file} does not hold the body of entry {row.index}",
                row.index,
                row.index,
            )
        self.archived += 1
        return StoredEntry(row.index, row.nodes, row.leaf, salt, body)

    def met(self, index: int, media_type: str, body: bytes) -> None:
        """Remember a statement about an archive, whose envelope was verified."""
        if media_type not in (ARCHIVE, PRUNE):
            return
        try:
            said = json.loads(body)
            first = int(said["first"])
        except (ValueError, TypeError, KeyError):
            raise ArchiveFault(f"entry {index} is no statement about an archive", index, index) from None
        if media_type == ARCHIVE:
            self._stated[first] = index, said
        else:
            self._prunings[first] = index

    def end(self, size: int) -> None:
        """Hold what the database says about archives against the leaves, and open every file. Raises."""
        self._rows = self._storage.archives()
        self._size = self._storage.size()
        for named in self._rows:
            if named.leaf >= self._size:
                reason = f"entry {named.leaf}, which names the archive {named.file}, is missing"
                raise ArchiveFault(reason, named.first, named.stop - 1)
        rows = {row.first: row for row in self._rows if row.leaf < size}
        for first, (index, said) in self._stated.items():
            row = rows.get(first)
            if row is None or (row.leaf, row.stop, row.file) != (index, said.get("stop"), said.get("file")):
                newer = any(row.first == first and row.leaf >= size for row in self._rows)
                if not newer:
                    reason = f"the store does not keep to entry {index}, which names its archive"
                    raise ArchiveFault(reason, first, int(said.get("stop", first + 1)) - 1)
        for first, index in self._prunings.items():
            if first not in rows or rows[first].pruned != index:
                raise ArchiveFault(f"the pruning in entry {index} is not carried out", index, index)
        for row in rows.values():
            if row.first not in self._stated:
                reason = f"no entry names the archive {row.file} that the store names"
                raise ArchiveFault(reason, row.first, row.stop - 1)
            if row.pruned is not None and row.pruned < size:
                self._check_pruning(row)
            elif row.pruned is None and self._archives is not None:
                self._file(row)
                if row in self._altered:
                    raise self._altered[row]

    def _covering(self, index: int) -> ArchiveRow | None:
        for fresh in (False, True):
            if fresh:
                # It may have been archived while this scan ran.
                self._rows = self._storage.archives()
            for row in self._rows:
                if row.first <= index < row.stop:
                    return row
        return None

    def _entry(self, archive: ArchiveRow, index: int) -> tuple[int, bytes, bytes | None, bytes | None]:
        try:
            return self._file(archive).row(index)
        except LogError as error:
            raise ArchiveFault(error.message, index, archive.stop - 1) from None
        except ArchiveFault as fault:
            raise ArchiveFault(fault.reason, max(fault.first, index), fault.last) from None

    def _file(self, archive: ArchiveRow) -> ArchiveFile:
        file = self._files.get(archive)
        if file is None:
            span = archive.first, archive.stop - 1
            if self._archives is None:
                raise ArchiveFault(f"the archive {archive.file} is not read", *span)
            try:
                # Where the leaf that names it is cut off, its bodies still verify one by one; the end of
                # the log says what is missing.
                cut_off = archive.leaf >= self._size
                digest = None if cut_off else self._archives.statement(archive).digest
                file = ArchiveFile(self._archives.path(archive))
            except LogError as error:
                raise ArchiveFault(error.message, *span) from None
            header = file.header
            if (header.first, header.stop) != (archive.first, archive.stop):
                raise ArchiveFault(
                    f"the archive {archive.file} is that of the entries {header.first} to {header.stop - 1}",
                    *span,
                )
            if digest is not None and file.digest != digest:
                # Up to where it differs its bodies still show what else may be wrong.
                self._altered[archive] = self._difference(archive, file)
            for opened in self._files.values():
                opened.close()
            self._files = {archive: file}
        return file

    def _difference(self, archive: ArchiveRow, file: ArchiveFile) -> ArchiveFault:
        """Where a file differs from the one that the log names, as far as the file shows it."""
        redacted = {redaction.index for redaction in self._storage.redactions()}
        for row in self._storage.read(archive.first, archive.stop):
            index = row.index
            try:
                _, leaf, salt, body = file.row(index)
            except LogError as error:
                return ArchiveFault(error.message, index, archive.stop - 1)
            if body is not None and index in redacted:
                reason = f"it holds the redacted body of entry {index}: an older archive was put back"
                return ArchiveFault(f"the archive {archive.file} was exchanged: {reason}", index, index)
            if leaf != row.leaf or not _covered(leaf, salt, body):
                reason = f"entry {index} in the archive {archive.file} was altered"
                return ArchiveFault(reason, index, index)
        reason = "every body in it verifies, but it is not the file that the log names"
        return ArchiveFault(
            f"the archive {archive.file} was exchanged: {reason}", archive.first, archive.stop - 1
        )

    def _check_pruning(self, archive: ArchiveRow) -> None:
        if archive in self._pruned or archive.pruned is None:
            return
        said = stated(self._storage, archive.pruned, PRUNE)
        if (said.get("first"), said.get("stop")) != (archive.first, archive.stop):
            raise ArchiveFault(
                f"the bodies of the entries {archive.first} to {archive.stop - 1} are gone and no pruning names them",
                archive.first,
                archive.stop - 1,
            )
        self._pruned.add(archive)


def _covered(leaf: bytes, salt: bytes | None, body: bytes | None) -> bool:
    if salt is None or body is None:
        return salt is body
    try:
        return Envelope.from_leaf(leaf).covers(salt, body)
    except LogError:
        return False
