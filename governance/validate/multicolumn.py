"""Conditions on several columns of one row, each once in Arrow and once in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from governance.validate.columns import Family, Unfit, comparable, family, scalar, sql_comparable, sql_literal
from governance.validate.rowwise import Arrays, Types, considered, considered_sql


@dataclass(frozen=True)
class _Several:
    columns: tuple[str, ...]
    ignored: str

    def considered_sql(self, sql: Mapping[str, str]) -> str:
        return considered_sql([sql[name] for name in self.columns], self.ignored)

    def _among_considered(self, arrays: Arrays, holds: pa.Array) -> pa.Array:
        failed = pc.invert(pc.fill_null(holds, False))
        valid = [pc.is_valid(arrays[name]) for name in self.columns]
        return pc.if_else(considered(valid, self.ignored), failed, None)

    def _failed_sql(self, holds: str, sql: Mapping[str, str]) -> str:
        return f"(({holds}) IS NOT true AND {self.considered_sql(sql)})"


@dataclass(frozen=True)
class PairInSet(_Several):
    """The two values are one of ``pairs``; a missing value is in none."""

    pairs: tuple[tuple[Any, Any], ...]

    def check(self, types: Types) -> None:
        for pair in self.pairs:
            for name, value in zip(self.columns, pair, strict=True):
                sql_literal(value, types[name])

    def failing(self, arrays: Arrays) -> pa.Array:
        left, right = (arrays[name] for name in self.columns)
        held = [pc.and_(_equal(left, a), _equal(right, b)) for a, b in self.pairs]
        return self._among_considered(arrays, reduce(pc.or_, held))

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:
        held = []
        for pair in self.pairs:
            tests = []
            for name, value in zip(self.columns, pair, strict=True):
                literal = sql_literal(value, types[name])
                tests.append(f"{sql_comparable(sql[name], types[name], [literal])} = {literal}")
            held.append(" AND ".join(tests))
        return self._failed_sql(" OR ".join(f"({each})" for each in held), sql)


@dataclass(frozen=True)
class RowSum(_Several):
    """The values of a row add up to ``total``; with a missing one they do not."""

    total: float

    def check(self, types: Types) -> None:
        for name in self.columns:
            if family(types[name]) is not Family.NUMBER or pa.types.is_decimal(types[name]):
                raise Unfit(f"column {name!r} holds {types[name]}, not whole or floating-point numbers")

    def failing(self, arrays: Arrays) -> pa.Array:
        summed = reduce(pc.add, (arrays[name].cast(pa.float64(), safe=False) for name in self.columns))
        return self._among_considered(arrays, pc.equal(summed, pa.scalar(float(self.total))))

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:  # noqa: ARG002
        summed = " + ".join(f"{sql[name]}::DOUBLE" for name in self.columns)
        return self._failed_sql(f"({summed}) = '{float(self.total)!r}'::DOUBLE", sql)


@dataclass(frozen=True)
class AllSame(_Several):
    """All values of a row are equal, or, ``inverted``, no two of them; missing values equal each other."""

    inverted: bool = False

    def check(self, types: Types) -> None:
        kinds = [types[name] for name in self.columns]
        alike = {(family(kind), getattr(kind, "tz", None) is None) for kind in kinds}
        if len(alike) > 1 or family(kinds[0]) is Family.OTHER:
            raise Unfit("the columns' types cannot be compared")
        if any(pa.types.is_decimal(kind) for kind in kinds) and len(set(kinds)) > 1:
            raise Unfit("decimal columns of different types cannot be compared exactly")

    def failing(self, arrays: Arrays) -> pa.Array:
        same = [_same(arrays[a], arrays[b]) for a, b in self._pairs()]
        holds = pc.invert(reduce(pc.or_, same)) if self.inverted else reduce(pc.and_, same)
        return self._among_considered(arrays, holds)

    def failing_sql(self, sql: Mapping[str, str], types: Types) -> str:
        compared = {name: sql_comparable(sql[name], types[name]) for name in self.columns}
        same = [f"({compared[a]} IS NOT DISTINCT FROM {compared[b]})" for a, b in self._pairs()]
        holds = f"NOT ({' OR '.join(same)})" if self.inverted else " AND ".join(same)
        return self._failed_sql(holds, sql)

    def _pairs(self) -> list[tuple[str, str]]:
        if self.inverted:
            return list(combinations(self.columns, 2))
        return [(self.columns[0], other) for other in self.columns[1:]]


def _equal(array: pa.Array, value: Any) -> pa.Array:
    wanted = scalar(value, array.type)
    return pc.fill_null(pc.equal(comparable(array).cast(wanted.type, safe=False), wanted), False)


def _same(left: pa.Array, right: pa.Array) -> pa.Array:
    a, b = comparable(left), comparable(right)
    if a.type != b.type and family(a.type) is Family.NUMBER:
        a, b = (side.cast(pa.float64(), safe=False) for side in (a, b))
    both = pc.and_(pc.is_null(a), pc.is_null(b))
    return pc.or_(both, pc.fill_null(pc.equal(a, b), False))
