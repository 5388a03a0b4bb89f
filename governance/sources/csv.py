"""CSV as RFC 4180 has it: a header, commas, quotes doubled inside quotes. Strict about both.

A field without quotes and without text is null; ``""`` is the empty string.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from governance.errors import SourceError
from governance.sources.base import empty, malformed, mismatch
from governance.sources.convert import converted, require_convertible
from governance.sources.pinning import OpenedFile
from governance.sources.text import TextStream

_BLOCK = 8 << 20
_QUOTE = ord('"')
_BESIDE_QUOTES = np.zeros(256, bool)
_BESIDE_QUOTES[list(b',\r\n"')] = True


class Csv:
    """Rows are counted as records from the header, which is row 1; blank lines do not count."""

    name = "csv"
    suffixes = (".csv", ".csv.gz")

    def schema(self, files: Iterable[OpenedFile], types: Mapping[str, pa.DataType]) -> pa.Schema:
        names: list[str] = []
        for file in files:
            found = _header(file)
            if not names:
                names = found
            for column in sorted(set(names) - set(found)):
                raise mismatch(file.name, column, "is missing")
            for column in sorted(set(found) - set(names)):
                raise mismatch(file.name, column, "is not in the other files")
        fields = [pa.field(name, types.get(name, pa.string())) for name in names]
        for field in fields:
            require_convertible(field.name, field.type)
        return pa.schema(fields)

    def batches(self, file: OpenedFile, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        header = _header(file)
        for name in schema.names:
            if name not in header:
                raise mismatch(file.name, name, "is missing")
        row = 2
        for block in _records(file, header, schema.names):
            for start in range(0, block.num_rows, batch_rows):
                part = block.slice(start, batch_rows)
                arrays = [
                    converted(
                        column,
                        field.type,
                        file=file.name,
                        column=field.name,
                        where=lambda index, first=row: f"row {first + index}",  # type: ignore[misc]
                    )
                    for column, field in zip(part.columns, schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                row += part.num_rows


def _records(file: OpenedFile, header: list[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """All records as strings. One thread, so that PyArrow can number the rows."""
    quotes = _Quotes(file.name)
    stream = TextStream(file, quotes.inspect)
    ragged: list[pacsv.InvalidRow] = []

    def keep(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    failure: SourceError | None = None
    try:
        reader = pacsv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False,  # the stream did
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=columns,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        yield from reader
    except (pa.ArrowException, OSError, SourceError):
        failure = stream.failure
        if failure is None and ragged:
            row = ragged[0]
            counts = f"{row.actual_columns} fields, not {row.expected_columns}"
            failure = malformed(file.name, f"row {row.number}", counts)
        if failure is None:
            failure = quotes.too_long()
    if failure:
        raise failure


def _header(file: OpenedFile) -> list[str]:
    """The column names of a file. Never shown while it is not sure that they are names."""
    names: list[str] | None = None
    failure: SourceError | None = None
    stream = TextStream(file, _Quotes(file.name).inspect)
    try:
        reader = pacsv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip"),
            convert_options=pacsv.ConvertOptions(check_utf8=False),
        )
        names = list(reader.schema.names)
    except (pa.ArrowException, OSError, SourceError):
        failure = stream.failure
    if failure:
        raise failure
    if names is None and not stream.ended:
        raise malformed(file.name, "row 1 or 2", f"longer than {_BLOCK >> 20} MiB")
    if names is None:
        raise empty(file.name, "the file has no rows below its header")
    for position, name in enumerate(names, 1):
        if not name.strip():
            raise malformed(file.name, "row 1", f"column {position} of the header has no name")
        if names.index(name) != position - 1:
            raise malformed(
                file.name,
                "row 1",
                f"columns {names.index(name) + 1} and {position} of the header have the same name",
            )
    return names


class _Quotes:
    """Checks that quotes enclose whole fields (RFC 4180 §2.5–2.7).

    PyArrow takes an unclosed quote as one that ends with the file, and two of them as one field: the
    rows between would vanish. So each quote that opens must follow a separator or another quote, each
    that closes must precede one, and their number must be even.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = 1
        self._odd = False
        self._before = ord("\n")
        self._opened = 1

    def inspect(self, chunk: bytes) -> None:
        data = np.frombuffer(chunk, np.uint8)
        if not len(data):
            if self._odd:
                raise malformed(self._name, f"line {self._opened}", "a quote is opened and never closed")
            return
        at = np.flatnonzero(data == _QUOTE)
        opening, closing = (at[1::2], at[::2]) if self._odd else (at[::2], at[1::2])
        before = data[opening - 1]
        if len(opening) and opening[0] == 0:
            before[0] = self._before
        wrong = opening[~_BESIDE_QUOTES[before]]
        after = closing[closing < len(data) - 1] + 1
        wrong = np.append(wrong, after[~_BESIDE_QUOTES[data[after]]])
        if self._odd is False and self._before == _QUOTE and not _BESIDE_QUOTES[data[0]]:
            wrong = np.append(wrong, 0)
        if len(wrong):
            raise malformed(
                self._name,
                f"line {self._line + _newlines(data[: wrong.min()])}",
                "a quote inside a field that is not quoted, or text beside a quoted field",
            )
        if len(at) % 2:
            self._odd = not self._odd
        if self._odd and len(opening):
            self._opened = self._line + _newlines(data[: opening[-1]])
        self._before = int(data[-1])
        self._line += _newlines(data)

    def too_long(self) -> SourceError:
        """The error for a record that does not fit a block."""
        where = f"line {self._opened}" if self._odd else f"before line {self._line}"
        return malformed(
            self._name, where, f"a row longer than {_BLOCK >> 20} MiB, or a quote that is not closed"
        )


def _newlines(data: npt.NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(data == ord("\n")))
