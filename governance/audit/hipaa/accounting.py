"""Accounting of disclosures: 45 CFR 164.528(b).

It lists what left by dataset version. What (a)(1) leaves out is counted by ground, never listed. A
ground that the pinned policy does not bear out does not exclude: the disclosure is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
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
from governance.audit.declarations import ContractLeaf, PolicyLeaf, part, words
from governance.audit.gdpr.art30_observed import classifications
from governance.audit.hipaa.accounting_text import present
from governance.audit.law import EXCLUSIONS, LOOK_BACK_YEARS, NOT_PHI, PERMISSIONS
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.record import Draft, Period, ReportKind, counted, listed
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.lineage.reading import instant_of
from governance.model.canonical import timestamp
from governance.model.evidence import Stage

COLUMNS = (
    Column("date", "Date of the disclosure", "164.528(b)(2)(i)"),
    Column("recipient", "Recipient", "164.528(b)(2)(ii)"),
    Column("address", "Address, if known", "164.528(b)(2)(ii)"),
    Column("description", "Protected health information disclosed", "164.528(b)(2)(iii)"),
    Column("purpose", "Purpose", "164.528(b)(2)(iv)"),
    Column("extent", "Rows and individuals", "164.528(b)(4)"),
    Column("ground", "Ground", "164.512, 164.508"),
)


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A disclosure with what its version's run pinned, and why it is left out, if it is.

    ``doubt`` says why a claimed exclusion was not followed.
    """

    proof: Proof
    run: GovernedRun | None
    policy: PolicyLeaf | None
    contract: ContractLeaf | None
    excluded: str | None
    doubt: str | None

    @property
    def supports(self) -> tuple[int, ...]:
        """What the judgement rests on beside the disclosure itself."""
        run = [self.run.opened.index, *(p.index for p in self.run.releases)] if self.run else []
        return (*run, *(d.index for d in (self.policy, self.contract) if d is not None))


def draft(trail: Trail, asked: tuple[str, str] | None) -> Draft:
    """The accounting for the six years before the trail's end, or for the period asked."""
    period = accounted_period(trail, asked)
    every = [judged(trail, proof) for proof in trail.disclosures]
    inside = [d for d in every if within(d.proof, period)]
    rows = [d for d in inside if d.excluded is None]
    claimed = [d for d in trail.declared if d.stage is Stage.DISCLOSE]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({str(d.proof.facts.get("dataset")) for d in inside}),
            "contains": "Every disclosure by the egress step that the log shows in the period, by dataset version. "
            "Disclosures made by other means are not in it.",
        },
        period=period,
        columns=COLUMNS,
        rows=[row(d) for d in rows],
        exceptions=[*_claimed(claimed), *_exceptions(inside)],
        unknowns=[*unreached(trail, period)],
        examined={
            "disclosures": len(every),
            "outside_period": len(every) - len(inside),
            "listed": len(rows),
            "excluded": len(inside) - len(rows),
            "excluded_by_ground": by_ground(inside),
            "declared_only": len(claimed),
        },
        statements=(
            "The accounting is by dataset version. Which patients a version holds is not in the log; a "
            "request by one patient is answered with the membership of the listed versions.",
            "Suspensions that a health oversight agency or law enforcement official asked for (164.528(a)(2)) are in the "
            "register of requests, and leave nothing out here.",
        ),
        supports=frozenset(
            [*newest_support(trail), *(index for d in every for index in (d.proof.index, *d.supports))]
        ),
        extra={"series": series(rows), "omitted": omitted(inside)},
    )


def judged(trail: Trail, proof: Proof) -> Disclosed:
    """A disclosure with why it is left out, if the policy bears that out."""
    run = trail.run_of(proof.context)
    policy = trail.policy(pinned(run, "policy")) if run else None
    contract = trail.contract(pinned(run, "contract")) if run else None
    said = part(proof.facts, "accounting")
    if said.get("applies") is not False:
        return Disclosed(proof, run, policy, contract, None, None)
    ground = _ground(said)
    doubt = _doubt(ground, str(proof.facts.get("purpose")), policy, contract)
    return Disclosed(proof, run, policy, contract, None if doubt else ground, doubt)


def _doubt(ground: str, purpose: str, policy: PolicyLeaf | None, contract: ContractLeaf | None) -> str | None:
    """Why a claimed exclusion is not followed."""
    if ground not in EXCLUSIONS:
        return "it was recorded as excluded on a ground that 164.528(a)(1) does not have"
    if ground == NOT_PHI:
        phi = contract is None or contract.covered_entity
        return "the pinned contract does not say that it is no protected health information" if phi else None
    said = policy.purpose(purpose) if policy else None
    if said is None or words(said, "hipaa") != ground:
        return "the pinned policy does not bear out the exclusion it was recorded with"
    return None


def _ground(accounting: dict[str, Any]) -> str:
    ground = words(accounting, "ground")
    exclusion = words(accounting, "exclusion") or ""
    return NOT_PHI if exclusion.startswith("not protected health information") else ground or exclusion


def accounted_period(trail: Trail, asked: tuple[str, str] | None) -> Period:
    """The period asked, or the six years before the trail's end."""
    law = f"45 CFR 164.528(a)(3): {LOOK_BACK_YEARS} years before the request"
    if asked is not None:
        return Period(*asked, law, asked=True)
    end = instant_of(trail.last_received)
    if end is None:
        return Period(None, trail.last_received, law)
    day = 28 if (end.month, end.day) == (2, 29) else end.day
    start = end.replace(year=end.year - LOOK_BACK_YEARS, day=day).astimezone(UTC)
    return Period(timestamp(start), trail.last_received, law)


def within(proof: Proof, period: Period) -> bool:
    """Whether a disclosure was made in the period."""
    at = str(proof.facts.get("disclosed_at"))
    when = at if instant_of(at) else proof.received_at
    if instant_of(period.start) is None or instant_of(period.end) is None:
        return True
    # A clock that ran ahead must not hide a disclosure behind the period's end.
    if not period.asked and when > str(period.end):
        return True
    return str(period.start) <= when <= str(period.end)


def row(d: Disclosed) -> Row:
    """What (b)(2) asks of a disclosure, with its extent and its ground."""
    facts, cite = d.proof.facts, d.proof.index
    to = part(facts, "recipient")
    said = d.policy.recipients().get(str(to.get("name"))) if d.policy else None
    name = str(to.get("title") or to.get("name"))
    return Row(
        str(facts.get("disclosure_id")),
        f"{name}, {str(facts.get('disclosed_at'))[:10]}",
        {
            "date": observed(
                {"disclosed_at": facts.get("disclosed_at"), "received_at": d.proof.received_at}, [cite]
            ),
            "recipient": _recipient(to, said, d),
            "address": (
                declared(to["address"], [cite])
                if words(to, "address")
                else unknown("the policy gave no address", [cite])
            ),
            "description": _description(d),
            "purpose": _purpose(d),
            "extent": _extent(d),
            "ground": _ground_cell(d),
        },
    )


def _recipient(to: dict[str, Any], said: dict[str, Any] | None, d: Disclosed) -> Cell:
    value = {k: to.get(k) for k in ("name", "title", "hipaa_role")}
    cites = [d.proof.index, *((d.policy.index,) if d.policy else ())]
    if d.policy is not None and said is None:
        return conflicting(value, cites, "the pinned policy does not list this recipient")
    return observed(value, cites)


def _description(d: Disclosed) -> Cell:
    facts = d.proof.facts
    value = {
        "text": facts.get("description"),
        "dataset": facts.get("dataset"),
        "version": facts.get("version"),
        "columns": [str(c) for c in facts.get("columns") or []],
        "classifications": sorted(set(classifications(d.proof)) - {"none"}),
    }
    return observed(value, [d.proof.index, *((d.run.opened.index,) if d.run else ())])


def _purpose(d: Disclosed) -> Cell:
    name = str(d.proof.facts.get("purpose"))
    said = d.policy.purpose(name) if d.policy else None
    value = {"name": name, "description": words(said, "description")}
    cites = [d.proof.index, *((d.policy.index,) if d.policy else ())]
    if d.policy is not None and said is None:
        return conflicting(value, cites, "the pinned policy does not list this purpose")
    return observed(value, cites)


def _extent(d: Disclosed) -> Cell:
    facts = d.proof.facts
    value = {k: facts.get(k) for k in ("rows", "subjects", "withheld")}
    # Evidence from before 1-0-1 of its facet does not say where in the ledger consent was asked.
    value |= {k: facts[k] for k in ("ledger_position",) if k in facts}
    note = None if isinstance(value["subjects"], int) else "the number of individuals was not recorded"
    return observed(value, [d.proof.index], note)


def _ground_cell(d: Disclosed) -> Cell:
    ground = words(part(d.proof.facts, "accounting"), "ground")
    if d.doubt is not None:
        return conflicting({"ground": ground, "law": None}, [d.proof.index, *d.supports], d.doubt)
    if ground is None:
        return unknown("no ground is recorded", [d.proof.index])
    return declared({"ground": ground, "law": PERMISSIONS.get(ground)}, [d.proof.index])


def series(rows: list[Disclosed]) -> list[dict[str, Any]]:
    """Several disclosures to one recipient for one purpose, in short (164.528(b)(3))."""
    grouped: dict[tuple[str, str], list[Disclosed]] = {}
    for d in rows:
        to = part(d.proof.facts, "recipient")
        key = (str(to.get("title") or to.get("name")), str(d.proof.facts.get("purpose")))
        grouped.setdefault(key, []).append(d)
    return [
        {
            "recipient": recipient,
            "purpose": purpose,
            "disclosures": len(same),
            "first": min(str(d.proof.facts.get("disclosed_at")) for d in same),
            "last": max(str(d.proof.facts.get("disclosed_at")) for d in same),
            "cites": sorted(d.proof.index for d in same),
        }
        for (recipient, purpose), same in sorted(grouped.items())
    ]


def by_ground(inside: list[Disclosed]) -> dict[str, int]:
    grounds = [d.excluded for d in inside if d.excluded is not None]
    return {ground: grounds.count(ground) for ground in sorted(set(grounds))}


def omitted(inside: list[Disclosed]) -> list[dict[str, Any]]:
    """What (a)(1) leaves out, by ground: counted, never listed."""
    return [
        {
            "ground": ground,
            "law": f"45 CFR {EXCLUSIONS[ground][0]}",
            "words": EXCLUSIONS[ground][1],
            "disclosures": number,
            "cites": sorted(d.proof.index for d in inside if d.excluded == ground),
        }
        for ground, number in by_ground(inside).items()
    ]


def _claimed(claimed: list[Any]) -> Iterable[Remark]:
    for reason in sorted({d.reason for d in claimed}):
        same = [d for d in claimed if d.reason == reason]
        yield remark(
            "disclosure-not-proven",
            f"Claimed as a disclosure by {listed(d.principal for d in same)} in {counted(len(same), 'event')}, "
            f"and not proven: {reason}. Not listed; ask the sender.",
            (d.index for d in same),
            basis=Basis.DECLARED,
        )


def _exceptions(inside: list[Disclosed]) -> Iterable[Remark]:
    for d in inside:
        version = f"{d.proof.facts.get('dataset')} {d.proof.facts.get('version')}"
        if d.doubt is not None:
            yield remark(
                "exclusion-not-borne-out",
                f"A disclosure of {version} is listed although it was recorded as excluded: {d.doubt}.",
                [d.proof.index, *d.supports],
                basis=Basis.CONFLICTING,
                count=1,
            )
        if d.run is None or d.run.release("released") is None:
            yield remark(
                "disclosed-unreleased",
                f"A disclosure names {version}, which the log does not show as released.",
                [d.proof.index],
            )


def unreached(trail: Trail, period: Period) -> Iterable[Remark]:
    """The part of the period that the log does not reach."""
    begins = trail.first_received
    if begins is not None and period.start is not None and period.start < begins:
        yield remark(
            "before-the-log",
            f"Disclosures from {period.start[:10]} to {begins[:10]}: the log begins on {begins[:10]}. Other "
            "records must answer for the time before.",
            [0],
            basis=Basis.UNKNOWN,
            count=1,
        )
    ends = trail.last_received
    if ends is not None and period.end is not None and period.end > ends:
        yield remark(
            "after-the-checkpoint",
            f"Disclosures from {ends[:10]} to {period.end[:10]}: the checkpoint does not reach them.",
            [trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )


REPORT = ReportKind(
    kind="hipaa-528",
    title="Accounting of disclosures",
    law="45 CFR 164.528 (HIPAA Privacy Rule)",
    template_version=2,
    takes_period=True,
    draft=draft,
    present=present,
)
