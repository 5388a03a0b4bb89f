"""Rules that Great Expectations itself judges: those that no aggregate can express.

It runs in this process on a pandas frame of the columns the rules name, with its telemetry off, and its answers are
stripped to counts: a failing value never leaves it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.errors import SettingError, ValidationError
from governance.model.contract import Rule
from governance.validate.columns import Unfit, normalized

COUNTS = (
    "element_count",
    "unexpected_count",
    "unexpected_percent",
    "missing_count",
    "missing_percent",
    "unexpected_percent_total",
    "unexpected_percent_nonmissing",
)
"""What is taken over from a result."""

BY_VALUE = frozenset(
    {
        "expect_column_pair_values_to_be_in_set",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
    }
)
"""Judged from each row alone: these may divert rows of a source."""

OTHERS = frozenset(
    {
        "expect_column_kl_divergence_to_be_less_than",
        "expect_column_quantile_values_to_be_between",
        "expect_column_value_z_scores_to_be_less_than",
        "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing",
        "expect_column_values_to_not_be_outliers",
    }
)

_COLUMNS = ("column", "column_A", "column_B")
_NAMED = re.compile(r"""\bcol\(\s*(["'])(.+?)\1\s*\)""")


@dataclass(frozen=True)
class ByGx:
    """A rule for Great Expectations. ``columns`` are those it and its condition name."""

    rule: Rule
    arguments: Mapping[str, Any]
    columns: tuple[str, ...]
    by_row: bool
    expectation: Any = field(compare=False, repr=False, default=None)

    @classmethod
    def of(cls, rule: Rule, arguments: Mapping[str, Any], *, by_row: bool) -> ByGx:
        """A rule, its arguments checked by Great Expectations.

        Raises:
            SettingError: GOV-902 when it is not installed.
            Unfit: it refuses the arguments.
        """
        condition = arguments.get("row_condition")
        named = [arguments[key] for key in _COLUMNS if key in arguments] + list(
            arguments.get("column_list", ())
        )
        columns = dict.fromkeys([*named, *_condition_columns(condition)])
        return cls(rule, arguments, tuple(columns), by_row, _expectation(rule.expectation, arguments))

    def check(self, types: Mapping[str, pa.DataType]) -> None:
        for name in self.columns:
            if pa.types.is_nested(types[name]):
                raise Unfit(f"column {name!r} holds {types[name]}, which cannot be judged")


class Frame:
    """Gathers the columns that rules need, then judges: all of them are in memory at once."""

    def __init__(self, checks: Sequence[ByGx], schema: pa.Schema) -> None:
        wanted = {name for check in checks for name in check.columns}
        self._names = [name for name in schema.names if name in wanted]
        self._batches: list[pa.RecordBatch] = []

    def update(self, batch: pa.RecordBatch) -> None:
        if self._names:
            arrays = [normalized(batch.column(name)) for name in self._names]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, names=self._names))

    def verdict(self, check: ByGx) -> tuple[bool, dict[str, Any]]:
        """Success and counts. Raises GOV-402 when Great Expectations raised."""
        outcome = _validated(check, _pandas(pa.Table.from_batches(self._batches)), "BASIC")
        return bool(outcome.success), {
            name: _plain(outcome.result[name]) for name in COUNTS if name in outcome.result
        }


def failing(check: ByGx, arrays: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    """Which of the rows fail a rule that is judged by value."""
    table = pa.table({name: arrays[name] for name in check.columns})
    mask = np.zeros(table.num_rows, bool)
    if table.num_rows:
        outcome = _validated(check, _pandas(table), "COMPLETE")
        mask[list(outcome.result.get("unexpected_index_list") or ())] = True
    return mask


def _pandas(table: pa.Table) -> Any:
    return table.to_pandas(date_as_object=True)


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and value != value else value


def _condition_columns(condition: Any) -> Iterator[str]:
    if isinstance(condition, str):
        yield from (found[1] for found in _NAMED.findall(condition))
    elif isinstance(condition, Mapping):
        named = condition.get("column")
        if isinstance(named, Mapping) and isinstance(named.get("name"), str):
            yield named["name"]
        for each in condition.get("conditions", ()):
            yield from _condition_columns(each)


def _expectation(name: str, arguments: Mapping[str, Any]) -> Any:
    gx = _library()
    kind = gx.expectations.registry.get_expectation_impl(name)
    refused: Sequence[str] = ()
    with _quiet():
        try:
            return kind(**arguments)
        except Exception as fault:  # its text quotes the arguments, which is the contract's to tell
            said = getattr(fault, "errors", None)
            refused = sorted({str(e["loc"][0]) for e in said()}) if callable(said) else ()
    raise Unfit(f"Great Expectations refuses {', '.join(refused) or 'its arguments'}")


def _validated(check: ByGx, frame: Any, result_format: str) -> Any:
    gx = _library()
    raised = ""
    with _quiet():
        try:
            context = gx.get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}
            asset = context.data_sources.add_pandas("version").add_dataframe_asset("rows")
            batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
            outcome = batch.validate(check.expectation, result_format=result_format)
        except Exception as fault:
            raised = type(fault).__name__
    if not raised:
        info = outcome.exception_info or {}
        inner = [info, *(each for each in info.values() if isinstance(each, Mapping))]
        if not any(each.get("raised_exception") for each in inner):
            return outcome
        raised = "an exception of its metric"
    raise ValidationError(
        "GOV-402",
        f"Great Expectations could not judge rule {check.rule.name!r} ({check.rule.expectation}): {raised}",
        "see whether the expectation fits the column's type; its own text is withheld, it may quote data",
    )


def _library() -> Any:
    if importlib.util.find_spec("great_expectations") is None:
        raise SettingError(
            "GOV-902",
            "a quality rule has to be judged by Great Expectations, which is not installed",
            "install airflow-governance[gx], or state the rule by an expectation that is compiled (docs/validation.md)",
        )
    # Read when it is imported: nothing is to leave this process.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with _quiet():
        import great_expectations as gx
        import great_expectations.expectations.registry
    return gx


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without its log lines and warnings: they may quote values."""
    logger = logging.getLogger("great_expectations")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
