"""Rows as the requests of a batch: one JSON line each, in parts that every provider takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa

from governance.errors import AccessError
from governance.model.policy import AiService

PART_RECORDS = 50_000
"""The least of the providers' limits (a file of Azure OpenAI, a file of Bedrock)."""

PART_BYTES = 64 << 20

_ROW = "__row"


class Endpoint(Protocol):
    """What takes the parts of one disclosure."""

    def send(self, name: str, data: bytes) -> str:
        """Hand one part over and start it.

        Args:
            name: of the part, without a directory.
            data: JSON lines, UTF-8.

        Returns:
            The provider's own name of the job.

        Raises:
            AccessError: GOV-608 where the provider does not take it, with none of its text.
        """


@dataclass(frozen=True, slots=True)
class Part:
    """``data`` are ``records`` JSON lines."""

    records: int
    data: bytes

    def facts(self) -> dict[str, Any]:
        """What the register keeps of it."""
        digest = "sha256:" + hashlib.sha256(self.data).hexdigest()
        return {"records": self.records, "bytes": len(self.data), "digest": digest}


def parts(
    batches: Iterable[pa.RecordBatch], record: str, service: AiService, subjects: Sequence[str]
) -> Iterator[Part]:
    """The rows of ``batches`` as requests.

    A record's text is its value where one column remains beside those of ``subjects``, else a JSON object of the
    columns. Rows without a value are no request. A record's id is its row's number in 12 digits and, where the first
    of ``subjects`` is there, ``x`` and its pseudonym.

    Args:
        record: a provider's record as an SQL expression.
    """
    pieces: list[bytes] = []
    records = size = row = 0
    with duckdb.connect(config={"threads": 1, "max_temp_directory_size": "0B"}) as connection:
        for batch in batches:
            numbers = pa.array(np.arange(row, row + batch.num_rows))
            row += batch.num_rows
            data, ends = _lines(connection, batch.append_column(_ROW, numbers), record, service, subjects)
            first = 0
            while first < len(ends) - 1:
                room = int(np.searchsorted(ends, ends[first] + PART_BYTES - size, "right")) - 1
                until = min(max(room, first), first + PART_RECORDS - records)
                if until == first and not records:
                    until = first + 1  # one record larger than a part
                if until > first:
                    pieces.append(data[int(ends[first]) : int(ends[until])])
                    records, size = records + until - first, size + len(pieces[-1])
                    first = until
                if first < len(ends) - 1:
                    yield Part(records, b"".join(pieces))
                    pieces, records, size = [], 0, 0
    if records:
        yield Part(records, b"".join(pieces))


def refused(provider: str, fault: str) -> AccessError:
    """GOV-608: only the kind of the fault is told, a provider's text may quote what it was sent."""
    return AccessError(
        "GOV-608",
        f"{provider} did not take the disclosure ({fault})",
        "look at the service's own log, then disclose again: the register says more left than did, never less",
    )


def missing(kind: str, package: str, extra: str) -> AccessError:
    """GOV-608 for a client that is not installed; raised before anything is recorded."""
    return AccessError(
        "GOV-608",
        f"{package}, which talks to {kind}, is not installed",
        f"pip install 'airflow-governance[{extra}]'",
    )


def _lines(
    connection: duckdb.DuckDBPyConnection,
    batch: pa.RecordBatch,
    record: str,
    service: AiService,
    subjects: Sequence[str],
) -> tuple[bytes, np.ndarray]:
    """The lines one after the other, and where each ends, after a first 0."""
    told = [name for name in batch.schema.names if name not in (*subjects, _ROW)]
    person = next((name for name in subjects if name in batch.schema.names), None)
    number = f"printf('%012d', {_ROW})"
    id_ = number if person is None else f"concat({number}, 'x' || {_quoted(person)})"
    if len(told) == 1:
        text = f"CAST({_quoted(told[0])} AS VARCHAR)"
    else:
        members = ", ".join(f"{_literal(name)}: {_quoted(name)}" for name in told)
        text = f"CAST(to_json({{{members}}}) AS VARCHAR)"
    connection.register("__rows", batch)
    given = {"model": service.model, "instructions": service.instructions}
    query = (
        f"SELECT CAST(to_json({record}) AS VARCHAR) || chr(10) FROM "
        f"(SELECT {id_} AS id, {text} AS text, {_ROW} FROM __rows) WHERE text IS NOT NULL ORDER BY {_ROW}"
    )
    asked = {name: value for name, value in given.items() if f"${name}" in record}
    table = connection.sql(query, params=asked).to_arrow_table()
    line = table.column(0).cast(pa.large_string()).combine_chunks()
    connection.unregister("__rows")
    _, offsets, data = line.buffers()
    ends = np.frombuffer(offsets, np.int64, len(line) + 1, line.offset * 8)
    return data.to_pybytes() if data is not None else b"", ends


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
