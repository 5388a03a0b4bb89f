"""Reads a pinned source: verifies each file, streams it, and verifies that it did not change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from governance.errors import SourceError
from governance.model.dataset import SourceFile, SourceSnapshot
from governance.sources.base import MAX_BATCH_ROWS, empty, unreadable
from governance.sources.parts import Part
from governance.sources.pinning import OpenedFile, open_pinned, same_files
from governance.sources.registry import kind_named

if TYPE_CHECKING:
    import pyarrow as pa


def schema(snapshot: SourceSnapshot, types: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """Names and types of the columns that :func:`read` yields, without a value of any.

    Parquet types are as they are. CSV and JSON Lines columns are strings, nested JSON is struct and
    list, and ``types`` says otherwise by column; names in ``types`` that the source lacks are ignored.
    JSON Lines are read through once to find every key.

    Raises :class:`SourceError` GOV-701 … GOV-705 as :func:`read` does, as far as it reads.
    """
    return kind_named(snapshot.kind).schema(_each(snapshot), types or {})


def read(
    snapshot: SourceSnapshot,
    *,
    types: Mapping[str, pa.DataType] | None = None,
    columns: list[str] | None = None,
    batch_rows: int = MAX_BATCH_ROWS,
    known: pa.Schema | None = None,
    parts: Sequence[Part] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream a pinned source in the order of its files, at most ``batch_rows`` rows a batch.

    ``columns`` picks and orders. ``known`` is what :func:`schema` returned for the same ``types``, so
    that it need not be found again. ``parts``, of :func:`governance.sources.parts.split`, leaves out the
    rest of the source; a file of which a part is read is verified whole. Size and digest of each file
    are verified before its first batch; that it is the same file and unchanged, after its last. A
    consumer must not act on the rows until the iterator is exhausted.

    Raises :class:`SourceError`: GOV-701 what cannot be read, GOV-702 a malformed row or a value that
    ``types`` does not admit, GOV-703 invalid UTF-8, GOV-704 no rows, GOV-705 a source that changed.
    """
    kind = kind_named(snapshot.kind)
    same_files(snapshot)
    wanted = _picked(known if known is not None else schema(snapshot, types), columns)
    rows = 0
    for file, only in _chosen(snapshot, parts):
        with open_pinned(snapshot, file) as opened:
            opened.verify(file)
            try:
                for batch in kind.batches(opened, wanted, min(batch_rows, MAX_BATCH_ROWS), **only):
                    rows += batch.num_rows
                    yield batch
            except SourceError:
                opened.unchanged()  # what was written to while it was read is no malformed file
                raise
            opened.unchanged()
    same_files(snapshot)
    if rows == 0 and parts is None:
        raise empty(snapshot.files[0].name, "the source has no rows")


def _chosen(
    snapshot: SourceSnapshot, parts: Sequence[Part] | None
) -> Iterator[tuple[SourceFile, dict[str, Any]]]:
    """Files to read, each with what its kind is told to leave out."""
    if parts is None:
        yield from ((file, {}) for file in snapshot.files)
        return
    files = {file.name: file for file in snapshot.files}
    for part in parts:
        yield files[part.file], {} if part.row_groups is None else {"row_groups": part.row_groups}


def _each(snapshot: SourceSnapshot) -> Iterator[OpenedFile]:
    for file in snapshot.files:
        with open_pinned(snapshot, file) as opened:
            yield opened


def _picked(found: pa.Schema, columns: list[str] | None) -> pa.Schema:
    import pyarrow as pa

    if columns is None:
        return found
    for column in columns:
        if found.get_field_index(column) < 0:
            raise unreadable("the source", f"has no column {column!r}")
    return pa.schema([found.field(column) for column in columns])
