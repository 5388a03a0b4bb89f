"""Record of processing activities: GDPR Art. 30(1), with the columns the ICO and the CNIL add.

One row is one activity: a dataset made or disclosed for a purpose. What an activity is now comes from
its newest released version; what happened on the way there is an exception or an unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from governance.audit.activity import Activity, activities
from governance.audit.cells import Basis, Cell, Column, Remark, Row, remark
from governance.audit.gdpr import art30_declared, art30_observed
from governance.audit.gdpr.art30_text import present
from governance.audit.record import Draft, Period, ReportKind, counted, listed
from governance.audit.run_remarks import run_exceptions, run_unknowns
from governance.audit.trail import Trail

COLUMNS = (
    Column("controller", "Controller", "Art. 30(1)(a)"),
    Column("joint_controllers", "Joint controllers", "Art. 30(1)(a)"),
    Column("representative", "Representative in the Union", "Art. 30(1)(a), 27"),
    Column("dpo", "Data protection officer", "Art. 30(1)(a), 37"),
    Column("processors", "Processors", "Art. 28(3); ICO"),
    Column("purpose", "Purpose of the processing", "Art. 30(1)(b)"),
    Column("lawful_basis", "Lawful basis", "Art. 6(1); ICO"),
    Column("special_condition", "Condition for special categories", "Art. 9(2); ICO"),
    Column("subject_categories", "Categories of data subjects", "Art. 30(1)(c)"),
    Column("data_categories", "Categories of personal data", "Art. 30(1)(c)"),
    Column("special_categories", "Special categories of data", "Art. 9(1); CNIL"),
    Column("source", "Source of the data", "Art. 14(2)(f); ICO"),
    Column("recipients", "Recipients", "Art. 30(1)(d)"),
    Column("transfers", "Transfers to third countries, and their safeguards", "Art. 30(1)(e), 44–49"),
    Column("retention", "Time limit for erasure", "Art. 30(1)(f)"),
    Column("retention_adherence", "Whether the time limit was kept", "Art. 5(1)(e); ICO"),
    Column("security_declared", "Security measures, as declared", "Art. 30(1)(g), 32(1)"),
    Column("security_observed", "Security measures, as found on the version", "Art. 30(1)(g), 32(1)"),
    Column("location", "Where the data is kept", "ICO"),
    Column("consent", "Consent, by row, at the last run", "Art. 7(1); ICO"),
    Column("automated_decisions", "Profiling and automated decisions", "Art. 22; ICO"),
    Column("impact_assessment", "Impact assessment", "Art. 35; ICO"),
    Column("interests_assessment", "Legitimate interests assessment", "Art. 6(1)(f); ICO"),
    Column("rights", "How data subjects exercise their rights", "Art. 12–22; CNIL"),
    Column("versions", "Versions released", "Art. 5(2)"),
    Column("runs", "Runs of the governed pass", "Art. 5(2)"),
)

_FUNCTIONS = {
    "controller": art30_declared.controller,
    "joint_controllers": art30_declared.joint_controllers,
    "representative": art30_declared.representative,
    "dpo": art30_declared.officer,
    "processors": art30_declared.processors,
    "purpose": art30_observed.purpose,
    "lawful_basis": art30_declared.lawful_basis,
    "special_condition": art30_declared.special_condition,
    "subject_categories": art30_declared.subject_categories,
    "data_categories": art30_observed.data_categories,
    "special_categories": art30_observed.special_categories,
    "source": art30_observed.source,
    "recipients": art30_observed.recipients,
    "transfers": art30_observed.transfers,
    "retention": art30_declared.retention,
    "retention_adherence": art30_declared.retention_adherence,
    "security_declared": art30_declared.security,
    "security_observed": art30_observed.security,
    "location": art30_declared.location,
    "consent": art30_observed.consent,
    "automated_decisions": art30_declared.automated_decisions,
    "impact_assessment": art30_declared.impact_assessment,
    "interests_assessment": art30_declared.interests_assessment,
    "rights": art30_declared.rights,
    "versions": art30_observed.versions,
    "runs": art30_observed.runs,
}


def draft(trail: Trail, _period: tuple[str, str] | None) -> Draft:
    """The record of processing as of the trail's end."""
    found = activities(trail)
    rows = [
        Row(
            f"{activity.dataset}/{activity.purpose}",
            f"{activity.dataset} for {activity.purpose}",
            {column.key: _FUNCTIONS[column.key](activity) for column in COLUMNS},
        )
        for activity in found
    ]
    return Draft(
        scope={
            "organisation": _organisation(found).to_json(),
            "datasets": sorted({a.dataset for a in found}),
            "purposes": sorted({a.purpose for a in found}),
            "contains": "Every dataset that the log shows being processed under a governed run, or disclosed "
            "from one, by purpose. Processing outside the governed pass is not in it.",
        },
        period=Period(
            trail.first_received,
            trail.last_received,
            "State at the end of the period; exceptions from the whole of it",
        ),
        columns=COLUMNS,
        rows=rows,
        exceptions=[
            *_declared_only(trail),
            *run_exceptions(trail),
            *(r for activity in found for r in _activity_exceptions(activity)),
        ],
        unknowns=list(run_unknowns(trail)),
        examined={
            "activities": len(found),
            "datasets": len({a.dataset for a in found}),
            "runs": {
                "opened": len(trail.runs),
                **{
                    state: sum(run.state == state for run in trail.runs)
                    for state in ("released", "quarantined", "abandoned", "intended", "unfinished")
                },
            },
            "evidence_by_stage": dict(sorted(trail.evidence.items())),
            "evidence_declared_only": len(trail.declared),
            "disclosures": len(trail.disclosures),
            "consent_batches": len(trail.batches),
        },
        statements=(
            "Categories of data are what detectors found in the columns and what the contract declares; a "
            "detector can miss. Free text was redacted at the detectors' recall, not perfectly.",
        ),
        supports=frozenset(_evidence_indexes(trail)),
    )


def _evidence_indexes(trail: Trail) -> Iterable[int]:
    for run in trail.runs:
        yield from run.indexes()
        for document in (trail.policy(_pinned(run, "policy")), trail.contract(_pinned(run, "contract"))):
            if document is not None:
                yield document.index
    yield from (proof.index for proof in (*trail.disclosures, *trail.erasures, *trail.grants))
    yield from (index for index, _ in trail.batches)


def _pinned(run: Any, what: str) -> dict[str, Any]:
    return dict(run.opened.facts.get(what) or {})


def _organisation(found: list[Activity]) -> Cell:
    named = [(a.policy, a.reference_index) for a in found if a.policy is not None]
    if not named:
        return Cell(None, Basis.UNKNOWN, (), "no policy leaf was pinned by a run")
    policy, _ = max(named, key=lambda pair: pair[1])
    name = policy.organisation.get("name")
    if not isinstance(name, str):
        return Cell(None, Basis.UNKNOWN, (policy.index,), "the policy does not name the organisation")
    return Cell(name, Basis.DECLARED, (policy.index,))


def _declared_only(trail: Trail) -> Iterable[Remark]:
    for reason in sorted({d.reason for d in trail.declared}):
        same = [d for d in trail.declared if d.reason == reason]
        yield remark(
            "evidence-not-proven",
            f"Claimed as evidence by {listed(d.principal for d in same)} in {counted(len(same), 'event')}, and "
            f"not proven: {reason}. Nothing in the rows rests on it.",
            (d.index for d in same),
            basis=Basis.DECLARED,
        )


def _activity_exceptions(activity: Activity) -> Iterable[Remark]:
    name = f"{activity.dataset} for {activity.purpose}"
    for code, text, cites in art30_observed.departures(activity):
        basis = Basis.OBSERVED if code in ("disclosed-unreleased", "further-purpose") else Basis.CONFLICTING
        yield remark(code, f"{name}: {text}", cites, basis=basis, count=1)
    for code, text, cites in art30_declared.changes(activity):
        yield remark(code, f"{name}: {text}", cites, basis=Basis.DECLARED, count=1)


REPORT = ReportKind(
    kind="gdpr-art30",
    title="Record of processing activities",
    law="Regulation (EU) 2016/679 (GDPR), Article 30(1)",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
)
