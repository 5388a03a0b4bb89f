"""Rules are refused before data is read; the verdicts tell no values."""

import json
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest

from governance.errors import SourceError, ValidationError, ValidationFindings
from governance.model.canonical import canonical
from governance.model.contract import Rule, RuleScope
from governance.model.evidence import Assertion
from governance.validate import SourceRules, check, expectations, judge

SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("s", pa.string()),
        ("f", pa.float64()),
        ("d", pa.date32()),
        ("l", pa.list_(pa.int8())),
    ]
)


def rule(expectation: str, name: str = "r", **arguments) -> Rule:
    return Rule(name, expectation, arguments, RuleScope.PROTECTED)


def never():
    raise AssertionError("data was read")
    yield


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            rule("expect_column_values_to_be_betwen", column="n"),
            "did you mean 'expect_column_values_to_be_between'",
        ),
        (rule("expect_column_values_to_be_between", column="n"), "cannot both be missing"),
        (rule("expect_column_values_to_be_between", column="n", min=1), "did you mean 'min_value'"),
        (rule("expect_column_values_to_be_between", column="n", min_value=2, max_value=1), "greater"),
        (
            rule("expect_column_values_to_be_between", column="n", min_value="a"),
            "str for a column of numbers",
        ),
        (rule("expect_column_values_to_be_between", column="n", min_value=True), "a bound is"),
        (rule("expect_column_values_to_be_between", column="s", min_value=1), "'s' holds string"),
        (rule("expect_column_values_to_be_between", column="d", min_value=1), "int for a column of dates"),
        (rule("expect_column_values_to_be_between", column="d", min_value="yesterday"), "str for a column"),
        (rule("expect_column_values_to_be_between", column="N", min_value=1), "did you mean 'n'"),
        (rule("expect_column_values_to_be_between", min_value=1), "'column' is missing"),
        (rule("expect_column_values_to_be_in_set", column="s", value_set="ab"), "'value_set' is a list"),
        (rule("expect_column_values_to_be_in_set", column="s", value_set=[1]), "int for a column of text"),
        (rule("expect_column_values_to_be_in_set", column="s", value_set=["\0"]), "NUL"),
        (rule("expect_column_values_to_be_in_set", column="l", value_set=[1]), "'l' holds list"),
        (rule("expect_column_distinct_values_to_be_in_set", column="s", value_set=[]), "at least 1"),
        (rule("expect_column_values_to_match_regex", column="s", regex="(x"), "none of Python's"),
        (rule("expect_column_values_to_match_regex", column="n", regex="x"), "'n' holds int64, not text"),
        (rule("expect_column_values_to_not_be_null", column="s", mostly=1.1), "from 0 to 1"),
        (rule("expect_column_values_to_not_be_null", column="s", mostly=True), "from 0 to 1"),
        (
            rule(
                "expect_column_values_to_not_be_null",
                column="s",
                row_condition="n > 1",
                condition_parser="pandas",
            ),
            "row_condition",
        ),
        (rule("expect_column_value_lengths_to_equal", column="s", value="3"), "whole number"),
        (rule("expect_column_values_to_be_of_type", column="s", type_="strng"), "did you mean 'string'"),
        (rule("expect_column_mean_to_be_between", column="s"), "'s' holds string"),
        (rule("expect_column_mean_to_be_between", column="n", min_value="2020-01-01"), "not numbers"),
        (rule("expect_column_pair_values_to_be_equal", column_A="n", column_B="s"), "cannot be compared"),
        (
            rule("expect_column_pair_values_to_be_equal", column_A="n", column_B="f", ignore_row_if="never"),
            "both_values_are_missing",
        ),
        (rule("expect_compound_columns_to_be_unique", column_list=["n"]), "at least 2"),
        (rule("expect_column_values_to_be_unique", column="l"), "cannot be compared"),
        (rule("expect_column_value_z_scores_to_be_less_than", column="n"), "refuses double_sided, threshold"),
    ],
)
def test_wrong_rules_are_refused_before_data_is_read(wrong: Rule, words: str) -> None:
    with pytest.raises(ValidationFindings, match="GOV-401 quality rules: 1 problem") as caught:
        judge(never(), SCHEMA, [rule("expect_column_to_exist", column="n"), wrong])
    assert words in str(caught.value)
    assert "'r'" in str(caught.value)


def test_all_faults_at_once() -> None:
    wrong = [rule("nothing", name="one"), rule("expect_column_to_exist", name="two")]
    with pytest.raises(ValidationFindings) as caught:
        check(wrong)
    assert len(caught.value.faults) == 2
    assert isinstance(caught.value, ValidationError)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (rule("expect_column_mean_to_be_between", column="n", min_value=1), "cannot divert rows"),
        (rule("expect_table_row_count_to_equal", value=1), "cannot divert rows"),
        (rule("expect_column_values_to_be_of_type", column="n", type_="int"), "cannot divert rows"),
        (rule("expect_column_values_to_not_be_null", column="n", mostly=0.5), "'mostly' has no meaning"),
        (rule("expect_column_values_to_not_be_null", column="m"), "no column 'm'"),
    ],
)
def test_source_rules_must_divert_single_rows(wrong: Rule, words: str) -> None:
    with pytest.raises(ValidationFindings, match="GOV-401") as caught:
        SourceRules([wrong], SCHEMA)
    assert words in str(caught.value)


def test_source_rules_check_columns_at_the_first_batch() -> None:
    rules = SourceRules([rule("expect_column_values_to_not_be_null", column="m")])
    with pytest.raises(ValidationFindings, match="GOV-401"):
        rules.failing(pa.record_batch({"n": [1]}))


def test_results_are_gx_shaped_and_hold_no_values() -> None:
    canary = "canary-81c4"
    batch = pa.record_batch({"s": [canary, canary, None], "n": [987654321, 987654322, 987654399]})
    rules = [
        rule("expect_column_values_to_be_in_set", name="known", column="s", value_set=["a"]),
        rule("expect_column_values_to_be_unique", column="s"),
        rule("expect_column_distinct_values_to_equal_set", column="s", value_set=["a"]),
        rule("expect_column_values_to_match_regex", column="s", regex="^x"),
        rule("expect_column_max_to_be_between", column="n", max_value=0),
        rule("expect_column_min_to_be_between", column="n", max_value=0),
        rule("expect_column_median_to_be_between", column="n", max_value=0),
        rule("expect_column_mean_to_be_between", column="n", max_value=0),
        rule("expect_column_sum_to_be_between", column="n", max_value=0),
        rule("expect_column_unique_value_count_to_be_between", column="n", min_value=4),
        rule("expect_table_row_count_to_equal", value=4),
    ]
    result = judge(iter([batch]), batch.schema, rules)
    assert not result.success
    assert not any(each["success"] for each in result.results)
    shown = canonical(result.to_json()).decode()
    assert canary not in shown
    assert "9876543" not in shown
    first = json.loads(shown)["results"][0]
    assert "rule" not in first
    assert result.results[0]["rule"] == "known"
    assert first["expectation_config"] == {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "s", "value_set": ["a"]},
        "meta": {},
    }
    assert first["result"]["unexpected_count"] == 2
    assert first["result"]["missing_count"] == 1
    assert result.statistics["unsuccessful_expectations"] == len(rules)
    assert result.assertions[0] == Assertion("expect_column_values_to_be_in_set", False, "s")
    assert result.results[-2]["result"] == {"observed_value": 3}


def test_an_extreme_is_told_where_the_rule_says_so() -> None:
    batch = pa.record_batch({"d": [date(2020, 1, 2), None], "n": [5, 7]})
    public = {"meta": {"observed_value": True}}
    rules = [
        rule("expect_column_max_to_be_between", column="d", min_value="2020-01-02", **public),
        rule("expect_column_min_to_be_between", column="n", max_value=5, strict_max=True, **public),
    ]
    result = judge([batch], batch.schema, rules)
    assert [each["result"] for each in result.results] == [
        {"observed_value": "2020-01-02"},
        {"observed_value": 5},
    ]
    assert [each["success"] for each in result.results] == [True, False]


def test_a_mean_is_told_from_a_group_on() -> None:
    for rows, shown in ((4, False), (5, True)):
        batch = pa.record_batch({"n": [2] * rows})
        result = judge([batch], batch.schema, [rule("expect_column_mean_to_be_between", column="n")])
        assert ("observed_value" in result.results[0]["result"]) is shown


def test_no_rules_and_rules_on_the_schema_alone_still_read_and_count() -> None:
    batches = [pa.record_batch({"a": [1, 2], "b": ["x", "y"]})] * 3
    assert judge(batches, batches[0].schema, []).success
    rules = [
        rule("expect_table_row_count_to_equal", value=6),
        rule("expect_table_columns_to_match_ordered_list", column_list=["a", "b"]),
        rule("expect_table_columns_to_match_set", column_set=["b"], exact_match=False),
        rule("expect_table_column_count_to_equal", value=2),
        rule("expect_column_to_exist", column="b", column_index=1),
        rule("expect_column_values_to_be_of_type", column="a", type_="BIGINT"),
        rule("expect_column_values_to_be_in_type_list", column="b", type_list=["int", "str"]),
    ]
    assert judge(iter(batches), batches[0].schema, rules).success
    wrong = [
        rule("expect_table_columns_to_match_ordered_list", column_list=["b", "a"]),
        rule("expect_table_columns_to_match_set", column_set=["b"]),
        rule("expect_column_to_exist", column="c"),
        rule("expect_column_values_to_be_of_type", column="a", type_="int32"),
    ]
    assert not any(r["success"] for r in judge(batches, batches[0].schema, wrong).results)


def test_what_the_stream_raises_comes_through() -> None:
    def stream():
        yield pa.record_batch({"a": [1]})
        raise SourceError("GOV-705", "x", "y")

    for each in (
        rule("expect_column_values_to_not_be_null", column="a"),
        rule("expect_column_values_to_be_unique", column="a"),
    ):
        with pytest.raises(SourceError, match="GOV-705") as caught:
            judge(stream(), pa.schema([("a", pa.int64())]), [each])
        assert caught.value.__cause__ is None


def test_too_little_memory_fails_and_does_not_spill(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = (np.arange(start, start + 100_000) for start in range(0, 1_000_000, 100_000))
    batches = (
        pa.record_batch({"a": np.strings.add("a long common part of text ", n.astype(str))}) for n in numbers
    )
    rules = [rule("expect_column_unique_value_count_to_be_between", column="a", min_value=1)]
    with pytest.raises(ValidationError, match=r"GOV-402 .* within 8MB of memory"):
        judge(batches, pa.schema([("a", pa.string())]), rules, memory_limit="8MB")
    assert list(tmp_path.iterdir()) == []


def test_odd_types() -> None:
    batch = pa.record_batch(
        {
            "k": pa.array(["a", None, "a"]).dictionary_encode(),
            "u": pa.array([1, 2**64 - 1, None], pa.uint64()),
            "m": pa.array(["1.10", "2.20", None]).cast(pa.decimal128(9, 2)),
            "z": pa.array([datetime(2020, 1, 1), datetime(2021, 1, 1), None], pa.timestamp("us", "UTC")),
            "x": pa.array([b"\0" * 16, b"\0" * 16, None], pa.binary(16)),
            "b": [True, False, None],
            "A b": pa.array(["é", "", None], pa.large_string()),
            "a B": [1.5, float("nan"), float("inf")],
        }
    )
    expected = {
        "k": [rule("expect_column_values_to_be_in_set", column="k", value_set=["b"]), 2],
        "u": [rule("expect_column_values_to_be_between", column="u", max_value=5), 1],
        "m": [rule("expect_column_values_to_be_between", column="m", min_value=1.1, strict_min=True), 1],
        "z": [
            rule("expect_column_values_to_be_between", column="z", max_value="2020-06-01T00:00:00+02:00"),
            1,
        ],
        "x": [rule("expect_column_values_to_be_unique", column="x"), 2],
        "b": [rule("expect_column_values_to_be_in_set", column="b", value_set=[True]), 1],
        "A b": [rule("expect_column_value_lengths_to_equal", column="A b", value=1), 1],
        "a B": [rule("expect_column_values_to_be_between", column="a B", max_value=10), 1],
        "pair": [rule("expect_column_pair_values_a_to_be_greater_than_b", column_A="u", column_B="m"), 1],
        "set": [rule("expect_column_values_to_not_be_in_set", column="a B", value_set=[1.5, 2]), 1],
    }
    rules = [Rule(name, r.expectation, r.arguments, r.scope) for name, (r, _) in expected.items()]
    judged = judge([batch], batch.schema, rules)
    assert {r["rule"]: r["result"]["unexpected_count"] for r in judged.results} == {
        n: c for n, (_, c) in expected.items()
    }
    source = SourceRules(rules)
    source.prepare(lambda names: iter([batch.select(names)]))
    assert {n: int(m.sum()) for n, m in source.failing(batch)} == {n: c for n, (_, c) in expected.items()}


def test_prepare_reads_only_columns_that_must_be_unique() -> None:
    asked: list[list[str]] = []

    def batches_of(names: list[str]):
        asked.append(names)
        yield pa.record_batch({"a": [1, 2], "c": ["x", None]}).select(names)
        yield pa.record_batch({"a": [1, 3], "c": ["y", None]}).select(names)

    plain = SourceRules([rule("expect_column_values_to_not_be_null", column="b")])
    plain.prepare(batches_of)
    assert asked == []
    rules = SourceRules(
        [
            rule("expect_column_values_to_be_unique", name="u", column="a"),
            rule("expect_compound_columns_to_be_unique", name="c", column_list=["a", "c"]),
            rule("expect_column_values_to_not_be_null", name="n", column="b"),
        ]
    )
    batch = pa.record_batch({"a": [1, 2], "b": [None, "x"], "c": ["x", None]})
    with pytest.raises(RuntimeError, match="prepare"):
        rules.failing(batch)
    rules.prepare(batches_of)
    assert asked == [["a", "c"]]
    masks = rules.failing(batch)
    assert {name: mask.tolist() for name, mask in masks} == {
        "u": [True, False],
        "c": [False, False],
        "n": [True, False],
    }
    assert all(mask.dtype == bool for _, mask in masks)


def test_expectations_are_listed_with_their_arguments() -> None:
    assert len(expectations()) > 30
    assert "min_value" in expectations()["expect_column_values_to_be_between"]
