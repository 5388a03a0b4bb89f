"""What a breach reaches: forward along lineage, and, of governed versions, what their keys keep safe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from governance.audit.declarations import ContractLeaf, items, part
from governance.audit.portions.jobs import Node
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.evidence import Stage

GOVERNED = "gov"
"""The namespace in lineage of datasets that a governed pass released."""

DISCLOSED = "disclosure"
"""The namespace in lineage of what the egress step wrote."""

EXPOSED, SEALED, DESTROYED, UNKNOWN = "exposed", "sealed", "destroyed", "unknown"
"""Readable by whoever has it; not, while its keys are safe; by nobody, its keys are gone; nothing shows which."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A dataset or a job outside, ``depth`` jobs from the start; ``cites`` are the events on the way.

    ``origin`` is what the job ``via`` read to write it, or what the job itself read.
    """

    kind: str
    node: Node
    depth: int
    via: str | None
    cites: tuple[int, ...]
    origin: Node | None = None


def closure(trail: Trail, start: Iterable[Node]) -> list[Reached]:
    """Everything that jobs made from the start, the start included, by depth and name.

    Jobs are taken whole: what a job ever wrote counts as made from all it ever read. That is more than a run's
    own reads and writes tell, never less. A job that wrote nothing, such as a training, stands for itself.
    """
    found = {node: Reached("dataset", node, 0, None, ()) for node in sorted(set(start))}
    jobs: dict[Node, Reached] = {}
    front = list(found.values())
    while front:
        reached: list[Reached] = []
        for before in front:
            for job, read in sorted(trail.reads.get(before.node, {}).items()):
                if job in jobs:
                    continue
                name = "/".join(job)
                jobs[job] = Reached("job", job, before.depth + 1, None, (*before.cites, read), before.node)
                for node, wrote in sorted(trail.writes.get(job, {}).items()):
                    if node not in found:
                        cites = (*before.cites, read, wrote)
                        found[node] = Reached("dataset", node, before.depth + 1, name, cites, before.node)
                        reached.append(found[node])
        front = reached
    # A stage that only reads, such as validate, is the pass itself, whatever the DAG calls its task.
    ends = [r for job, r in jobs.items() if not trail.writes.get(job) and job not in trail.own]
    return sorted([*found.values(), *ends], key=lambda r: (r.depth, r.kind, r.node))


@dataclass(slots=True)
class Version:
    """A released version, and how its segments stand. ``keys`` are ids by segment."""

    run: GovernedRun
    released: Proof
    keys: dict[str, set[str]] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)
    contract: ContractLeaf | None = None

    @property
    def protect(self) -> Proof | None:
        return self.run.stages.get(Stage.PROTECT)

    @property
    def sealed(self) -> bool:
        """Whether every column was sealed, and was tried."""
        columns = [part(c) for c in items(self.protect.facts if self.protect else {}, "columns")]
        kept = [c for c in columns if c.get("dropped") is not True]
        return bool(kept) and all(c.get("encrypted") is True for c in kept)

    def exposure(self, key: str | None) -> tuple[str, str]:
        """How it stands, and why, in words; ``key`` is the one that is lost, else the files are."""
        if self.protect is None or not self.keys:
            return UNKNOWN, "no evidence says under which keys it is sealed"
        left = self.keys.keys() - self.destroyed
        if not left:
            return DESTROYED, "the keys of all its segments are destroyed, as their provider confirms"
        if key is not None:
            hit = [name for name in left if key in self.keys[name]]
            if not hit and not all(self.keys[name] for name in left):
                return UNKNOWN, "no evidence says under which keys all its segments are"
            if hit:
                return EXPOSED, f"the key opens {len(hit)} of its {len(left)} segments"
            return SEALED, "the key opens none of its segments"
        if not self.sealed:
            return EXPOSED, "not every column is sealed"
        return SEALED, "every column is sealed; nobody reads it without its keys, while they are safe"

    def doomed_by(self, step: Proof) -> bool:
        """Whether an erasure's step dooms what is destroyed of it."""
        return bool(self.destroyed & {str(name) for name in items(step.facts, "doomed")})

    @property
    def rows(self) -> int | None:
        rows = self.released.facts.get("rows")
        return rows if isinstance(rows, int) else None

    @property
    def subjects(self) -> int | None:
        """Distinct subjects that were let in."""
        consent = self.run.stages.get(Stage.CONSENT)
        found = part(consent.facts, "subjects").get("allowed") if consent else None
        return found if isinstance(found, int) else None

    @property
    def fewest(self) -> int:
        """Of :attr:`subjects`, how many stand in it at least: each row that was let in and is not there may have been
        the only one about as many people as rows of the dataset can be."""
        consent = self.run.stages.get(Stage.CONSENT)
        allowed = consent.facts.get("allowed") if consent else None
        if self.subjects is None or self.rows is None or not isinstance(allowed, int):
            return 0
        gone = max(0, allowed - self.rows)
        if self.contract is None:
            return min(self.rows, 1) if gone else self.subjects
        people = 1 + len(items(part(self.contract.governance, "subject"), "others"))
        return max(min(self.rows, 1), self.subjects - gone * people)

    @property
    def cites(self) -> list[int]:
        stages = (self.run.stages.get(stage) for stage in (Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT))
        contract = [self.contract.index] if self.contract else []
        return [self.run.opened.index, *contract, *(p.index for p in stages if p), self.released.index]


def versions(trail: Trail) -> list[Version]:
    """Every version that was released, in log order of its opening."""
    gone, made, found = destroyed_segments(trail), _rewritings(trail), []
    keys: dict[tuple[str, str], dict[str, set[str]]] = {}
    for run in trail.runs:
        own = (run.dataset, run.version)
        if part(run.opened.facts, "source").get("kind") == "governed_version":
            before = keys.get((run.dataset, str(run.opened.facts.get("previous_version"))), {})
            keys[own] = _replaced(before, made.get(own))
        else:
            keys[own] = {
                str(said.get("segment_id")): {str(key) for key in part(said, "key_ids").values()}
                for said in segments_of(run)
            }
        if (released := run.release("released")) is not None:
            destroyed = {name for name in keys[own] if gone.get((run.dataset, name), -1) > released.index}
            contract = trail.contract(part(run.opened.facts, "contract"))
            found.append(Version(run, released, keys[own], destroyed, contract))
    return found


def _rewritings(trail: Trail) -> dict[tuple[str, str], Proof]:
    """The step that wrote a version without erased subjects, by dataset and version."""
    steps = (step for step in trail.erasures if step.facts.get("state") == "rewritten")
    return {
        (str(s.facts.get("dataset")), str(s.facts.get("version"))): s for s in steps if "version" in s.facts
    }


def _replaced(before: dict[str, set[str]], step: Proof | None) -> dict[str, set[str]]:
    """Segments after a rewriting. Under which keys the new ones are is in no evidence; without a step, nothing is."""
    if step is None:
        return {}
    pieces = [part(piece) for piece in items(step.facts, "segments")]
    gone = {str(piece.get("from")) for piece in pieces}
    kept = {name: keys for name, keys in before.items() if name not in gone}
    return kept | {str(piece["to"]): set() for piece in pieces if piece.get("to")}


def segments_of(run: GovernedRun) -> list[dict[str, Any]]:
    """The segments that a run's protection states."""
    protect = run.stages.get(Stage.PROTECT)
    return [part(each) for each in items(protect.facts if protect else {}, "segments")]


def destroyed_segments(trail: Trail) -> dict[tuple[str, str], int]:
    """Dataset and segment of what erasures destroyed beyond the provider's doubt, with the entry that says so."""
    doomed: dict[str, str] = {}
    gone: dict[tuple[str, str], int] = {}
    for step in trail.erasures:
        names = [str(name) for name in items(step.facts, "doomed")]
        if step.facts.get("state") == "rewritten":
            doomed |= dict.fromkeys(names, str(step.facts.get("dataset")))
        elif (
            step.facts.get("state") == "destroyed" and step.facts.get("refused") == step.facts.get("keys")
        ) and part(step.facts, "destruction").get("confirmed") is True:
            gone |= {(doomed[name], name): step.index for name in names if name in doomed}
    return gone


@dataclass(frozen=True, slots=True)
class Breach:
    """What is lost, and what that reaches."""

    trail: Trail
    dataset: str | None
    key: str | None
    discovered: str | None
    reached: list[Reached]
    versions: list[Version]
    disclosures: list[Proof]

    def of(self, state: str) -> list[Version]:
        return [v for v in self.versions if v.exposure(self.key)[0] == state]

    @property
    def outside(self) -> list[Reached]:
        """What was reached and is neither a governed dataset nor what the egress step wrote."""
        governed = {(GOVERNED, v.run.dataset) for v in self.versions}
        sent = {
            (DISCLOSED, f"{part(p.facts, 'recipient').get('name')}/{p.facts.get('disclosure_id')}")
            for p in self.disclosures
        }
        return [r for r in self.reached if r.node not in governed | sent]

    @property
    def cites(self) -> list[int]:
        return [
            *(index for v in self.versions for index in v.cites),
            *(p.index for p in self.disclosures),
            *(index for r in self.reached for index in r.cites),
        ]


def assess(
    trail: Trail,
    period: tuple[str, str] | None = None,
    dataset: str | None = None,
    key: str | None = None,
    discovered: str | None = None,
) -> Breach:
    """What a breach of a dataset, of a key, or in a span of time reaches; of everything when nothing is named."""
    every = versions(trail)
    lost = [v for v in every if key is None or any(key in keys for keys in v.keys.values())]
    lost = [v for v in lost if period is None or v.released.received_at <= period[1]]
    start: set[tuple[str, str]] = {(GOVERNED, v.run.dataset) for v in lost}
    if dataset is not None:
        known = {*trail.reads, *(node for written in trail.writes.values() for node in written), *start}
        start = {n for n in known if dataset in (n[1], "/".join(n))} & (start if key is not None else known)
    reached = closure(trail, start)
    names = {r.node[1] for r in reached if r.node[0] == GOVERNED}
    disclosures = [p for p in trail.disclosures if str(p.facts.get("dataset")) in names]
    if period is not None:
        disclosures = [p for p in disclosures if period[0] <= p.received_at <= period[1]]
    touched = [v for v in every if v.run.dataset in names]
    touched = [v for v in touched if period is None or v.released.received_at <= period[1]]
    return Breach(trail, dataset, key, discovered, reached, touched, disclosures)
