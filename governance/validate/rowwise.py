"""Conditions on single rows, each once in Arrow for batches of the source and once in SQL.

``failing`` and its SQL are true for rows that break the rule. Missing values never do, except for the
two conditions about missing values and for pairs (Great Expectations' semantics, pandas engine).
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from governance.validate.columns import (
    Family,
    Unfit,
    comparable,
    family,
    quoted,
    scalar,
    sql_comparable,
    sql_literal,
)

Types = Mapping[str, pa.DataType]
Arrays = Mapping[str, pa.Array]


class RowCondition(Protocol):
    """Columns are named as in the dataset; ``sql`` maps them to expressions over normalized columns."""

    columns: tuple[str, ...]

    def check(self, types: Types) -> None:
        """Raises :class:`Unfit` when an argument does not fit its column."""

    def failing(self, arrays: Arrays) -> pa.Array:
        """Booleans, null where the rule does not apply."""

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:
        """An SQL condition, null where the rule does not apply."""

    def considered_sql(self, sql: Mapping[str, str]) -> str:
        """An SQL condition for the rows that count in ``mostly``; never null."""


@dataclass(frozen=True)
class Bounds:
    """``minimum ≤ x ≤ maximum``, either open or absent."""

    minimum: Any = None
    maximum: Any = None
    strict_minimum: bool = False
    strict_maximum: bool = False

    def fail(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        """Booleans: outside the bounds."""
        tests = []
        for value, test in self._limits(pc.less_equal, pc.less, pc.greater_equal, pc.greater):
            tests.append(test(array, scalar(value, kind)))
        return reduce(pc.or_, tests)

    def sql(self, expression: str, kind: pa.DataType) -> str:
        """The SQL counterpart of :meth:`fail`."""
        tests = []
        for value, sign in self._limits("<=", "<", ">=", ">"):
            literal = sql_literal(value, kind)
            tests.append(f"{sql_comparable(expression, kind, [literal])} {sign} {literal}")
        return "(" + " OR ".join(tests) + ")"

    def holds(self, value: Any) -> bool:
        """Whether a single observed value lies within."""
        above = self.minimum is None or (operator.gt if self.strict_minimum else operator.ge)(
            value, self.minimum
        )
        below = self.maximum is None or (operator.lt if self.strict_maximum else operator.le)(
            value, self.maximum
        )
        return bool(above and below)

    def _limits(self, strict_low: Any, low: Any, strict_high: Any, high: Any) -> list[tuple[Any, Any]]:
        limits = []
        if self.minimum is not None:
            limits.append((self.minimum, strict_low if self.strict_minimum else low))
        if self.maximum is not None:
            limits.append((self.maximum, strict_high if self.strict_maximum else high))
        return limits


class _OneColumn:
    columns: tuple[str, ...]

    def considered_sql(self, sql: Mapping[str, str]) -> str:
        return f"{sql[self.columns[0]]} IS NOT NULL"

    def _require(self, types: Types, *families: Family) -> pa.DataType:
        kind = types[self.columns[0]]
        if family(kind) not in families:
            raise Unfit(f"column {self.columns[0]!r} holds {kind}, not {' or '.join(families)}")
        return kind


@dataclass(frozen=True)
class Missing(_OneColumn):
    """Fails where a value is missing, or, ``inverted``, where there is one."""

    columns: tuple[str, ...]
    inverted: bool = False

    def check(self, types: Types) -> None:
        pass

    def failing(self, arrays: Arrays) -> pa.Array:
        array = arrays[self.columns[0]]
        return pc.is_valid(array) if self.inverted else pc.is_null(array)

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:  # noqa: ARG002
        return f"{sql[self.columns[0]]} IS {'NOT ' if self.inverted else ''}NULL"

    def considered_sql(self, sql: Mapping[str, str]) -> str:  # noqa: ARG002
        return "true"


@dataclass(frozen=True)
class Between(_OneColumn):
    columns: tuple[str, ...]
    bounds: Bounds

    def check(self, types: Types) -> None:
        kind = self._require(types, Family.NUMBER, Family.DATE, Family.TIMESTAMP)
        self.bounds.sql("x", kind)

    def failing(self, arrays: Arrays) -> pa.Array:
        array = arrays[self.columns[0]]
        return self.bounds.fail(comparable(array), array.type)

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:
        return self.bounds.sql(sql[self.columns[0]], types[self.columns[0]])


@dataclass(frozen=True)
class InSet(_OneColumn):
    columns: tuple[str, ...]
    values: tuple[Any, ...]
    inverted: bool = False

    def check(self, types: Types) -> None:
        kind = self._require(types, *(set(Family) - {Family.OTHER}))
        for value in self.values:
            sql_literal(value, kind)

    def failing(self, arrays: Arrays) -> pa.Array:
        array = arrays[self.columns[0]]
        scalars = [scalar(value, array.type) for value in self.values]
        common = next((s.type for s in scalars if pa.types.is_floating(s.type)), None)
        left = comparable(array)
        wanted = common or left.type
        members = pa.array([s.as_py() for s in scalars], wanted)
        found = pc.is_in(left.cast(wanted, safe=False), value_set=members)
        return pc.if_else(pc.is_valid(array), found if self.inverted else pc.invert(found), None)

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:
        column, kind = sql[self.columns[0]], types[self.columns[0]]
        if not self.values:
            return f"({column} IS NOT NULL AND {not self.inverted})"
        literals = [sql_literal(value, kind) for value in self.values]
        sign = "IN" if self.inverted else "NOT IN"
        return f"{sql_comparable(column, kind, literals)} {sign} ({', '.join(literals)})"


@dataclass(frozen=True)
class Matches(_OneColumn):
    """Every one of the RE2 ``patterns`` is found in the text, or, ``inverted``, not every one."""

    columns: tuple[str, ...]
    patterns: tuple[str, ...]
    inverted: bool = False

    def check(self, types: Types) -> None:
        self._require(types, Family.TEXT)

    def failing(self, arrays: Arrays) -> pa.Array:
        texts = arrays[self.columns[0]]
        found = reduce(pc.and_, (pc.match_substring_regex(texts, each) for each in self.patterns))
        return found if self.inverted else pc.invert(found)

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:  # noqa: ARG002
        column = sql[self.columns[0]]
        found = " AND ".join(f"regexp_matches({column}, {quoted(each)})" for each in self.patterns)
        return f"({found})" if self.inverted else f"NOT ({found})"


@dataclass(frozen=True)
class Length(_OneColumn):
    """Of text, in code points."""

    columns: tuple[str, ...]
    bounds: Bounds

    def check(self, types: Types) -> None:
        self._require(types, Family.TEXT)
        self.bounds.sql("x", pa.int64())

    def failing(self, arrays: Arrays) -> pa.Array:
        lengths = pc.utf8_length(arrays[self.columns[0]]).cast(pa.int64())
        return self.bounds.fail(lengths, pa.int64())

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:  # noqa: ARG002
        return self.bounds.sql(f"length({sql[self.columns[0]]})", pa.int64())


@dataclass(frozen=True)
class Pair:
    """``A > B``, ``A ≥ B`` or ``A = B``. A comparison with a missing value fails, unless ignored."""

    columns: tuple[str, ...]
    sign: str
    ignored: str

    def check(self, types: Types) -> None:
        left, right = (types[name] for name in self.columns)
        if family(left) is not family(right) or family(left) is Family.OTHER:
            raise Unfit(f"columns {' and '.join(map(repr, self.columns))} cannot be compared")
        if family(left) is Family.TIMESTAMP and (left.tz is None) != (right.tz is None):
            raise Unfit("a time with a zone cannot be compared with one without")

    def failing(self, arrays: Arrays) -> pa.Array:
        left, right = (comparable(arrays[name]) for name in self.columns)
        if left.type != right.type and family(left.type) is Family.NUMBER:
            left, right = (side.cast(pa.float64(), safe=False) for side in (left, right))
        test = {">": pc.greater, ">=": pc.greater_equal, "=": pc.equal}[self.sign]
        failed = pc.invert(pc.fill_null(test(left, right), False))
        valid = [pc.is_valid(side) for side in (left, right)]
        return pc.if_else(self._considered(valid), failed, None)

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:
        left, right = (sql_comparable(sql[n], types[n]) for n in self.columns)
        return f"(({left} {self.sign} {right}) IS NOT true AND {self.considered_sql(sql)})"

    def considered_sql(self, sql: Mapping[str, str]) -> str:
        return considered_sql([sql[name] for name in self.columns], self.ignored)

    def _considered(self, valid: Sequence[pa.Array]) -> pa.Array:
        return considered(valid, self.ignored)


ANY, ALL, NONE = "any", "all", "none"
"""Rows are left out when any, all or none of their values are missing."""


def considered(valid: Sequence[pa.Array], ignored: str) -> pa.Array:
    """Which rows count, given where each column has values."""
    if ignored == NONE:
        return pa.repeat(pa.scalar(True), len(valid[0]))
    return reduce(pc.and_ if ignored == ANY else pc.or_, valid)


def considered_sql(columns: Sequence[str], ignored: str) -> str:
    """The SQL counterpart of :func:`considered`."""
    if ignored == NONE:
        return "true"
    joiner = " AND " if ignored == ANY else " OR "
    return "(" + joiner.join(f"{column} IS NOT NULL" for column in columns) + ")"
