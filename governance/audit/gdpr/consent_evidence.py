"""Evidence of consent, by purpose: GDPR Art. 7(1) and 5(2).

One row is a purpose. Who consented to what stands in the consent ledger and a receipt; the log shows which
batches it was made of, and what was decided on it, row by row and by count, for each run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from governance.audit.activity import pinned
from governance.audit.cells import (
    Basis,
    Cell,
    Column,
    Remark,
    Row,
    conflicting,
    declared,
    observed,
    remark,
    unknown,
)
from governance.audit.declarations import PolicyLeaf, part, words
from governance.audit.law import CONDITIONS, LAWFUL_BASES
from governance.audit.newest import newest_organisation, newest_policy, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.evidence import Stage

COLUMNS = (
    Column("purpose", "Purpose, in the words of the policy", "Art. 7(2), 13(1)(c)"),
    Column("basis", "Lawful basis", "Art. 6(1), 9(2)"),
    Column("controllers", "Controllers who rely on it", "Art. 7(1)"),
    Column("records", "Records of consent and withdrawal", "Art. 7(1), 7(3)"),
    Column("decisions", "Decisions, by run", "Art. 5(2), 7(1)"),
    Column("denied", "Rows left out, by reason", "Art. 5(1)(a)"),
    Column("withdrawals", "Withdrawals that came during a run", "Art. 7(3)"),
    Column("backdated", "Consents recorded after their date", "Art. 7(1)"),
    Column("notice", "Notice and form that were used", "Art. 7(2), 13"),
    Column("disclosures", "Rows withheld at disclosures", "Art. 7(3)"),
)


@dataclass(slots=True)
class Consented:
    """A purpose with the runs and disclosures that were for it. ``policy`` is the newest that a run for it pinned."""

    trail: Trail
    name: str
    policy: PolicyLeaf | None = None
    runs: list[GovernedRun] = field(default_factory=list)
    sent: list[Proof] = field(default_factory=list)

    @property
    def said(self) -> dict[str, Any]:
        return (self.policy.purpose(self.name) if self.policy else None) or {}

    @property
    def basis(self) -> str | None:
        return words(part(self.said, "gdpr"), "basis")

    @property
    def decided(self) -> list[tuple[GovernedRun, Proof]]:
        """Runs with their decision; that of a version written without erased subjects is the one before's."""
        found = [(run, proof) for run in self.runs if (proof := run.stages.get(Stage.CONSENT)) is not None]
        return list({proof.index: (run, proof) for run, proof in reversed(found)}.values())[::-1]

    @property
    def cites(self) -> list[int]:
        return [*self.policy_cite, *(r.opened.index for r in self.runs), *(p.index for p in self.sent)]

    @property
    def policy_cite(self) -> list[int]:
        return [self.policy.index] if self.policy else []


def purposes(trail: Trail) -> list[Consented]:
    """Every purpose that the newest policy declares, or that a run or disclosure was for, by name."""
    newest = newest_policy(trail)
    found: dict[str, Consented] = {}
    for name in part(newest.root if newest else None, "purposes"):
        found[name] = Consented(trail, name, newest)
    for run in trail.runs:
        at = found.setdefault(run.purpose, Consented(trail, run.purpose))
        at.policy = trail.policy(pinned(run, "policy")) or at.policy
        at.runs.append(run)
    for proof in trail.disclosures:
        name = str(proof.facts.get("purpose"))
        found.setdefault(name, Consented(trail, name)).sent.append(proof)
    return [found[name] for name in sorted(found)]


def draft(trail: Trail, _period: tuple[str, str] | None) -> Draft:
    """The evidence as of the trail's end."""
    found = purposes(trail)
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({run.dataset for c in found for run in c.runs}),
            "purposes": [c.name for c in found],
            "contains": "Every purpose that the newest pinned policy declares, or that a governed run or a disclosure "
            "was for. Processing outside the governed pass is not in it.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=[_row(c) for c in found],
        exceptions=[r for c in found for r in _exceptions(c)],
        unknowns=[],
        examined={
            "purposes": len(found),
            "on_consent": sum(c.basis == "consent" for c in found),
            "decisions": sum(len(c.decided) for c in found),
            "batches": len(trail.batches),
            "records": sum(_count(body.get("rows")) for _, body in trail.batches),
            "records_by_action": dict(sorted(_actions(trail).items())),
        },
        statements=(
            "The log holds no subject. Whether one person consented, when, and on which notice is answered by a "
            "receipt from the ledger, whose batches stand here by digest.",
            "Records are counted over all purposes: a batch does not say which purposes its records are for.",
        ),
        supports=frozenset(_supports(trail, found)),
    )


def _supports(trail: Trail, found: list[Consented]) -> Iterable[int]:
    yield from newest_support(trail)
    yield from (index for index, _ in trail.batches)
    for c in found:
        yield from c.cites
        for run in c.runs:
            yield from run.indexes()


def _row(c: Consented) -> Row:
    cells = {
        "purpose": (
            declared({"name": c.name, "description": words(c.said, "description")}, c.policy_cite)
            if c.said
            else conflicting({"name": c.name}, c.cites, "the pinned policy does not list it")
        ),
        "basis": _basis(c),
        "controllers": _controllers(c),
        "records": _records(c),
        "decisions": _decisions(c),
        "denied": _denied(c),
        "withdrawals": _withdrawals(c),
        "backdated": _backdated(c),
        "notice": unknown(
            "which notice and form each person saw stands in the ledger's records, not in the log"
        ),
        "disclosures": (
            observed(sum(_count(p.facts.get("withheld")) for p in c.sent), [p.index for p in c.sent])
            if c.sent
            else unknown("nothing was disclosed for it", c.policy_cite)
        ),
    }
    return Row(c.name, c.name, cells)


def _basis(c: Consented) -> Cell:
    if c.basis is None:
        return unknown("the policy gives this purpose no lawful basis", c.policy_cite)
    condition = words(part(c.said, "gdpr"), "condition")
    value = {
        "basis": c.basis,
        "article": LAWFUL_BASES.get(c.basis),
        "condition": condition,
        "condition_article": CONDITIONS.get(condition or ""),
    }
    return declared(value, c.policy_cite)


def _controllers(c: Consented) -> Cell:
    names: set[str] = set()
    cites = list(c.policy_cite)
    for run in c.runs:
        contract = c.trail.contract(pinned(run, "contract"))
        said = c.policy.controller(contract.subject_domain) if c.policy and contract else None
        if contract and said and words(said, "name"):
            names.add(str(said["name"]))
            cites.append(contract.index)
    return declared(sorted(names), cites) if names else unknown("no run for it names a controller", c.cites)


def _records(c: Consented) -> Cell:
    """The batches that the newest decision stood on."""
    position = max((_count(proof.facts.get("position")) for _, proof in c.decided), default=None)
    if position is None:
        return unknown("no decision for it is in evidence", c.cites)
    batches = [(index, body) for index, body in c.trail.batches if _count(body.get("position")) <= position]
    cites = [*(index for index, _ in batches), *(proof.index for _, proof in c.decided)]
    if {_count(body.get("position")) for _, body in batches} != set(range(1, position + 1)):
        return conflicting(
            position, cites, f"the log has not every batch up to position {position} of the ledger"
        )
    value = [
        {
            "position": body.get("position"),
            "recorded_at": body.get("recorded_at"),
            "records": body.get("rows"),
            "source": body.get("source"),
        }
        for _, body in batches
    ]
    return observed(value, cites)


def _decisions(c: Consented) -> Cell:
    if not c.decided:
        return unknown("no decision for it is in evidence", c.cites)
    value = [
        {
            "dataset": run.dataset,
            "version": run.version,
            "at": proof.facts.get("instant"),
            "position": proof.facts.get("position"),
            "rows": proof.facts.get("rows"),
            "allowed": proof.facts.get("allowed"),
            "subjects_allowed": part(proof.facts, "subjects").get("allowed"),
        }
        for run, proof in c.decided
    ]
    return observed(value, [proof.index for _, proof in c.decided])


def _denied(c: Consented) -> Cell:
    if not c.decided:
        return unknown("no decision for it is in evidence", c.cites)
    reasons: Counter[str] = Counter()
    for _, proof in c.decided:
        for reason, rows in part(proof.facts, "by_reason").items():
            if reason != "allowed":
                reasons[reason] += _count(rows)
    return observed(dict(sorted(reasons.items())), [proof.index for _, proof in c.decided])


def _withdrawals(c: Consented) -> Cell:
    released = [p for run in c.runs for p in run.releases if p.facts.get("state") == "released"]
    if not released:
        return unknown("no version was released for it", c.cites)
    value = sum(_count(p.facts.get("late_withdrawals")) for p in released)
    return observed(value, [p.index for p in released], "checked again at each release")


def _backdated(c: Consented) -> Cell:
    if not c.decided:
        return unknown("no decision for it is in evidence", c.cites)
    value = sum(_count(part(proof.facts, "backdated").get("subjects")) for _, proof in c.decided)
    return observed(value, [proof.index for _, proof in c.decided], "decided on the time of recording")


def _exceptions(c: Consented) -> Iterable[Remark]:
    for run in c.runs:
        released = run.release("released")
        if released is not None and run.stages.get(Stage.CONSENT) is None:
            yield remark(
                "consent-not-decided",
                f"{run.dataset} {run.version} was released for {c.name}, and no decision on consent is in evidence.",
                [run.opened.index, released.index],
                count=1,
            )
    records, late, backdated = _records(c), _withdrawals(c), _backdated(c)
    if records.basis is Basis.CONFLICTING:
        yield remark(
            "batches-missing", f"{c.name}: {records.note}.", records.cites, basis=Basis.CONFLICTING, count=1
        )
    if late.value:
        yield remark(
            "late-withdrawals",
            f"{counted(late.value, 'withdrawal')} for {c.name} came between a run's start and its release.",
            late.cites,
            count=late.value,
        )
    if backdated.value:
        yield remark(
            "backdated-consents",
            f"Consents of {counted(backdated.value, 'subject')} for {c.name} were recorded after their own date.",
            backdated.cites,
            count=backdated.value,
        )
    if not c.said:
        yield remark(
            "purpose-not-declared",
            f"{c.name} is in no pinned policy.",
            c.cites,
            basis=Basis.CONFLICTING,
            count=1,
        )


def _actions(trail: Trail) -> Counter[str]:
    found: Counter[str] = Counter()
    for _, body in trail.batches:
        for action, rows in part(body, "actions").items():
            found[action] += _count(rows)
    return found


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


REPORT = ReportKind(
    kind="consent-evidence",
    title="Evidence of consent, by purpose",
    law="Regulation (EU) 2016/679 (GDPR), Articles 7 and 5(2)",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
)
