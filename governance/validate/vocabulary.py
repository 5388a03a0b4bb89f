"""The expectations that are compiled, with their arguments, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from governance.validate import arguments as read
from governance.validate.aggregates import MostCommon, RowCount
from governance.validate.rowwise import ANY, Between, InSet, Length, Matches, Missing
from governance.validate.uniqueness import Unique

_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")


@dataclass(frozen=True)
class CompiledExpectation:
    build: Callable[[dict[str, Any]], Any]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


REFUSED: dict[str, str] = {
    "expect_multicolumn_values_to_be_unique": "Great Expectations has no metric for it: write "
    "expect_select_column_values_to_be_unique_within_record",
    "expect_query_results_to_match_comparison": "it queries a data source; a run reads what it pinned and nothing else",
    "expect_table_row_count_to_equal_other_table": "it reads another table; a run reads what it pinned and nothing else",
    "unexpected_rows_expectation": "it queries a data source; a run reads what it pinned and nothing else",
}
"""Names of Great Expectations that are not judged, each with the reason."""


_C, _M = ("column",), ("mostly",)
_PAIRS = ("column_A", "column_B")
COMPILED: dict[str, CompiledExpectation] = {
    "expect_column_values_to_not_be_null": CompiledExpectation(
        lambda a: Missing((read.named_column(a),)), _C, _M
    ),
    "expect_column_values_to_be_null": CompiledExpectation(
        lambda a: Missing((read.named_column(a),), True), _C, _M
    ),
    "expect_column_values_to_be_between": CompiledExpectation(
        lambda a: Between((read.named_column(a),), read.bounds(a, needed=True)), _C, (*_BOUNDS, *_M)
    ),
    "expect_column_values_to_be_in_set": CompiledExpectation(
        lambda a: InSet((read.named_column(a),), read.listed(a, "value_set")), (*_C, "value_set"), _M
    ),
    "expect_column_values_to_not_be_in_set": CompiledExpectation(
        lambda a: InSet((read.named_column(a),), read.listed(a, "value_set"), True), (*_C, "value_set"), _M
    ),
    "expect_column_values_to_match_regex": CompiledExpectation(
        lambda a: Matches((read.named_column(a),), read.regex_patterns(read.text(a, "regex"), every=True)),
        (*_C, "regex"),
        _M,
    ),
    "expect_column_values_to_not_match_regex": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),), read.regex_patterns(read.text(a, "regex"), every=True), True
        ),
        (*_C, "regex"),
        _M,
    ),
    "expect_column_values_to_match_regex_list": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),), read.regex_patterns(*read.texts(a, "regex_list"), every=read.every(a))
        ),
        (*_C, "regex_list"),
        ("match_on", *_M),
    ),
    "expect_column_values_to_not_match_regex_list": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),), read.regex_patterns(*read.texts(a, "regex_list"), every=False), True
        ),
        (*_C, "regex_list"),
        _M,
    ),
    "expect_column_values_to_match_like_pattern": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),),
            read.like_patterns([read.text(a, "like_pattern")], a.get("escape"), every=True),
        ),
        (*_C, "like_pattern"),
        ("escape", *_M),
    ),
    "expect_column_values_to_not_match_like_pattern": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),),
            read.like_patterns([read.text(a, "like_pattern")], a.get("escape"), every=True),
            True,
        ),
        (*_C, "like_pattern"),
        ("escape", *_M),
    ),
    "expect_column_values_to_match_like_pattern_list": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),),
            read.like_patterns(read.texts(a, "like_pattern_list"), a.get("escape"), every=read.every(a)),
        ),
        (*_C, "like_pattern_list"),
        ("match_on", "escape", *_M),
    ),
    "expect_column_values_to_not_match_like_pattern_list": CompiledExpectation(
        lambda a: Matches(
            (read.named_column(a),),
            read.like_patterns(read.texts(a, "like_pattern_list"), a.get("escape"), every=False),
            True,
        ),
        (*_C, "like_pattern_list"),
        ("escape", *_M),
    ),
    "expect_column_value_lengths_to_be_between": CompiledExpectation(
        lambda a: Length((read.named_column(a),), read.bounds(a, needed=True)), _C, (*_BOUNDS, *_M)
    ),
    "expect_column_value_lengths_to_equal": CompiledExpectation(
        lambda a: Length((read.named_column(a),), read.exactly(a)), (*_C, "value"), _M
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": CompiledExpectation(
        lambda a: read.pair(a, ">"), _PAIRS, ("or_equal", "ignore_row_if", *_M)
    ),
    "expect_column_pair_values_to_be_equal": CompiledExpectation(
        lambda a: read.pair(a, "="), _PAIRS, ("ignore_row_if", *_M)
    ),
    "expect_column_pair_values_to_be_in_set": CompiledExpectation(
        read.pair_in_set, (*_PAIRS, "value_pairs_set"), ("ignore_row_if", *_M)
    ),
    "expect_multicolumn_sum_to_equal": CompiledExpectation(
        read.row_sum, ("column_list", "sum_total"), ("ignore_row_if", *_M)
    ),
    "expect_multicolumn_values_to_be_equal": CompiledExpectation(
        partial(read.all_same, inverted=False), ("column_list",), ("ignore_row_if", *_M)
    ),
    "expect_select_column_values_to_be_unique_within_record": CompiledExpectation(
        partial(read.all_same, inverted=True), ("column_list",), ("ignore_row_if", *_M)
    ),
    "expect_column_values_to_be_unique": CompiledExpectation(
        lambda a: Unique((read.named_column(a),), ANY), _C, _M
    ),
    "expect_compound_columns_to_be_unique": CompiledExpectation(
        lambda a: Unique(
            read.listed(a, "column_list", at_least=2, of=str), read.ignored_rows(a, read.LIST_IGNORED)
        ),
        ("column_list",),
        ("ignore_row_if", *_M),
    ),
    "expect_column_values_to_be_of_type": CompiledExpectation(
        lambda a: read.of_type(a, (read.text(a, "type_"),)), (*_C, "type_"), _M
    ),
    "expect_column_values_to_be_in_type_list": CompiledExpectation(
        lambda a: read.of_type(a, read.listed(a, "type_list", at_least=1, of=str)), (*_C, "type_list"), _M
    ),
    "expect_column_type_to_be": CompiledExpectation(
        lambda a: read.of_type(a, (read.text(a, "type_"),)), (*_C, "type_")
    ),
    "expect_column_most_common_value_to_be_in_set": CompiledExpectation(
        lambda a: MostCommon(
            read.named_column(a), read.listed(a, "value_set", at_least=1), a.get("ties_okay") is True
        ),
        (*_C, "value_set"),
        ("ties_okay",),
    ),
    "expect_column_mean_to_be_between": CompiledExpectation(read.aggregate("avg({n})"), _C, _BOUNDS),
    "expect_column_sum_to_be_between": CompiledExpectation(read.aggregate("sum({n})", empty=0), _C, _BOUNDS),
    "expect_column_stdev_to_be_between": CompiledExpectation(read.aggregate("stddev_samp({n})"), _C, _BOUNDS),
    "expect_column_median_to_be_between": CompiledExpectation(
        read.aggregate("median({n})", shown="asked"), _C, _BOUNDS
    ),
    "expect_column_min_to_be_between": CompiledExpectation(
        read.aggregate("min({n})", shown="asked", families=read.ORDERED), _C, _BOUNDS
    ),
    "expect_column_max_to_be_between": CompiledExpectation(
        read.aggregate("max({n})", shown="asked", families=read.ORDERED), _C, _BOUNDS
    ),
    "expect_column_unique_value_count_to_be_between": CompiledExpectation(
        read.aggregate("count(DISTINCT {c})", shown="always", families=(), empty=0), _C, _BOUNDS
    ),
    "expect_column_proportion_of_unique_values_to_be_between": CompiledExpectation(
        read.aggregate("count(DISTINCT {c}) / count({c})", shown="always", families=(), empty=0), _C, _BOUNDS
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": CompiledExpectation(
        read.aggregate("count({c}) / count(*)", shown="always", families=(), empty=0), _C, _BOUNDS
    ),
    "expect_column_distinct_values_to_be_in_set": CompiledExpectation(
        partial(read.distinct, inside=True, complete=False), (*_C, "value_set")
    ),
    "expect_column_distinct_values_to_contain_set": CompiledExpectation(
        partial(read.distinct, inside=False, complete=True), (*_C, "value_set")
    ),
    "expect_column_distinct_values_to_equal_set": CompiledExpectation(
        partial(read.distinct, inside=True, complete=True), (*_C, "value_set")
    ),
    "expect_table_row_count_to_be_between": CompiledExpectation(
        lambda a: RowCount(read.bounds(a)), (), _BOUNDS[:2]
    ),
    "expect_table_row_count_to_equal": CompiledExpectation(lambda a: RowCount(read.exactly(a)), ("value",)),
    "expect_table_column_count_to_be_between": CompiledExpectation(
        lambda a: read.column_count(read.bounds(a)), (), _BOUNDS[:2]
    ),
    "expect_table_column_count_to_equal": CompiledExpectation(
        lambda a: read.column_count(read.exactly(a)), ("value",)
    ),
    "expect_table_columns_to_match_set": CompiledExpectation(
        read.match_set, ("column_set",), ("exact_match",)
    ),
    "expect_table_columns_to_match_ordered_list": CompiledExpectation(read.match_list, ("column_list",)),
    "expect_column_to_exist": CompiledExpectation(read.exists, _C, ("column_index",)),
}
"""By name."""
