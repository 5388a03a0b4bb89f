"""From a quality rule to what can be executed; everything wrong with it is said before data is read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from governance.errors import ValidationFindings
from governance.model.contract import Rule
from governance.validate.aggregates import Aggregate, DistinctValues, RowCount, SchemaCheck, type_named
from governance.validate.columns import Family, Unfit, normalized_type
from governance.validate.rowwise import (
    ALL,
    ANY,
    NONE,
    Between,
    Bounds,
    InSet,
    Length,
    Matches,
    Missing,
    Pair,
    RowCondition,
)

_META = frozenset({"meta", "notes", "description", "severity", "id", "catch_exceptions", "result_format"})
_REFUSED = ("row_condition", "condition_parser")
_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")

Whole = Aggregate | DistinctValues | RowCount | SchemaCheck


@dataclass(frozen=True)
class Unique:
    """No row's values may occur twice; every one of the rows that share them fails."""

    columns: tuple[str, ...]
    ignored: str

    def check(self, types: Mapping[str, pa.DataType]) -> None:
        for name in self.columns:
            if pa.types.is_nested(types[name]):
                raise Unfit(f"column {name!r} holds {types[name]}, which cannot be compared")


@dataclass(frozen=True)
class Compiled:
    """``mostly`` is the share of considered rows that must hold; only for rules on rows."""

    rule: Rule
    check: RowCondition | Unique | Whole
    mostly: float = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        if isinstance(self.check, Aggregate | DistinctValues):
            return (self.check.column,)
        return () if isinstance(self.check, RowCount | SchemaCheck) else self.check.columns

    @property
    def by_row(self) -> bool:
        return not isinstance(self.check, Aggregate | DistinctValues | RowCount | SchemaCheck)


@dataclass(frozen=True)
class _Expectation:
    build: Callable[[dict[str, Any]], Any]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


def expectations() -> dict[str, tuple[str, ...]]:
    """Names of the expectations that can be judged here, each with its arguments."""
    return {name: each.arguments for name, each in sorted(_EXPECTATIONS.items())}


def check(rules: Iterable[Rule], schema: pa.Schema | None = None) -> None:
    """Check rules before anything is read.

    Raises :class:`ValidationFindings` GOV-401 with every fault: unknown names with the nearest match,
    wrong arguments, and with a ``schema`` columns that are missing or of an unfit type.
    """
    compiled(rules, schema)


def compiled(
    rules: Iterable[Rule], schema: pa.Schema | None = None, *, diverting: bool = False
) -> list[Compiled]:
    """Rules ready to run. ``diverting`` also refuses what cannot divert single rows."""
    faults: list[str] = []
    done: list[Compiled] = []
    for rule in rules:
        try:
            each = _compiled(rule)
            if diverting:
                _require_diverting(each)
            if schema is not None:
                _bind(each, schema)
            done.append(each)
        except Unfit as fault:
            faults.append(f"rule {rule.name!r} ({rule.expectation}): {fault}")
    if faults:
        raise ValidationFindings(
            "GOV-401", "quality rules", faults, "correct the rules in the contract and run again"
        )
    return done


def types_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Types of the normalized columns by name."""
    return {field.name: normalized_type(field.type) for field in schema}


def _compiled(rule: Rule) -> Compiled:
    expectation = _EXPECTATIONS.get(rule.expectation)
    if expectation is None:
        raise Unfit(f"there is no such expectation here{_near(rule.expectation, _EXPECTATIONS)}")
    given = dict(rule.arguments)
    for name in _REFUSED:
        if given.pop(name, None) is not None:
            raise Unfit(f"{name} is not supported: state the rule for all rows")
    meta = given.get("meta") or {}
    arguments = {name: value for name, value in given.items() if name not in _META}
    known = expectation.arguments
    for name in arguments:
        if name not in known:
            raise Unfit(f"it has no argument {name!r}{_near(name, known)}")
    for name in expectation.required:
        if arguments.get(name) is None:
            raise Unfit(f"the argument {name!r} is missing")
    mostly = arguments.pop("mostly", None)
    mostly = 1.0 if mostly is None else mostly
    if isinstance(mostly, bool) or not isinstance(mostly, int | float) or not 0 <= mostly <= 1:
        raise Unfit("'mostly' is a number from 0 to 1")
    public = isinstance(meta, Mapping) and meta.get("observed_value") is True
    built = expectation.build({**arguments, **({"_public": public} if public else {})})
    return Compiled(rule, built, float(mostly))


def _require_diverting(each: Compiled) -> None:
    if not each.by_row:
        raise Unfit("it judges a column or table as a whole and cannot divert rows: use scope protected")
    if each.mostly < 1:
        raise Unfit(
            "each failing row is diverted, so 'mostly' has no meaning: leave it out, or use scope protected"
        )


def _bind(each: Compiled, schema: pa.Schema) -> None:
    for name in each.columns:
        if schema.get_field_index(name) < 0:
            raise Unfit(f"there is no column {name!r}{_near(name, schema.names)}")
    if isinstance(each.check, SchemaCheck) and each.check.column is not None:
        name = each.check.column
        if schema.get_field_index(name) < 0:
            raise Unfit(f"there is no column {name!r}{_near(name, schema.names)}")
    each.check.check(types_of(schema))


def _near(name: str, known: Collection[str]) -> str:
    folded = {each.casefold(): each for each in known}
    match = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[match[0]]!r}?" if match else ""


def _bounds(a: Mapping[str, Any], *, needed: bool = False) -> Bounds:
    low, high = a.get("min_value"), a.get("max_value")
    if needed and low is None and high is None:
        raise Unfit("'min_value' and 'max_value' cannot both be missing")
    for name in ("strict_min", "strict_max"):
        if not isinstance(a.get(name) or False, bool):
            raise Unfit(f"{name!r} is true or false")
    for bound in (low, high):
        if isinstance(bound, bool | list | dict):
            raise Unfit("a bound is a number or a date")
    try:
        crossed = low is not None and high is not None and low > high
    except TypeError:
        crossed = True
    if crossed:
        raise Unfit("'min_value' is greater than 'max_value', or they cannot be compared")
    return Bounds(low, high, bool(a.get("strict_min")), bool(a.get("strict_max")))


def _column(a: Mapping[str, Any], name: str = "column") -> str:
    if not isinstance(a[name], str):
        raise Unfit(f"{name!r} is the name of a column")
    return str(a[name])


def _list(a: Mapping[str, Any], name: str, *, at_least: int = 0, of: type = object) -> tuple[Any, ...]:
    values = a[name]
    if not isinstance(values, list | tuple | set | frozenset) or any(not isinstance(v, of) for v in values):
        raise Unfit(f"{name!r} is a list{' of names' if of is str else ''}")
    if len(values) < at_least:
        raise Unfit(f"{name!r} has at least {at_least} entries")
    return tuple(values)


def _text(a: Mapping[str, Any], name: str) -> str:
    if not isinstance(a[name], str):
        raise Unfit(f"{name!r} is text")
    return str(a[name])


def _count(a: Mapping[str, Any], name: str = "value") -> Bounds:
    if isinstance(a[name], bool) or not isinstance(a[name], int):
        raise Unfit(f"{name!r} is a whole number")
    return Bounds(a[name], a[name])


def _ignored(a: Mapping[str, Any], words: Mapping[str, str]) -> str:
    word = a.get("ignore_row_if") or next(iter(words))
    if word not in words:
        raise Unfit(f"'ignore_row_if' is one of {', '.join(words)}")
    return words[word]


_PAIR_IGNORED = {"both_values_are_missing": ALL, "either_value_is_missing": ANY, "neither": NONE}
_LIST_IGNORED = {"all_values_are_missing": ALL, "any_value_is_missing": ANY, "never": NONE}
_ORDERED = (Family.NUMBER, Family.DATE, Family.TIMESTAMP)


def _pair(a: Mapping[str, Any], sign: str) -> Pair:
    if sign == ">" and a.get("or_equal"):
        sign = ">="
    return Pair((_column(a, "column_A"), _column(a, "column_B")), sign, _ignored(a, _PAIR_IGNORED))


def _aggregate(
    template: str, *, value: bool = False, **options: Any
) -> Callable[[dict[str, Any]], Aggregate]:
    return lambda a: Aggregate(
        _column(a), template, _bounds(a, needed=value), public=bool(a.get("_public")), **options
    )


def _distinct(a: Mapping[str, Any], inside: bool, complete: bool) -> DistinctValues:
    return DistinctValues(_column(a), _list(a, "value_set", at_least=1), inside, complete)


def _of_type(a: Mapping[str, Any], names: tuple[str, ...]) -> SchemaCheck:
    from governance.validate.aggregates import TYPES

    column = _column(a)
    for name in names:
        if name.lower() not in TYPES:
            raise Unfit(f"there is no type {name!r}{_near(name.lower(), TYPES)}")
    return SchemaCheck(
        lambda types: (type_named(types[column], names), {"observed_value": str(types[column])}), column
    )


def _match_set(a: Mapping[str, Any]) -> SchemaCheck:
    wanted, exact = set(_list(a, "column_set", of=str)), a.get("exact_match", True) is not False
    return SchemaCheck(
        lambda types: (
            wanted == set(types) if exact else wanted <= set(types),
            {"observed_value": sorted(types)},
        )
    )


def _match_list(a: Mapping[str, Any]) -> SchemaCheck:
    wanted = list(_list(a, "column_list", of=str))
    return SchemaCheck(lambda types: (wanted == list(types), {"observed_value": list(types)}))


def _exists(a: Mapping[str, Any]) -> SchemaCheck:
    column, index = _column(a), a.get("column_index")
    return SchemaCheck(
        lambda types: (column in types and (index is None or list(types).index(column) == index), {})
    )


def _column_count(bounds: Bounds) -> SchemaCheck:
    return SchemaCheck(lambda types: (bounds.holds(len(types)), {"observed_value": len(types)}))


_C, _M = ("column",), ("mostly",)
_PAIRS = ("column_A", "column_B")
_EXPECTATIONS: dict[str, _Expectation] = {
    "expect_column_values_to_not_be_null": _Expectation(lambda a: Missing((_column(a),)), _C, _M),
    "expect_column_values_to_be_null": _Expectation(lambda a: Missing((_column(a),), True), _C, _M),
    "expect_column_values_to_be_between": _Expectation(
        lambda a: Between((_column(a),), _bounds(a, needed=True)), _C, (*_BOUNDS, *_M)
    ),
    "expect_column_values_to_be_in_set": _Expectation(
        lambda a: InSet((_column(a),), _list(a, "value_set")), (*_C, "value_set"), _M
    ),
    "expect_column_values_to_not_be_in_set": _Expectation(
        lambda a: InSet((_column(a),), _list(a, "value_set"), True), (*_C, "value_set"), _M
    ),
    "expect_column_values_to_match_regex": _Expectation(
        lambda a: Matches((_column(a),), _text(a, "regex")), (*_C, "regex"), _M
    ),
    "expect_column_values_to_not_match_regex": _Expectation(
        lambda a: Matches((_column(a),), _text(a, "regex"), True), (*_C, "regex"), _M
    ),
    "expect_column_value_lengths_to_be_between": _Expectation(
        lambda a: Length((_column(a),), _bounds(a, needed=True)), _C, (*_BOUNDS, *_M)
    ),
    "expect_column_value_lengths_to_equal": _Expectation(
        lambda a: Length((_column(a),), _count(a)), (*_C, "value"), _M
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": _Expectation(
        lambda a: _pair(a, ">"), _PAIRS, ("or_equal", "ignore_row_if", *_M)
    ),
    "expect_column_pair_values_to_be_equal": _Expectation(
        lambda a: _pair(a, "="), _PAIRS, ("ignore_row_if", *_M)
    ),
    "expect_column_values_to_be_unique": _Expectation(lambda a: Unique((_column(a),), ANY), _C, _M),
    "expect_compound_columns_to_be_unique": _Expectation(
        lambda a: Unique(_list(a, "column_list", at_least=2, of=str), _ignored(a, _LIST_IGNORED)),
        ("column_list",),
        ("ignore_row_if", *_M),
    ),
    "expect_column_values_to_be_of_type": _Expectation(
        lambda a: _of_type(a, (_text(a, "type_"),)), (*_C, "type_"), _M
    ),
    "expect_column_values_to_be_in_type_list": _Expectation(
        lambda a: _of_type(a, _list(a, "type_list", at_least=1, of=str)), (*_C, "type_list"), _M
    ),
    "expect_column_mean_to_be_between": _Expectation(_aggregate("avg({n})"), _C, _BOUNDS),
    "expect_column_sum_to_be_between": _Expectation(_aggregate("sum({n})", empty=0), _C, _BOUNDS),
    "expect_column_stdev_to_be_between": _Expectation(_aggregate("stddev_samp({n})"), _C, _BOUNDS),
    "expect_column_median_to_be_between": _Expectation(_aggregate("median({n})", shown="asked"), _C, _BOUNDS),
    "expect_column_min_to_be_between": _Expectation(
        _aggregate("min({n})", shown="asked", families=_ORDERED), _C, _BOUNDS
    ),
    "expect_column_max_to_be_between": _Expectation(
        _aggregate("max({n})", shown="asked", families=_ORDERED), _C, _BOUNDS
    ),
    "expect_column_unique_value_count_to_be_between": _Expectation(
        _aggregate("count(DISTINCT {c})", shown="always", families=(), empty=0), _C, _BOUNDS
    ),
    "expect_column_proportion_of_unique_values_to_be_between": _Expectation(
        _aggregate("count(DISTINCT {c}) / count({c})", shown="always", families=(), empty=0), _C, _BOUNDS
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": _Expectation(
        _aggregate("count({c}) / count(*)", shown="always", families=(), empty=0), _C, _BOUNDS
    ),
    "expect_column_distinct_values_to_be_in_set": _Expectation(
        partial(_distinct, inside=True, complete=False), (*_C, "value_set")
    ),
    "expect_column_distinct_values_to_contain_set": _Expectation(
        partial(_distinct, inside=False, complete=True), (*_C, "value_set")
    ),
    "expect_column_distinct_values_to_equal_set": _Expectation(
        partial(_distinct, inside=True, complete=True), (*_C, "value_set")
    ),
    "expect_table_row_count_to_be_between": _Expectation(lambda a: RowCount(_bounds(a)), (), _BOUNDS[:2]),
    "expect_table_row_count_to_equal": _Expectation(lambda a: RowCount(_count(a)), ("value",)),
    "expect_table_column_count_to_be_between": _Expectation(
        lambda a: _column_count(_bounds(a)), (), _BOUNDS[:2]
    ),
    "expect_table_column_count_to_equal": _Expectation(lambda a: _column_count(_count(a)), ("value",)),
    "expect_table_columns_to_match_set": _Expectation(_match_set, ("column_set",), ("exact_match",)),
    "expect_table_columns_to_match_ordered_list": _Expectation(_match_list, ("column_list",)),
    "expect_column_to_exist": _Expectation(_exists, _C, ("column_index",)),
}
