"""Writes segments: immutable, encrypted pieces of a version, each keyed on its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ContractError
from governance.model.canonical import digest
from governance.model.dataset import Segment, SegmentFile
from governance.protect.encryption import SealedWriter, key_material_path, leaf_paths, seal_writer
from governance.protect.ports import SegmentKeys, SegmentStorage

FOOTER = "footer"
"""The name under which a segment's ``key_ids`` hold the footer's key."""

SEGMENTS = "segments"

ROW_GROUP_ROWS = 1 << 20
ROW_GROUP_BYTES = 128 << 20
FILE_BYTES = 1 << 30

_SEGMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PROBE_ROWS = 4096
_REPEATED = 0.25


class SegmentWriter:
    """Writes one segment: ``segments/<segment_id>/part-00000.parquet`` and on.

    Batches are gathered into row groups of at most :data:`ROW_GROUP_ROWS` rows or about
    :data:`ROW_GROUP_BYTES` of Arrow memory; a part that reached :data:`FILE_BYTES` is followed by
    another. Every sensitivity among the columns has a segment key of its own, the footer too; the
    keys are made first, so that without a keyring nothing is written.

    Args:
        storage: the dataset root.
        segment_id: letters, digits, ``_`` and ``-``; never used before.
        schema: what every batch has. Metadata is left out: it could carry values of the source.
        sensitivity_of: a level for every column; :data:`FOOTER` gives a column the footer's key.
        keys: makes and hands out the segment's keys.
        partition: the partition's column → value. It is stated in clear in the manifest.
        folder: where the segment lies below the root, ``segments/<segment_id>`` by default.

    Raises:
        ContractError: GOV-108, a column has no sensitivity; GOV-109, a column cannot be keyed.
        ProtectionError: GOV-301 … GOV-303, from the keyring.
    """

    def __init__(
        self,
        storage: SegmentStorage,
        segment_id: str,
        schema: pa.Schema,
        sensitivity_of: Mapping[str, str],
        keys: SegmentKeys,
        *,
        partition: Mapping[str, str] | None = None,
        folder: str | None = None,
        row_group_rows: int = ROW_GROUP_ROWS,
        row_group_bytes: int = ROW_GROUP_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        if not _SEGMENT_ID.fullmatch(segment_id):
            raise ValueError(f"not a segment id: {segment_id!r}")
        self._schema = schema.remove_metadata()
        leaf_paths(self._schema)
        unknown = sorted(set(self._schema.names) - set(sensitivity_of))
        if unknown:
            raise ContractError(
                "GOV-108",
                f"columns without a sensitivity: {', '.join(unknown)}",
                "declare a classification for them in the contract",
            )
        self.segment_id = segment_id
        self.folder = folder or f"{SEGMENTS}/{segment_id}"
        self.buffered_bytes = 0
        self._storage = storage
        self._partition = dict(partition or {})
        self._limits = (row_group_rows, row_group_bytes, file_bytes)
        levels = sorted({sensitivity_of[name] for name in self._schema.names} - {FOOTER})
        self._key_ids = {level: keys.new_segment_key(segment_id, level) for level in (*levels, FOOTER)}
        # Fetched now: without them nothing is written, and a keyring need not cross to a writer's thread.
        self._secrets = {key_id: keys.segment_key(key_id) for key_id in self._key_ids.values()}
        self._column_keys: dict[str, list[str]] = {}
        for name in self._schema.names:
            self._column_keys.setdefault(self._key_ids[sensitivity_of[name]], []).append(name)
        self._buffered: list[pa.RecordBatch] = []
        self._buffered_rows = 0
        self._rows = 0
        self._writer: SealedWriter | None = None
        self._written: list[tuple[str, SealedWriter]] = []
        self._dictionary: list[str] | None = None

    @property
    def rows(self) -> int:
        """Rows taken so far, buffered ones included."""
        return self._rows

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch; writes a row group when enough has gathered."""
        if not batch.num_rows:
            return
        self._buffered.append(batch.replace_schema_metadata(None))
        self._buffered_rows += batch.num_rows
        self.buffered_bytes += batch.get_total_buffer_size()
        self._rows += batch.num_rows
        rows, size, _ = self._limits
        if self._buffered_rows >= rows or self.buffered_bytes >= size:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered as a row group."""
        if not self._buffered:
            return
        table = pa.Table.from_batches(self._buffered, schema=self._schema)
        self._buffered, self._buffered_rows, self.buffered_bytes = [], 0, 0
        if self._dictionary is None:
            self._dictionary = [f.name for f in self._schema if _repeats(table.column(f.name), f.type)]
        writer = self._open()
        writer.write_table(table, row_group_size=self._limits[0])
        if writer.size >= self._limits[2]:
            writer.close()
            self._writer = None

    def close(self) -> Segment:
        """Finish the files, make them durable and describe them."""
        self.flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        files: list[SegmentFile] = []
        for path, writer in self._written:
            files.append(SegmentFile(path, writer.size, writer.digest, "data"))
            material_path = key_material_path(path)
            material = _read(self._storage, material_path)
            files.append(SegmentFile(material_path, len(material), digest(material), "key_material"))
        if files:
            self._storage.sync(self.folder)
        return Segment(
            segment_id=self.segment_id,
            partition=self._partition,
            rows=self._rows,
            files=tuple(files),
            key_ids=dict(self._key_ids),
        )

    def abort(self) -> None:
        """Remove what was written. Safe at any moment, after :meth:`close` too."""
        writer, self._writer = self._writer, None
        self._buffered, self._buffered_rows, self.buffered_bytes = [], 0, 0
        try:
            if writer is not None:
                writer.close()
        finally:
            if self._written:
                self._storage.remove_tree(self.folder)

    def _open(self) -> SealedWriter:
        if self._writer is None:
            if not self._written:
                self._storage.make_directory(self.folder)
            relative = f"{self.folder}/part-{len(self._written):05d}.parquet"
            self._writer = seal_writer(
                self._storage.path(relative),
                self._storage.filesystem(),
                self._schema,
                self._column_keys,
                self._key_ids[FOOTER],
                self._secrets.__getitem__,
                dictionary_columns=self._dictionary or (),
            )
            self._written.append((relative, self._writer))
        return self._writer


def _repeats(column: pa.ChunkedArray, data_type: pa.DataType) -> bool:
    # A dictionary over values that hardly repeat is built, given up and paid for at every row group.
    if pa.types.is_nested(data_type) or pa.types.is_boolean(data_type) or pa.types.is_null(data_type):
        return False
    probe = column.slice(0, _PROBE_ROWS)
    return bool(pc.count_distinct(probe).as_py() <= _REPEATED * len(probe))


def _read(storage: SegmentStorage, relative: str) -> bytes:
    stream: Any
    with storage.filesystem().open_input_stream(storage.path(relative)) as stream:
        return bytes(stream.read())
