"""Arrow types as text and back, so that a manifest states its schema readably and exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from governance.errors import StorageError

_SCALARS: dict[str, pa.DataType] = {
    str(t): t
    for t in (
        pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(),
        pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.date32(), pa.date64(),
        pa.string(), pa.large_string(), pa.binary(), pa.large_binary(),
        *(pa.time32(u) for u in ("s", "ms")), *(pa.time64(u) for u in ("us", "ns")),
        *(pa.timestamp(u) for u in ("s", "ms", "us", "ns")),
        *(pa.duration(u) for u in ("s", "ms", "us", "ns")),
    )
}  # fmt: skip

_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=([^\]]+)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)")
_FIXED = re.compile(r"fixed_size_binary\[(\d+)\]")
_WORD = re.compile(r"[a-z0-9_]+(?:\[[^\]]*\]|\([^)]*\))?")
_DECIMALS: dict[str, Callable[[int, int], pa.DataType]] = {
    "32": pa.decimal32, "64": pa.decimal64, "128": pa.decimal128, "256": pa.decimal256,
}  # fmt: skip


def type_of_text(text: str) -> pa.DataType:
    """The Arrow type whose ``str()`` is ``text``: scalars, lists, maps and structs of them.

    Raises:
        StorageError: GOV-722, no such type.
    """
    reader = _Reader(text)
    found = reader.data_type()
    if reader.rest:
        raise reader.fault()
    return found


def schema_of(columns: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """The Arrow schema of a manifest's ``schema``: a list of ``{"name", "type"}``."""
    return pa.schema([(column["name"], type_of_text(column["type"])) for column in columns])


class _Reader:
    """Recursive descent over what ``str(pa.DataType)`` writes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.rest = text

    def fault(self) -> StorageError:
        return StorageError(
            "GOV-722",
            f"the manifest names an unknown type at {self.rest[:40]!r}",
            "read it with the version of the package that wrote it",
        )

    def data_type(self) -> pa.DataType:
        for prefix, make in (("list<", pa.list_), ("large_list<", pa.large_list)):
            if self._take(prefix):
                item = self._field()
                self._expect(">")
                return make(item)
        if self._take("struct<"):
            return pa.struct(self._fields())
        if self._take("map<"):
            key = self.data_type()
            self._expect(", ")
            value = self.data_type()
            self._expect(">")
            return pa.map_(key, value)
        return self._scalar()

    def _scalar(self) -> pa.DataType:
        if match := _ZONED.match(self.rest):
            made = pa.timestamp(match[1], tz=match[2])
        elif match := _DECIMAL.match(self.rest):
            made = _DECIMALS[match[1]](int(match[2]), int(match[3]))
        elif match := _FIXED.match(self.rest):
            made = pa.binary(int(match[1]))
        elif (match := _WORD.match(self.rest)) and match[0] in _SCALARS:
            made = _SCALARS[match[0]]
        else:
            raise self.fault()
        self.rest = self.rest[match.end() :]
        return made

    def _fields(self) -> list[pa.Field]:
        fields: list[pa.Field] = []
        while not self._take(">"):
            if fields:
                self._expect(", ")
            fields.append(self._field())
        return fields

    def _field(self) -> pa.Field:
        name, separator, self.rest = self.rest.partition(": ")
        if not separator:
            raise self.fault()
        data_type = self.data_type()
        return pa.field(name, data_type, nullable=not self._take(" not null"))

    def _take(self, token: str) -> bool:
        if not self.rest.startswith(token):
            return False
        self.rest = self.rest[len(token) :]
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self.fault()
