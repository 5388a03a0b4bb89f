"""The expectations a quality rule may name: Great Expectations' own names and arguments.

Source: the expectation classes of Great Expectations 1.x (``great_expectations.expectations``). Left
out are those that query other tables or a data source: a run reads what it pinned and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

COLUMN_ARGUMENTS: Final = ("column", "column_A", "column_B", "column_list", "column_set")
"""Arguments that name columns, one or a list."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """``by_row`` expectations hold or fail row by row; only they can divert rows of the source."""

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    by_row: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


_BOUNDS = "min_value max_value strict_min strict_max"
_CONDITION = ("row_condition", "condition_parser")
_OF_SCHEMA = ("expect_column_to_exist", "expect_column_type_to_be")
_BY_ROW = {
    "expect_column_values_to_be_between": ("column", _BOUNDS),
    "expect_column_values_to_be_dateutil_parseable": ("column", ""),
    "expect_column_values_to_be_decreasing": ("column", "strictly"),
    "expect_column_values_to_be_in_set": ("column value_set", ""),
    "expect_column_values_to_be_in_type_list": ("column type_list", ""),
    "expect_column_values_to_be_increasing": ("column", "strictly"),
    "expect_column_values_to_be_json_parseable": ("column", ""),
    "expect_column_values_to_be_null": ("column", ""),
    "expect_column_values_to_be_of_type": ("column type_", ""),
    "expect_column_values_to_be_unique": ("column", ""),
    "expect_column_values_to_match_json_schema": ("column json_schema", ""),
    "expect_column_values_to_match_like_pattern": ("column like_pattern", "escape"),
    "expect_column_values_to_match_like_pattern_list": ("column like_pattern_list", "match_on escape"),
    "expect_column_values_to_match_regex": ("column regex", ""),
    "expect_column_values_to_match_regex_list": ("column regex_list", "match_on"),
    "expect_column_values_to_match_strftime_format": ("column strftime_format", ""),
    "expect_column_values_to_not_be_in_set": ("column value_set", ""),
    "expect_column_values_to_not_be_null": ("column", ""),
    "expect_column_values_to_not_be_outliers": ("column", "method multiplier"),
    "expect_column_values_to_not_match_like_pattern": ("column like_pattern", "escape"),
    "expect_column_values_to_not_match_like_pattern_list": ("column like_pattern_list", "escape"),
    "expect_column_values_to_not_match_regex": ("column regex", ""),
    "expect_column_values_to_not_match_regex_list": ("column regex_list", ""),
    "expect_column_value_lengths_to_be_between": ("column", _BOUNDS),
    "expect_column_value_lengths_to_equal": ("column value", ""),
    "expect_column_value_z_scores_to_be_less_than": ("column threshold double_sided", ""),
    "expect_column_pair_values_a_to_be_greater_than_b": ("column_A column_B", "or_equal ignore_row_if"),
    "expect_column_pair_values_to_be_equal": ("column_A column_B", "ignore_row_if"),
    "expect_column_pair_values_to_be_in_set": ("column_A column_B value_pairs_set", "ignore_row_if"),
    "expect_compound_columns_to_be_unique": ("column_list", "ignore_row_if"),
    "expect_multicolumn_sum_to_equal": ("column_list sum_total", "ignore_row_if"),
    "expect_multicolumn_values_to_be_equal": ("column_list", "ignore_row_if"),
    "expect_select_column_values_to_be_unique_within_record": ("column_list", "ignore_row_if"),
}
_WHOLE = {
    "expect_column_distinct_values_to_be_in_set": ("column value_set", ""),
    "expect_column_distinct_values_to_contain_set": ("column value_set", ""),
    "expect_column_distinct_values_to_equal_set": ("column value_set", ""),
    "expect_column_kl_divergence_to_be_less_than": (
        "column partition_object threshold",
        "internal_weight_holdout tail_weight_holdout bucketize_data min_value max_value",
    ),
    "expect_column_max_to_be_between": ("column", _BOUNDS),
    "expect_column_mean_to_be_between": ("column", _BOUNDS),
    "expect_column_median_to_be_between": ("column", _BOUNDS),
    "expect_column_min_to_be_between": ("column", _BOUNDS),
    "expect_column_most_common_value_to_be_in_set": ("column value_set", "ties_okay"),
    "expect_column_proportion_of_non_null_values_to_be_between": ("column", _BOUNDS),
    "expect_column_proportion_of_unique_values_to_be_between": ("column", _BOUNDS),
    "expect_column_quantile_values_to_be_between": ("column quantile_ranges", "allow_relative_error"),
    "expect_column_stdev_to_be_between": ("column", _BOUNDS),
    "expect_column_sum_to_be_between": ("column", _BOUNDS),
    "expect_column_to_exist": ("column", "column_index"),
    "expect_column_type_to_be": ("column type_", ""),
    "expect_column_unique_value_count_to_be_between": ("column", _BOUNDS),
    "expect_table_column_count_to_be_between": ("", "min_value max_value"),
    "expect_table_column_count_to_equal": ("value", ""),
    "expect_table_columns_to_match_ordered_list": ("column_list", ""),
    "expect_table_columns_to_match_set": ("column_set", "exact_match"),
    "expect_table_row_count_to_be_between": ("", _BOUNDS),
    "expect_table_row_count_to_equal": ("value", ""),
}


def _expectations() -> dict[str, Expectation]:
    by_row = {
        name: Expectation(name, tuple(needs.split()), (*may.split(), "mostly", *_CONDITION), by_row=True)
        for name, (needs, may) in _BY_ROW.items()
    }
    whole = {
        name: Expectation(
            name,
            tuple(needs.split()),
            (*may.split(), *(_CONDITION if "column" in needs.split() and name not in _OF_SCHEMA else ())),
            by_row=False,
        )
        for name, (needs, may) in _WHOLE.items()
    }
    return by_row | whole


EXPECTATIONS: Final[Mapping[str, Expectation]] = MappingProxyType(_expectations())

DRIFT: Final = Expectation(
    "drift", ("column",), ("psi", "ks", "null_rate", "category_shift", "against", "on_drift"), False
)
"""Our own: how far a column may have moved since an earlier version."""

OWN: Final[Mapping[str, Expectation]] = MappingProxyType({DRIFT.name: DRIFT})
"""What ``engine: governance`` judges."""
