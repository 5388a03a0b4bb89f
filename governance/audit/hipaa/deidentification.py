"""Statements of de-identification, by released version: 45 CFR 164.514(a)-(b), and how anonymous rows were measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from governance.audit.cells import Cell, Column, Remark, Row, declared, observed, remark, unknown
from governance.audit.declarations import items, part
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.evidence import Stage

COLUMNS = (
    Column("claim", "What the contract claims", "45 CFR 164.514(b)"),
    Column("identifiers", "Identifiers and what removed them", "45 CFR 164.514(b)(2)(i)(A)-(R)"),
    Column("free_text", "Free text and the measured recall of its redaction", "45 CFR 164.514(b)(2)(i)(R)"),
    Column("knowledge", "Declaration of no actual knowledge", "45 CFR 164.514(b)(2)(ii)"),
    Column("determination", "Expert's determination", "45 CFR 164.514(b)(1)"),
    Column("anonymity", "Anonymity asked for and measured", "Recital 26 GDPR"),
    Column("methods", "Columns, by what was done to them", "45 CFR 164.514(c)"),
)

_NO_CLAIM = "the contract makes no claim"


def draft(trail: Trail, _period: tuple[str, str] | None) -> Draft:
    """One row a released version, in the order of their release."""
    released = [run for run in trail.runs if run.release("released")]
    rows = [_row(run) for run in released]
    claimed = [run for run in released if _claim(run)]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({run.dataset for run in released}),
            "contains": "Every version that the log shows as released. Versions that an erasure wrote carry the statement "
            "of the version they came from.",
        },
        period=Period(trail.first_received, trail.last_received, "Versions released in the period"),
        columns=COLUMNS,
        rows=rows,
        exceptions=list(_exceptions(released)),
        unknowns=[],
        examined={
            "versions": len(released),
            "claimed": len(claimed),
            "safe_harbor": sum(_claim(run).get("profile") == "safe_harbor" for run in claimed),
            "expert_determination": sum(
                _claim(run).get("profile") == "expert_determination" for run in claimed
            ),
        },
        statements=(
            "Structured columns were checked for the identifiers of (A) to (R). Free text is redacted at the recall stated, "
            "which is less than all. Actual knowledge is declared by a person, never observed.",
        ),
        supports=frozenset((*newest_support(trail), *(i for run in released for i in run.indexes()))),
    )


def _protect(run: GovernedRun) -> Proof | None:
    return run.stages.get(Stage.PROTECT)


def _claim(run: GovernedRun) -> dict[str, Any]:
    proof = _protect(run)
    return dict(part(proof.facts, "deidentification")) if proof else {}


def _row(run: GovernedRun) -> Row:
    proof, claim = _protect(run), _claim(run)
    cites = [run.opened.index, *([proof.index] if proof else [])]
    facts = proof.facts if proof else {}
    anonymity = part(facts, "anonymity")
    methods = {str(part(c).get("column")): part(c).get("method") for c in items(facts, "columns")}
    cells = {
        "claim": _of(claim, cites, {name: claim.get(name) for name in ("profile", "rule")}),
        "identifiers": _of(claim, cites, _identifiers(claim)),
        "free_text": _of(claim, cites, dict(part(claim, "free_text")) or None),
        "knowledge": _declared(claim, cites, "no_actual_knowledge"),
        "determination": _declared(claim, cites, "determination"),
        "anonymity": (
            observed({k: anonymity.get(k) for k in ("asked", "measured")}, cites)
            if anonymity
            else unknown("the contract asks for none, and none was measured", cites)
        ),
        "methods": observed(methods, cites) if methods else unknown("protect is not in evidence", cites),
    }
    return Row(f"{run.dataset} {run.version}", f"{run.dataset} {run.version}", cells)


def _of(claim: dict[str, Any], cites: list[int], value: Any) -> Cell:
    if not claim:
        return unknown(_NO_CLAIM, cites)
    return observed(value, cites) if value is not None else unknown("the claim does not rest on it", cites)


def _declared(claim: dict[str, Any], cites: list[int], member: str) -> Cell:
    said = part(claim, member)
    if said:
        return declared(dict(said), cites)
    return unknown(_NO_CLAIM if not claim else "the claim does not rest on it", cites)


def _identifiers(claim: dict[str, Any]) -> list[dict[str, Any]] | None:
    found = [
        {
            "paragraph": part(entry).get("paragraph"),
            "columns": [
                f"{part(c).get('column')}: {part(c).get('method')}" for c in items(part(entry), "columns")
            ],
        }
        for entry in items(claim, "identifiers")
    ]
    return found or None


def _exceptions(released: list[GovernedRun]) -> Iterable[Remark]:
    for run in released:
        if _protect(run) is None:
            yield remark(
                "evidence-missing",
                f"{run.dataset} {run.version} was released without evidence of what protected it.",
                [run.opened.index],
                count=1,
            )


REPORT = ReportKind(
    kind="deidentification",
    title="Statements of de-identification",
    law="45 CFR 164.514(a)-(c)",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
)
