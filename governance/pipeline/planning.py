"""What the rewriting pass is told of a run's columns, the same in every process that works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from governance.detect.detectors.registry import Detectors
from governance.detect.text.noticed import Noticed, NoticedTexts
from governance.model.contract import Contract, ContractColumn
from governance.protect import ColumnPlan


def planned(contract: Contract, classified: Iterable[Mapping[str, Any]]) -> tuple[ColumnPlan, ...]:
    """The contract's columns with what ``classify`` states of them in its facts' ``columns``."""
    found = {c["column"]: c for c in classified}

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

    return tuple(plan(c) for c in contract.columns)


def redactor(
    detectors: Detectors, columns: Sequence[ColumnPlan], *, ner: bool, crf: str | None
) -> Callable[..., pa.Array]:
    """Redaction that is told what the row's own columns hold, so that it finds that in the prose too."""
    from governance.detect.text.redaction import known_tags, redact

    redacted: Callable[..., pa.Array] = redact
    if ner or crf:
        from governance.detect.learned.redacting import redact_with_models

        redacted = partial(redact_with_models, ner=ner, crf=crf)
    tags = known_tags(detectors)

    def of_row(texts: pa.Array, source: pa.RecordBatch, noticed: Noticed | None = None) -> pa.Array:
        known: dict[str, list[pa.Array]] = {}
        for column in columns:
            if column.classification in tags:
                known.setdefault(column.classification, []).append(source[column.source_name])
        return redacted(texts, known, detectors, **({} if noticed is None else {"noticed": noticed}))

    return of_row


def recalling(
    redacted: Callable[..., pa.Array], texts: NoticedTexts
) -> Callable[[pa.Array, pa.RecordBatch, str, pa.RecordBatch, int, np.ndarray], pa.Array]:
    """A :func:`redactor` without models that goes on from what the scan of the same source noticed."""

    def of_rows(
        values: pa.Array,
        source: pa.RecordBatch,
        name: str,
        batch: pa.RecordBatch,
        number: int,
        kept: np.ndarray,
    ) -> pa.Array:
        noticed = texts.of(name, number, batch.column(name))
        return redacted(values, source, noticed and noticed.among(kept))

    return of_rows


def beside(detectors: Detectors, columns: Sequence[ColumnPlan]) -> tuple[str, ...]:
    """The source columns that redaction is shown besides the released ones."""
    if not any(c.method == "redact" for c in columns):
        return ()
    from governance.detect.text.redaction import known_tags

    tags = known_tags(detectors)
    return tuple(c.source_name for c in columns if c.classification in tags)
