"""Inputs to a data protection impact assessment: GDPR Art. 35(7), with the picture of the data flows.

One row is a processing activity. What a machine can show is shown: what is processed, how it flows, what was done to
lessen risks, and what went wrong so far. Necessity, likelihood and residual risk are for people: they stay unknown
unless the policy declares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from governance.audit import plain
from governance.audit.activity import Activity, activities
from governance.audit.breach.closure import GOVERNED, closure
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, observed, remark, unknown
from governance.audit.declarations import items, part, words
from governance.audit.gdpr import art30_declared, art30_observed, art30_text
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.record import Draft, Period, ReportKind
from governance.audit.run_remarks import run_exceptions
from governance.audit.trail import Trail
from governance.model.evidence import Stage

COLUMNS = (
    Column("operations", "Processing operations", "Art. 35(7)(a)"),
    Column("flows", "Data flows", "Art. 35(7)(a)"),
    Column("purposes", "Purpose and lawful basis", "Art. 35(7)(a), 6(1)"),
    Column("categories", "Categories of data", "Art. 35(3)(b), 35(7)(a)"),
    Column("special", "Special categories", "Art. 35(3)(b), 9(1)"),
    Column("scale", "Scale", "Art. 35(3)(b)"),
    Column("assets", "Assets", "Art. 35(7)(a)"),
    Column("recipients", "Recipients", "Art. 35(7)(a)"),
    Column("minimisation", "What is left out, masked or redacted", "Art. 35(7)(b), 5(1)(c)"),
    Column("retention", "Time limit for erasure", "Art. 35(7)(b), 5(1)(e)"),
    Column("necessity", "Necessity and proportionality", "Art. 35(7)(b)"),
    Column("rights", "How data subjects exercise their rights", "Art. 35(7)(b), 12–22"),
    Column("incidents", "What went wrong so far", "Art. 35(7)(c)"),
    Column("risks", "Risks to data subjects", "Art. 35(7)(c)"),
    Column("measures", "Measures, as declared", "Art. 35(7)(d)"),
    Column("measures_observed", "Measures, as found on the version", "Art. 35(7)(d)"),
    Column("plan", "Action plan", "Art. 35(7)(d)"),
    Column("residual", "Residual risk", "Art. 35(7)(d), 36(1)"),
    Column("advice", "Advice of the data protection officer", "Art. 35(2)"),
    Column("views", "Views of data subjects", "Art. 35(9)"),
    Column("decision", "Assessment and decision", "Art. 35(1), 35(11)"),
)

_JUDGED = {
    "necessity": ("necessity", "necessity and proportionality are for people to judge"),
    "risks": ("risks", "likelihood and severity are for people to judge"),
    "plan": ("actionPlan", "no action plan is declared"),
    "residual": ("residualRisk", "no residual risk is declared"),
    "advice": ("dpoAdvice", "no advice of the data protection officer is declared"),
    "views": ("subjectsViews", "no views of data subjects are declared"),
}
"""Cells that only the policy's assessment can fill, by its member."""


_AS_IN_ART30 = {
    "special": "special_categories",
    "retention": "retention",
    "measures_observed": "security_observed",
    "decision": "impact_assessment",
}


def present(key: str, value: Any) -> list[Any]:
    """The blocks of a cell that has a value; what the record of processing has too, in its words."""
    shared = _AS_IN_ART30.get(key)
    return plain.present(key, value) if shared is None else art30_text.present(shared, value)


def draft(trail: Trail, _period: tuple[str, str] | None, dataset: str | None = None) -> Draft:
    """The inputs as of the trail's end: of one dataset, or of all."""
    found = [a for a in activities(trail) if dataset in (None, a.dataset)]
    departed = [r for r in run_exceptions(trail) if r.code != "task-failed"]
    rows = [_row(trail, a, departed) for a in found]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({a.dataset for a in found}),
            "purposes": sorted({a.purpose for a in found}),
            "contains": "Every dataset that the log shows being processed under a governed run, or disclosed from "
            "one, by purpose. Processing outside the governed pass is in it as far as lineage tells.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=rows,
        exceptions=[r for a in found for r in _exceptions(a)],
        unknowns=[],
        examined={
            "activities": len(found),
            "runs": sum(len(a.runs) for a in found),
            "disclosures": sum(len(a.disclosures) for a in found),
            "flows": sum(len(row.cells["flows"].value["edges"]) for row in rows),
        },
        statements=(
            "These are inputs. The assessment itself, and whether a risk is high, is a decision of the controller.",
            "Flows are those that lineage in the log shows; other flows are not in the picture.",
        ),
        supports=frozenset(_supports(trail, found)),
    )


def _supports(trail: Trail, found: list[Activity]) -> Iterable[int]:
    yield from newest_support(trail)
    names = {a.dataset for a in found}
    for run in trail.runs:
        if run.dataset in names:
            yield from run.indexes()
    for activity in found:
        yield from (*activity.policy_cite, *activity.contract_cite)
    yield from (p.index for p in trail.disclosures if str(p.facts.get("dataset")) in names)
    yield from (step.index for step in trail.erasures)


def _row(trail: Trail, a: Activity, departed: list[Remark]) -> Row:
    cells = {
        "operations": _operations(a),
        "flows": _flows(trail, a),
        "purposes": _purposes(a),
        "categories": _categories(a),
        "special": art30_observed.special_categories(a),
        "scale": _scale(a),
        "assets": _assets(a),
        "recipients": _recipients(a),
        "minimisation": _minimisation(a),
        "retention": art30_declared.retention(a),
        "rights": art30_declared.rights(a),
        "incidents": _incidents(departed, a),
        "measures": art30_declared.security(a),
        "measures_observed": art30_observed.security(a),
        "decision": art30_declared.impact_assessment(a),
        **{key: _judged(a, *said) for key, said in _JUDGED.items()},
    }
    return Row(
        f"{a.dataset}/{a.purpose}", f"{a.dataset} for {a.purpose}", {c.key: cells[c.key] for c in COLUMNS}
    )


def _judged(a: Activity, member: str, missing: str) -> Cell:
    said = words(a.policy.assessment(a.purpose) if a.policy else None, member)
    return unknown(missing, a.policy_cite) if said is None else declared(said, a.policy_cite)


def _operations(a: Activity) -> Cell:
    stages = [stage.value for stage in Stage if a.reference and stage in a.reference.stages]
    if a.reference is None:
        return unknown("no run is in evidence", (p.index for p in a.disclosures))
    value = {"stages": stages, "runs": len(a.runs), "disclosures": len(a.disclosures)}
    return observed(value, [*a.reference.indexes(), *(p.index for p in a.disclosures)])


def _flows(trail: Trail, a: Activity) -> Cell:
    """Sources to the dataset, and from it to recipients and to what jobs outside made."""
    nodes = {a.dataset: {"node": a.dataset, "kind": "governed dataset"}}
    edges: list[dict[str, Any]] = []
    cites: list[int] = []

    def add(node: str, kind: str, cited: Iterable[int]) -> None:
        nodes.setdefault(node, {"node": node, "kind": kind})
        cites.extend(cited)

    for run in a.runs:
        source = str(part(run.opened.facts, "source").get("uri"))
        if source not in nodes and part(run.opened.facts, "source").get("kind") != "governed_version":
            add(source, "source", [run.opened.index])
            edges.append({"from": source, "to": a.dataset, "by": "governed pass", "known": "observed"})
    for proof in a.disclosures:
        name = str(part(proof.facts, "recipient").get("title") or part(proof.facts, "recipient").get("name"))
        if name not in nodes:
            edges.append({"from": a.dataset, "to": name, "by": "disclosure", "known": "observed"})
        add(name, "recipient", [proof.index])
    reached = {r.node: r for r in closure(trail, [(GOVERNED, a.dataset)]) if r.depth}
    for node, r in sorted(reached.items(), key=lambda pair: (pair[1].depth, pair[0])):
        if node[0] == "disclosure":
            continue
        add("/".join(node), "job outside" if r.kind == "job" else "dataset outside", r.cites)
        origin = "/".join(r.origin) if r.origin and r.origin in reached else a.dataset
        by = r.via or "reads it"
        edges.append({"from": origin, "to": "/".join(node), "by": by, "known": "declared"})
    value = {"nodes": list(nodes.values()), "edges": edges}
    if not cites:
        return Cell(value, Basis.UNKNOWN, (), "no flow is in the log")
    said = any(edge["known"] == "declared" for edge in edges)
    note = "what is known as declared other producers report, and nobody signed it" if said else None
    return Cell(value, Basis.OBSERVED, tuple(sorted(set(cites))), note)


def _purposes(a: Activity) -> Cell:
    basis = art30_declared.lawful_basis(a)
    said = a.declared_purpose()
    value = {
        "purpose": words(said, "description") or a.purpose,
        "basis": basis.value["basis"] if basis.value else None,
        "article": basis.value["article"] if basis.value else None,
    }
    return Cell(value, basis.basis, basis.cites, basis.note)


def _categories(a: Activity) -> Cell:
    found = art30_observed.data_categories(a)
    value = found.value and [
        {"category": g["category"], "sensitivity": g["sensitivity"], "columns": len(g["columns"])}
        for g in found.value
    ]
    return Cell(value, found.basis, found.cites, found.note)


def _scale(a: Activity) -> Cell:
    consent, released = a.proof(Stage.CONSENT), a.reference.release("released") if a.reference else None
    if consent is None or released is None:
        return unknown("no released version of it was counted", a.opened)
    value = {
        "rows_released": released.facts.get("rows"),
        "distinct_subjects": part(consent.facts, "subjects").get("allowed"),
    }
    return observed(value, [consent.index, released.index])


def _assets(a: Activity) -> Cell:
    protect = a.proof(Stage.PROTECT)
    if a.reference is None or protect is None:
        return unknown("no protected version is in evidence", a.opened)
    segments = [part(s) for s in items(protect.facts, "segments")]
    value = {
        "source": part(a.reference.opened.facts, "source").get("uri"),
        "segments": len(segments),
        "files": sum(len(items(s, "files")) for s in segments),
        "keys": sorted({str(k) for s in segments for k in part(s, "key_ids").values()}),
        "engine": {k: str(v) for k, v in part(a.reference.opened.facts, "engine").items()},
    }
    return observed(value, [a.reference.opened.index, protect.index])


def _recipients(a: Activity) -> Cell:
    found = art30_observed.recipients(a)
    value = found.value and [
        {"recipient": r["title"] or r["name"], "country": r["country"], "disclosures": r["disclosures"]}
        for r in found.value
    ]
    return Cell(value, found.basis, found.cites, found.note)


def _minimisation(a: Activity) -> Cell:
    protect = a.proof(Stage.PROTECT)
    if protect is None:
        return unknown("no protection is in evidence", a.opened)
    methods = Counter(str(part(c).get("method")) for c in items(protect.facts, "columns"))
    value = {
        "columns_by_method": dict(sorted(methods.items())),
        "rows_left_out_for_want_of_consent": protect.facts.get("rows_denied"),
        "rows_quarantined": protect.facts.get("rows_quarantined"),
    }
    return observed(value, [protect.index])


def _incidents(departed: list[Remark], a: Activity) -> Cell:
    own = [i for run in a.runs for i in run.indexes()]
    found = [r for r in departed if not set(r.cites).isdisjoint(own)]
    if not own:
        return unknown("no run had this purpose", (p.index for p in a.disclosures))
    value = [{"what": r.code, "text": r.text} for r in found]
    return observed(
        value, [*own, *(i for r in found for i in r.cites)], None if value else "nothing is in evidence"
    )


def _exceptions(a: Activity) -> Iterable[Remark]:
    special = art30_observed.special_categories(a)
    decision = art30_declared.impact_assessment(a)
    if decision.value is None and special.value and special.value["found"]:
        yield remark(
            "assessment-missing",
            f"{a.dataset} for {a.purpose} has special categories of data, and the policy names no impact assessment.",
            [*special.cites, *decision.cites],
            count=1,
        )


REPORT = ReportKind(
    kind="dpia",
    title="Inputs to a data protection impact assessment",
    law="Regulation (EU) 2016/679 (GDPR), Article 35",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
    parameters=frozenset({"dataset"}),
)
