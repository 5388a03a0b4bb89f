"""Arguments of expectations, read and refused: each function builds one check or raises what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from governance.validate.aggregates import Aggregate, DistinctValues, SchemaCheck, type_named
from governance.validate.columns import Family, Unfit
from governance.validate.multicolumn import AllSame, PairInSet, RowSum
from governance.validate.regex import Untranslatable, like, re2_of
from governance.validate.rowwise import ALL, ANY, NONE, Bounds, Pair


class Uncompiled(ValueError):
    """The arguments are sound, but no aggregate can express them."""


def near(name: str, known: Collection[str]) -> str:
    folded = {each.casefold(): each for each in known}
    match = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[match[0]]!r}?" if match else ""


def bounds(a: Mapping[str, Any], *, needed: bool = False) -> Bounds:
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


def named_column(a: Mapping[str, Any], name: str = "column") -> str:
    if not isinstance(a[name], str):
        raise Unfit(f"{name!r} is the name of a column")
    return str(a[name])


def listed(
    a: Mapping[str, Any], name: str, *, at_least: int = 0, of: type | tuple[type, ...] = object
) -> tuple[Any, ...]:
    values = a[name]
    if not isinstance(values, list | tuple | set | frozenset) or any(not isinstance(v, of) for v in values):
        raise Unfit(f"{name!r} is a list{' of names' if of is str else ''}")
    if len(values) < at_least:
        raise Unfit(f"{name!r} has at least {at_least} entries")
    return tuple(values)


def text(a: Mapping[str, Any], name: str) -> str:
    if not isinstance(a[name], str):
        raise Unfit(f"{name!r} is text")
    return str(a[name])


def exactly(a: Mapping[str, Any], name: str = "value") -> Bounds:
    if isinstance(a[name], bool) or not isinstance(a[name], int):
        raise Unfit(f"{name!r} is a whole number")
    return Bounds(a[name], a[name])


def ignored_rows(a: Mapping[str, Any], words: Mapping[str, str]) -> str:
    word = a.get("ignore_row_if") or next(iter(words))
    if word not in words:
        raise Unfit(f"'ignore_row_if' is one of {', '.join(words)}")
    return words[word]


PAIR_IGNORED = {"both_values_are_missing": ALL, "either_value_is_missing": ANY, "neither": NONE}
LIST_IGNORED = {"all_values_are_missing": ALL, "any_value_is_missing": ANY, "never": NONE}
ORDERED = (Family.NUMBER, Family.DATE, Family.TIMESTAMP)


def pair(a: Mapping[str, Any], sign: str) -> Pair:
    if sign == ">" and a.get("or_equal"):
        sign = ">="
    return Pair(
        (named_column(a, "column_A"), named_column(a, "column_B")), sign, ignored_rows(a, PAIR_IGNORED)
    )


def aggregate(template: str, *, value: bool = False, **options: Any) -> Callable[[dict[str, Any]], Aggregate]:
    return lambda a: Aggregate(
        named_column(a), template, bounds(a, needed=value), public=bool(a.get("_public")), **options
    )


def distinct(a: Mapping[str, Any], inside: bool, complete: bool) -> DistinctValues:
    return DistinctValues(named_column(a), listed(a, "value_set", at_least=1), inside, complete)


def of_type(a: Mapping[str, Any], names: tuple[str, ...]) -> SchemaCheck:
    from governance.validate.aggregates import TYPES

    column = named_column(a)
    for name in names:
        if name.lower() not in TYPES:
            raise Unfit(f"there is no type {name!r}{near(name.lower(), TYPES)}")
    return SchemaCheck(
        lambda types: (type_named(types[column], names), {"observed_value": str(types[column])}), column
    )


def match_set(a: Mapping[str, Any]) -> SchemaCheck:
    wanted, exact = set(listed(a, "column_set", of=str)), a.get("exact_match", True) is not False
    return SchemaCheck(
        lambda types: (
            wanted == set(types) if exact else wanted <= set(types),
            {"observed_value": sorted(types)},
        )
    )


def match_list(a: Mapping[str, Any]) -> SchemaCheck:
    wanted = list(listed(a, "column_list", of=str))
    return SchemaCheck(lambda types: (wanted == list(types), {"observed_value": list(types)}))


def exists(a: Mapping[str, Any]) -> SchemaCheck:
    column, index = named_column(a), a.get("column_index")
    return SchemaCheck(
        lambda types: (column in types and (index is None or list(types).index(column) == index), {})
    )


def column_count(bounds: Bounds) -> SchemaCheck:
    return SchemaCheck(lambda types: (bounds.holds(len(types)), {"observed_value": len(types)}))


def regex_patterns(*patterns: str, every: bool) -> tuple[str, ...]:
    """RE2 patterns that must all be found, of Python's ones of which every or any one has to be."""
    try:
        made = [re2_of(each) for each in patterns]
    except re.error:
        raise Unfit("the regular expression is none of Python's") from None
    except Untranslatable as why:
        raise Uncompiled(f"the regular expression: {why}") from None
    return _usable(tuple(made) if every else (_any_of(made),))


def like_patterns(patterns: Sequence[str], escape: Any, *, every: bool) -> tuple[str, ...]:
    if escape is not None and (not isinstance(escape, str) or len(escape) != 1):
        raise Unfit("'escape' is one character")
    try:
        made = [like(each, escape) for each in patterns]
    except Untranslatable as why:
        raise Unfit(f"a pattern: {why}") from None
    return _usable(tuple(made) if every else (_any_of(made),))


def _any_of(patterns: Sequence[str]) -> str:
    return "|".join(f"(?:{each})" for each in patterns)


def _usable(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for each in patterns:
        try:
            pc.match_substring_regex(pa.array([""]), each)
        except pa.ArrowInvalid:
            raise Uncompiled("the regular expression is too large for RE2") from None
    return patterns


def every(a: Mapping[str, Any]) -> bool:
    word = a.get("match_on", "any")
    if word not in ("any", "all"):
        raise Unfit("'match_on' is any or all")
    return bool(word == "all")


def texts(a: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return listed(a, name, at_least=1, of=str)


def pair_in_set(a: Mapping[str, Any]) -> PairInSet:
    pairs = [tuple(each) for each in listed(a, "value_pairs_set", at_least=1, of=(list, tuple))]
    if any(len(each) != 2 for each in pairs):
        raise Unfit("'value_pairs_set' is a list of pairs")
    if any(value is None for each in pairs for value in each):
        raise Uncompiled("a pair with a missing value")
    columns = (named_column(a, "column_A"), named_column(a, "column_B"))
    return PairInSet(columns, ignored_rows(a, PAIR_IGNORED), tuple((x, y) for x, y in pairs))


def row_sum(a: Mapping[str, Any]) -> RowSum:
    total = a["sum_total"]
    if isinstance(total, bool) or not isinstance(total, int | float):
        raise Unfit("'sum_total' is a number")
    return RowSum(listed(a, "column_list", at_least=2, of=str), ignored_rows(a, LIST_IGNORED), total)


def all_same(a: Mapping[str, Any], *, inverted: bool) -> AllSame:
    return AllSame(listed(a, "column_list", at_least=2, of=str), ignored_rows(a, LIST_IGNORED), inverted)
