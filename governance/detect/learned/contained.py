"""What models find inside the free-text columns of a table: on a sample, because they read some hundred texts a
second where the rules read a million, or on every row if asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from governance.detect.columns.flattening import flatten
from governance.detect.columns.profile import physical
from governance.detect.learned.crf import CrfLike
from governance.detect.text.engine import REPORTED_SCORE, classify_text
from governance.model.classification import FREE_TEXT, ColumnClassification, Contained

SAMPLE = 1_000
"""Texts of a column that are read unless all are asked for."""
_SLICE = 1_024
_SEED = 20_260_102


def contained(
    batches: Iterable[pa.RecordBatch],
    found: Mapping[str, ColumnClassification],
    *,
    ner: bool = False,
    crf: CrfLike = None,
    sample: int | None = SAMPLE,
) -> dict[str, ColumnClassification]:
    """The findings of a scan, with what models see inside its free-text columns added.

    Args:
        batches: the rows of the table once more.
        found: what :class:`governance.detect.TableScanner` found, by column.
        ner: whether the pinned English model reads them.
        crf: a model of one's own, see :func:`governance.detect.classify_text`.
        sample: texts to read of each column, drawn uniformly; ``None`` reads all.

    Returns:
        As ``found``. Rows of a classification are those the rules counted, or the models in what they read, whichever
        is more; the evidence says how many texts the models read.

    Raises:
        SettingError: GOV-121 or GOV-902, see :func:`governance.detect.learned.supplemented`.
    """
    wanted = {name for name, each in found.items() if each.classification == FREE_TEXT or each.contains}
    readers = {name: _Reader(sample, ner, crf) for name in wanted}
    for batch in batches if readers else ():
        for position, column in enumerate(batch.schema.names):
            if column not in wanted and not any(name.startswith(f"{column}.") for name in wanted):
                continue
            for leaf, array in flatten(column, batch.column(position)):
                if leaf in readers and array is not None and physical(array.type) == "text":
                    readers[leaf].update(array)
    return {name: readers[name].added_to(each) if name in readers else each for name, each in found.items()}


class _Reader:
    def __init__(self, sample: int | None, ner: bool, crf: CrfLike) -> None:
        self._limit, self._ner, self._crf = sample, ner, crf
        self._random = np.random.default_rng(_SEED)
        self._held: list[tuple[float, str]] = []
        self._rows: Counter[str] = Counter()
        self._read = 0

    def update(self, array: pa.Array) -> None:
        values = array.drop_null()
        if self._limit is None:
            for start in range(0, len(values), _SLICE):
                self._count(values.slice(start, _SLICE).to_pylist())
            return
        # The smallest random numbers of a stream are a uniform sample of it.
        drawn = self._random.random(len(values))
        kept = np.argsort(drawn, kind="stable")[: self._limit]
        self._held += zip(drawn[kept].tolist(), values.take(pa.array(kept)).to_pylist(), strict=True)
        self._held = sorted(self._held)[: self._limit]

    def _count(self, texts: list[str]) -> None:
        self._read += len(texts)
        for findings in classify_text(texts, ner=self._ner, crf=self._crf):
            self._rows.update({f.classification for f in findings if f.score >= REPORTED_SCORE})

    def added_to(self, each: ColumnClassification) -> ColumnClassification:
        self._count([text for _, text in self._held])
        if not self._read:
            return each
        rows = {c.classification: c.rows for c in each.contains}
        rows |= {name: max(seen, rows.get(name, 0)) for name, seen in self._rows.items()}
        names = " and ".join(
            ["the English name model"] * self._ner + ["the trained model"] * (self._crf is not None)
        )
        return replace(
            each,
            contains=tuple(Contained(name, rows[name]) for name in sorted(rows, key=lambda n: (-rows[n], n))),
            evidence=(*each.evidence, f"{names} read {self._read:,} of its texts"),
        )
