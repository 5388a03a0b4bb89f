"""Datasheet of a training set or a model: EU AI Act Art. 10(2)(a)-(h) and Annex IV 2(d).

One row is a version that went into it. What only people can say is what the contract declares under ``aiAct``; where it
says nothing the cell is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from governance.audit.ai_act import sheet
from governance.audit.ai_act.lineage import System, contract_of, said_in_contract, supports, systems
from governance.audit.ai_act.sheet import Sheet
from governance.audit.cells import Basis, Column, Remark, Row, remark
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.portions.ordered import in_order
from governance.audit.record import Draft, Period, ReportKind, counted, listed
from governance.audit.run_remarks import run_exceptions
from governance.audit.trail import Trail

COLUMNS = (
    Column("used", "How it got into the system", "Annex IV 2(d)"),
    Column("version", "Version, and what describes it", "Annex IV 2(d)"),
    Column("intended", "Intended purpose of the system", "Art. 10(2), Annex IV 1(a)"),
    Column("design", "Design choices", "Art. 10(2)(a)"),
    Column("collection", "Collection and selection", "Art. 10(2)(b), Annex IV 2(d)"),
    Column("origin", "Origin of the data", "Art. 10(2)(b)"),
    Column("original", "Original purpose of the collection", "Art. 10(2)(b)"),
    Column("processing", "Purpose it was released for, and consent", "Art. 10(2)(b); GDPR Art. 5(1)(b), 6"),
    Column("preparation", "Preparation: operations on the columns", "Art. 10(2)(c)"),
    Column("cleaning", "Preparation: rows kept and left out", "Art. 10(2)(c), Annex IV 2(d)"),
    Column("labelling", "Annotation, labelling and enrichment", "Art. 10(2)(c), Annex IV 2(d)"),
    Column("assumptions", "Assumptions", "Art. 10(2)(d)"),
    Column("quantity", "Availability and quantity", "Art. 10(2)(e)"),
    Column("content", "Columns by classification", "Art. 10(2)(e)"),
    Column("suitability", "Suitability", "Art. 10(2)(e)"),
    Column("bias", "Examination for biases", "Art. 10(2)(f)"),
    Column("left_out", "What consent left out, by reason", "Art. 10(2)(f), 10(3)"),
    Column("regimes", "Rows by the law that protects their subject", "Art. 10(2)(f), 10(4)"),
    Column("measured", "Quality, drift and anonymity, as measured", "Art. 10(2)(f), 10(3)"),
    Column("mitigation", "Measures against biases", "Art. 10(2)(g)"),
    Column("special", "Special categories of personal data", "Art. 10(5)"),
    Column("setting", "Geographical, contextual or functional setting", "Art. 10(4)"),
    Column("gaps", "Gaps and shortcomings", "Art. 10(2)(h)"),
    Column("gaps_seen", "Gaps and shortcomings that evidence shows", "Art. 10(2)(h)"),
)

_DECLARED = {
    "design": ("designChoices", "design choices"),
    "collection": ("collection", "collection processes"),
    "original": ("originalPurpose", "original purpose"),
    "labelling": ("labelling", "labelling"),
    "assumptions": ("assumptions", "assumptions"),
    "suitability": ("suitability", "suitability"),
    "bias": ("biasExamination", "examination for biases"),
    "mitigation": ("biasMitigation", "measures against biases"),
    "setting": ("setting", "setting"),
    "gaps": ("gaps", "gaps"),
}
"""Cells that only the contract's ``aiAct`` can fill, by its member."""


def draft(trail: Trail, _period: tuple[str, str] | None, dataset: str | None = None) -> Draft:
    """The datasheet as of the trail's end. ``dataset``: a training set, or ``models/NAME``."""
    found = systems(trail, dataset)
    sheets = [Sheet(trail, system, used) for system in found for used in system.used]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({s.used.dataset for s in sheets}),
            "purposes": sorted({s.used.run.purpose for s in sheets if s.used.run}),
            "contains": "Of a model, every governed version that went into it as far as training tasks and lineage tell; of "
            "a training set, its newest released version and what that was made from. Validation and testing sets are in "
            "it only where they are asked for.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=[_row(s) for s in sheets],
        exceptions=[
            *(r for system in found for r in system_exceptions(trail, system)),
            *_of_runs(trail, sheets),
        ],
        unknowns=[r for system in found for r in system_unknowns(trail, system, dataset)],
        examined={
            "models": sum(system.is_model for system in found),
            "training_sets": sum(not system.is_model for system in found),
            "versions": len(sheets),
            "trainings": sum(len(system.trainings) for system in found),
            "inputs_outside": sum(len(system.outside) for system in found),
        },
        statements=(
            "Whether data is relevant, representative and free of errors (Art. 10(3)) is judged by people, on these inputs.",
            "Which versions a model was trained on is what its training task or other producers' lineage state; what a "
            "task read and kept elsewhere leaves no trace.",
        ),
        supports=frozenset((*newest_support(trail), *supports(trail, found))),
    )


def _row(s: Sheet) -> Row:
    cells = {
        "used": sheet.ways(s),
        "version": sheet.version(s),
        "intended": sheet.intended(s),
        "origin": sheet.origin(s),
        "processing": sheet.processing(s),
        "preparation": sheet.preparation(s),
        "cleaning": sheet.cleaning(s),
        "quantity": sheet.quantity(s),
        "content": sheet.content(s),
        "left_out": sheet.left_out(s),
        "regimes": sheet.regimes(s),
        "measured": sheet.measured(s),
        "special": sheet.special(s),
        "gaps_seen": sheet.gaps_seen(s),
        **{key: s.said(*member) for key, member in _DECLARED.items()},
    }
    title = f"{s.used.name} in {s.system.name}" if s.system.is_model else s.used.name
    return Row(f"{s.system.name}: {s.used.name}", title, {c.key: cells[c.key] for c in COLUMNS})


def _of_runs(trail: Trail, sheets: list[Sheet]) -> Iterable[Remark]:
    """What is amiss with the runs that made these versions."""
    own = {i for s in sheets if s.used.run for i in s.used.run.indexes()}
    return (r for r in run_exceptions(trail) if r.code != "task-failed" and not own.isdisjoint(r.cites))


def system_exceptions(trail: Trail, system: System) -> Iterable[Remark]:
    """What departs from what was stated or declared of a system."""
    if system.unproven:
        yield remark(
            "training-not-proven",
            f"What {system.name} was trained on by {counted(len(system.unproven), 'entry', 'entries')} of other senders than "
            "the pipeline: not followed.",
            (leaf.index for leaf in system.unproven),
            basis=Basis.DECLARED,
        )
    for used in system.used:
        if system.is_model and not used.released:
            yield remark(
                "trained-on-unreleased",
                f"{system.name} rests on {used.name}, which the log does not show as released.",
                used.cites,
                basis=Basis.DECLARED,
                count=1,
            )
        how = sheet.ways(Sheet(trail, system, used))
        if how.basis is Basis.CONFLICTING and used.released:
            yield remark(
                "training-conflict",
                f"{system.name} and {used.name}: {how.note}.",
                how.cites,
                basis=Basis.CONFLICTING,
                count=1,
            )
        purpose = sheet.intended(Sheet(trail, system, used))
        if purpose.basis is Basis.CONFLICTING:
            yield remark(
                "intended-purpose-conflict",
                f"{system.name}: {purpose.note}, of {used.dataset}.",
                purpose.cites,
                basis=Basis.CONFLICTING,
                count=1,
            )
    yield from _changed(trail, system)


def _changed(trail: Trail, system: System) -> Iterable[Remark]:
    """Versions of one dataset whose contracts declare other things under the AI Act."""
    for dataset in dict.fromkeys(used.dataset for used in system.used):
        said = [
            (used, contract, said_in_contract(contract))
            for used in system.used
            if used.dataset == dataset and (contract := contract_of(trail, used.run)) is not None
        ]
        for (one, before, was), (other, after, now) in pairwise(said):
            differing = sorted(k for k in {*was, *now} if was.get(k) != now.get(k))
            if differing:
                yield remark(
                    "declaration-changed",
                    f"{dataset}: {listed(differing)} declared otherwise for {one.version} and {other.version}.",
                    [before.index, after.index, *one.cites[:1], *other.cites[:1]],
                    basis=Basis.CONFLICTING,
                    count=len(differing),
                )


def system_unknowns(trail: Trail, system: System, asked: str | None) -> Iterable[Remark]:
    if asked is not None and not system.used and not system.outside:
        yield remark(
            "system-unknown",
            f"What {system.name} was made from: the log has no such training set, and no training or lineage of such a model.",
            [trail.size - 1, *(leaf.index for leaf in system.trainings)],
            basis=Basis.UNKNOWN,
            count=1,
        )
    if system.outside:
        yield remark(
            "trained-on-outside",
            f"What {counted(len(system.outside), 'input')} of {system.name} held that no governed run made: "
            f"{listed(system.outside)}.",
            (i for cited in system.outside.values() for i in cited),
            basis=Basis.UNKNOWN,
            count=len(system.outside),
        )


_ORDER = {
    "version": ("version", "released_at", "manifest_digest", "described_by"),
    "origin": ("kind", "uri", "digest", "files", "bytes"),
    "processing": (
        *("purpose", "description", "article", "hipaa", "rows_allowed", "rows_denied"),
        "ledger_position",
    ),
    "preparation": ("operation", "columns", "values_verified", "values_emptied"),
    "cleaning": ("read", "denied", "quarantined", "kept", "quarantined_by_rule"),
    "quantity": ("rows", "columns", "distinct_subjects", "bytes_encrypted"),
    "content": ("columns_read", "columns_by_classification", "rows_read", "every_row_read"),
    "left_out": ("reason", "rows", "share"),
    "measured": (
        *("rules_judged", "rules_failed", "drift_rules", "drift_found"),
        "least_subjects_in_a_class",
    ),
    "special": ("classification", "column", "kept"),
    "gaps_seen": ("what", "count"),
}
_SAID = {
    "uri": "Address",
    "article": "Lawful basis",
    "hipaa": "Ground under HIPAA",
    "bytes_encrypted": "Bytes, encrypted and compressed",
    "described_by": "Croissant and attestation",
    "count": "How many",
}


REPORT = ReportKind(
    kind="ai-act-datasheet",
    title="Datasheet of training data",
    law="Regulation (EU) 2024/1689 (AI Act), Articles 10 and 11, Annex IV",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=in_order(_ORDER, _SAID),
    parameters=frozenset({"dataset"}),
)
