"""Classify: what is in each column, compared with what the contract declares. Reads only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from governance.detect import TableScanner
from governance.detect.text.noticed import NoticedTexts
from governance.errors import ContractError, ContractFindings
from governance.lineage.classifications.corrections import correction_of
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED, ColumnClassification
from governance.model.contract import ContractColumn
from governance.model.correction import Correction
from governance.model.evidence import DatasetLineage, Stage
from governance.model.policy import Policy
from governance.pipeline.corrections import corrections_before
from governance.pipeline.noticing import hand_over, hands_over
from governance.pipeline.open import DATASETS, source_lineage
from governance.pipeline.step import AHEAD, RunContext, prove, reported, stage_record
from governance.protect.channel import read_ahead

AGREES, STRICTER, DIFFERS, UNDECLARED = "agrees", "stricter", "differs", "undeclared"


def classify(context: RunContext, *, sample: int | None = None) -> dict[str, Any]:
    """Scan the source and judge the contract's declarations.

    Args:
        sample: values to read per column; ``None`` reads all.

    Raises:
        ContractError: GOV-107 for a sensitive column that the contract calls harmless, GOV-110 for one
            nobody can name, GOV-111 for a sample smaller than the policy's minimum, GOV-119 where a detector
            contradicts a person's correction.
        SourceError: GOV-70x.
    """
    minimum = context.policy.minimum_sample
    if sample is not None and sample < minimum:
        raise ContractError(
            "GOV-111",
            f"a sample of {sample:,} values is smaller than the policy's minimum of {minimum:,}",
            "leave the sample out to read everything, or ask for at least the minimum",
        )
    stage = Stage.CLASSIFY
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        left = NoticedTexts() if hands_over(context) else None
        scanner = TableScanner(
            context.source_schema,
            sample=sample,
            detectors=context.detectors,
            noticed=context.memory.texts if context.memory else left,
        )
        rows = 0
        with read_ahead(context.read_source(stage), AHEAD) as batches:
            for batch in batches:
                rows += batch.num_rows
                scanner.update(batch)
        found = scanner.finish()
        if left is not None:
            hand_over(context, left)
        people = corrections_before(context.workspace, context.run.corrections_position)
        columns = [compared(context, column, found, people) for column in context.contract.columns]
        read_whole = all(column["miss_bound"] is None for column in columns)
        facts = {"rows": rows, "full_scan": read_whole, "columns": columns}
        lineage = source_lineage(context.run, [])
        record = stage_record(
            context,
            stage,
            facts,
            inputs=(
                DatasetLineage(
                    lineage.namespace,
                    lineage.name,
                    version=lineage.version,
                    rows=rows,
                    classifications={c["column"]: c["classification"] for c in columns},
                    sensitivities={c["column"]: c["sensitivity"] for c in columns},
                ),
            ),
        )
        prove(context, stage, record)
        require_uncontested(context, columns)
        require_declared(context, columns)
        context.recorder.completed(stage, record.context, record)
    return facts


def compared(
    context: RunContext,
    column: ContractColumn,
    found: dict[str, ColumnClassification],
    people: list[Correction],
) -> dict[str, Any]:
    """What the contract declares of a column beside what was found and what people corrected."""
    policy, declared = context.policy, column.classification
    finding = finding_of(column.source_name, found, policy)
    correction = _correction(context, column, finding, people)
    agreement, effective = _agreed(policy, declared, finding.classification)
    facts: dict[str, Any] = {}
    if correction is not None and correction.to is not None:
        agreement, effective = _agreed(policy, declared, correction.to)
        contested = finding.classification not in (HARMLESS, UNCLASSIFIED) and correction.contested_by(
            finding.classification, finding.confidence, policy.contested_probability
        )
        facts["correction"] = {"to": correction.to, "log_index": correction.index, "contested": contested}
    return {
        "column": column.source_name,
        "released_as": column.name,
        "declared": declared,
        "found": finding.classification,
        "classification": effective,
        "sensitivity": policy.sensitivity(effective),
        "confidence": round(finding.confidence, 4),
        "evidence": list(finding.evidence),
        "values_read": finding.values_read,
        "miss_bound": finding.miss_bound,
        "contains": [{"classification": c.classification, "rows": c.rows} for c in finding.contains],
        "agreement": agreement,
        **facts,
    }


def finding_of(column: str, found: dict[str, ColumnClassification], policy: Policy) -> ColumnClassification:
    """The finding for a source column: of a nested one the strictest of its fields, each of them named as evidence."""
    if column in found:
        return found[column]
    fields = [f for name, f in found.items() if name.startswith(f"{column}.")]
    if not fields:
        return ColumnClassification(column, UNCLASSIFIED, 0.0, ("it has no field that can be read",), 0, 0)
    # What nobody can name is stricter than anything: the policy has to decide.
    worst = max(fields, key=lambda f: (f.classification == UNCLASSIFIED, _level(policy, f.classification)))
    told = tuple(f"{f.column} is {f.classification}" for f in fields if f.classification != HARMLESS)
    return replace(worst, column=column, evidence=told or worst.evidence)


def _agreed(policy: Policy, declared: str | None, seen: str) -> tuple[str, str]:
    """How what was declared and what was seen agree, and the classification that counts."""
    declared_level = _level(policy, declared)
    if declared == seen:
        agreement = AGREES
    elif declared in (None, HARMLESS):
        agreement = UNDECLARED if seen != HARMLESS else AGREES
    elif seen in (HARMLESS, UNCLASSIFIED) or _level(policy, seen) <= declared_level:
        agreement = STRICTER
    else:
        agreement = DIFFERS
    # The stricter of what people declared and what was found rules everything downstream.
    return agreement, seen if agreement in (UNDECLARED, DIFFERS) or declared is None else declared


def _level(policy: Policy, classification: str | None) -> int:
    if classification in (None, HARMLESS, UNCLASSIFIED):
        return 0
    return policy.sensitivities.index(policy.sensitivity(classification))


def _correction(
    context: RunContext, column: ContractColumn, finding: ColumnClassification, people: list[Correction]
) -> Correction | None:
    """The correction that counts for a source column.

    One of the released column counts for its source only where it raises: what is in the output was in the
    source, while what was masked in the output still stands in the source.
    """
    source = ("file", context.run.source.uri, column.source_name)
    own = correction_of(people, source, context.run.source.digest)
    released = correction_of(people, (DATASETS, context.run.dataset, column.name), context.run.version)
    if released is None or released.to is None:
        return own
    instead = finding.classification if own is None else own.to
    return released if _level(context.policy, released.to) > _level(context.policy, instead) else own


def require_uncontested(context: RunContext, columns: list[dict[str, Any]]) -> None:
    """Stop where a detector contradicts a person, unless the policy says to report it.

    Raises:
        ContractError: GOV-119.
    """
    contested = [c for c in columns if c.get("correction", {}).get("contested")]
    if contested and context.policy.corrections_contested == "stop":
        raise ContractFindings(
            "GOV-119",
            f"what people corrected in the source of {context.contract.dataset} is contradicted by its values",
            [
                f"column {c['column']}: corrected to {c['correction']['to']} in log entry "
                f"{c['correction']['log_index']}, found {c['found']} with {c['confidence']:.0%} "
                f"({'; '.join(c['evidence'])})"
                for c in contested
            ],
            "look again: confirm with `governance classification correct`, or withdraw the correction",
        )


def require_declared(context: RunContext, columns: list[dict[str, Any]]) -> None:
    """Stop unless the contract says what classify found. Protect and release ask again: a step may have
    been marked as done by hand.

    Raises:
        ContractError: GOV-107, GOV-110.
    """
    faults, code = [], "GOV-107"
    protections = {c.source_name: c.protection.method for c in context.contract.columns}
    for column in columns:
        # Where nobody corrected it, what counts is what was found, in every case that can stop the run.
        found = column["classification"] if "correction" in column else column["found"]
        declared = column["declared"] or "nothing"
        why = "; ".join(column["evidence"])
        if column["agreement"] in (UNDECLARED, DIFFERS) and found not in (UNCLASSIFIED,):
            rule = context.policy.classifications.get(found)
            enough = rule.protections if rule else ()
            if column["agreement"] == DIFFERS and protections[column["column"]] in enough:
                continue
            if not _sensitive(found, context.policy):
                continue
            faults.append(
                f"column {column['column']}: declared {declared}, found {found} ({why}); "
                f"declare `classification: {found}` and protect it by {' or '.join(enough) or 'drop'}"
            )
        elif (
            column["agreement"] == UNDECLARED
            and context.policy.unclassified == "refuse"
            and declared == "nothing"
        ):
            code = "GOV-110" if not faults else code
            faults.append(
                f"column {column['column']}: no detector can name it ({why}); declare its classification"
            )
    if faults:
        raise ContractFindings(
            code,
            f"contract {context.contract.dataset} does not say what its source holds",
            faults,
            "correct the contract, or the classification if a person has looked and disagrees; then run again",
        )


def _sensitive(classification: str, policy: Policy) -> bool:
    if classification == FREE_TEXT:
        return True
    return policy.sensitivities.index(policy.sensitivity(classification)) > 0
