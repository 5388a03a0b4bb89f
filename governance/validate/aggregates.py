"""Checks on a column or table as a whole: SQL aggregates, or the schema alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from governance.validate.columns import Family, Unfit, family, scalar, sql_comparable, sql_literal
from governance.validate.rowwise import Bounds, Types

Verdict = tuple[bool, dict[str, Any]]
"""Success, and a result in Great Expectations' shape."""

SMALLEST_GROUP = 5
"""A mean or sum over fewer values would come close to a value, and is not shown."""


@dataclass(frozen=True)
class Aggregate:
    """One SQL aggregate over one column, within bounds.

    ``shown`` says when the observed value may be told: ``always`` for counts and proportions,
    ``grouped`` from :data:`SMALLEST_GROUP` values on, ``asked`` for a value of the column itself.
    ``empty`` is the value over no rows; ``None`` fails, as it does in Great Expectations.
    """

    column: str
    template: str
    bounds: Bounds
    families: tuple[Family, ...] = (Family.NUMBER,)
    shown: str = "grouped"
    empty: float | None = None
    public: bool = False

    def check(self, types: Types) -> None:
        kind = types[self.column]
        if self.families and family(kind) not in self.families:
            raise Unfit(f"column {self.column!r} holds {kind}, not {' or '.join(self.families)}")
        if family(kind) in (Family.DATE, Family.TIMESTAMP) and self.shown == "asked":
            self.bounds.sql("x", kind)
        elif any(isinstance(v, str | date) for v in (self.bounds.minimum, self.bounds.maximum)):
            raise Unfit("bounds that are not numbers")

    def sql(self, columns: Mapping[str, str], types: Types) -> list[str]:
        kind = types[self.column]
        column = columns[self.column]
        compared = sql_comparable(column, kind) if family(kind) is Family.NUMBER else column
        return [self.template.format(c=column, n=compared), f"count({column})"]

    def verdict(self, values: Sequence[Any], rows: int, types: Types) -> Verdict:  # noqa: ARG002
        value, count = values
        if value is None or (isinstance(value, float) and math.isnan(value)):
            value = self.empty
        if value is None:
            return False, {"observed_value": None}
        tell = self.public or self.shown == "always" or (self.shown == "grouped" and count >= SMALLEST_GROUP)
        return self._bounds(types).holds(value), {"observed_value": _plain(value)} if tell else {}

    def _bounds(self, types: Types) -> Bounds:
        """Bounds as Python values that compare with what DuckDB returns."""
        kind = types[self.column]
        if family(kind) not in (Family.DATE, Family.TIMESTAMP) or self.shown != "asked":
            return self.bounds
        if pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", kind.tz)
        low, high = (
            None if v is None else scalar(v, kind).as_py() for v in (self.bounds.minimum, self.bounds.maximum)
        )
        return Bounds(low, high, self.bounds.strict_minimum, self.bounds.strict_maximum)


@dataclass(frozen=True)
class DistinctValues:
    """The distinct values against a set; no value of the column is told.

    ``inside``: none may lie outside the set. ``complete``: each of the set must occur.
    """

    column: str
    values: tuple[Any, ...]
    inside: bool
    complete: bool

    def check(self, types: Types) -> None:
        if family(types[self.column]) is Family.OTHER:
            raise Unfit(f"column {self.column!r} holds {types[self.column]}, which has no sets")
        for value in self.values:
            sql_literal(value, types[self.column])

    def sql(self, columns: Mapping[str, str], types: Types) -> list[str]:
        kind = types[self.column]
        literals = [sql_literal(value, kind) for value in self.values]
        column = sql_comparable(columns[self.column], kind, literals)
        outside = f"count(DISTINCT {column}) FILTER ({column} NOT IN ({', '.join(literals)}))"
        return [outside, *(f"coalesce(bool_or({column} = {literal}), false)" for literal in literals)]

    def verdict(self, values: Sequence[Any], rows: int, types: Types) -> Verdict:  # noqa: ARG002
        outside, found = values[0], values[1:]
        missing = sum(not each for each in found)
        result: dict[str, Any] = {"observed_value": None}
        if self.inside:
            result["unexpected_count"] = outside
        if self.complete:
            result["missing_count"] = missing
        return not (self.inside and outside) and not (self.complete and missing), result


@dataclass(frozen=True)
class MostCommon:
    """The most common value is in a set; of several equally common ones, ``ties``, at least one."""

    column: str
    values: tuple[Any, ...]
    ties: bool

    def check(self, types: Types) -> None:
        if family(types[self.column]) is Family.OTHER:
            raise Unfit(f"column {self.column!r} holds {types[self.column]}, which has no sets")
        for value in self.values:
            sql_literal(value, types[self.column])

    def sql(self, columns: Mapping[str, str], types: Types) -> list[str]:
        kind = types[self.column]
        literals = [sql_literal(value, kind) for value in self.values]
        counts = f"histogram({sql_comparable(columns[self.column], kind, literals)})"
        most = f"list_max(map_values({counts}))"
        common = f"list_filter(map_entries({counts}), lambda e: e.value = {most})"
        inside = f"list_filter({common}, lambda e: e.key IN ({', '.join(literals)}))"
        return [f"len({common})", f"len({inside})"]

    def verdict(self, values: Sequence[Any], rows: int, types: Types) -> Verdict:  # noqa: ARG002
        common, inside = (value or 0 for value in values)
        return (inside > 0 if self.ties else common == inside == 1), {"observed_value": None}


@dataclass(frozen=True)
class RowCount:
    bounds: Bounds

    def verdict(self, values: Sequence[Any], rows: int, types: Types) -> Verdict:  # noqa: ARG002
        return self.bounds.holds(rows), {"observed_value": rows}

    def check(self, types: Types) -> None:
        pass

    def sql(self, columns: Mapping[str, str], types: Types) -> list[str]:  # noqa: ARG002
        return []


@dataclass(frozen=True)
class SchemaCheck:
    """A verdict from names and types alone."""

    judge: Callable[[Types], Verdict]
    column: str | None = None

    def check(self, types: Types) -> None:
        pass

    def sql(self, columns: Mapping[str, str], types: Types) -> list[str]:  # noqa: ARG002
        return []

    def verdict(self, values: Sequence[Any], rows: int, types: Types) -> Verdict:  # noqa: ARG002
        return self.judge(types)


def type_named(kind: pa.DataType, names: Sequence[str]) -> bool:
    """Whether ``kind`` is one of ``names``: of Arrow, NumPy, pandas, Python or SQL."""
    return any(test(kind) for name in names if (test := TYPES.get(name.lower())) is not None)


def _is(*kinds: pa.DataType) -> Callable[[pa.DataType], bool]:
    return lambda kind: kind in kinds


_TEXT = lambda kind: family(kind) is Family.TEXT
_DECIMAL = lambda kind: bool(pa.types.is_decimal(kind))
_TIMESTAMP = lambda kind: bool(pa.types.is_timestamp(kind))
_INTEGER = lambda kind: bool(pa.types.is_integer(kind))
_FLOAT = lambda kind: bool(pa.types.is_floating(kind))

TYPES: dict[str, Callable[[pa.DataType], bool]] = {
    **{name: _is(pa.type_for_alias(name)) for name in ("int8", "int16", "int32", "int64")},
    **{name: _is(pa.type_for_alias(name)) for name in ("uint8", "uint16", "uint32", "uint64")},
    "tinyint": _is(pa.int8()),
    "smallint": _is(pa.int16()),
    "integer": _is(pa.int32()),
    "bigint": _is(pa.int64()),
    "int": _INTEGER,
    "float": _FLOAT,
    "float32": _is(pa.float32()),
    "real": _is(pa.float32()),
    "float64": _is(pa.float64()),
    "double": _is(pa.float64()),
    "bool": _is(pa.bool_()),
    "boolean": _is(pa.bool_()),
    "date": lambda kind: bool(pa.types.is_date(kind)),
    "date32": _is(pa.date32()),
    "decimal": _DECIMAL,
    "numeric": _DECIMAL,
    **dict.fromkeys(("str", "string", "text", "varchar", "char", "large_string"), _TEXT),
    **dict.fromkeys(("timestamp", "datetime", "datetime64", "datetime64[ns]", "datetime64[us]"), _TIMESTAMP),
    "timestamptz": lambda kind: bool(pa.types.is_timestamp(kind) and kind.tz is not None),
    "binary": lambda kind: bool(pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind)),
}
"""Names for ``type_``; lower case."""


def _plain(value: Any) -> Any:
    """As JSON can hold it exactly (RFC 8785 numbers are doubles)."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) > 2**53:
        return float(value)
    return value if isinstance(value, int | str | bool) else float(value)
