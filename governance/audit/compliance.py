"""The state of compliance: what is amiss first, what cannot be known second, then every dataset in one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from governance.audit.cells import Basis, Cell, Column, Remark, Row, observed, remark, unknown
from governance.audit.coverage import (
    coverage,
    coverage_exceptions,
    coverage_statement,
    coverage_unknowns,
)
from governance.audit.declarations import items, part, words
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted
from governance.audit.run_remarks import run_exceptions, run_unknowns
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.evidence import Stage

COLUMNS = (
    Column("version", "Version in use", "GDPR Art. 5(2)"),
    Column("runs", "Runs, by how they ended", "GDPR Art. 5(2)"),
    Column("rows", "Rows of that version", "GDPR Art. 5(1)(c)"),
    Column("denied", "Rows left out, by reason", "GDPR Art. 6, 7, 9; 45 CFR 164.508"),
    Column("protection", "Columns, by what was done to them", "GDPR Art. 32; 45 CFR 164.312"),
    Column("quality", "Rules judged on what was written", "GDPR Art. 5(1)(d)"),
    Column("approval", "Approval of its release", "GDPR Art. 24"),
    Column("disclosures", "Disclosures, by recipient", "GDPR Art. 30(1)(d); 45 CFR 164.528"),
    Column("erased", "Times rewritten without erased subjects", "GDPR Art. 17"),
)

_NOTHING = "no version of it was released"


@dataclass(slots=True)
class Governed:
    """A dataset with its runs, disclosures and rewritings, in log order."""

    name: str
    runs: list[GovernedRun] = field(default_factory=list)
    sent: list[Proof] = field(default_factory=list)
    rewritten: list[Proof] = field(default_factory=list)

    @property
    def newest(self) -> GovernedRun | None:
        """The run whose release came last."""
        released = [(proof.index, run) for run in self.runs if (proof := run.release("released"))]
        return max(released, key=lambda pair: pair[0])[1] if released else None

    @property
    def opened(self) -> list[int]:
        return [run.opened.index for run in self.runs]

    def indexes(self) -> Iterable[int]:
        for run in self.runs:
            yield from run.indexes()
        for proof in (*self.sent, *self.rewritten):
            yield proof.index


def datasets(trail: Trail) -> list[Governed]:
    """Every dataset that a run opened or a disclosure named, by name."""
    found: dict[str, Governed] = {}
    for run in trail.runs:
        found.setdefault(run.dataset, Governed(run.dataset)).runs.append(run)
    for proof in trail.disclosures:
        name = str(proof.context.get("dataset"))
        found.setdefault(name, Governed(name)).sent.append(proof)
    for proof in trail.erasures:
        name = str(proof.facts.get("dataset"))
        if proof.facts.get("state") == "rewritten" and name in found:
            found[name].rewritten.append(proof)
    return [found[name] for name in sorted(found)]


def draft(trail: Trail, _period: tuple[str, str] | None) -> Draft:
    """The state as of the trail's end."""
    found = datasets(trail)
    refused = [proof for proof in trail.grants if proof.facts.get("state") == "refused"]
    covered = coverage(trail)
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": [dataset.name for dataset in found],
            "contains": "Every dataset that a governed run opened or a disclosure named. What was never governed is not "
            "in it.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=[_row(dataset) for dataset in found],
        exceptions=[
            *run_exceptions(trail),
            *_exceptions(trail, found, refused),
            *coverage_exceptions(covered),
        ],
        unknowns=[*run_unknowns(trail), *coverage_unknowns(covered)],
        examined={
            "datasets": len(found),
            "in_use": sum(dataset.newest is not None for dataset in found),
            "runs": len(trail.runs),
            "disclosures": len(trail.disclosures),
            "erasure_steps": len(trail.erasures),
            "keys_refused": len(refused),
            "coverage": covered.counts(),
        },
        statements=(
            "No exception is no finding of compliance: it says that nothing the log shows is amiss.",
            coverage_statement(covered),
        ),
        supports=frozenset(
            (
                *newest_support(trail),
                *(index for dataset in found for index in dataset.indexes()),
                *(proof.index for proof in (*trail.erasures, *trail.grants)),
                *(said.index for said in trail.declared),
                *(task.index for task in trail.failed),
                *([] if covered.index is None else [covered.index]),
            )
        ),
    )


def _row(dataset: Governed) -> Row:
    newest = dataset.newest
    states = Counter(run.state for run in dataset.runs)
    return Row(
        dataset.name,
        dataset.name,
        {
            "version": _version(dataset, newest),
            "runs": observed(dict(sorted(states.items())), dataset.opened),
            "rows": _stated(newest, Stage.PROTECT, _rows),
            "denied": _stated(newest, Stage.CONSENT, _denied),
            "protection": _stated(newest, Stage.PROTECT, _protection),
            "quality": _stated(newest, Stage.VALIDATE, _quality),
            "approval": _approval(newest),
            "disclosures": observed(
                dict(sorted(Counter(_recipient(proof) for proof in dataset.sent).items())),
                [*(proof.index for proof in dataset.sent), *dataset.opened],
            ),
            "erased": observed(
                len(dataset.rewritten), [*(p.index for p in dataset.rewritten), *dataset.opened]
            ),
        },
    )


def _version(dataset: Governed, newest: GovernedRun | None) -> Cell:
    if newest is None:
        return unknown(_NOTHING, dataset.opened)
    proof = newest.release("released")
    value = {"version": newest.version, "purpose": newest.purpose, "released_at": proof and proof.received_at}
    return observed(value, [newest.opened.index, *([proof.index] if proof else [])])


def _stated(run: GovernedRun | None, stage: Stage, told: Any) -> Cell:
    """What a stage of the version in use proved, in the words of this report."""
    if run is None:
        return unknown(_NOTHING)
    proof = run.stages.get(stage)
    if proof is None:
        return unknown(f"{stage} of the version in use is not in evidence", [run.opened.index])
    return observed(told(proof.facts), [run.opened.index, proof.index])


def _rows(facts: Any) -> dict[str, Any]:
    said = {
        "read": "rows_in",
        "denied": "rows_denied",
        "quarantined": "rows_quarantined",
        "released": "rows_out",
    }
    return {name: facts.get(key) for name, key in said.items()}


def _denied(facts: Any) -> dict[str, Any]:
    reasons = part(facts, "by_reason")
    return {reason: rows for reason, rows in sorted(reasons.items()) if reason != "allowed"}


def _protection(facts: Any) -> dict[str, int]:
    methods = Counter(str(part(column).get("method")) for column in items(facts, "columns"))
    return dict(sorted(methods.items()))


def _quality(facts: Any) -> dict[str, Any]:
    judged = [part(rule) for rule in items(facts, "results")]
    failed = sum(rule.get("success") is not True for rule in judged)
    return {"success": facts.get("success") is True, "rules_judged": len(judged), "rules_failed": failed}


def _approval(run: GovernedRun | None) -> Cell:
    if run is None:
        return unknown(_NOTHING)
    proof = run.stages.get(Stage.APPROVE)
    if proof is None:
        return observed("none was asked for", run.indexes())
    value = {name: proof.facts.get(name) for name in ("approver", "decided_at", "reason")}
    return observed(value, [run.opened.index, proof.index])


def _recipient(proof: Proof) -> str:
    return words(part(proof.facts, "recipient"), "name") or "an unnamed recipient"


def _exceptions(trail: Trail, found: list[Governed], refused: list[Proof]) -> Iterable[Remark]:
    for dataset in found:
        if dataset.sent and dataset.newest is None:
            yield remark(
                "disclosed-unreleased",
                f"{dataset.name} was disclosed and no released version of it is in evidence.",
                (proof.index for proof in dataset.sent),
            )
    if trail.declared:
        yield remark(
            "evidence-not-proven",
            f"{counted(len(trail.declared), 'event')} claim to be evidence, and their signature or sender does not bear "
            "it out.",
            (said.index for said in trail.declared),
            basis=Basis.DECLARED,
        )
    if refused:
        yield remark(
            "keys-refused",
            f"The key broker refused keys {counted(len(refused), 'time')}.",
            (proof.index for proof in refused),
        )


REPORT = ReportKind(
    kind="compliance",
    title="State of compliance",
    law="Regulation (EU) 2016/679 (GDPR), Articles 5(2) and 24; 45 CFR 164.306",
    template_version=2,
    takes_period=False,
    draft=draft,
    present=present,
)
