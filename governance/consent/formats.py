"""Reads a consent file: CSV, Parquet, JSON, JSON Lines or JSON-LD, into columns of strings and times."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from governance.consent.actions import STAMP
from governance.consent.interchange import NotRecords, rows_of
from governance.consent.signals import SIGNALS, records_of
from governance.errors import ConsentFindings

REQUIRED = ("record_id", "domain", "subject_id", "purpose", "action", "valid_from", "collected_at")
OPTIONAL = (
    "valid_to", "notice_version", "channel", "given_by", "authority", "birth_date", "country", "expiry_event", "defect",
)  # fmt: skip
TIMES = ("valid_from", "valid_to", "collected_at")
COLUMNS = (*REQUIRED, *OPTIONAL)

REMEDY = "correct the file (docs/consent.md lists its columns) and import it again; nothing was taken from it"


def read_file(path: Path, data: bytes, domain: str | None = None) -> pa.Table:
    """The file's rows in file order, all of :data:`COLUMNS`; absent optional columns are null.

    ``domain`` is of the subjects of ISO/IEC TS 27560 records, which name none.

    Times are ``timestamp[us, UTC]`` where the file has typed ones, ``string`` otherwise.

    Raises:
        ConsentFindings: GOV-201 when the file cannot be read or its columns are wrong.
    """
    table = _parsed(path, data, domain)
    if "signal" in table.column_names:
        try:
            table = records_of(table)
        except NotRecords as error:
            raise ConsentFindings("GOV-201", path.name, [str(error)], REMEDY) from None
    faults = [f"column {name} is missing" for name in REQUIRED if name not in table.column_names]
    unknown = [i for i, name in enumerate(table.column_names, 1) if name not in COLUMNS]
    if unknown:
        faults.append(
            f"unknown columns at positions {', '.join(map(str, unknown))}; known are {', '.join(COLUMNS)}"
        )
    if len(set(table.column_names)) != table.num_columns:
        faults.append("two columns have the same name")
    if faults:
        raise ConsentFindings("GOV-201", path.name, faults, REMEDY)
    columns = {}
    for name in COLUMNS:
        column = table[name] if name in table.column_names else pa.nulls(table.num_rows, pa.string())
        try:
            columns[name] = _time(column) if name in TIMES else _string(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError):
            wanted = "a timestamp with a time zone" if name in TIMES else "a string"
            faults.append(f"column {name} has type {_type_name(column.type)}, not {wanted}")
    if not table.num_rows:
        faults.append("there are no records in it")
    if faults:
        raise ConsentFindings("GOV-201", path.name, faults, REMEDY)
    return pa.table(columns)


def _parsed(path: Path, data: bytes, domain: str | None) -> pa.Table:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    try:
        if suffixes and suffixes[-1] == ".gz":
            data = gzip.decompress(data)
            suffixes.pop()
        suffix = suffixes[-1] if suffixes else ""
        if suffix == ".parquet":
            return pq.read_table(pa.BufferReader(data))
        if suffix == ".csv":
            return _csv(data)
        if suffix in (".json", ".jsonld"):
            return _json(data, domain)
        if suffix in (".jsonl", ".ndjson"):
            first = json.loads(data.split(b"\n", 1)[0] or b"{}")
            names = SIGNALS if isinstance(first, dict) and "signal" in first else COLUMNS
            schema = pa.schema([(name, pa.string()) for name in names])
            return pa_json.read_json(
                io.BytesIO(data),
                parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
            )
    except NotRecords as error:
        raise ConsentFindings("GOV-201", path.name, [str(error)], REMEDY) from None
    except (pa.ArrowException, OSError, RecursionError, EOFError, zlib.error, ValueError) as error:
        # The parsers quote the line they stumble on: only its number leaves this place. The CSV
        # parser counts the header as row 1, the JSON parser the first record as row 0.
        row = re.search(r"[Rr]ow #?(\d+)", str(error))
        where = f" at row {int(row[1]) + (-1 if '#' in row[0] else 1)}" if row else ""
        kind = suffixes[-1] if suffixes else "a file"
        fault = f"it cannot be read as {kind}{where}: truncated, ragged or mistyped"
        raise ConsentFindings("GOV-201", path.name, [fault], REMEDY) from None
    fault = "its name does not say what it is; known are .csv, .parquet, .json, .jsonld, .jsonl and .ndjson, also with .gz"
    raise ConsentFindings("GOV-201", path.name, [fault], "rename the file after its format")


def _json(data: bytes, domain: str | None) -> pa.Table:
    """A list of flat objects, or consent records of ISO/IEC TS 27560."""
    document = json.loads(data)
    flat = isinstance(document, list) and all(
        isinstance(row, dict) and ("record_id" in row or "signal" in row) for row in document
    )
    if not flat or not document:
        return rows_of(document, domain)
    if not all(value is None or isinstance(value, str) for row in document for value in row.values()):
        raise NotRecords("a value is not a string; write times and numbers as strings")
    names = dict.fromkeys(name for row in document for name in row)
    return pa.table({name: pa.array([row.get(name) for row in document], pa.string()) for name in names})


def _csv(data: bytes) -> pa.Table:
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    names = [name.strip().strip('"') for name in header.strip().removeprefix("\ufeff").split(",")]
    return pa_csv.read_csv(
        io.BytesIO(data),
        # Only the serial reader says at which row it stopped.
        read_options=pa_csv.ReadOptions(use_threads=False),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _string(column: pa.ChunkedArray) -> pa.Array:
    column = pa.chunked_array(column.chunks, column.type) if isinstance(column, pa.ChunkedArray) else column
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_null(kind)
    ):
        raise TypeError
    cast = column.cast(pa.string())
    return cast.combine_chunks() if isinstance(cast, pa.ChunkedArray) else cast


def _time(column: pa.ChunkedArray) -> pa.Array:
    kind = column.type
    if not pa.types.is_timestamp(kind):
        return _string(column) if not pa.types.is_integer(kind) else _refuse()
    if kind.tz is None:
        _refuse()
    cast = column.cast(STAMP, safe=kind.unit != "ns")
    return cast.combine_chunks() if isinstance(cast, pa.ChunkedArray) else cast


def _refuse() -> pa.Array:
    raise TypeError


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return "timestamp without a time zone"
    return "struct" if pa.types.is_nested(kind) else str(kind)
