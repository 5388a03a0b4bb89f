"""The log up to a checkpoint, read once: runs, disclosures, declarations, and what is amiss.

Everything a report says comes through here, so this is also what a verifier runs over a bundle's
entries. Order is log order; event times are shown, never believed.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from msgspec.json import decode

from governance.audit.declarations import ContractLeaf, PolicyLeaf, part, read_yaml, words
from governance.audit.portions.jobs import Jobs, TaskEvent
from governance.audit.portions.jobs import Node as Node
from governance.audit.portions.ordinary import Summary
from governance.audit.portions.portion import KeptEntry
from governance.audit.system_activity import DONE, EVENT, SystemActivity
from governance.errors import GovernanceError
from governance.lineage.reading import RUN, ReadEvent, instant_of, read_event
from governance.lineage.signatures import Observed, RunKeys, Verdict, evidence_keys, verify_event
from governance.log.envelope import Envelope
from governance.log.log import CONSENT_BATCH, CONTRACT, GENESIS, OPENLINEAGE_EVENT, POLICY, REDACTION
from governance.model.canonical import digest
from governance.model.erasure import TOMBSTONE
from governance.model.evidence import Stage
from governance.model.statements import INVENTORY, LANDING, REPLAYED, REQUEST, TRAINED

SKEW = timedelta(days=1)
"""An event time further than this from the log's own time is flagged."""

_STATEMENTS = (REQUEST, TRAINED, LANDING, INVENTORY, REPLAYED)
_RUN_IDENTITY = ("dataset", "version", "run_id", "map_index", "attempt")


class ReadEntry(Protocol):
    """An entry as :class:`governance.log.Entry` has it."""

    @property
    def index(self) -> int: ...

    @property
    def leaf(self) -> bytes: ...

    @property
    def body(self) -> bytes | None: ...

    @property
    def salt(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that verifies. ``event_time`` is the producer's, ``received_at`` the log's."""

    index: int
    stage: Stage
    context: Mapping[str, Any]
    facts: Mapping[str, Any]
    event_time: str | None
    received_at: str


@dataclass(slots=True)
class GovernedRun:
    """One attempt at a version: its opening and what followed under the key it introduced.

    A stage that ran again (a retry, a rewrite after late withdrawals) counts with its newest evidence;
    what that replaced is ``superseded``.
    """

    opened: Proof
    stages: dict[Stage, Proof] = field(default_factory=dict)
    releases: list[Proof] = field(default_factory=list)
    superseded: list[Proof] = field(default_factory=list)

    @property
    def dataset(self) -> str:
        return str(self.opened.context.get("dataset"))

    @property
    def purpose(self) -> str:
        return str(self.opened.context.get("purpose"))

    @property
    def version(self) -> str:
        return str(self.opened.context.get("version"))

    def release(self, state: str) -> Proof | None:
        """The first release evidence in that state."""
        return next((p for p in self.releases if p.facts.get("state") == state), None)

    @property
    def state(self) -> str:
        """``released``, ``quarantined``, ``abandoned``, ``intended`` (and nothing after it) or ``unfinished``."""
        for state in ("released", "quarantined", "abandoned", "intended"):
            if self.release(state):
                return state
        return "unfinished"

    def indexes(self) -> list[int]:
        """Where all its evidence stands."""
        later = (*self.stages.values(), *self.superseded, *self.releases)
        return [self.opened.index, *(p.index for p in later)]


@dataclass(frozen=True, slots=True)
class DeclaredEvidence:
    """A ``governance_*`` facet that proves nothing, and why."""

    index: int
    stage: Stage | None
    reason: str
    principal: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A leaf of :mod:`governance.model.statements`: what a task or an officer wrote, unsigned."""

    index: int
    principal: str
    received_at: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class Trail:
    """What the entries say. ``size`` is the checkpoint's; the entries may be a bundle's few.

    ``repeated`` pairs evidence with an earlier one that it repeats: (first, again). ``reads`` are the jobs that
    read a dataset, ``writes`` the datasets that a job wrote, each with the first entry that says so; ``own`` are the
    jobs that evidence is of.
    """

    size: int
    counts: Counter[str] = field(default_factory=Counter)
    media_types: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)
    genesis: int | None = None
    evidence_key: bytes | None = None
    log_key: str | None = None
    first_received: str | None = None
    last_received: str | None = None
    runs: list[GovernedRun] = field(default_factory=list)
    disclosures: list[Proof] = field(default_factory=list)
    erasures: list[Proof] = field(default_factory=list)
    grants: list[Proof] = field(default_factory=list)
    tombstones: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    reads: dict[Node, dict[Node, int]] = field(default_factory=dict)
    writes: dict[Node, dict[Node, int]] = field(default_factory=dict)
    own: set[Node] = field(default_factory=set)
    repeated: list[tuple[int, int]] = field(default_factory=list)
    declared: list[DeclaredEvidence] = field(default_factory=list)
    batches: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    statements: dict[str, list[Statement]] = field(default_factory=dict)
    activity: SystemActivity = field(default_factory=SystemActivity)
    failed: list[TaskEvent] = field(default_factory=list)
    unended: list[TaskEvent] = field(default_factory=list)
    backwards: list[TaskEvent] = field(default_factory=list)
    skewed: list[int] = field(default_factory=list)
    redacted: list[int] = field(default_factory=list)
    unparsable: list[int] = field(default_factory=list)
    _parsed: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    _documents: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    _runs: dict[tuple[Any, ...], GovernedRun] = field(default_factory=dict)
    _keys: RunKeys = field(default_factory=RunKeys)
    _disclosed: dict[str, int] = field(default_factory=dict)

    def policy(self, reference: Mapping[str, Any]) -> PolicyLeaf | None:
        """The policy leaf a run pinned, if it stands where the run says and is what it pinned."""
        found = self._document(POLICY, reference)
        return None if found is None else PolicyLeaf(*found)

    def contract(self, reference: Mapping[str, Any]) -> ContractLeaf | None:
        """The contract leaf a run pinned, likewise."""
        found = self._document(CONTRACT, reference)
        return None if found is None else ContractLeaf(*found)

    def _document(self, media_type: str, reference: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
        index = reference.get("log_index")
        kind, body = self._documents.get(index if isinstance(index, int) else -1, ("", b""))
        if kind != media_type or digest(body) != reference.get("digest") or not isinstance(index, int):
            return None
        if index not in self._parsed:
            self._parsed[index] = read_yaml(body)
        root = self._parsed[index]
        return None if root is None else (index, root)

    def run_of(self, context: Mapping[str, Any]) -> GovernedRun | None:
        """The run that made the version a disclosure names."""
        return self._runs.get(_identity(context))


def read_trail(entries: Iterable[ReadEntry | Summary], size: int) -> Trail:
    """Read entries in log order. Nothing is raised for what they hold: it becomes a remark.

    A summary of ordinary events may stand for them; it comes after the other entries of its span.
    """
    trail, jobs = Trail(size), Jobs()
    for entry in entries:
        if isinstance(entry, Summary):
            _ordinary(trail, jobs, entry)
            continue
        envelope = Envelope.from_leaf(entry.leaf)
        trail.counts["entries"] += 1
        trail.media_types[envelope.media_type] += 1
        if entry.index == 0:
            trail.first_received = envelope.received_at
        if entry.index == size - 1:
            trail.last_received = envelope.received_at
        event: ReadEvent | None = None
        verdict: Verdict | None = None
        if entry.body is None:
            trail.redacted.append(entry.index)
        elif envelope.media_type == OPENLINEAGE_EVENT:
            event = _event(trail, entry)
            if event is not None:
                jobs.take(entry.index, event, envelope.principal)
                if evidence_keys(event.body):
                    verdict = _evidence(trail, entry, event, envelope)
        else:
            _leaf(trail, entry.index, envelope, entry.body)
        trail.activity.note(entry.index, envelope, entry.body, event, verdict)
    trail.reads, trail.writes, trail.failed, trail.unended = (
        jobs.reads,
        jobs.writes,
        jobs.failed,
        jobs.unended(),
    )
    trail.backwards = jobs.backwards()
    trail.counts["tasks_started"], trail.counts["tasks_ended"] = jobs.started, jobs.ended
    return trail


def _ordinary(trail: Trail, jobs: Jobs, summary: Summary) -> None:
    if not summary.entries:
        return
    trail.counts["entries"] += summary.entries
    trail.media_types[OPENLINEAGE_EVENT] += summary.entries
    jobs.add(summary)
    for day, senders in summary.tally.items():
        for sender, number in senders.items():
            trail.activity.tally[day, sender, EVENT, DONE] += number
    for sender, first in summary.senders.items():
        trail.activity.first[sender] = min(first, trail.activity.first.get(sender, first))


def _event(trail: Trail, entry: ReadEntry) -> ReadEvent | None:
    body = entry.body or b""
    try:
        # Sound evidence was read with care before: it parses, and repeats no member.
        return ReadEvent(decode(body), RUN, None, ()) if _is_sound(entry) else read_event(body)
    except GovernanceError:
        trail.unparsable.append(entry.index)
        return None


def _evidence(trail: Trail, entry: ReadEntry, event: ReadEvent, envelope: Envelope) -> Verdict:
    index = entry.index
    verdict = verify_event(
        event.body,
        principal=envelope.principal,
        root_key=trail.evidence_key,
        run_keys=trail._keys,
        sound=_is_sound(entry),
    )
    if not isinstance(verdict, Observed):
        trail.declared.append(DeclaredEvidence(index, verdict.stage, verdict.reason, envelope.principal))
        return verdict
    time = words(event.body, "eventTime")
    proof = Proof(index, verdict.stage, verdict.context, verdict.facts, time, envelope.received_at)
    trail.evidence[verdict.stage.value] += 1
    if event.job is not None:
        trail.own.add(event.job)
    if _is_skewed(proof):
        trail.skewed.append(index)
    if verdict.stage is Stage.KEY_GRANT:
        trail.grants.append(proof)
    elif verdict.stage is Stage.ERASURE:
        trail.erasures.append(proof)
    elif verdict.stage is Stage.OPEN:
        _open(trail, proof, verdict)
    elif verdict.stage is Stage.DISCLOSE:
        _disclose(trail, proof)
    elif (run := trail._runs.get(_identity(verdict.context))) is not None:
        if verdict.stage is Stage.RELEASE:
            run.releases.append(proof)
        else:
            if (before := run.stages.get(verdict.stage)) is not None:
                run.superseded.append(before)
            run.stages[verdict.stage] = proof
    return verdict


def _is_sound(entry: ReadEntry) -> bool:
    return isinstance(entry, KeptEntry) and entry.sound


def _open(trail: Trail, proof: Proof, verdict: Observed) -> None:
    identity = _identity(proof.context)
    if identity in trail._runs:
        trail.repeated.append((trail._runs[identity].opened.index, proof.index))
        return
    trail._keys.admit(verdict)
    run = GovernedRun(proof)
    if words(part(proof.facts, "source"), "kind") == "governed_version":
        # An erasure made it: it rests on the evidence of the version it was made from.
        made_from = (run.dataset, str(proof.facts.get("previous_version")))
        same = [earlier for earlier in trail.runs if (earlier.dataset, earlier.version) == made_from]
        run.stages.update(same[-1].stages if same else {})
    trail._runs[identity] = run
    trail.runs.append(run)


def _disclose(trail: Trail, proof: Proof) -> None:
    identity = str(proof.facts.get("disclosure_id"))
    if identity in trail._disclosed:
        trail.repeated.append((trail._disclosed[identity], proof.index))
    else:
        trail._disclosed[identity] = proof.index
        trail.disclosures.append(proof)


def _leaf(trail: Trail, index: int, envelope: Envelope, body: bytes) -> None:
    media_type = envelope.media_type
    if media_type in (CONTRACT, POLICY):
        trail._documents[index] = (media_type, body)
    elif media_type in (GENESIS, CONSENT_BATCH, REDACTION, TOMBSTONE, *_STATEMENTS):
        said = _json(body)
        if said is None:
            trail.unparsable.append(index)
        elif media_type in _STATEMENTS:
            stated = Statement(index, envelope.principal, envelope.received_at, said)
            trail.statements.setdefault(media_type, []).append(stated)
        elif media_type == CONSENT_BATCH:
            trail.batches.append((index, said))
        elif media_type == TOMBSTONE:
            trail.tombstones.append((index, said))
        elif media_type == GENESIS and index == 0:
            trail.genesis, trail.log_key = index, words(said, "log_public_key")
            trail.evidence_key = _key(words(said, "evidence_public_key"))


def _json(body: bytes) -> Mapping[str, Any] | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _key(text: str | None) -> bytes | None:
    try:
        key = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 else None


def _identity(context: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(str(context.get(name)) for name in _RUN_IDENTITY)


def _is_skewed(proof: Proof) -> bool:
    said, received = instant_of(proof.event_time), instant_of(proof.received_at)
    return said is None or received is None or abs(said - received) > SKEW
