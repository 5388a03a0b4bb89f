"""Writes a segment of a released version again without some of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.errors import ValidationError
from governance.model.dataset import Manifest, Segment
from governance.protect.channel import read_ahead
from governance.protect.ports import SegmentKeys, SegmentStorage
from governance.protect.reading import open_version
from governance.protect.segment import SegmentWriter
from governance.protect.types import schema_of

Mask: TypeAlias = npt.NDArray[np.bool_]

_WAITING = 2


def rows_matching(
    storage: SegmentStorage,
    keys: SegmentKeys,
    manifest: Manifest,
    segment: Segment,
    columns: list[str],
    match: Callable[[pa.RecordBatch], Mask],
) -> int:
    """How many rows of a segment ``match``, reading ``columns`` only. Raises as :func:`open_version`."""
    batches = open_version(storage, manifest, keys.segment_key, columns, segments=(segment.segment_id,))
    return sum(int(match(batch).sum()) for batch in batches)


def rewrite_segment(
    storage: SegmentStorage,
    keys: SegmentKeys,
    manifest: Manifest,
    segment: Segment,
    drop: Callable[[pa.RecordBatch], Mask],
    *,
    segment_id: str,
) -> tuple[Segment | None, int]:
    """Copy a segment's rows, but those that ``drop`` names, into a new one under keys of its own.

    Args:
        manifest: a verified one that lists the segment; the new one has its schema and sensitivities.
        drop: which rows go; called in the caller's thread.
        segment_id: the new segment's; its partition is the old one's.

    Returns:
        The new segment, ``None`` if no row is left, and how many rows went.

    Raises:
        As :func:`open_version` and :class:`SegmentWriter`; ValidationError GOV-405 when the counts do
        not reconcile. Nothing half-written remains.
    """
    schema = schema_of(manifest.body["schema"])
    sensitivity = {column["column"]: column["sensitivity"] for column in manifest.body["columns"]}
    writer = SegmentWriter(storage, segment_id, schema, sensitivity, keys, partition=segment.partition)
    dropped = read = 0
    try:
        batches = open_version(storage, manifest, keys.segment_key, segments=(segment.segment_id,))
        with read_ahead(batches, _WAITING) as reading:
            for batch in reading:
                gone = drop(batch)
                read += batch.num_rows
                dropped += int(gone.sum())
                writer.write(batch.filter(pa.array(~gone)) if gone.any() else batch)
        written = writer.close()
        if read != segment.rows or written.rows != read - dropped:
            raise ValidationError(
                "GOV-405",
                f"segment {segment.segment_id} has {segment.rows:,} rows; read {read:,}, "
                f"dropped {dropped:,}, wrote {written.rows:,}",
                "this is a fault of the software: report it; nothing was kept",
            )
    except BaseException:
        writer.abort()
        raise
    return (written if written.rows else None), dropped
