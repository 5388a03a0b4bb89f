"""What the rewriting pass is told and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.keys.text_tokens import TextKey
from governance.model.dataset import Segment

Ordinals: TypeAlias = npt.NDArray[np.int64]
Reasons: TypeAlias = npt.NDArray[np.uint8]
Failing: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column of the output: from which source column, by which transform, how sensitive."""

    name: str
    source_name: str
    method: str
    classification: str
    sensitivity: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewritePlan:
    """Everything one rewriting pass stands on. It reads no clock and no environment.

    Args:
        columns: the output, in order. Source columns that none of them names are not written.
        decide: batch of n rows → reasons (n,) uint8 (``Reason`` codes, 0 allows) and vault ordinals
            (n,) int64, −1 unknown; of shape (n, people) where rows are about several.
        people: the source columns of the people, in the order of their ordinals; every other column is
            transformed by the ordinals of the first.
        divert: batch → pairs of a rule's name and the (n,) mask of rows that fail it.
        pseudonyms: ordinals (m,), all ≥ 0 → (m, 16) uint8 for the audience.
        token_key: domain → AES key of 16 or 32 bytes.
        redact: free text and the source rows it stands in → free text with type tags.
        redact_rows: the same of a named column, asked instead where it is given, and told the whole batch,
            its number among those with rows, and the (n,) mask of its rows that the text is of.
        text_keys: a released column and the ordinals of m rows, (m,) or (m, people) → what seals the values of each in
            reversible text, ``None`` where they may not be kept.
        beside: source columns that ``redact`` is shown besides the released ones: a row's own
            identifiers, so that they are found in its free text too.
        year: calendar year (UTC) of the run's opening.
        recode: a transformed batch and its rows' ordinals → the batch as it is written, of the same
            schema and rows; ``None`` writes it as it is.
        segment_prefix: begins every segment's id, e.g. the version's; a random part follows, so
            that no attempt writes where another one did.
        partition_by: output columns whose values split the output into segments.
        clear: sensitivities whose values may stand in clear in a manifest.
        verify_first: so many batches are verified whole; afterwards one in ``verify_every``.
    """

    columns: Sequence[ColumnPlan]
    decide: Callable[[pa.RecordBatch], tuple[Reasons, Ordinals]]
    divert: Callable[[pa.RecordBatch], Sequence[tuple[str, Failing]]]
    pseudonyms: Callable[[Ordinals], npt.NDArray[np.uint8]]
    token_key: Callable[[str], bytes]
    redact: Callable[[pa.Array, pa.RecordBatch], pa.Array]
    year: int
    people: Sequence[str] = ()
    redact_rows: Callable[[pa.Array, pa.RecordBatch, str, pa.RecordBatch, int, Failing], pa.Array] | None = (
        None
    )
    text_keys: Callable[[str, Ordinals], Sequence[TextKey | None]] = lambda _, people: [None] * len(people)
    recode: Callable[[pa.RecordBatch, Ordinals], pa.RecordBatch] | None = None
    beside: Sequence[str] = ()
    segment_prefix: str = "s"
    partition_by: Sequence[str] = ()
    clear: frozenset[str] = frozenset({"public", "internal"})
    verify_first: int = 8
    verify_every: int = 8


@dataclass(frozen=True, slots=True)
class ColumnEvidence:
    """What was seen of one written column.

    ``rows`` of ``written`` were verified against the transform's promise; ``masking`` is true only
    if the transform masks and that held on at least one row, or nothing was written at all.
    ``nulled`` values were there before the transform and are null after it: unreadable dates, say.
    """

    method: str
    masking: bool
    rows: int
    written: int
    nulled: int


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """The counts always reconcile: ``rows_in = rows_out + rows_denied + rows_quarantined``.

    A denied row is never quarantined. ``quarantined_by_rule`` counts a row under each rule it
    fails, so its sum may exceed ``rows_quarantined``. ``denied_by_reason`` uses ``Reason`` labels.
    """

    segments: tuple[Segment, ...]
    quarantine: Segment | None
    schema: pa.Schema
    rows_in: int
    rows_out: int
    rows_denied: int
    rows_quarantined: int
    denied_by_reason: Mapping[str, int]
    quarantined_by_rule: Mapping[str, int]
    verified: Mapping[str, ColumnEvidence]
