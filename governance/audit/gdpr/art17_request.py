"""A request for erasure, as evidence of its steps and its tombstone have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.audit.declarations import items, part
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.signed_leaf import is_signed
from governance.model.statements import REPLAYED


@dataclass(slots=True)
class Erasure:
    """A request with the steps that evidence has of it, in log order; ``tombstone`` where the log has one."""

    trail: Trail
    request: str
    steps: list[Proof] = field(default_factory=list)
    tombstone: tuple[int, Mapping[str, Any]] | None = None

    def of(self, state: str) -> list[Proof]:
        return [step for step in self.steps if step.facts.get("state") == state]

    @property
    def asked(self) -> Proof | None:
        """The step that says what was asked, else the first that is known."""
        return next(iter(self.of("requested") or self.steps), None)

    @property
    def ended(self) -> Proof | None:
        return next((s for s in reversed(self.of("searched")) if s.facts.get("complete") is True), None)

    @property
    def destruction(self) -> dict[str, Any]:
        """What the newest destruction says of its confirmation."""
        return part(self.of("destroyed")[-1].facts, "destruction") if self.of("destroyed") else {}

    @property
    def held(self) -> int:
        steps = [self.ended] if self.ended else [*self.of("suppressed")[:1], *self.steps[:1]]
        return next((int(s.facts["held"]) for s in steps if s and isinstance(s.facts.get("held"), int)), 0)

    @property
    def state(self) -> str:
        if self.asked is None:
            return "not proven"
        if not self.asked.facts.get("subjects"):
            return "nothing known"
        if self.ended is None:
            return "suppressed" if self.of("suppressed") else "requested"
        if self.held:
            return "held"
        # A destruction whose confirmation nobody recorded is not confirmed.
        return (
            "complete" if not self.of("destroyed") or self.destruction.get("confirmed") is True else "pending"
        )

    @property
    def cites(self) -> list[int]:
        return [step.index for step in self.steps] + ([self.tombstone[0]] if self.tombstone else [])

    def said(self, name: str) -> list[dict[str, Any]]:
        """A list that the request's step states."""
        return [part(each) for each in items(self.asked.facts if self.asked else {}, name)]

    def replayed(self) -> list[int]:
        """Where the log says that a vault from before the erasure was brought up to its tombstone."""
        stone = self.tombstone[0] if self.tombstone else None
        return [
            said.index
            for said in self.trail.statements.get(REPLAYED, [])
            if stone in items(said.body, "tombstones")
            and is_signed(said.body, REPLAYED, self.trail.evidence_key)
        ]

    def runs(self) -> list[tuple[Proof, GovernedRun | None]]:
        """Rewriting steps with the run that released what they wrote."""
        return [
            (step, _run(self.trail, step.facts)) for step in self.of("rewritten") if "version" in step.facts
        ]


def erasures(trail: Trail, request: str | None = None) -> list[Erasure]:
    """Every request that evidence or a tombstone names, in the order of its first entry."""
    found: dict[str, Erasure] = {}
    for step in trail.erasures:
        for name in dict.fromkeys(map(str, items(step.context, "requests"))):
            found.setdefault(name, Erasure(trail, name)).steps.append(step)
    for index, said in trail.tombstones:
        erasure = found.setdefault(str(said.get("request")), Erasure(trail, str(said.get("request"))))
        erasure.tombstone = erasure.tombstone or (index, said)
    every = sorted(found.values(), key=lambda erasure: min(erasure.cites))
    return [erasure for erasure in every if request in (None, erasure.request)]


def copies_of(e: Erasure) -> list[dict[str, Any]]:
    """One a segment: what became of it, under which keys, when, and whether it was tried afterwards."""
    copies: dict[str, dict[str, Any]] = {}
    for step in e.of("rewritten"):
        replaced = {str(p.get("from")): p for p in map(part, items(step.facts, "segments"))}
        aside = {str(p.get("from")): p for p in map(part, items(step.facts, "quarantine"))}
        for name in map(str, items(step.facts, "doomed")):
            piece = replaced.get(name) or aside.get(name) or {}
            copies[name] = {
                "dataset": step.facts.get("dataset"),
                "copy": name,
                "method": (
                    "rewritten without the subjects, old key destroyed"
                    if piece.get("to")
                    else "key destroyed"
                ),
                "rows_dropped": piece.get("dropped"),
                "key_ids": _key_ids(e.trail, str(step.facts.get("dataset")), name),
                "executed_at": None,
                "tried_and_refused": None,
            }
    for step in e.of("destroyed"):
        for name in map(str, items(step.facts, "doomed")):
            if name in copies:
                copies[name]["executed_at"] = step.received_at
                copies[name]["tried_and_refused"] = step.facts.get("refused") == step.facts.get("keys")
    return [copies[name] for name in sorted(copies)]


def _key_ids(trail: Trail, dataset: str, segment: str) -> list[str]:
    for run in trail.runs:
        if run.dataset == dataset:
            for proof in run.stages.values():
                for said in map(part, items(proof.facts, "segments")):
                    if said.get("segment_id") == segment:
                        return sorted({str(key) for key in part(said, "key_ids").values()})
    return []


def _run(trail: Trail, facts: Mapping[str, Any]) -> GovernedRun | None:
    made = (str(facts.get("dataset")), str(facts.get("version")))
    return next((run for run in reversed(trail.runs) if (run.dataset, run.version) == made), None)


def count_of(step: Proof, name: str) -> int:
    """A figure of a step; 0 where it states none."""
    found = step.facts.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0
