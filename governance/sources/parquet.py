"""Parquet files. Types as they are, dictionary encoding undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from governance.errors import SourceError
from governance.sources.base import mismatch, not_utf8, unreadable
from governance.sources.pinning import OpenedFile

_READ_BUFFER = 1 << 20
_DAMAGED = "not a Parquet file, or truncated or damaged"


class Parquet:
    """Every string is checked for UTF-8, which PyArrow does not do when it reads."""

    name = "parquet"
    suffixes = (".parquet",)

    def schema(
        self,
        files: Iterable[OpenedFile],
        types: Mapping[str, pa.DataType],  # noqa: ARG002
    ) -> pa.Schema:
        first: pa.Schema | None = None
        for file in files:
            found = _schema(file)
            if first is None:
                first = found
            _require_same(file.name, first, found)
        if first is None:
            raise unreadable("the source", "has no files")
        return first

    def batches(
        self,
        file: OpenedFile,
        schema: pa.Schema,
        batch_rows: int,
        *,
        row_groups: Sequence[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """As any kind's, of these row groups only where they are named."""
        _require_same(file.name, schema, _schema(file), only=True)
        textual = [field.name for field in schema if _holds_text(field.type)]
        failure: SourceError | None = None
        try:
            opened = _parquet_file(file)
            every = range(opened.num_row_groups) if row_groups is None else row_groups
            for batch in opened.iter_batches(batch_size=batch_rows, columns=schema.names, row_groups=every):
                columns = {name: _decoded(batch.column(name)) for name in schema.names}
                failure = _invalid_text(file.name, {name: columns[name] for name in textual})
                if failure:
                    break
                yield pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)
        except _ERRORS as error:
            failure = unreadable(file.name, _DAMAGED)
            if isinstance(error, pa.ArrowInvalid) and "Invalid UTF8" in str(error):
                failure = not_utf8(file.name, "a dictionary-encoded column")
        if failure:
            raise failure


def row_group_count(file: OpenedFile) -> int:
    """How many row groups a Parquet file has. Raises :class:`SourceError` GOV-701 if it is none."""
    try:
        return int(_parquet_file(file).num_row_groups)
    except _ERRORS:
        pass
    raise unreadable(file.name, _DAMAGED)


# What PyArrow raises for damaged files; its messages may quote what it read.
_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError)


def _parquet_file(file: OpenedFile) -> pq.ParquetFile:
    return pq.ParquetFile(pa.PythonFile(file.stream(), mode="r"), buffer_size=_READ_BUFFER, pre_buffer=False)


def _schema(file: OpenedFile) -> pa.Schema:
    failure: SourceError | None = None
    fields: list[pa.Field] = []
    try:
        found = _parquet_file(file).schema_arrow
        fields = [pa.field(f.name, _plain(f.type)) for f in found]
    except UnicodeDecodeError:
        failure = not_utf8(file.name, "a column's name")
    except _ERRORS:
        failure = unreadable(file.name, _DAMAGED)
    if failure:
        raise failure
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise unreadable(file.name, f"has the column {name!r} twice")
    return pa.schema(fields)


def _require_same(name: str, first: pa.Schema, found: pa.Schema, *, only: bool = False) -> None:
    for field in first:
        index = found.get_field_index(field.name)
        if index < 0:
            raise mismatch(name, field.name, "is missing")
        if found.field(index).type != field.type:
            raise mismatch(name, field.name, f"is {found.field(index).type}, not {field.type}")
    for field in () if only else found:
        if first.get_field_index(field.name) < 0:
            raise mismatch(name, field.name, "is not in the other files")


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _holds_text(kind: pa.DataType) -> bool:
    if kind.num_fields:
        return any(_holds_text(kind.field(i).type) for i in range(kind.num_fields))
    return bool(
        pa.types.is_string(_plain(kind))
        or pa.types.is_large_string(_plain(kind))
        or pa.types.is_string_view(_plain(kind))
    )


def _invalid_text(name: str, columns: Mapping[str, pa.Array]) -> SourceError | None:
    for column, array in columns.items():
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            return not_utf8(name, f"column {column!r}")
    return None
