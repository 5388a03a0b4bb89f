"""One pass over a log's entries, looking for the first that is not as it was appended.

Nothing stored is trusted but as a clue: the tree is rebuilt from the envelopes and compared with signed
checkpoints. The stored leaf hashes, tree nodes and duplicate markers tell *which* entry is wrong when
something is; where they themselves may be what was altered, the next signed checkpoint settles it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from governance.errors import LogError
from governance.log.archives.archive_scan import ArchivedBodies, ArchiveFault
from governance.log.envelope import Envelope
from governance.log.log import REDACTION, TIMESTAMP
from governance.log.note import Checkpoint
from governance.log.sealing import marker_of
from governance.log.storage import PAGE, Redaction, Storage, StoredEntry
from governance.log.tree import HASH_SIZE, Frontier, completed_by, leaf_hash


class FaultKind(StrEnum):
    EDITED_BODY = "edited body"
    EDITED_ENVELOPE = "edited envelope"
    DELETED = "deleted"
    REORDERED = "reordered"
    REPLACED = "replaced"
    TRUNCATED = "truncated"
    FORKED = "forked"
    TREE = "tree node altered"
    MARKER = "duplicate marker altered"
    REDACTION = "redaction not in order"
    ARCHIVE = "archive missing or altered"
    UNREADABLE = "unreadable"
    CHECKPOINT = "checkpoint not valid"
    UNSIGNED = "never signed"
    ORIGIN = "another log"


@dataclass(frozen=True, slots=True)
class LogFault:
    """What is wrong, and with the entries ``first`` to ``last`` inclusive; None where it is no entry."""

    kind: FaultKind
    reason: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A disagreement inside the store that the next signed checkpoint settles."""

    first: int
    last: int
    harmless: LogFault
    serious: LogFault

    def unsettled(self) -> LogFault:
        """What can be said when no checkpoint covers it."""
        reason = f"{self.harmless.reason}, or {self.serious.reason}; no checkpoint after it agrees"
        return LogFault(self.serious.kind, reason, self.first, self.last)


class Scan:
    """One pass over the entries. ``frontier`` is built from the envelopes, never from stored nodes.

    ``timestamps`` are the bodies of the timestamp leaves that were met, in order.
    """

    def __init__(
        self,
        storage: Storage,
        signed: Sequence[Checkpoint],
        progress: Callable[[int, int], None] | None,
        bodies: ArchivedBodies,
    ) -> None:
        self._storage = storage
        self._bodies = bodies
        self._signed = list(signed)
        self._progress = progress
        self._doubt: _Doubt | None = None
        self._redactions: dict[int, Redaction] = {}
        self._received_at = ""
        self.size = storage.size()
        self.frontier = Frontier()
        self.agreed: Checkpoint | None = None
        self.compared = 0
        self.redacted = 0
        self.backwards = 0
        self.timestamps: list[bytes] = []

    def run(self) -> LogFault | None:
        """Look at everything; return the first fault."""
        try:
            fault = self._run()
            if fault is None:
                self._bodies.end(self.size)
            return fault
        except ArchiveFault as fault:
            return LogFault(FaultKind.ARCHIVE, fault.reason, fault.first, fault.last)

    def _run(self) -> LogFault | None:
        markers = self._stable_marker_count()
        self._redactions = {redaction.index: redaction for redaction in self._storage.redactions()}
        rows = self._storage.read(0, self.size)
        fault = self._compare()
        while fault is None and self.frontier.size < self.size:
            try:
                page, unfilled = self._filled(islice(rows, PAGE))
                fault = self._page(page) if page or unfilled else self._deleted(self.size)
                if fault is None and unfilled is not None:
                    raise unfilled
            except LogError as error:
                index = self.frontier.size
                return _at(index, FaultKind.UNREADABLE, f"entry {index} cannot be read: {error.message}")
            if self._progress is not None:
                self._progress(self.frontier.size, self.size)
        return fault or self._end(markers)

    def _filled(self, rows: Iterable[StoredEntry]) -> tuple[list[StoredEntry], ArchiveFault | None]:
        """Rows with the bodies that archives hold, up to one whose archive is at fault."""
        page: list[StoredEntry] = []
        for row in rows:
            try:
                missing = row.body is None and row.redacted_by is None
                page.append(self._bodies.fill(row) if missing else row)
            except ArchiveFault as fault:
                return page, fault
        return page, None

    def _page(self, page: Sequence[StoredEntry]) -> LogFault | None:
        envelopes = [_envelope(row) for row in page]
        keyed = [self._keyed(row, envelope) for row, envelope in zip(page, envelopes, strict=True)]
        places = self._storage.markers([marker for marker in keyed if marker is not None])
        for row, envelope, marker in zip(page, envelopes, keyed, strict=True):
            place = None if marker is None else places.get(marker)
            fault = self._row(row, envelope, place) or self._compare()
            if fault is not None:
                # An older disagreement comes first: nothing signed has cleared it.
                doubt = self._doubt
                return doubt.unsettled() if doubt and fault not in (doubt.harmless, doubt.serious) else fault
        return None

    def _keyed(self, row: StoredEntry, envelope: Envelope | None) -> bytes | None:
        if row.body is None or envelope is None:
            return None
        return marker_of(self._storage.dedup_key, row.body, envelope.principal, envelope.media_type)

    def _row(self, row: StoredEntry, envelope: Envelope | None, place: int | None) -> LogFault | None:
        index = self.frontier.size
        if row.index != index:
            return self._deleted(row.index)
        leaf = leaf_hash(row.leaf)
        if row.nodes[:HASH_SIZE] != leaf:
            return self._misplaced(index, leaf)
        if envelope is None:
            return _at(index, FaultKind.EDITED_ENVELOPE, f"the leaf of entry {index} is no envelope")
        fault = self._body(row, envelope, place)
        if fault is not None:
            return fault
        self.backwards += envelope.received_at < self._received_at
        self._received_at = envelope.received_at
        self._nodes(index, row.nodes, self.frontier.append(leaf))
        return None

    def _body(self, row: StoredEntry, envelope: Envelope, place: int | None) -> LogFault | None:
        index = row.index
        if row.body is None or row.salt is None:
            if row.redacted_by is None and self._bodies.holds(index):
                return None
            self.redacted += 1
            return self._removed(index, row.redacted_by)
        if not envelope.covers(row.salt, row.body):
            return _at(
                index, FaultKind.EDITED_BODY, f"the body of entry {index} is not what its envelope covers"
            )
        if row.redacted_by is not None:
            return _at(index, FaultKind.REDACTION, f"the redacted body of entry {index} is there again")
        if envelope.media_type == REDACTION:
            target = _statement(row.body)
            done = self._redactions.get(target[0]) if target else None
            if done is None or (done.leaf, done.refusal) != (index, target[1] if target else b""):
                return _at(index, FaultKind.REDACTION, f"the redaction in entry {index} is not carried out")
        if envelope.media_type == TIMESTAMP:
            self.timestamps.append(row.body)
        self._bodies.met(index, envelope.media_type, row.body)
        if place is None:
            now = next(self._storage.read(index, index + 1), None)
            if now is not None and now.redacted_by is not None:
                return self._removed(index, now.redacted_by)
            self._doubt_marker(
                index, FaultKind.REPLACED, f"entry {index} was replaced: body, envelope and leaf hash"
            )
        elif place == index + 1:
            self._doubt_marker(
                index, FaultKind.DELETED, f"entry {index} was deleted and what followed moved up"
            )
        elif place != index:
            self._doubt_marker(
                index, FaultKind.REORDERED, f"what stands at {index} was appended as entry {place}"
            )
        return None

    def _doubt_marker(self, index: int, kind: FaultKind, reason: str) -> None:
        # One altered byte misleads a search of the whole marker index: a checkpoint decides, not the marker.
        altered = f"the duplicate marker of entry {index} is missing or altered"
        self._suspect(index, index, _at(index, FaultKind.MARKER, altered), _at(index, kind, reason))

    def _removed(self, index: int, leaf: int | None) -> LogFault | None:
        redaction = self._redactions.get(index)
        if redaction is None:
            # It may have been redacted while this scan ran.
            redaction = next((found for found in self._storage.redactions() if found.index == index), None)
        if redaction is not None and redaction.leaf == leaf:
            for row in self._storage.read(redaction.leaf, redaction.leaf + 1):
                envelope = Envelope.from_leaf(row.leaf)
                if envelope.media_type == REDACTION and row.body is not None and row.salt is not None:
                    named = _statement(row.body) == (index, redaction.refusal)
                    if named and envelope.covers(row.salt, row.body):
                        return None
        return _at(index, FaultKind.REDACTION, f"the body of entry {index} is gone and no redaction names it")

    def _nodes(self, index: int, stored: bytes, derived: Sequence[bytes]) -> None:
        if stored == b"".join(derived):
            return
        level = next(
            (n for n, node in enumerate(derived) if stored[n * HASH_SIZE : (n + 1) * HASH_SIZE] != node),
            completed_by(index) - 1,
        )
        first = index + 1 - (1 << level)
        span = f"entry {index}" if first == index else f"one of the entries {first} to {index}"
        self._suspect(
            first,
            index,
            _at(index, FaultKind.TREE, f"the stored tree nodes of entry {index} were altered"),
            LogFault(FaultKind.REPLACED, f"{span} was replaced or moved", first, index),
        )

    def _suspect(self, first: int, last: int, harmless: LogFault, serious: LogFault) -> None:
        if self._doubt is None:
            self._doubt = _Doubt(first, last, harmless, serious)

    def _compare(self) -> LogFault | None:
        """Compare with every checkpoint of the current size."""
        while self._signed and self._signed[0].size == self.frontier.size:
            checkpoint = self._signed.pop(0)
            if checkpoint.root != self.frontier.root():
                if self._doubt is not None:
                    return self._doubt.serious
                return self._forked(checkpoint)
            self.agreed = checkpoint
            self.compared += 1
            if self._doubt is not None:
                return self._doubt.harmless
        return None

    def _forked(self, checkpoint: Checkpoint) -> LogFault:
        first = self.agreed.size if self.agreed else 0
        last = checkpoint.size - 1
        if first > last:
            reason = f"two different trees of size {checkpoint.size} were signed: the log was forked"
            return LogFault(FaultKind.FORKED, reason)
        reason = f"the entries {first} to {last} are not those that were signed: rewritten or forked"
        return LogFault(FaultKind.FORKED, reason, first, last)

    def _deleted(self, found: int) -> LogFault:
        index = self.frontier.size
        return LogFault(FaultKind.DELETED, f"{_span(index, found - 1)} missing", index, found - 1)

    def _misplaced(self, index: int, leaf: bytes) -> LogFault:
        """The envelope does not have the stored leaf hash: moved from elsewhere, or edited."""
        for row in self._storage.read(0, self.size):
            if row.nodes[:HASH_SIZE] == leaf:
                if row.index == index + 1:
                    reason = f"entry {index} was deleted and what followed moved up"
                    return _at(index, FaultKind.DELETED, reason)
                reason = f"what stands at {index} was appended as entry {row.index}"
                return _at(index, FaultKind.REORDERED, reason)
        return _at(index, FaultKind.EDITED_ENVELOPE, f"the envelope of entry {index} was edited")

    def _end(self, markers: int | None) -> LogFault | None:
        if self._signed:
            if self._doubt is not None:
                return self._doubt.unsettled()
            last = self._signed[-1].size - 1
            reason = f"{_span(self.size, last)} missing though signed: truncated, or an older store restored"
            return LogFault(FaultKind.TRUNCATED, reason, self.size, last)
        if self._doubt is not None:
            return self._doubt.unsettled()
        redactions = self._storage.redactions()
        if (
            markers is not None
            and len(redactions) == len(self._redactions)
            and markers != self.size - self.redacted
        ):
            reason = "the store holds duplicate markers that belong to no entry: events would be dropped"
            return LogFault(FaultKind.MARKER, reason)
        return None

    def _stable_marker_count(self) -> int | None:
        """How many markers belong to ``size`` entries; None while others append too fast to tell."""
        for _ in range(3):
            count = self._storage.marker_count()
            size = self._storage.size()
            if size == self.size:
                return count
            self.size = size
        return None


def _envelope(row: StoredEntry) -> Envelope | None:
    try:
        return Envelope.from_leaf(row.leaf)
    except LogError:
        return None


def _statement(body: bytes) -> tuple[int, bytes] | None:
    """What a redaction's body says: the index, and the refusal."""
    try:
        members = json.loads(body)
        return int(members["index"]), bytes.fromhex(members["refusal"].removeprefix("hmac-sha256:"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _at(index: int, kind: FaultKind, reason: str) -> LogFault:
    return LogFault(kind, reason, index, index)


def _span(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"the entries {first} to {last} are"
