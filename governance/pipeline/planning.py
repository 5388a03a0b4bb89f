"""What the rewriting pass is told of a run's columns, the same in every process that works on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa

from governance.model.contract import ContractColumn
from governance.model.evidence import Stage
from governance.pipeline.step import RunContext
from governance.protect import ColumnPlan


def planned(context: RunContext) -> tuple[ColumnPlan, ...]:
    """The contract's columns with what ``classify`` found in them."""
    found = {c["column"]: c for c in context.facts(Stage.CLASSIFY)["columns"]}

    def plan(column: ContractColumn) -> ColumnPlan:
        seen = found[column.source_name]
        return ColumnPlan(
            name=column.name,
            source_name=column.source_name,
            method=column.protection.method,
            arguments=column.protection.arguments,
            classification=seen["classification"],
            sensitivity=seen["sensitivity"],
        )

    return tuple(plan(c) for c in context.contract.columns)


def redactor(
    context: RunContext, columns: tuple[ColumnPlan, ...]
) -> Callable[[pa.Array, pa.RecordBatch], pa.Array]:
    """Redaction that is told what the row's own columns hold, so that it finds that in the prose too."""
    from governance.detect.redaction import known_tags, redact

    redacted: Callable[..., pa.Array] = redact
    if context.policy.text_ner or context.policy.text_crf:
        from governance.detect.learned.redacting import redact_with_models

        redacted = partial(redact_with_models, ner=context.policy.text_ner, crf=context.policy.text_crf)
    tags = known_tags(context.detectors)

    def of_row(texts: pa.Array, source: pa.RecordBatch) -> pa.Array:
        known: dict[str, list[pa.Array]] = {}
        for column in columns:
            if column.classification in tags:
                known.setdefault(column.classification, []).append(source[column.source_name])
        return redacted(texts, known, context.detectors)

    return of_row


def beside(context: RunContext, columns: tuple[ColumnPlan, ...]) -> tuple[str, ...]:
    """The source columns that redaction is shown besides the released ones."""
    if not any(c.method == "redact" for c in columns):
        return ()
    from governance.detect.redaction import known_tags

    tags = known_tags(context.detectors)
    return tuple(c.source_name for c in columns if c.classification in tags)
