"""The outbox: a directory of events that are durable here until they are durable at their destination.

Each process writes a file of its own (:mod:`governance.lineage.emission.segment`). Whoever drains sends what its
own process wrote and what processes that are gone left behind. A drain that is killed is repeated: a
destination knows what it already has. An outbox has one destination and lies on a local disk.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from governance.errors import LogError
from governance.lineage.emission.dead_letters import DeadLetters
from governance.lineage.emission.destination import Destination, Outcome, Refusal
from governance.lineage.emission.framing import Event, framed, scan
from governance.lineage.emission.segment import Segment, Writer, is_held, segment_paths, writer_of
from governance.model.principal import scope_of

MAX_BYTES = 1 << 30
"""Default bound of an outbox: 1 GiB, some 200,000 events of Airflow's usual size."""

_SEGMENT = 16 << 20
_BATCH = 100
_BATCH_BYTES = 1 << 20
_MEASURED_EVERY = 1.0
_STALE = 3600.0
_UNREACHABLE = "unreachable-until"


@dataclass(frozen=True, slots=True)
class SegmentStatus:
    """One file: ``events`` waiting in it, its ``size`` in bytes, who wrote it, and whether it is ``held`` by
    a living process."""

    name: str
    events: int
    size: int
    writer: Writer | None
    held: bool


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What an outbox holds.

    ``waiting`` events, the ``oldest`` kept at that time; ``damaged`` stretches that are no events;
    ``dead_letters`` by code; ``size`` in bytes of everything.
    """

    waiting: int
    oldest: datetime | None
    damaged: int
    dead_letters: dict[str, int]
    size: int
    segments: list[SegmentStatus]


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did: events ``sent``; ``refused`` for good and ``damaged`` ones, now dead letters;
    ``deferred`` ones that failed alone and wait again; ``copied`` ones sent, but kept by the living
    process that wrote them until it has an acknowledgement of its own."""

    sent: int = 0
    refused: int = 0
    damaged: int = 0
    deferred: int = 0
    copied: int = 0

    def __add__(self, other: Drained) -> Drained:
        return Drained(
            self.sent + other.sent,
            self.refused + other.refused,
            self.damaged + other.damaged,
            self.deferred + other.deferred,
            self.copied + other.copied,
        )


class Outbox:
    """A directory of events. It may hold what an event holds, so only its owner may read it.

    Safe for threads, for other processes on the same directory, and across a fork: the child begins
    a file of its own, and what the parent wrote stays the parent's.

    Args:
        directory: on a local disk; made at the first event.
        max_bytes: the bound; other processes' growth is noticed within a second.
    """

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.directory = directory
        self._max_bytes = max_bytes
        self._dead = DeadLetters(directory)
        self._begin()
        reborn = weakref.WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (method := reborn()) and method())

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self._active: Segment | None = None
        self._sealed: list[Segment] = []
        self._elsewhere = 0
        self._measured = float("-inf")

    def _forked(self) -> None:
        for segment in self._own():
            segment.close()
        self._begin()

    def keep(self, body: bytes, principal: str) -> None:
        """Append one event and return when it is on the disk.

        Raises:
            LogError: GOV-526 when the outbox is full, GOV-501 when it cannot be written. The event is
                not promised then, though it may be there.
        """
        self._keep(Event(body, principal, time.time_ns()))

    def _keep(self, event: Event) -> None:
        record = framed(event)
        try:
            # Twice lost its name under the write: someone keeps deleting the directory.
            for _ in range(3):
                segment = self._writable(len(record))
                if segment.append(record):
                    return
                self._seal(segment)
            problem = "its directory keeps being removed"
        except OSError as error:
            problem = type(error).__name__ if error.strerror is None else error.strerror
        raise LogError(
            "GOV-501",
            f"an event of {len(event.body)} bytes could not be kept in the outbox: {problem}",
            "give the outbox a writable local disk with free space; `governance outbox status` shows it",
        )

    def is_drained(self) -> bool:
        """Whether nothing that this process wrote waits."""
        return all(segment.is_drained for segment in self._own())

    def drain(self, destination: Destination, *, copy_held: bool = False) -> Drained:
        """Send what waits now: what this process wrote and what processes that are gone left.

        Args:
            destination: where the events go.
            copy_held: also send what living processes hold; they keep it until they have sent it.

        Raises:
            Unavailable: the destination takes nothing now; what was not sent stays.
            LogError: GOV-501 when the outbox itself cannot be read or written.
        """
        done = Drained()
        with self._draining:
            try:
                for segment in self._takeable():
                    done += self._empty(segment, destination)
                if copy_held:
                    for path in segment_paths(self.directory):
                        done += self._copy(path, destination)
            except OSError as error:
                raise LogError(
                    "GOV-501",
                    f"the outbox cannot be drained: {error.strerror or type(error).__name__}",
                    "check the outbox directory's owner and its disk; drain as the user who wrote it",
                ) from None
        return done

    def bury(self, events: list[Event], refused: list[Refusal]) -> None:
        """Make dead letters of refused events. Raises OSError."""
        self._dead.bury(events, refused, [])

    def revive(self) -> int:
        """Put dead letters back among the waiting events; return how many. Raises LogError."""
        with self._dead.raised() as events:
            for event in events:
                self.keep(event.body, event.principal)
        return len(events)

    def status(self) -> OutboxStatus:
        """Count what waits, without changing anything.

        Of what another process is just sending, all is counted until all of it is sent.
        """
        segments, damaged, oldest = [], 0, []
        own = {segment.path: segment for segment in self._own()}
        for path in segment_paths(self.directory):
            with suppress(FileNotFoundError):
                data = path.read_bytes()[own[path].sent if path in own else 0 :]
                held = path in own or is_held(path)
                # The end of a file that is being written is no damage.
                scanned = scan(data, ended=not held)
                damaged += len(scanned.damaged)
                oldest += [event.kept_at for event in scanned.events]
                segments.append(
                    SegmentStatus(path.name, len(scanned.events), len(data), writer_of(path), held)
                )
        return OutboxStatus(
            waiting=sum(segment.events for segment in segments),
            oldest=datetime.fromtimestamp(min(oldest) / 1e9, UTC) if oldest else None,
            damaged=damaged,
            dead_letters=self._dead.counts(),
            size=sum(segment.size for segment in segments) + self._dead.size(),
            segments=segments,
        )

    def release(self) -> None:
        """Leave the directory: what still waits may be drained by others."""
        with self._draining, self._lock:
            for segment in self._own():
                segment.freeze()
                with suppress(OSError):
                    if segment.is_drained:
                        segment.remove()
                segment.close()
            self._active, self._sealed = None, []

    def note_unreachable(self, seconds: float) -> None:
        """Tell other processes on this outbox that sending first is futile for so long; 0 takes it back."""
        path = self.directory / _UNREACHABLE
        with suppress(OSError):
            if seconds <= 0:
                path.unlink(missing_ok=True)
                return
            path.touch(mode=0o600)
            until = time.time() + seconds
            os.utime(path, (until, until))

    def unreachable_for(self) -> float:
        """Seconds for which another process found sending to be futile."""
        with suppress(OSError):
            return max(0.0, (self.directory / _UNREACHABLE).stat().st_mtime - time.time())
        return 0.0

    def _own(self) -> list[Segment]:
        return [*self._sealed, *([self._active] if self._active else [])]

    def _writable(self, more: int) -> Segment:
        """The segment to write so many bytes to."""
        with self._lock:
            active = self._active
            if active is not None and (active.broken or active.size >= _SEGMENT):
                self._sealed.append(active)
                self._active = active = None
                self._measured = float("-inf")
            self._check_bound(more, active)
            if active is None:
                self._active = active = Segment.create(self.directory)
            return active

    def _check_bound(self, more: int, active: Segment | None) -> None:
        now = time.monotonic()
        if now - self._measured > _MEASURED_EVERY:
            self._measured = now
            self._elsewhere = _bytes_beside(self.directory, active.path if active else None)
        if self._elsewhere + (active.size if active else 0) + more > self._max_bytes:
            raise LogError(
                "GOV-526",
                f"the outbox is full: {self._max_bytes:,} bytes wait to be sent",
                "make the lineage service or store reachable and run `governance outbox drain`, or raise max_bytes",
            )

    def _seal(self, segment: Segment) -> None:
        with self._lock:
            if segment is self._active:
                self._sealed.append(segment)
                self._active = None

    def _takeable(self) -> Iterator[Segment]:
        with self._lock:
            own = self._own()
        paths = {segment.path for segment in own}
        for path in segment_paths(self.directory):
            # Another user's file is that user's to drain.
            with suppress(PermissionError):
                if path not in paths and (taken := Segment.take(path)) is not None:
                    yield taken
        yield from own

    def _empty(self, segment: Segment, destination: Destination) -> Drained:
        done = Drained()
        with self._lock:
            active, own = segment is self._active, segment in self._own()
        if not active:
            segment.freeze()
        stop = segment.durable if active else segment.end
        try:
            while (scanned := segment.read(stop, limit=_BATCH, max_bytes=_BATCH_BYTES)).length:
                outcome = _sent(scanned.events, destination)
                self._dead.bury(scanned.events, outcome.refused, scanned.damaged)
                for position in outcome.again:
                    self._keep(scanned.events[position])
                segment.acknowledge(scanned.length)
                done += _counted(scanned.events, outcome, len(scanned.damaged))
            if not active:
                segment.remove()
                with self._lock:
                    self._sealed = [s for s in self._sealed if s is not segment]
        finally:
            if not own:
                segment.close()
        return done

    def _copy(self, path: Path, destination: Destination) -> Drained:
        """Send what another process holds, as it is now; its own drain removes it."""
        with suppress(FileNotFoundError):
            if path in {segment.path for segment in self._own()}:
                return Drained()
            data, copied = path.read_bytes(), 0
            while (scanned := scan(data, ended=False, limit=_BATCH, max_bytes=_BATCH_BYTES)).length:
                outcome = _sent(scanned.events, destination)
                copied += len(scanned.events) - len(outcome.refused) - len(outcome.again)
                data = data[scanned.length :]
            return Drained(copied=copied)
        return Drained()


def _sent(events: list[Event], destination: Destination) -> Outcome:
    """Send, except what claims to be more than an ingest principal: a file is no proof of who speaks."""
    fit = [n for n, event in enumerate(events) if scope_of(event.principal) == "ingest"]
    outcome = destination.send([events[n] for n in fit]) if fit else Outcome()
    refused = [Refusal(fit[r.position], r.code, r.reason) for r in outcome.refused]
    posing = set(range(len(events))).difference(fit)
    refused += [Refusal(n, "principal", "the outbox file names no ingest principal") for n in sorted(posing)]
    return Outcome(refused, [fit[n] for n in outcome.again])


def _counted(events: list[Event], outcome: Outcome, damaged: int) -> Drained:
    refused, again = len(outcome.refused), len(outcome.again)
    return Drained(len(events) - refused - again, refused, damaged, again)


def _bytes_beside(directory: Path, active: Path | None) -> int:
    """Bytes of all files but ``active``; stale files that never got their name are removed on the way."""
    total = 0
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in directory.iterdir():
            with suppress(FileNotFoundError):
                found = path.stat()
                if path.suffix == ".new" and found.st_mtime < time.time() - _STALE:
                    path.unlink()
                elif path != active:
                    total += found.st_size
    return total
