"""The outbox: events that could not be sent, one fsynced append each, until they are drained.

A record is ``\\n1 <principal> <length> <sha256> <body>\\n``: the body is JSON on one line, ``length``
counts its bytes and ``sha256`` covers principal and body. Beginning with a line break, a record
stands whole even behind the torn tail of a writer that was killed.

Writers share a lock on the file they append to and check, holding it, that the file still has its
name. The drainer renames the file first and then waits for that lock, so nobody appends to a file
that is about to be removed. A drain that is killed is repeated; the log knows what it already has.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from governance.errors import GovernanceError, LogError
from governance.lineage.naming import EVENT_MEDIA_TYPE, EVIDENCE_PRINCIPAL

if TYPE_CHECKING:
    from governance.lineage.transport import AppendOnly

_VERSION = b"1"
_PENDING = "events"
_DRAINING = "draining-"
_SET_ASIDE = "set-aside"
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Leftover:
    """An event that waits in the outbox."""

    principal: str
    body: bytes


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What an outbox holds.

    ``pending`` events of ``size`` bytes in all wait. ``torn`` records are incomplete and wait to be
    set aside; ``set_aside`` counts those that were.
    """

    pending: int
    size: int
    torn: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did.

    ``sent`` events are in the log. ``refused`` ones had been redacted there and were deleted here.
    ``torn`` records were set aside.
    """

    sent: int
    refused: int
    torn: int


class Outbox:
    """A directory of events. It may hold what an event holds, so only its owner may read it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, body: bytes, principal: str) -> None:
        """Append one event and return when it is on the disk.

        Raises:
            LogError: GOV-501, it could not be written; the event is not kept.
        """
        record = b"\n%b %b %d %b %b\n" % (
            _VERSION,
            principal.encode("utf-8"),
            len(body),
            _sum(principal, body),
            body,
        )
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked_for_writing() as descriptor:
                if os.write(descriptor, record) != len(record):
                    raise OSError("the disk took only part of a record")
                os.fsync(descriptor)
        except OSError as error:
            raise LogError(
                "GOV-501",
                f"an event of {len(body)} bytes reached neither log nor outbox: {type(error).__name__}",
                "make the lineage store reachable, or give the outbox a writable disk with free space",
            ) from None

    def has_leftovers(self) -> bool:
        """Whether there is anything to drain."""
        return any(self._files())

    def drain(self, log: AppendOnly, *, wait: bool = True) -> Drained:
        """Move everything into the log. Idempotent, and safe beside writers and other drainers.

        Args:
            log: where the events go.
            wait: whether to wait for another drainer; without it, nothing is done beside one.

        Raises:
            LogError: the log cannot take events now; what was not sent stays.
        """
        sent = refused = torn = 0
        if not self._directory.is_dir():
            return Drained(0, 0, 0)
        with self._one_drainer(wait) as alone:
            if not alone:
                return Drained(0, 0, 0)
            self._claim()
            for path in self._files():
                if path.name == _PENDING:
                    continue
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    leftovers, damaged = _read(file.read())
                for start in range(0, len(leftovers), _BATCH):
                    batch = leftovers[start : start + _BATCH]
                    turned_away = _send(log, batch)
                    refused += turned_away
                    sent += len(batch) - turned_away
                torn += len(damaged)
                self._set_aside(damaged)
                path.unlink()
                _sync(self._directory)
        return Drained(sent, refused, torn)

    def status(self) -> OutboxStatus:
        """Count what waits, without changing anything."""
        pending = size = torn = 0
        for path in self._files():
            leftovers, damaged = _read(path.read_bytes())
            pending += len(leftovers)
            size += sum(len(leftover.body) for leftover in leftovers)
            torn += len(damaged)
        aside = self._directory / _SET_ASIDE
        kept = sum(1 for line in aside.read_bytes().split(b"\n") if line) if aside.is_file() else 0
        return OutboxStatus(pending, size, torn, kept)

    def _files(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        return sorted(
            p for p in self._directory.iterdir() if p.name == _PENDING or p.name.startswith(_DRAINING)
        )

    @contextmanager
    def _locked_for_writing(self) -> Iterator[int]:
        path = self._directory / _PENDING
        while True:
            new = not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if _still_named(descriptor, path):
                    if new:
                        _sync(self._directory)
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    @contextmanager
    def _one_drainer(self, wait: bool) -> Iterator[bool]:
        descriptor = os.open(self._directory / "drain.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def _claim(self) -> None:
        pending = self._directory / _PENDING
        if pending.exists():
            taken = {p.name for p in self._files()}
            number = next(n for n in range(len(taken) + 1) if f"{_DRAINING}{n:06d}" not in taken)
            pending.rename(self._directory / f"{_DRAINING}{number:06d}")
            _sync(self._directory)

    def _set_aside(self, records: list[bytes]) -> None:
        if not records:
            return
        path = self._directory / _SET_ASIDE
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, b"".join(record + b"\n" for record in records))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def drain(outbox_dir: Path, log: AppendOnly) -> Drained:
    """Move what an outbox holds into the log; see :meth:`Outbox.drain`."""
    return Outbox(outbox_dir).drain(log)


def outbox_status(outbox_dir: Path) -> OutboxStatus:
    """What an outbox holds; see :meth:`Outbox.status`."""
    return Outbox(outbox_dir).status()


def _send(log: AppendOnly, leftovers: list[Leftover]) -> int:
    """Append a batch; return how many the log refuses for good, because they were redacted."""
    from governance.log import NewEntry

    entries = [NewEntry(body=e.body, media_type=EVENT_MEDIA_TYPE, principal=e.principal) for e in leftovers]
    try:
        log.append(entries)
    except GovernanceError as error:
        if error.code != "GOV-505":
            raise
    else:
        return 0
    refused = 0
    for entry in entries:
        try:
            log.append([entry])
        except GovernanceError as error:
            if error.code != "GOV-505":
                raise
            refused += 1
    return refused


def _read(data: bytes) -> tuple[list[Leftover], list[bytes]]:
    """The whole records of a file and its damaged lines."""
    leftovers, damaged = [], []
    for line in data.split(b"\n"):
        if line:
            leftover = _parsed(line)
            if leftover is None:
                damaged.append(line)
            else:
                leftovers.append(leftover)
    return leftovers, damaged


def _parsed(line: bytes) -> Leftover | None:
    fields = line.split(b" ", 4)
    if len(fields) != 5 or fields[0] != _VERSION or fields[2] != b"%d" % len(fields[4]):
        return None
    principal = fields[1].decode("utf-8", "replace")
    if fields[3] != _sum(principal, fields[4]) or principal.startswith(EVIDENCE_PRINCIPAL):
        return None
    return Leftover(principal, fields[4])


def _sum(principal: str, body: bytes) -> bytes:
    return hashlib.sha256(principal.encode("utf-8") + b" " + body).hexdigest().encode("ascii")


def _still_named(descriptor: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
