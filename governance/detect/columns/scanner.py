"""Classification of the columns of a table, whole or batch by batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa

from governance.detect.columns.decision import decide, decide_table
from governance.detect.columns.flattening import flatten
from governance.detect.columns.headers import read_header
from governance.detect.columns.profile import ColumnProfile
from governance.detect.detectors.registry import Detectors, DetectorsLike, resolve
from governance.detect.detectors.validators import COMMON_REGIONS
from governance.detect.text.noticed import NoticedTexts
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED, ColumnClassification

SETTLE_DISTINCT = 500
SETTLE_CONFIDENCE = 0.93
_BATCH_ROWS = 131_072
_SEED = 20_260_101


class TableScanner:
    """Classifies a stream of record batches in memory bounded by a batch.

    Args:
        schema: the schema of every batch.
        sample: rows to read, drawn uniformly from the stream; ``None`` reads all. With a sample,
            each result states the prevalence it would have missed with probability 5%.
        detectors: what is known, see :func:`governance.detect.load_detectors`, or the paths of a team's files.
        noticed: is told what the scan notices of columns of prose, by name and number of the batch.
    """

    def __init__(
        self,
        schema: pa.Schema,
        sample: int | None = None,
        detectors: DetectorsLike = None,
        *,
        noticed: NoticedTexts | None = None,
    ) -> None:
        self._detectors: Detectors = resolve(detectors)
        self._schema = schema
        self._limit = sample
        self._random = np.random.default_rng(_SEED)
        self._reservoir: pa.Table | None = None
        self._priorities = np.empty(0)
        self._rows = 0
        self._noticed = noticed if sample is None else None
        self._batches = 0
        self._profiles: dict[tuple[int, str], ColumnProfile] = {}
        self._read(schema.empty_table())

    def update(self, batch: pa.RecordBatch) -> None:
        """Read one batch of the schema given at the start."""
        self._rows += batch.num_rows
        if self._limit is None:
            self._read(pa.Table.from_batches([batch]))
            self._keep_noticed(batch)
            self._settle()
        else:
            self._draw(pa.Table.from_batches([batch]))

    def finish(self) -> dict[str, ColumnClassification]:
        """The classification of every column by name, nested ones as ``a.b``, in the order of the schema."""
        if self._reservoir is not None:
            self._read(self._reservoir)
        regions = self.regions()
        results: dict[str, ColumnClassification] = {}
        profiles = self.profiles()
        for profile, result in zip(profiles, decide_table(profiles, regions, self._detectors), strict=True):
            if self._limit is not None and self._rows > profile.rows:
                result = _of_sample(result, self._rows, profile.values_read)
            name, number = result.column, 2
            while name in results:
                name, number = f"{result.column}#{number}", number + 1
            results[name] = result if name == result.column else replace(result, column=name)
        return results

    def _read(self, table: pa.Table) -> None:
        for position, name in enumerate(table.column_names):
            chunks = table.column(position).chunks or [pa.array([], table.schema.field(position).type)]
            for chunk in chunks:
                seen: Counter[str] = Counter()
                for leaf, array in flatten(name, chunk):
                    seen[leaf] += 1
                    profile = self._profiles.setdefault(
                        (position, f"{leaf}\0{seen[leaf]}"), ColumnProfile(leaf, self._detectors)
                    )
                    profile.noticing = self._noticed is not None
                    profile.update(array)

    def _keep_noticed(self, batch: pa.RecordBatch) -> None:
        if self._noticed is None or not batch.num_rows:
            return
        for (position, _), profile in self._profiles.items():
            texts = batch.column(position)
            if profile.noticed is not None and (
                pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)
            ):
                self._noticed.keep(batch.schema.names[position], self._batches, texts, profile.noticed)
                profile.noticed = None
        self._batches += 1

    def _settle(self) -> None:
        for profile in self._profiles.values():
            if profile.settled or profile.kind != "text" or len(profile.sample) < SETTLE_DISTINCT:
                continue
            # A column that does not settle is asked again only after as many values once more.
            if profile.values < profile.next_attempt:
                continue
            profile.next_attempt = 2 * profile.values
            found = decide(profile, detectors=self._detectors)
            open_ended = found.classification in (FREE_TEXT, HARMLESS, UNCLASSIFIED)
            profile.settled = not open_ended and found.confidence >= SETTLE_CONFIDENCE

    def _draw(self, table: pa.Table) -> None:
        # Keeping the rows with the smallest random priorities is a uniform sample of a stream of unknown length.
        limit = self._limit or 0
        drawn = self._random.random(table.num_rows)
        if self._reservoir is not None and len(self._priorities) >= limit:
            kept = np.flatnonzero(drawn < self._priorities.max())
            table, drawn = table.take(pa.array(kept)), drawn[kept]
        both = table if self._reservoir is None else pa.concat_tables([self._reservoir, table])
        priorities = np.concatenate((self._priorities, drawn))
        if len(priorities) > limit:
            kept = np.sort(np.argpartition(priorities, limit)[:limit])
            both, priorities = both.take(pa.array(kept)), priorities[kept]
        self._reservoir, self._priorities = both, priorities

    def profiles(self) -> list[ColumnProfile]:
        """What was read of each column, nested ones flat, in the order of the schema."""
        return list(self._profiles.values())

    def regions(self) -> tuple[str, ...]:
        """Countries named by a country or jurisdiction column, most frequent first, then the common ones."""
        codes: Counter[str] = Counter()
        for profile in self._profiles.values():
            if any(
                m.detector.classification in ("country", "jurisdiction")
                for m in read_header(profile.name, self._detectors.columns).matches
            ):
                for value, times in profile.sample.items():
                    if len(value) == 2 or value[2:3] == "-":
                        codes[value[:2].upper()] += times
        named = [code for code, _ in codes.most_common(6) if code.isascii() and code.isalpha()]
        return tuple(dict.fromkeys((*named, *COMMON_REGIONS)))


def _of_sample(result: ColumnClassification, rows: int, read: int) -> ColumnClassification:
    bound = 1 - 0.05 ** (1 / read) if read else None
    return replace(
        result,
        rows=rows,
        miss_bound=bound,
        evidence=(*result.evidence, f"a sample of {read:,} values from {rows:,} rows"),
    )


def classify_table(
    table: pa.Table, sample: int | None = None, detectors: DetectorsLike = None
) -> dict[str, ColumnClassification]:
    """Classify every column of a table; see :class:`TableScanner`."""
    scanner = TableScanner(table.schema, sample, detectors)
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        scanner.update(batch)
    return scanner.finish()
