"""Moves bodies of old entries out of the database into files that still verify.

Order is what makes it safe: a file is written, made durable and verified; its digest is stated by a leaf, and
the leaf signed; only then do the bodies leave the database. Whatever stops this, each body is in the
database or in a file that the log names, and the next run goes on. A file that does not verify is never
trusted, and nothing is removed then.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.durable import sync
from governance.errors import LogError
from governance.log import tree
from governance.log.archives.archive_file import ArchiveFile, Header, Writer
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.archives.archives import ARCHIVE, held, pending, stated, tag
from governance.log.envelope import Envelope, check_names
from governance.log.note import Checkpoint
from governance.log.sealing import NewEntry
from governance.log.storage import StoredEntry
from governance.model.canonical import canonical, instant, timestamp
from governance.model.principal import scope_of

if TYPE_CHECKING:
    from governance.log.log import Log

OPENLINEAGE_EVENT = "application/vnd.openlineage.event+json"
_ROWS = 65_536
_BYTES = 256 << 20
_CHUNK = 2_048


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose bodies leave: entries recorded before ``before``, of these media types.

    ``evidence``: also what the pipeline observed. It stays by default, because releases are checked
    against it at any time.
    """

    before: datetime
    media_types: frozenset[str] = frozenset({OPENLINEAGE_EVENT})
    evidence: bool = False

    def takes(self, envelope: Envelope) -> bool:
        """Whether the body of an entry that is old enough leaves."""
        right = self.evidence or scope_of(envelope.principal) != "evidence"
        return right and envelope.media_type in self.media_types


@dataclass(frozen=True, slots=True)
class _Written:
    """A file that nothing names yet."""

    path: Path
    digest: str
    header: Header
    bodies: int
    oldest: str
    newest: str
    redacted: tuple[int, ...]

    @property
    def name(self) -> str:
        span = f"{self.header.first:012d}-{self.header.stop:012d}"
        return f"{tag(self.header.origin)}-{span}.{self.digest[7:23]}.parquet"

    def statement(self, **more: Any) -> dict[str, Any]:
        named = {"v": 1, "first": self.header.first, "stop": self.header.stop, "file": self.name}
        times = {"oldest": self.oldest, "newest": self.newest}
        return {**named, "digest": self.digest, "bodies": self.bodies, **times, **more}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The file of ``of`` without the body of one entry, which is ``body``; no file where it held none."""

    of: ArchiveRow
    body: bytes | None
    file: _Written | None
    replaces: str
    old: Path

    def statement(self, because: int) -> dict[str, Any]:
        """What the leaf says: which file, which one it replaces, and by which redaction."""
        if self.file is None:
            raise ValueError("nothing was written again")
        return self.file.statement(replaces=self.replaces, because=because)

    def row(self, leaf: int) -> ArchiveRow:
        """The archive's row from then on."""
        if self.file is None:
            raise ValueError("nothing was written again")
        return replace(self.of, file=self.file.name, folder=str(self.file.path.parent), leaf=leaf)


def archive(
    log: Log,
    folder: Path,
    selection: Selection,
    *,
    ground: str,
    authoriser: str,
    rows: int = _ROWS,
    size: int = _BYTES,
) -> list[ArchiveRow]:
    """Archive what the selection takes, from where the last archive ended; return the new archives.

    Args:
        folder: where the files go; made if it is not there, for this user alone.
        ground: why, in words; it stays in the log.
        authoriser: the principal who decided it.
        rows: entries in one file at most.
        size: bytes of leaves and bodies in one file, about, before compression.

    Raises:
        LogError: GOV-508 when the authoriser is no principal, GOV-519 when the folder cannot be written,
            GOV-517 when a written file does not verify.
        SettingError: GOV-901 when the log was opened without its signing key.
    """
    check_names(authoriser, ARCHIVE)
    folder = folder.absolute()
    checkpoint = log.checkpoint(ask_witnesses=False)
    resume(log)
    made: list[ArchiveRow] = []
    start = max((row.stop for row in log.storage.archives()), default=0)
    limit = timestamp(selection.before)
    while start < checkpoint.size:
        with _writing(log, folder) as writer:
            written = _segment(log, writer, folder, start, checkpoint, selection, limit, rows, size)
            if written is None:
                break
            start = written.header.stop
            if written.bodies:
                row = _name(log, written, selection, ground, authoriser)
                if row is None:
                    # Something was redacted meanwhile: the file would keep it.
                    start = written.header.first
                else:
                    made.append(row)
    log.checkpoint(ask_witnesses=False)
    resume(log)
    return [row for row in log.storage.archives() if row.first in {new.first for new in made}]


def resume(log: Log) -> None:
    """Take out of the database what verified, named archives hold, and delete what they replaced.

    Raises:
        LogError: GOV-516 when a file is not at hand, GOV-517 when it does not verify; nothing is removed.
    """
    log.archives.settle()
    for row in log.storage.archives():
        if not row.emptied and row.pruned is None:
            try:
                file = log.archives.file(row)
                file.check()
            except LogError:
                row = _again(log, row)
                file = log.archives.file(row)
            _empty(log, row, [index for index, _, _, body in file.rows() if body is not None])
    log.archives.settle()


def _again(log: Log, row: ArchiveRow) -> ArchiveRow:
    """Write an archive anew whose file was damaged or lost while its bodies were still in the database."""
    said = stated(log.storage, row.leaf, ARCHIVE)
    checkpoint = log.checkpoint(ask_witnesses=False)
    taken = Selection(instant(said["before"]), frozenset(said["media_types"]), said["evidence"])
    with _writing(log, Path(row.folder)) as writer:
        folder, limit = Path(row.folder), said["before"]
        span = row.stop - row.first
        written = _segment(log, writer, folder, row.first, checkpoint, taken, limit, span, sys.maxsize)
        named = written and _name(log, written, taken, said["ground"], said["authoriser"], said["digest"])
    if not named:
        raise LogError("GOV-517", f"the archive {row.file} does not verify", "Run it again.")
    log.archives.settle()
    return named


def relocate(log: Log, folder: Path) -> list[ArchiveRow]:
    """Note that archive files lie in ``folder`` now; those found there with the right digest are returned."""
    folder = folder.absolute()
    moved = []
    for row in log.storage.archives():
        there = replace(row, folder=str(folder))
        if row.pruned is None and there != row and there.path.is_file():
            ArchiveFile(there.path, log.archives.statement(row).digest).close()
            with log.storage.turn() as turn:
                if row in turn.archives():
                    turn.put_archive(there)
                    moved.append(there)
    return moved


@contextmanager
def without(log: Log, row: ArchiveRow | None, index: int) -> Iterator[Rewritten | None]:
    """Write an archive's file again without the body of entry ``index``, for the log to name within.

    Raises:
        LogError: GOV-516 when the file is not at hand, GOV-517 when it does not verify.
    """
    if row is None:
        yield None
        return
    file = log.archives.file(row)
    before = log.archives.statement(row)
    file.check()
    found = file.body(index, file.row(index)[1])
    if found is None:
        yield Rewritten(row, None, None, before.digest, file.path)
        return
    with _writing(log, file.path.parent) as writer:
        for number, leaf, salt, body in file.rows():
            writer.add((number, leaf, *((None, None) if number == index else (salt, body))))
        times = before.oldest, before.newest
        written = _finish(writer, file.path.parent, file.header, times, ())
        yield Rewritten(row, found[1], written, before.digest, file.path)


def _segment(
    log: Log,
    writer: Writer,
    folder: Path,
    start: int,
    checkpoint: Checkpoint,
    selection: Selection,
    limit: str,
    rows: int,
    size: int,
) -> _Written | None:
    stop, redacted, times = start, [], []
    for row in log.storage.read(start, min(start + rows, checkpoint.size)):
        envelope = Envelope.from_leaf(row.leaf)
        if envelope.received_at >= limit or writer.bytes >= size:
            break
        taken = selection.takes(envelope) and row.redacted_by is None
        if taken:
            _sound(row, envelope)
            times.append(envelope.received_at)
        if row.redacted_by is not None:
            redacted.append(row.index)
        writer.add((row.index, row.leaf, *((row.salt, row.body) if taken else (None, None))))
        stop = row.index + 1
    if stop == start:
        return None
    nodes = log.storage.nodes
    left = tuple(nodes(tree.subtrees(0, start)))
    proof = tuple(tree.consistency_proof(stop, checkpoint.size, nodes))
    header = Header(log.origin, start, stop, checkpoint.note, left, proof)
    span = (min(times), max(times)) if times else ("", "")
    return _finish(writer, folder, header, span, redacted)


def _sound(row: StoredEntry, envelope: Envelope) -> None:
    if row.salt is None or row.body is None or not envelope.covers(row.salt, row.body):
        raise LogError(
            "GOV-517",
            f"the body of entry {row.index} is not what its envelope covers: it is not archived",
            "Run `governance log verify` on the store; restore it from a backup.",
        )


def _finish(
    writer: Writer, folder: Path, header: Header, times: tuple[str, str], redacted: Sequence[int]
) -> _Written:
    """Complete a file, read it back whole, and give it the name under which it waits to be named."""
    digest = writer.finish(header)
    file = ArchiveFile(writer.path, digest)
    try:
        signed = file.check()
    finally:
        file.close()
    if signed.note != header.checkpoint:
        raise file.altered("it was read back with another checkpoint")
    written = _Written(writer.path, digest, header, writer.bodies, *times, tuple(redacted))
    target = pending(folder / written.name)
    writer.path.rename(target)
    sync(folder)
    return replace(written, path=target)


def _name(
    log: Log,
    written: _Written,
    selection: Selection,
    ground: str,
    authoriser: str,
    replaces: str | None = None,
) -> ArchiveRow | None:
    """State the file in the log; None when an entry in it was redacted since it was read."""
    first, stop = written.header.first, written.header.stop
    statement = written.statement(
        before=timestamp(selection.before),
        media_types=sorted(selection.media_types),
        evidence=selection.evidence,
        ground=ground,
        authoriser=authoriser,
        **({"replaces": replaces} if replaces else {}),
    )
    with log.storage.turn() as turn:
        # Asked inside the turn: nobody can redact between this look and the statement.
        if tuple(turn.redacted_in(first, stop)) != written.redacted:
            return None
        others = [row for row in turn.archives() if row.first < stop and first < row.stop]
        if others and not (replaces and [row.first for row in others] == [first]):
            raise LogError(
                "GOV-518",
                "another process archived these entries first",
                "Run `governance log archive` again.",
            )
        row = ArchiveRow(first, stop, turn.size, written.name, str(written.path.parent))
        log.state(turn, [NewEntry(canonical(statement), ARCHIVE, authoriser)])
        turn.put_archive(row, others[0].path if others else None)
    return row


def _empty(log: Log, row: ArchiveRow, indexes: Sequence[int]) -> None:
    """Empty these entries' rows, some at a time so that writers are not kept waiting."""
    for first, stop in _runs(indexes):
        with log.storage.turn() as turn:
            turn.empty(first, stop)
    with log.storage.turn() as turn:
        for now in turn.archives():
            if now.first == row.first:
                turn.put_archive(replace(now, emptied=True))
    log.storage.scrub()


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = stop = -1
    for index in indexes:
        if index != stop or stop - start == _CHUNK:
            if stop > start:
                yield start, stop
            start = index
        stop = index + 1
    if stop > start:
        yield start, stop


@contextmanager
def _writing(log: Log, folder: Path) -> Iterator[Writer]:
    """A new file in a folder. It stays locked, so that nobody clears it away, until this ends."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held(folder):
            writer = Writer(folder / f".{tag(log.origin)}-{secrets.token_hex(8)}.new")
    except OSError as error:
        raise LogError(
            "GOV-519",
            f"the archive folder {folder} cannot be written: {error.strerror}",
            "Give a directory that this user may write.",
        ) from None
    try:
        yield writer
    except OSError as error:
        raise LogError(
            "GOV-519",
            f"an archive in {folder} cannot be written: {error.strerror}; nothing was removed",
            "Free space on the disk, or give another directory, and run again.",
        ) from None
    finally:
        writer.path.unlink(missing_ok=True)
        writer.close()
