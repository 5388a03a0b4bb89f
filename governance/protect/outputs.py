"""The segments one rewriting pass writes, and their removal when it fails."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from types import TracebackType
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ContractError
from governance.model.dataset import Segment
from governance.protect.plan import RewritePlan
from governance.protect.ports import SegmentKeys, SegmentStorage
from governance.protect.segment import SegmentWriter

QUARANTINE = "quarantine"
"""The folder of quarantine segments, and the name of the key that seals them."""

ABSENT = "__HIVE_DEFAULT_PARTITION__"
"""How a null is written as a partition's value, as Hive and Spark do."""

MOST_PARTITIONS = 512
_BUFFERED_BYTES = 192 << 20
_RESERVED = ",:;%"

Piece: TypeAlias = tuple[SegmentWriter, pa.RecordBatch]


class Outputs:
    """Opens a segment for each partition it meets and one for quarantine.

    A context: what was written is removed at its end unless :meth:`keep` was called. :meth:`write`
    and :meth:`close` may run in another thread than the rest, never two at once.
    """

    def __init__(self, storage: SegmentStorage, keys: SegmentKeys, plan: RewritePlan) -> None:
        self._storage = storage
        self._keys = keys
        self._plan = plan
        self._schema = pa.schema([])
        self._writers: dict[tuple[str, ...], SegmentWriter] = {}
        self._quarantine: SegmentWriter | None = None
        self._kept = False

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept:
            return
        for writer in self._all():
            try:
                writer.abort()
            except Exception as fault:
                if error is None:
                    raise
                error.add_note(f"{writer.folder} could not be removed ({type(fault).__name__})")

    def open(self, schema: pa.Schema) -> None:
        """State what released batches look like.

        Raises:
            ContractError: GOV-103, a partition column is not released; GOV-108, it is sensitive;
                GOV-109, its type has no text form.
        """
        self._schema = schema
        level = self._sensitivity()
        for name in self._plan.partition_by:
            if name not in schema.names:
                raise ContractError(
                    "GOV-103",
                    f"partition column {name} is not released",
                    "partition by a column of the output",
                )
            if level[name] not in self._plan.clear:
                raise ContractError(
                    "GOV-108",
                    f"partition column {name} is {level[name]}, and partition values stand in clear",
                    f"partition by columns that are {' or '.join(sorted(self._plan.clear))} only",
                )
            if pa.types.is_nested(schema.field(name).type):
                raise ContractError(
                    "GOV-109", f"partition column {name} has no text form", "partition by another column"
                )

    def released(self, batch: pa.RecordBatch) -> Iterator[Piece]:
        """Split a released batch by partition; opens segments on first sight."""
        if not self._plan.partition_by:
            yield self._writer(()), batch
            return
        codes = np.zeros(batch.num_rows, np.int64)
        texts = []
        for name in self._plan.partition_by:
            column = batch.column(name)
            if pa.types.is_boolean(column.type):
                column = column.cast(pa.uint8())
            encoded = pc.dictionary_encode(pc.fill_null(column.cast(pa.string()), ABSENT))
            codes = codes * max(len(encoded.dictionary), 1) + encoded.indices.to_numpy(zero_copy_only=False)
            _, codes = np.unique(codes, return_inverse=True)
            texts.append(encoded)
        _, first = np.unique(codes, return_index=True)
        for code, row in enumerate(first):
            values = tuple(text[int(row)].as_py() for text in texts)
            yield self._writer(values), batch.filter(pa.array(codes == code))

    def quarantined(self, batch: pa.RecordBatch) -> Piece:
        """Rows set aside, as they came, under a key of their own."""
        names = [_keyable(name) for name in batch.schema.names]
        batch = batch.rename_columns(names)
        if self._quarantine is None:
            segment_id = self._segment_id()
            self._quarantine = SegmentWriter(
                self._storage,
                segment_id,
                batch.schema,
                dict.fromkeys(names, QUARANTINE),
                self._keys,
                folder=f"{QUARANTINE}/{segment_id}",
            )
        return self._quarantine, batch

    def write(self, piece: Piece) -> None:
        """Write one piece; many open partitions share the memory of one row group or so."""
        writer, batch = piece
        writer.write(batch)
        # Pieces of earlier partitions may be opened meanwhile: look at a copy.
        writers = self._all()
        while sum(w.buffered_bytes for w in writers) > _BUFFERED_BYTES:
            max(writers, key=lambda w: w.buffered_bytes).flush()

    def close(self) -> tuple[tuple[Segment, ...], Segment | None]:
        """Finish every segment: the released ones in the order of their partitions, and quarantine."""
        segments = tuple(self._writers[values].close() for values in sorted(self._writers))
        return segments, self._quarantine.close() if self._quarantine else None

    def keep(self) -> None:
        """The pass succeeded: leave everything in place."""
        self._kept = True

    def _all(self) -> list[SegmentWriter]:
        return [*list(self._writers.values()), *([self._quarantine] if self._quarantine else [])]

    def _writer(self, values: tuple[str, ...]) -> SegmentWriter:
        if values not in self._writers:
            if len(self._writers) >= MOST_PARTITIONS:
                raise ContractError(
                    "GOV-102",
                    f"partitioning by {', '.join(self._plan.partition_by)} gives more than "
                    f"{MOST_PARTITIONS} partitions in one load",
                    "partition by columns with fewer values",
                )
            self._writers[values] = SegmentWriter(
                self._storage,
                self._segment_id(),
                self._schema,
                self._sensitivity(),
                self._keys,
                partition=dict(zip(self._plan.partition_by, values, strict=True)) if values else {},
            )
        return self._writers[values]

    def _sensitivity(self) -> dict[str, str]:
        return {column.name: column.sensitivity for column in self._plan.columns}

    def _segment_id(self) -> str:
        return f"{self._plan.segment_prefix}-{secrets.token_hex(8)}"


def _keyable(name: str) -> str:
    """A source's column name without what Parquet encryption cannot key, percent-encoded."""
    encoded = "".join(f"%{ord(c):02X}" if c in _RESERVED else c for c in name)
    head, tail = len(encoded) - len(encoded.lstrip()), len(encoded) - len(encoded.rstrip())
    if head == len(encoded):
        return "%20" * head or "%00"
    return "%20" * head + encoded.strip() + "%20" * tail
