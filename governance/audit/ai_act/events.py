"""Events of an AI system's data in the log, with what the AI Act wants them recorded for: Art. 12(2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from governance.audit.activity import pinned
from governance.audit.ai_act.lineage import MODELS, System
from governance.audit.declarations import items, part, words
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.evidence import Stage

RISK = "situations of risk or substantial modification, 12(2)(a)"
MONITORING = "post-market monitoring, 12(2)(b)"
OPERATION = "operation, 12(2)(c)"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, of what, and how it went. ``signed``: a key of the pipeline vouches for it."""

    index: int
    received_at: str
    stated_at: str | None
    what: str
    about: Mapping[str, Any]
    outcome: Mapping[str, Any]
    serves: tuple[str, ...]
    signed: bool = True
    people: Mapping[str, Any] | None = None
    cites: tuple[int, ...] = ()

    @property
    def routine(self) -> bool:
        """A step of a run that went as it should, in which no person had a part."""
        return RISK not in self.serves and OPERATION in self.serves and not self.people


def events(trail: Trail, found: Iterable[System]) -> list[Event]:
    """Every event about the systems and the datasets that went into them, in log order."""
    systems = list(found)
    datasets = {used.dataset for system in systems for used in system.used}
    datasets |= {system.name for system in systems if not system.is_model}
    made: dict[int, Event] = {}
    for event in (
        *_of_runs(trail, datasets),
        *_of_others(trail, datasets),
        *_trainings(systems),
    ):
        made.setdefault(event.index, event)
    return [made[index] for index in sorted(made)]


def _about(run: GovernedRun) -> dict[str, Any]:
    return {"dataset": run.dataset, "version": run.version, "purpose": run.purpose}


def _of_runs(trail: Trail, datasets: set[str]) -> Iterator[Event]:
    before: dict[str, GovernedRun] = {}
    for run in trail.runs:
        if run.dataset not in datasets:
            continue
        yield _opened(run, before.get(run.dataset))
        before[run.dataset] = run
        # A version that an erasure wrote rests on evidence of the one before: that is told there.
        own = [p for p in run.stages.values() if p.context.get("version") == run.version]
        for proof in (*own, *run.superseded):
            yield _stage(run, proof)
        for proof in run.releases:
            yield _release(run, proof)


def _opened(run: GovernedRun, before: GovernedRun | None) -> Event:
    changed = [
        what
        for what in ("contract", "policy")
        if before is not None and pinned(run, what).get("digest") != pinned(before, what).get("digest")
    ]
    changed += [
        what.replace("_", " ")
        for what in ("detectors", "text_models")
        if before is not None and items(run.opened.facts, what) != items(before.opened.facts, what)
    ]
    source = part(run.opened.facts, "source")
    outcome: dict[str, Any] = {"source": source.get("kind"), "files": len(items(source, "files"))}
    if changed:
        outcome["changed_since_the_run_before"] = changed
    return _event(
        run.opened, "run opened", _about(run), outcome, (RISK, OPERATION) if changed else (OPERATION,)
    )


def _stage(run: GovernedRun, proof: Proof) -> Event:
    facts = proof.facts
    if proof.stage is Stage.CLASSIFY:
        columns = [part(c) for c in items(facts, "columns")]
        differing = sum(c.get("agreement") == "differs" for c in columns)
        outcome = {"rows": facts.get("rows"), "columns": len(columns), "differing": differing}
        return _event(proof, "columns classified", _about(run), outcome, (OPERATION,))
    if proof.stage is Stage.CONSENT:
        outcome = {name: facts.get(name) for name in ("rows", "allowed", "denied")}
        return _event(proof, "consent decided", _about(run), outcome, (MONITORING, OPERATION))
    if proof.stage is Stage.PROTECT:
        outcome = {name: facts.get(name) for name in ("rows_in", "rows_quarantined", "rows_out")}
        return _event(proof, "rows protected", _about(run), outcome, (OPERATION,))
    if proof.stage is Stage.VALIDATE:
        failed = [
            str(r.get("rule") or r.get("expectation"))
            for r in map(part, items(facts, "results"))
            if r.get("success") is not True
        ]
        outcome = {"success": facts.get("success") is True, "rules_failed": failed or None}
        serves = (MONITORING, OPERATION) if facts.get("success") is True else (RISK, MONITORING)
        return _event(proof, "version validated", _about(run), outcome, serves)
    people = (
        {name: facts.get(name) for name in ("approver", "triggered_by")}
        if proof.stage is Stage.APPROVE
        else None
    )
    what = "release approved" if people else proof.stage.value
    return _event(proof, what, _about(run), {"reason": facts.get("reason")}, (MONITORING, OPERATION), people)


def _release(run: GovernedRun, proof: Proof) -> Event:
    state, facts = str(proof.facts.get("state")), proof.facts
    late = facts.get("late_withdrawals")
    outcome: dict[str, Any] = {
        "rows": facts.get("rows"),
        "late_withdrawals": late or None,
        "reasons": [str(part(r).get("code")) for r in items(facts, "reasons")] or None,
    }
    risky = state in ("quarantined", "abandoned") or bool(late) or facts.get("recovered") is True
    return _event(
        proof, f"release: {state}", _about(run), outcome, (RISK, OPERATION) if risky else (OPERATION,)
    )


def _of_others(trail: Trail, datasets: set[str]) -> Iterator[Event]:
    for proof in trail.disclosures:
        facts = proof.facts
        if str(facts.get("dataset")) in datasets:
            about = {name: facts.get(name) for name in ("dataset", "version", "purpose")}
            to = words(part(facts, "recipient"), "name")
            yield _event(
                proof, "disclosed", about, {"recipient": to, "rows": facts.get("rows")}, (MONITORING,)
            )
    for proof in trail.erasures:
        if str(proof.facts.get("dataset")) in datasets:
            about = {name: proof.facts.get(name) for name in ("dataset", "version")}
            outcome = {name: proof.facts.get(name) for name in ("state", "rows")}
            yield _event(proof, "subjects erased", about, outcome, (RISK, MONITORING))
    yield from _grants(trail, datasets)
    yield from _reads(trail, datasets)


def _grants(trail: Trail, datasets: set[str]) -> Iterator[Event]:
    """Keys asked for, counted by version, state and day: a run asks for many."""
    same: dict[tuple[str, ...], list[Proof]] = {}
    for proof in trail.grants:
        if str(proof.context.get("dataset")) in datasets:
            key = (str(proof.context.get("version")), str(proof.facts.get("state")), proof.received_at[:10])
            same.setdefault(key, []).append(proof)
    for (_, state, _), proofs in same.items():
        about = {name: proofs[0].context.get(name) for name in ("dataset", "version", "purpose")}
        serves = (RISK,) if state == "refused" else (OPERATION,)
        made = _event(proofs[0], f"keys {state}", about, {"times_that_day": len(proofs)}, serves)
        yield _citing(made, [p.index for p in proofs])


def _reads(trail: Trail, datasets: set[str]) -> Iterator[Event]:
    """Governed reads, likewise. Their leaves are the pipeline's, unsigned."""
    same: dict[tuple[str, ...], list[Any]] = {}
    for action in trail.activity.actions:
        if action.kind == "version_read" and str(action.said.get("dataset")) in datasets:
            key = tuple(str(action.said.get(n)) for n in ("dataset", "version", "purpose"))
            same.setdefault((*key, action.received_at[:10]), []).append(action)
    for actions in same.values():
        about = {name: words(actions[0].said, name) for name in ("dataset", "version", "purpose")}
        first = actions[0]
        made = Event(
            first.index, first.received_at, words(first.said, "read_at"), "read", about,
            {"times_that_day": len(actions)}, (OPERATION,), signed=False,
        )  # fmt: skip
        yield _citing(made, [a.index for a in actions])


def _trainings(systems: Iterable[System]) -> Iterator[Event]:
    for system in systems:
        for leaf in system.trainings:
            inputs = [part(i) for i in items(leaf.body, "inputs")]
            outcome = {
                "digest": words(leaf.body, "digest"),
                "trained_on": [f"{i.get('dataset')} {i.get('version')}" for i in inputs],
            }
            about = {"model": system.name.removeprefix(MODELS), "purpose": words(leaf.body, "purpose")}
            yield Event(
                leaf.index, leaf.received_at, None, "model trained", about, outcome, (RISK, OPERATION), signed=False
            )  # fmt: skip


def _event(
    proof: Proof,
    what: str,
    about: Mapping[str, Any],
    outcome: Mapping[str, Any],
    serves: tuple[str, ...],
    people: Mapping[str, Any] | None = None,
) -> Event:
    return Event(
        proof.index, proof.received_at, proof.event_time, what, about, outcome, serves, people=people
    )


def _citing(event: Event, cites: list[int]) -> Event:
    return Event(
        event.index, event.received_at, event.stated_at, event.what, event.about, event.outcome, event.serves,
        event.signed, event.people, tuple(cites),
    )  # fmt: skip
