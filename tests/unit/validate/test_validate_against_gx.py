"""Our verdicts are Great Expectations' verdicts, and source rows fail exactly where the query counts."""

import datetime as dt
import json

import numpy as np
import pytest
from gx_reference import COUNTS, WORDS, gx_class, table

from governance.contracts.expectations import EXPECTATIONS
from governance.model.contract import Rule, RuleScope
from governance.validate import SourceRules, expectations, judge
from governance.validate.by_gx import BY_VALUE, OTHERS
from governance.validate.rules import compiled
from governance.validate.vocabulary import REFUSED

pytestmark = pytest.mark.filterwarnings("ignore")


def rules(seed: int) -> list[Rule]:
    random = np.random.default_rng(seed + 10_000)

    def pick(*options):
        return options[int(random.integers(len(options)))]

    def bounds(low, high, make=lambda v: v):
        a, b = sorted(random.integers(low, high, 2).tolist())
        limits = {"min_value": make(a), "max_value": make(b)}
        limits.pop(pick("min_value", "max_value", "", ""), None)
        return {**limits, "strict_min": pick(True, False), "strict_max": pick(True, False)}

    def mostly():
        return {"mostly": pick(0, 0.25, 0.5, 0.8, 0.95, 1)} if pick(True, False) else {}

    loose = lambda limits: {k: v for k, v in limits.items() if not k.startswith("strict")}
    any_column = lambda: pick("i", "f", "s", "d", "e", "n")
    number = lambda: pick("i", "f")
    some = lambda *of: [v for v in of if pick(True, False)] or [of[0]]
    word = lambda: some(*(w for w in WORDS if w is not None))
    quarter = lambda v: v / 4
    day = lambda v: dt.date(2020, 1, 1) + dt.timedelta(v)
    moment = lambda v: dt.datetime(2020, 1, 1) + dt.timedelta(minutes=v)
    members = lambda: pick(
        {"column": "s", "value_set": word()}, {"column": "i", "value_set": some(-3, 0, 1.0, 4)}
    )
    expressions = ("^a", "b$", "a.b", "", "[0-9]", r"^[^@]+@[^@]+\.org$", "'", "(?i)AB|é", r"^\S*$", r"\w\W")
    regex = lambda: pick(*expressions)
    ignored = lambda: pick("all_values_are_missing", "any_value_is_missing", "never")
    numbers = lambda: pick(["i", "f"], ["i", "j"], ["f", "g", "i"])
    arguments = {
        "expect_column_values_to_not_be_null": lambda: {"column": any_column(), **mostly()},
        "expect_column_values_to_be_null": lambda: {"column": any_column(), **mostly()},
        "expect_column_values_to_be_between": lambda: {
            **pick(
                {"column": "i", **bounds(-6, 7)},
                {"column": "i", **bounds(-9, 9, quarter)},
                {"column": "f", **bounds(-9, 9, quarter)},
                {"column": "n", **bounds(-9, 9, quarter)},
                {"column": "d", **bounds(-40, 40, day)},
                {"column": "e", **bounds(-90, 90, moment)},
            ),
            **mostly(),
        },
        "expect_column_values_to_be_in_set": lambda: {**members(), **mostly()},
        "expect_column_values_to_not_be_in_set": lambda: {**members(), **mostly()},
        "expect_column_values_to_match_regex": lambda: {"column": "s", "regex": regex(), **mostly()},
        "expect_column_values_to_not_match_regex": lambda: {"column": "s", "regex": regex(), **mostly()},
        "expect_column_values_to_match_regex_list": lambda: {
            "column": "s",
            "regex_list": some(*expressions),
            "match_on": pick("any", "all"),
            **mostly(),
        },
        "expect_column_values_to_not_match_regex_list": lambda: {
            "column": "s",
            "regex_list": some(*expressions[:2], "é", '"'),
            **mostly(),
        },
        "expect_column_pair_values_to_be_in_set": lambda: {
            **pick(
                {"column_A": "i", "column_B": "s", "value_pairs_set": [(0, "a"), (1, "ab"), (2.0, "")]},
                {"column_A": "f", "column_B": "j", "value_pairs_set": [(0.25, 1), (-1, 2), (1.5, -3)]},
            ),
            "ignore_row_if": pick("both_values_are_missing", "either_value_is_missing", "neither"),
            **mostly(),
        },
        "expect_multicolumn_sum_to_equal": lambda: {
            "column_list": numbers(),
            "sum_total": pick(0, 1.5, -2),
            "ignore_row_if": ignored(),
            **mostly(),
        },
        "expect_multicolumn_values_to_be_equal": lambda: {
            "column_list": pick(["s", "t"], ["i", "j"], ["f", "g"]),
            "ignore_row_if": ignored(),
            **mostly(),
        },
        "expect_select_column_values_to_be_unique_within_record": lambda: {
            "column_list": pick(["s", "t"], ["i", "j"], ["f", "g"]),
            "ignore_row_if": ignored(),
            **mostly(),
        },
        "expect_column_type_to_be": lambda: {"column": "i", "type_": pick("int64", "float64")},
        "expect_column_most_common_value_to_be_in_set": lambda: {**members(), "ties_okay": pick(True, False)},
        "expect_column_value_lengths_to_be_between": lambda: {"column": "s", **bounds(0, 6), **mostly()},
        "expect_column_value_lengths_to_equal": lambda: {
            "column": "s",
            "value": pick(0, 1, 2, 4),
            **mostly(),
        },
        "expect_column_values_to_be_unique": lambda: {"column": any_column(), **mostly()},
        "expect_column_pair_values_a_to_be_greater_than_b": lambda: {
            **pick({"column_A": "f", "column_B": "g"}, {"column_A": "i", "column_B": "g"}),
            "or_equal": pick(True, False),
            "ignore_row_if": pick("both_values_are_missing", "either_value_is_missing", "neither"),
            **mostly(),
        },
        "expect_column_pair_values_to_be_equal": lambda: {
            **pick({"column_A": "f", "column_B": "g"}, {"column_A": "i", "column_B": "j"}),
            "ignore_row_if": pick("both_values_are_missing", "either_value_is_missing", "neither"),
            **mostly(),
        },
        "expect_compound_columns_to_be_unique": lambda: {
            "column_list": pick(["i", "s"], ["f", "g"], ["s", "t"], ["i", "f", "d"]),
            "ignore_row_if": pick("all_values_are_missing", "any_value_is_missing", "never"),
            **mostly(),
        },
        "expect_column_values_to_be_of_type": lambda: {
            "column": "i",
            "type_": pick("int64", "int32", "float64"),
        },
        "expect_column_values_to_be_in_type_list": lambda: {
            "column": "f",
            "type_list": pick(["int64"], ["float64"]),
        },
        "expect_column_mean_to_be_between": lambda: {
            "column": number(),
            **bounds(-9, 9, lambda v: v / 4 + 0.03),
        },
        "expect_column_sum_to_be_between": lambda: {"column": number(), **bounds(-99, 99, lambda v: v / 4)},
        "expect_column_stdev_to_be_between": lambda: {
            "column": number(),
            **bounds(0, 20, lambda v: v / 4 + 0.03),
        },
        "expect_column_median_to_be_between": lambda: {"column": number(), **bounds(-9, 9, quarter)},
        "expect_column_min_to_be_between": lambda: pick(
            {"column": "i", **bounds(-9, 1)}, {"column": "e", **bounds(-90, 0, moment)}
        ),
        "expect_column_max_to_be_between": lambda: pick(
            {"column": "f", **bounds(-2, 9, quarter)}, {"column": "e", **bounds(0, 90, moment)}
        ),
        "expect_column_unique_value_count_to_be_between": lambda: {"column": any_column(), **bounds(0, 12)},
        "expect_column_proportion_of_unique_values_to_be_between": lambda: {
            "column": any_column(),
            **bounds(0, 11, lambda v: v / 10),
        },
        "expect_column_proportion_of_non_null_values_to_be_between": lambda: {
            "column": any_column(),
            **bounds(0, 11, lambda v: v / 10),
        },
        "expect_column_distinct_values_to_be_in_set": members,
        "expect_column_distinct_values_to_contain_set": members,
        "expect_column_distinct_values_to_equal_set": members,
        "expect_table_row_count_to_be_between": lambda: loose(bounds(0, 210)),
        "expect_table_row_count_to_equal": lambda: {"value": pick(0, 1, 2, 7, 40, 200)},
        "expect_table_column_count_to_be_between": lambda: loose(bounds(7, 11)),
        "expect_table_column_count_to_equal": lambda: {"value": pick(8, 9)},
        "expect_table_columns_to_match_set": lambda: {
            "column_set": pick(["i"], ["i", "x"], list("ijfgstden")),
            "exact_match": pick(True, False),
        },
        "expect_table_columns_to_match_ordered_list": lambda: {
            "column_list": pick(list("ijfgstden"), list("jifgstden"), ["i"]),
        },
        "expect_column_to_exist": lambda: {"column": pick("i", "x"), "column_index": pick(0, 1, None)},
    }
    assert set(arguments) == {name for name in expectations() if "like_pattern" not in name}
    return [Rule(name, name, make(), RuleScope.PROTECTED) for name, make in arguments.items()]


def test_names_and_arguments_are_those_of_great_expectations() -> None:
    for name, arguments in expectations().items():
        assert set(arguments) <= set(gx_class(name).__fields__), name


def test_every_expectation_of_great_expectations_is_compiled_left_to_it_or_refused() -> None:
    gx_class("expect_column_to_exist")
    from great_expectations.expectations import core
    from great_expectations.expectations.expectation import Expectation
    from great_expectations.util import camel_to_snake

    kinds = [k for k in vars(core).values() if isinstance(k, type) and issubclass(k, Expectation)]
    theirs = {camel_to_snake(k.__name__) for k in kinds}
    ours = set(expectations()) | BY_VALUE | OTHERS | set(REFUSED)
    assert ours == theirs
    known = set(EXPECTATIONS)
    assert known == theirs - set(REFUSED)


@pytest.mark.parametrize("seed", range(12))
def test_verdicts_equal_those_of_great_expectations(by_gx, seed: int) -> None:
    data, suite = table(seed), rules(seed)
    ours = judge(data.to_batches(max_chunksize=17), data.schema, suite)
    for (each, theirs), mine in zip(by_gx(data, suite), ours.results, strict=True):
        raised = theirs.exception_info or {}
        assert not raised.get("raised_exception", isinstance(next(iter(raised.values()), None), dict)), (
            each,
            raised,
        )
        assert mine["success"] == theirs.success, (each, mine["result"], theirs.result)
        for name in COUNTS:
            assert mine["result"].get(name) == pytest.approx(theirs.result.get(name)), (each, name)


@pytest.mark.parametrize("seed", range(40))
def test_source_rows_fail_where_the_query_counts_them(seed: int) -> None:
    data = table(seed)
    suite = [
        Rule(r.name, r.expectation, {k: v for k, v in r.arguments.items() if k != "mostly"}, r.scope)
        for r in rules(seed)
    ]
    suite = [r for r in suite if compiled([r])[0].by_row]
    assert len(suite) == 19
    batches = data.to_batches(max_chunksize=23)
    judged = judge(batches, data.schema, suite)
    source = SourceRules(suite, data.schema)
    source.prepare(lambda names: (b.select(names) for b in batches))
    totals = dict.fromkeys((r.name for r in suite), 0)
    for batch in batches:
        for name, mask in source.failing(batch):
            assert len(mask) == batch.num_rows
            totals[name] += int(mask.sum())
    assert totals == {r["rule"]: r["result"]["unexpected_count"] for r in judged.results}


def test_results_are_read_by_great_expectations_and_openlineage_as_their_own() -> None:
    gx_class("expect_column_to_exist")
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema
    from openlineage.client.generated import data_quality_assertions_dataset as facets

    data, suite = table(3), rules(3)
    ours = judge(data.to_batches(), data.schema, suite)
    read = ExpectationSuiteValidationResultSchema().load(json.loads(json.dumps(ours.to_json())))
    assert read.success == ours.success
    assert read.statistics == ours.statistics
    assert [(r.expectation_config.type, r.success) for r in read.results] == [
        (r.expectation, mine["success"]) for r, mine in zip(suite, ours.results, strict=True)
    ]
    assertions = [facets.Assertion(a.assertion, a.success, a.column) for a in ours.assertions]
    facet = facets.DataQualityAssertionsDatasetFacet(assertions=assertions)
    assert [a.success for a in facet.assertions] == [mine["success"] for mine in ours.results]
