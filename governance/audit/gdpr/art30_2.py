"""Record of a processor's processing: GDPR Art. 30(2), with the columns of the DPC.

One row is a controller on whose behalf the organisation processes. What is done for it is what the log shows of the
datasets of its subject domains; a controller that is declared and for whom nothing was done has its row too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from governance.audit.activity import Activity, activities
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, observed, remark, unknown
from governance.audit.declarations import PolicyLeaf, items, part, words
from governance.audit.gdpr import art30_declared, art30_observed
from governance.audit.gdpr.art30_observed import classifications
from governance.audit.law import EEA, SAFEGUARDS
from governance.audit.newest import newest_organisation, newest_policy, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, listed
from governance.audit.trail import Trail

COLUMNS = (
    Column("processor", "Processor", "Art. 30(2)(a)"),
    Column("controller", "Controller", "Art. 30(2)(a)"),
    Column("representative", "Representative of the controller", "Art. 30(2)(a), 27"),
    Column("officer", "Data protection officer", "Art. 30(2)(a), 37"),
    Column("instrument", "Contract with the controller", "Art. 28(3)"),
    Column("processing", "Categories of processing", "Art. 30(2)(b)"),
    Column("data_categories", "Categories of personal data", "DPC"),
    Column("recipients", "Categories of data by recipient", "DPC"),
    Column("subprocessors", "Further processors", "Art. 28(2), 28(4)"),
    Column("transfers", "Transfers to third countries, and their safeguards", "Art. 30(2)(c)"),
    Column("retention", "Time limits for erasure", "DPC"),
    Column("security", "Security measures, as declared", "Art. 30(2)(d), 32(1)"),
    Column("security_observed", "Security measures, as found on the versions", "Art. 30(2)(d), 32(1)"),
)

_CONTACT = ("name", "address", "country", "email", "phone")


def draft(trail: Trail, _period: tuple[str, str] | None) -> Draft:
    """The record as of the trail's end."""
    policy = newest_policy(trail)
    found = [a for a in activities(trail) if a.reference is not None]
    controllers = [part(c) for c in items(policy.organisation if policy else None, "controllers")]
    by_controller = {
        str(c.get("name")): [a for a in found if (a.controller() or {}).get("name") == c.get("name")]
        for c in controllers
    }
    rows = [_row(policy, c, by_controller[str(c.get("name"))]) for c in controllers] if policy else []
    for_nobody = [a for a in found if not any(a in each for each in by_controller.values())]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({a.dataset for a in found}),
            "purposes": sorted({a.purpose for a in found}),
            "contains": "Every controller that the newest pinned policy names, with what governed runs and disclosures "
            "did with datasets of its subject domains. Processing outside the governed pass is not in it.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=rows,
        exceptions=list(_exceptions(for_nobody)),
        unknowns=[],
        examined={
            "controllers": len(rows),
            "activities": len(found),
            "activities_without_controller": len(for_nobody),
            "disclosures": sum(len(a.disclosures) for a in found),
        },
        supports=frozenset(_supports(trail, found)),
    )


def _supports(trail: Trail, found: list[Activity]) -> Iterable[int]:
    yield from newest_support(trail)
    for run in trail.runs:
        yield from run.indexes()
    yield from (step.index for step in trail.erasures)
    for activity in found:
        yield from (*activity.policy_cite, *activity.contract_cite)
        yield from (p.index for p in activity.disclosures)


def _row(policy: PolicyLeaf, said: dict[str, Any], own: list[Activity]) -> Row:
    name, cite = str(said.get("name")), [policy.index]
    cells = {
        "processor": _person(policy.organisation, cite, "the policy does not name the organisation"),
        "controller": _person(said, cite, "the policy does not name it"),
        "representative": _representative(said, cite),
        "officer": _person(
            part(said, "dataProtectionOfficer"), cite, "the policy names no data protection officer"
        ),
        "instrument": (
            declared(said["instrument"], cite)
            if words(said, "instrument")
            else unknown("no contract with the controller is declared", cite)
        ),
        "processing": _processing(own, cite),
        "data_categories": _each(own, art30_observed.data_categories, _names),
        "recipients": _recipients(own, cite),
        "subprocessors": declared(
            [
                {k: p[k] for k in ("name", "country", "service", "instrument") if isinstance(p.get(k), str)}
                for p in map(part, items(policy.organisation, "processors"))
            ],
            cite,
        ),
        "transfers": _transfers(own, cite),
        "retention": _each(own, art30_declared.retention, lambda value: value),
        "security": _measures(policy),
        "security_observed": _each(own, art30_observed.security, _found),
    }
    return Row(str(said.get("id") or name), name, cells)


def _person(said: dict[str, Any], cite: list[int], missing: str) -> Cell:
    value = {k: said[k] for k in _CONTACT if isinstance(said.get(k), str)}
    return declared(value, cite) if value else unknown(missing, cite)


def _representative(said: dict[str, Any], cite: list[int]) -> Cell:
    if said.get("country") in EEA and not part(said, "representative"):
        return declared(None, cite, "not needed (Art. 27(1)): the controller is established in the EEA")
    return _person(part(said, "representative"), cite, "the policy names no representative")


def _processing(own: list[Activity], cite: list[int]) -> Cell:
    if not own:
        return declared([], cite, "the log shows no processing for it")
    value = [
        {
            "dataset": a.dataset,
            "purpose": a.purpose,
            "stages": sorted({stage.value for run in a.runs for stage in run.stages}),
            "runs": len(a.runs),
            "disclosures": len(a.disclosures),
        }
        for a in own
    ]
    cites = [i for a in own for run in a.runs for i in run.indexes()]
    return observed(value, [*cites, *(p.index for a in own for p in a.disclosures)])


def _each(own: list[Activity], cell: Callable[[Activity], Cell], shown: Callable[[Any], Any]) -> Cell:
    """A cell of every activity, with its dataset; known only as well as the least known of them."""
    if not own:
        return unknown("the log shows no processing for it")
    found = [(a, cell(a)) for a in own]
    value = [
        {"dataset": a.dataset, "purpose": a.purpose, "content": None if c.value is None else shown(c.value)}
        for a, c in found
    ]
    cites = {index for _, c in found for index in c.cites}
    bases = {c.basis for _, c in found}
    worst = next(b for b in (Basis.CONFLICTING, Basis.UNKNOWN, Basis.DECLARED, Basis.OBSERVED) if b in bases)
    notes = [f"{a.dataset} for {a.purpose}: {c.note}" for a, c in found if c.note]
    return Cell(value, worst, tuple(sorted(cites)), "; ".join(notes) or None)


def _names(value: Any) -> list[str]:
    return [str(each["category"]) for each in value]


def _found(value: Any) -> dict[str, Any]:
    kept = ("columns_released", "columns_encrypted", "columns_dropped", "keys")
    return {name: value.get(name) for name in kept}


def _recipients(own: list[Activity], cite: list[int]) -> Cell:
    sent = [p for a in own for p in a.disclosures]
    if not sent:
        return declared([], cite, "the log shows no disclosure for it")
    names = sorted({str(part(p.facts, "recipient").get("name")) for p in sent})
    value = [
        {
            "recipient": name,
            "categories": sorted(
                {
                    c
                    for p in sent
                    if part(p.facts, "recipient").get("name") == name
                    for c in classifications(p)
                }
                - {"none"}
            ),
        }
        for name in names
    ]
    return observed(value, [p.index for p in sent])


def _transfers(own: list[Activity], cite: list[int]) -> Cell:
    sent = [p for a in own for p in a.disclosures if part(p.facts, "recipient").get("country") not in EEA]
    if not sent:
        return declared([], cite, "the log shows no transfer for it")
    last = {str(part(p.facts, "recipient").get("name")): part(p.facts, "recipient") for p in sent}
    value = [
        {
            "recipient": name,
            "country": to.get("country"),
            "instrument": to.get("safeguard"),
            "article": SAFEGUARDS.get(str(to.get("safeguard"))),
        }
        for name, to in sorted(last.items())
    ]
    cites = tuple(sorted(p.index for p in sent))
    if any(row["instrument"] is None for row in value):
        return Cell(value, Basis.UNKNOWN, cites, "an instrument is not declared")
    return observed(value, cites)


def _measures(policy: PolicyLeaf) -> Cell:
    said = [text for text in items(policy.root, "securityMeasures") if isinstance(text, str)]
    return declared(said, [policy.index]) if said else unknown("the policy declares none", [policy.index])


def _exceptions(for_nobody: list[Activity]) -> Iterable[Remark]:
    if for_nobody:
        yield remark(
            "controller-not-declared",
            f"Processed for no declared controller: {listed(f'{a.dataset} for {a.purpose}' for a in for_nobody)}.",
            (a.reference_index for a in for_nobody),
            basis=Basis.CONFLICTING,
            count=len(for_nobody),
        )


REPORT = ReportKind(
    kind="gdpr-art30-2",
    title="Record of processing on behalf of controllers",
    law="Regulation (EU) 2016/679 (GDPR), Article 30(2)",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
)
