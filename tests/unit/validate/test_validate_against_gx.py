"""Our verdicts are Great Expectations' verdicts, and source rows fail exactly where the query counts."""

import datetime as dt
import logging
import os

import numpy as np
import pyarrow as pa
import pytest

from governance.model.contract import Rule, RuleScope
from governance.validate import SourceRules, expectations, judge
from governance.validate.rules import compiled

pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["", "a", "ab", "A1", "é", "a\nb", "x'y", '"', "a@b.org", "a@b.com", " ", "aaaa", None]


def table(seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    rows = int(random.choice([0, 1, 2, 7, 40, 200]))
    nulls = float(random.choice([0, 0, 0.2, 0.9, 1]))

    def column(values, kind):
        missing = random.random(rows) < nulls
        return pa.array([None if m else v for v, m in zip(values, missing, strict=True)], kind)

    def words():
        return [WORDS[i] for i in random.integers(0, int(random.integers(1, len(WORDS))), rows)]

    days = [dt.date(2020, 1, 1) + dt.timedelta(int(d)) for d in random.integers(-40, 40, rows)]
    times = [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=int(d)) for d in random.integers(-90, 90, rows)]
    return pa.table(
        {
            "i": pa.array(random.integers(-5, 6, rows), pa.int64()),
            "j": pa.array(random.integers(-5, 6, rows), pa.int64()),
            "f": column(random.integers(-9, 9, rows) / 4, pa.float64()),
            "g": column(random.integers(-9, 9, rows) / 4, pa.float64()),
            "s": column(words(), pa.string()),
            "t": column(words(), pa.string()),
            "d": column(days, pa.date32()),
            "e": column(times, pa.timestamp("ns")),
        }
    )


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
    any_column = lambda: pick("i", "f", "s", "d", "e")
    number = lambda: pick("i", "f")
    some = lambda *of: [v for v in of if pick(True, False)] or [of[0]]
    word = lambda: some(*(w for w in WORDS if w is not None))
    quarter = lambda v: v / 4
    day = lambda v: dt.date(2020, 1, 1) + dt.timedelta(v)
    moment = lambda v: dt.datetime(2020, 1, 1) + dt.timedelta(minutes=v)
    members = lambda: pick(
        {"column": "s", "value_set": word()}, {"column": "i", "value_set": some(-3, 0, 1.0, 4)}
    )
    regex = lambda: pick("^a", "b$", "a.b", "", "[0-9]", r"^[^@]+@[^@]+\.org$", "'", "(?i)AB|é", r"^\S*$")
    arguments = {
        "expect_column_values_to_not_be_null": lambda: {"column": any_column(), **mostly()},
        "expect_column_values_to_be_null": lambda: {"column": any_column(), **mostly()},
        "expect_column_values_to_be_between": lambda: {
            **pick(
                {"column": "i", **bounds(-6, 7)},
                {"column": "i", **bounds(-9, 9, quarter)},
                {"column": "f", **bounds(-9, 9, quarter)},
                {"column": "d", **bounds(-40, 40, day)},
                {"column": "e", **bounds(-90, 90, moment)},
            ),
            **mostly(),
        },
        "expect_column_values_to_be_in_set": lambda: {**members(), **mostly()},
        "expect_column_values_to_not_be_in_set": lambda: {**members(), **mostly()},
        "expect_column_values_to_match_regex": lambda: {"column": "s", "regex": regex(), **mostly()},
        "expect_column_values_to_not_match_regex": lambda: {"column": "s", "regex": regex(), **mostly()},
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
        "expect_table_column_count_to_be_between": lambda: loose(bounds(6, 10)),
        "expect_table_column_count_to_equal": lambda: {"value": pick(7, 8)},
        "expect_table_columns_to_match_set": lambda: {
            "column_set": pick(["i"], ["i", "x"], list("ijfgstde")),
            "exact_match": pick(True, False),
        },
        "expect_table_columns_to_match_ordered_list": lambda: {
            "column_list": pick(list("ijfgstde"), list("jifgstde"), ["i"]),
        },
        "expect_column_to_exist": lambda: {"column": pick("i", "x"), "column_index": pick(0, 1, None)},
    }
    assert set(arguments) == set(expectations())
    return [Rule(name, name, make(), RuleScope.PROTECTED) for name, make in arguments.items()]


def gx_class(expectation: str):
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    gx = pytest.importorskip("great_expectations")
    return getattr(gx.expectations, "".join(part.capitalize() for part in expectation.split("_")))


def test_names_and_arguments_are_those_of_great_expectations() -> None:
    for name, arguments in expectations().items():
        assert set(arguments) <= set(gx_class(name).__fields__), name


@pytest.fixture(scope="module")
def by_gx():
    gx_class("expect_column_to_exist")
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    definition = asset.add_batch_definition_whole_dataframe("b")

    def evaluate(data: pa.Table, suite: list[Rule]):
        batch = definition.get_batch({"dataframe": data.to_pandas(date_as_object=True)})
        for each in suite:
            expectation = gx_class(each.expectation)(**each.arguments)
            yield each, batch.validate(expectation, result_format="SUMMARY")

    return evaluate


COUNTS = (
    "element_count",
    "unexpected_count",
    "missing_count",
    "unexpected_percent",
    "unexpected_percent_total",
    "unexpected_percent_nonmissing",
    "missing_percent",
)


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
    assert len(suite) == 13
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
