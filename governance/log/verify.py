"""Re-derive a whole log from what it stores and compare it with what was signed.

Trusted: the pinned public key, and checkpoints kept outside the store. Not trusted: the store. The scan
streams once over the entries and stops at the first fault. A fault is a range of indexes: a single one
where the store's redundancy shows which entry it is, the span between two signed checkpoints where
everything in the store was rewritten consistently and only the signatures disagree.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.errors import LogError
from governance.log.archives.archive_scan import ArchivedBodies
from governance.log.note import Checkpoint, VerifierKey
from governance.log.rotation import Term, follow, handovers, open_checkpoint
from governance.log.scan import FaultKind, LogFault, Scan
from governance.log.storage import Storage
from governance.log.witnesses.trust import Trust, Vouched


@dataclass(frozen=True, slots=True)
class LogReport:
    """The outcome of :func:`verify_log`.

    ``size`` entries were found, ``root`` is their re-derived root when the whole log could be read.
    ``checkpoint`` is the newest that agrees, ``compared`` how many do; ``unsigned`` entries came after it.
    ``redacted`` and ``pruned`` bodies are gone, ``archived`` ones were read from archives.
    ``keys`` are the log's keys that the pinned one leads to, ``vouched`` is what pinned outsiders say.
    ``unknown`` says in words what this verification cannot know.
    """

    origin: str
    size: int
    root: bytes | None
    checkpoint: Checkpoint | None
    compared: int
    unsigned: int
    redacted: int
    archived: int
    pruned: int
    faults: tuple[LogFault, ...]
    unknown: tuple[str, ...]
    keys: tuple[Term, ...]
    vouched: Vouched

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.faults

    @property
    def first_bad(self) -> int | None:
        """The first bad index, where the fault has one."""
        return self.faults[0].first if self.faults else None

    @property
    def reason(self) -> str:
        """Why, in words; empty when nothing is wrong."""
        return self.faults[0].reason if self.faults else ""

    @property
    def verdict(self) -> str:
        """The outcome in a few words, never more than was shown."""
        return f"verified, {self.vouched.phrase}" if self.ok else f"not verified: {self.faults[0].kind}"

    def to_json(self) -> dict[str, Any]:
        """The report for machines; hashes in base64, the checkpoint as its signed note."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "origin": self.origin,
            "size": self.size,
            "root": None if self.root is None else base64.b64encode(self.root).decode(),
            "checkpoint": None if self.checkpoint is None else self.checkpoint.note,
            "checkpoints_compared": self.compared,
            "unsigned": self.unsigned,
            "redacted": self.redacted,
            "archived": self.archived,
            "pruned": self.pruned,
            "faults": [
                {"kind": str(fault.kind), "reason": fault.reason, "first": fault.first, "last": fault.last}
                for fault in self.faults
            ],
            "unknown": list(self.unknown),
            "keys": [{"key": str(t.key), "first": t.first, "last": t.last} for t in self.keys],
            **self.vouched.to_json(),
        }


def verify_log(
    storage: Storage,
    vkey: str,
    checkpoints: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    trust: Trust | None = None,
    archives: Sequence[Path] | None = (),
) -> LogReport:
    """Verify a log from its first entry to its last.

    Args:
        storage: the store; only read.
        vkey: the pinned public key of the log.
        checkpoints: signed notes from outside the store (manifests, reports, the signer's memory).
        progress: called with (entries done, entries in all) now and then.
        trust: the witnesses and timestamp authorities that are pinned.
        archives: folders in which archive files are looked for before the one they were written to; None
            to leave archives unread, which the report says.

    Raises:
        LogError: GOV-506 when ``vkey`` is no public key, GOV-501 when the storage cannot be reached.
        SettingError: GOV-902 when an authority is pinned and rfc3161-client is not installed.
    """
    key = VerifierKey.parse(vkey)
    faults: list[LogFault] = []
    if storage.origin != key.name:
        reason = f"the store is {storage.origin}, the pinned key is of {key.name}"
        faults.append(LogFault(FaultKind.ORIGIN, reason))
    keys = _followed(key, storage, checkpoints, faults)
    signed = _signed(storage.checkpoints(), keys, "kept in the store", faults)
    signed += _signed(checkpoints, keys, "given from outside", faults)
    bodies = ArchivedBodies(storage, archives)
    scan = Scan(storage, sorted(signed, key=lambda checkpoint: checkpoint.size), progress, bodies)
    fault = scan.run()
    if fault is not None:
        faults.insert(0, fault)
        newest = max((checkpoint.size for checkpoint in signed), default=0)
        if fault.kind is FaultKind.ARCHIVE and newest > scan.size:
            reason = f"{newest} entries were signed and {scan.size} are there: an older store was restored"
            faults.append(LogFault(FaultKind.TRUNCATED, reason, scan.size, newest - 1))
    elif scan.agreed is None and scan.size:
        reason = "no valid checkpoint covers this log: nothing vouches for it"
        faults.append(LogFault(FaultKind.UNSIGNED, reason))
    agreed = [checkpoint for checkpoint in signed if scan.agreed and checkpoint.size <= scan.agreed.size]
    vouched = _vouched(trust or Trust(), agreed, scan.timestamps, faults)
    return LogReport(
        origin=storage.origin,
        size=scan.size,
        root=scan.frontier.root() if fault is None else None,
        checkpoint=scan.agreed,
        compared=scan.compared,
        unsigned=scan.size - (scan.agreed.size if scan.agreed else 0),
        redacted=scan.redacted,
        archived=bodies.archived,
        pruned=bodies.pruned,
        faults=tuple(faults),
        unknown=tuple(_unknown(storage, scan, bodies, bool(checkpoints), vouched)),
        keys=tuple(keys),
        vouched=vouched,
    )


def _followed(
    key: VerifierKey, storage: Storage, checkpoints: Sequence[str], faults: list[LogFault]
) -> list[Term]:
    """The keys that the pinned one leads to; itself alone when rotations contradict each other."""
    try:
        return follow(key, handovers(storage, checkpoints))
    except LogError as error:
        faults.append(LogFault(FaultKind.CHECKPOINT, error.message))
        return [Term(key, 0, None)]


def _vouched(
    trust: Trust, agreed: Sequence[Checkpoint], timestamps: Sequence[bytes], faults: list[LogFault]
) -> Vouched:
    try:
        return trust.vouched(agreed, timestamps)
    except LogError as error:
        faults.append(LogFault(FaultKind.CHECKPOINT, error.message))
        return Vouched(None, (), (), ())


def _signed(
    notes: Sequence[str], keys: Sequence[Term], where: str, faults: list[LogFault]
) -> list[Checkpoint]:
    good = []
    for position, note in enumerate(notes):
        try:
            good.append(open_checkpoint(note, keys))
        except LogError as error:
            reason = f"checkpoint {position + 1} {where}: {error.message}"
            faults.append(LogFault(FaultKind.CHECKPOINT, reason))
    return good


def _unknown(
    storage: Storage, scan: Scan, bodies: ArchivedBodies, outside: bool, vouched: Vouched
) -> Iterator[str]:
    yield from vouched.unknown(scan.size)
    yield "what was never appended, and whether what was appended is true"
    if not outside:
        yield "whether the store was rolled back together with its checkpoints: none was given from outside"
    after = scan.size - (scan.agreed.size if scan.agreed else 0)
    if after:
        yield f"whether the newest {after} entries are those first appended: no checkpoint covers them yet"
    if scan.redacted:
        yield f"what {scan.redacted} redacted bodies said: their envelopes verify, the bodies are gone"
        if storage.residue:
            yield f"whether bytes of redacted bodies remain in {storage.residue}"
    if bodies.pruned:
        yield f"what {bodies.pruned} pruned bodies said: their envelopes verify, the bodies are gone"
    if bodies.unread:
        yield f"whether {bodies.unread} archived bodies are intact: the archives were not read"
    for path in storage.leftovers():
        yield f"whether {path}, which was replaced or pruned, is deleted: run `governance log archive --resume`"
    if scan.backwards:
        yield f"the true time of some entries: the log's clock went back {scan.backwards} times"
