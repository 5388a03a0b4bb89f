r"""JSON Lines: one JSON object (RFC 8259) a line, parsed in blocks by DuckDB.

Scalars are strings as JSON writes them. Objects and lists are struct and list where every row agrees,
JSON text where they do not. DuckDB's parser also admits ``NaN``, ``Infinity`` and a trailing comma.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.sources.base import empty, malformed, unreadable
from governance.sources.convert import converted, require_convertible
from governance.sources.pinning import OpenedFile
from governance.sources.text import TextStream

if TYPE_CHECKING:
    import duckdb

_BLOCK = 8 << 20
_LONGEST_LINE = 64 << 20
_NESTED = "('OBJECT', 'ARRAY')"


class JsonLines:
    """Blank lines are skipped but counted: lines are numbered as an editor does, from 1."""

    name = "jsonl"
    suffixes = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")

    def schema(self, files: Iterable[OpenedFile], types: Mapping[str, pa.DataType]) -> pa.Schema:
        found = _Found()
        name = "the source"
        with _connection() as con:
            for file in files:
                name = file.name
                for block in _blocks(file):
                    found.update(con, file.name, block)
            fields = [pa.field(key, types.get(key, found.type_of(con, key))) for key in found.structures]
        if not fields:
            raise empty(name, "the source has no rows")
        for each in fields:
            if not pa.types.is_nested(each.type):
                require_convertible(each.name, each.type)
            _structure(each.name, each.type)
        return pa.schema(fields)

    def batches(self, file: OpenedFile, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        structure = json.dumps({each.name: _structure(each.name, each.type) for each in schema})
        with _connection() as con:
            for block in _blocks(file):
                _require_objects(con, file.name, block)
                for start in range(0, len(block.lines), batch_rows):
                    part = block.slice(start, batch_rows)
                    rows = _query(con, part, f"SELECT json_transform(l, {_literal(structure)}) AS s FROM t")
                    yield _batch(file.name, part, rows["s"].combine_chunks(), schema)


@dataclass
class _Block:
    """Lines that are not blank, and their numbers in the file."""

    lines: pa.StringArray
    numbers: Any

    def slice(self, start: int, rows: int) -> _Block:
        return _Block(self.lines.slice(start, rows), self.numbers[start : start + rows])


@dataclass
class _Found:
    """The keys met so far in order, and for those that held objects or lists DuckDB's structure of them.

    A key with ``None`` held scalars only.
    """

    structures: dict[str, list[str] | None] = field(default_factory=dict)
    scalar: set[str] = field(default_factory=set)

    def update(self, con: duckdb.DuckDBPyConnection, name: str, block: _Block) -> None:
        _require_objects(con, name, block)
        sets = _query(con, block, "SELECT json_keys(l) AS k, min(i) AS i FROM t GROUP BY 1 ORDER BY 2")
        for keys, first in zip(sets["k"].to_pylist(), sets["i"].to_pylist(), strict=True):
            where = f"line {block.numbers[first]}"
            if len(set(keys)) < len(keys):
                raise malformed(name, where, "a key stands twice in one object")
            for key in keys:
                self.structures.setdefault(key, None)
            if len({key.casefold() for key in self.structures}) < len(self.structures):
                raise malformed(name, where, "a key differs from another one only in upper and lower case")
        self._nested(con, block)

    def _nested(self, con: duckdb.DuckDBPyConnection, block: _Block) -> None:
        keys = list(self.structures)
        if not keys:
            return
        paths = ", ".join(_literal(_pointer(key)) for key in keys)
        kinds = ", ".join(
            f"bool_or(y[{n}] IN {_NESTED}), bool_or(y[{n}] NOT IN {_NESTED} AND y[{n}] <> 'NULL')"
            for n in range(1, len(keys) + 1)
        )
        row = _query(con, block, f"SELECT {kinds} FROM (SELECT json_type(l, [{paths}]) AS y FROM t)")
        flags = [column[0].as_py() for column in row.columns]
        for n, key in enumerate(keys):
            if flags[2 * n + 1]:
                self.scalar.add(key)
            if flags[2 * n]:
                query = f"SELECT json_group_structure(l::JSON -> {_literal(_pointer(key))}) AS s FROM t"
                merged = {*(self.structures[key] or ()), _query(con, block, query)["s"][0].as_py()}
                self.structures[key] = sorted(merged)

    def type_of(self, con: duckdb.DuckDBPyConnection, key: str) -> pa.DataType:
        found = self.structures[key]
        if found is None or key in self.scalar:
            return pa.string()
        samples = pa.array([json.dumps(_sample(json.loads(each))) for each in found])
        block = _Block(samples, np.arange(len(samples)))
        merged = _query(con, block, "SELECT json_group_structure(l::JSON) AS s FROM t")["s"][0].as_py()
        return _type(json.loads(merged))


def _batch(name: str, block: _Block, rows: pa.StructArray, schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for each in schema:
        column = rows.field(each.name)
        if pa.types.is_nested(each.type):
            arrays.append(column.cast(each.type))
        else:
            where = lambda index: f"line {block.numbers[index]}"
            arrays.append(converted(column, each.type, file=name, column=each.name, where=where))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _blocks(file: OpenedFile) -> Iterator[_Block]:
    stream = TextStream(file)
    rest, line = b"", 1
    while data := stream.read(_BLOCK):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        rest, data = data[cut:], data[:cut]
        if len(rest) > _LONGEST_LINE:
            where = f"line {line + data.count(10)}"
            raise malformed(file.name, where, f"longer than {_LONGEST_LINE >> 20} MiB")
        block = _lines(data, line)
        line += data.count(b"\n")
        if len(block.lines):
            yield block
    block = _lines(rest + b"\n", line)
    if len(block.lines):
        yield block


def _lines(data: bytes, first: int) -> _Block:
    """``data``, which ends in a newline or is empty, as lines without copying."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    offsets = np.concatenate(([0], ends + 1)).astype(np.int32)
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    kept = pc.not_equal(pc.ascii_trim_whitespace(lines), "")
    numbers = np.arange(first, first + len(ends))
    return _Block(lines.filter(kept), numbers[kept.to_numpy(zero_copy_only=False)])


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    # One thread keeps the rows in order; nothing may be spilled, for it would be readable.
    settings = {"threads": 1, "memory_limit": "1GB", "max_temp_directory_size": "0B"}
    con = duckdb.connect(config=settings)
    try:
        yield con
    finally:
        con.close()


def _query(con: duckdb.DuckDBPyConnection, block: _Block, sql: str) -> pa.Table:
    """Run ``sql`` over ``t(l: the line, i: its index)``. DuckDB's messages may quote a line."""
    import duckdb

    con.register("t", pa.table({"l": block.lines, "i": np.arange(len(block.lines))}))
    try:
        return con.sql(sql).to_arrow_table()
    except duckdb.Error:
        pass  # raised below, so that it is not its context
    finally:
        con.unregister("t")
    raise unreadable("the source", "its JSON cannot be read as one schema")


def _require_objects(con: duckdb.DuckDBPyConnection, name: str, block: _Block) -> None:
    bad = "CASE WHEN json_valid(l) THEN json_type(l) <> 'OBJECT' ELSE true END"
    index = _query(con, block, f"SELECT min(i) AS i FROM t WHERE {bad}")["i"][0].as_py()
    if index is not None:
        raise malformed(name, f"line {block.numbers[index]}", "not a JSON object")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _pointer(key: str) -> str:
    """RFC 6901."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


_SCALARS = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "UBIGINT": pa.int64(),
    "HUGEINT": pa.float64(),
    "DOUBLE": pa.float64(),
}
_TRANSFORMED = {pa.bool_(): "BOOLEAN", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}
_SAMPLES = {
    "BOOLEAN": True,
    "BIGINT": -1,
    "UBIGINT": 1,
    "HUGEINT": 0.5,
    "DOUBLE": 0.5,
    "VARCHAR": "",
    "NULL": None,
}


def _sample(structure: Any) -> Any:
    """A value of the structure, to merge structures of several blocks by DuckDB's own rule."""
    if isinstance(structure, dict):
        return {key: _sample(value) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_sample(structure[0])]
    return _SAMPLES.get(structure, {})


def _type(structure: Any) -> pa.DataType:
    if isinstance(structure, dict):
        return pa.struct([(key, _type(value)) for key, value in structure.items()])
    if isinstance(structure, list):
        return pa.list_(_type(structure[0]))
    return _SCALARS.get(structure, pa.string())


def _structure(column: str, kind: pa.DataType) -> Any:
    """DuckDB's structure that yields ``kind``; what is not nested is taken as text and converted."""
    if pa.types.is_struct(kind):
        return {f.name: _inner(column, f.type) for f in kind}
    if pa.types.is_list(kind):
        return [_inner(column, kind.value_type)]
    return "VARCHAR"


def _inner(column: str, kind: pa.DataType) -> Any:
    if name := _TRANSFORMED.get(kind):
        return name
    if pa.types.is_nested(kind) or pa.types.is_string(kind):
        return _structure(column, kind)
    raise unreadable("the source", f"column {column!r} cannot be read as a nested {kind}")
