"""Classify: what is in each column, compared with what the contract declares. Reads only."""

from __future__ import annotations

from typing import Any

from governance.detect import TableScanner
from governance.errors import ContractError, ContractFindings
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED, ColumnClassification
from governance.model.contract import ContractColumn
from governance.model.evidence import DatasetLineage, Stage
from governance.model.policy import Policy
from governance.pipeline.open import source_lineage
from governance.pipeline.step import RunContext, prove, reported, stage_record

AGREES, STRICTER, DIFFERS, UNDECLARED = "agrees", "stricter", "differs", "undeclared"


def classify(context: RunContext, *, sample: int | None = None) -> dict[str, Any]:
    """Scan the source and judge the contract's declarations.

    Args:
        sample: values to read per column; ``None`` reads all.

    Raises:
        ContractError: GOV-107 for a sensitive column that the contract calls harmless, GOV-110 for one
            nobody can name, GOV-111 for a sample smaller than the policy's minimum.
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
        scanner = TableScanner(context.source_schema, sample=sample, detectors=context.detectors)
        rows = 0
        for batch in context.read_source(stage):
            rows += batch.num_rows
            scanner.update(batch)
        found = scanner.finish()
        columns = [_compared(column, found, context.policy) for column in context.contract.columns]
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
        require_declared(context, columns)
        context.recorder.completed(stage, record.context, record)
    return facts


def _compared(
    column: ContractColumn, found: dict[str, ColumnClassification], policy: Policy
) -> dict[str, Any]:
    finding = found[column.source_name]
    declared, seen = column.classification, finding.classification
    level = policy.sensitivities.index
    declared_level = level(policy.sensitivity(declared)) if declared else 0
    seen_level = 0 if seen in (HARMLESS, UNCLASSIFIED) else level(policy.sensitivity(seen))
    if declared == seen:
        agreement = AGREES
    elif declared in (None, HARMLESS):
        agreement = UNDECLARED if seen != HARMLESS else AGREES
    elif seen in (HARMLESS, UNCLASSIFIED) or seen_level <= declared_level:
        agreement = STRICTER
    else:
        agreement = DIFFERS
    # The stricter of what people declared and what was found rules everything downstream.
    effective = seen if agreement in (UNDECLARED, DIFFERS) or declared is None else declared
    return {
        "column": column.source_name,
        "released_as": column.name,
        "declared": declared,
        "found": seen,
        "classification": effective,
        "sensitivity": policy.sensitivity(effective),
        "confidence": round(finding.confidence, 4),
        "evidence": list(finding.evidence),
        "values_read": finding.values_read,
        "miss_bound": finding.miss_bound,
        "contains": [{"classification": c.classification, "rows": c.rows} for c in finding.contains],
        "agreement": agreement,
    }


def require_declared(context: RunContext, columns: list[dict[str, Any]]) -> None:
    """Stop unless the contract says what classify found. Protect and release ask again: a step may have
    been marked as done by hand.

    Raises:
        ContractError: GOV-107, GOV-110.
    """
    faults, code = [], "GOV-107"
    protections = {c.source_name: c.protection.method for c in context.contract.columns}
    for column in columns:
        found, declared = column["found"], column["declared"] or "nothing"
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
