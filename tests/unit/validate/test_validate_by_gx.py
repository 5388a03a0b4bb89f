"""What no aggregate can express is judged by Great Expectations, which tells no value and asks no network."""

import json
import socket

import pyarrow as pa
import pytest
from gx_reference import COUNTS, table

from governance.errors import SettingError, ValidationFindings
from governance.model.contract import Rule, RuleScope
from governance.validate import SourceRules, judge
from governance.validate.rules import compiled

pytestmark = pytest.mark.filterwarnings("ignore")

GX_RULES = [
    ("expect_column_values_to_match_regex", {"column": "s", "regex": r"(?!a)\w|^$", "mostly": 0.5}),
    ("expect_column_values_to_be_increasing", {"column": "i"}),
    ("expect_column_values_to_be_json_parseable", {"column": "s", "mostly": 0.1}),
    ("expect_column_values_to_match_strftime_format", {"column": "s", "strftime_format": "%Y"}),
    ("expect_column_value_z_scores_to_be_less_than", {"column": "f", "threshold": 2, "double_sided": True}),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "f", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[-1, 1]]}},
    ),
    (
        "expect_column_values_to_be_between",
        {
            "column": "f",
            "min_value": 0,
            "row_condition": 'col("i") > 0',
            "condition_parser": "great_expectations",
        },
    ),
]


def test_what_cannot_be_compiled_is_judged_by_great_expectations_and_tells_no_value(
    by_gx, monkeypatch
) -> None:
    data = table(3)
    assert data.num_rows > 10
    suite = [Rule(name, name, arguments, RuleScope.PROTECTED) for name, arguments in GX_RULES]
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asks the network"))
    ours = judge(data.to_batches(max_chunksize=17), data.schema, suite)
    monkeypatch.undo()
    for (each, theirs), mine in zip(by_gx(data, suite), ours.results, strict=True):
        assert mine["success"] == theirs.success, each
        for name in COUNTS:
            assert mine["result"].get(name) == pytest.approx(theirs.result.get(name)), (each, name)
        assert set(mine["result"]) <= set(COUNTS)
    assert json.dumps(ours.to_json())


def test_source_rows_are_diverted_by_great_expectations_too() -> None:
    texts = ["a", "2020", "{}", None, "1999", "[1"]
    batch = pa.RecordBatch.from_pydict({"s": texts})
    parseable = Rule("json", "expect_column_values_to_be_json_parseable", {"column": "s"}, RuleScope.SOURCE)
    ahead = Rule(
        "ahead", "expect_column_values_to_match_regex", {"column": "s", "regex": "^(?!1)"}, RuleScope.SOURCE
    )
    found = dict(SourceRules([parseable, ahead], batch.schema).failing(batch))
    assert found["json"].tolist() == [True, False, False, False, False, True]
    assert found["ahead"].tolist() == [False, False, False, False, True, False]


@pytest.mark.parametrize(
    ("name", "arguments", "scope", "said"),
    [
        ("expect_column_values_to_be_increasing", {"column": "i"}, RuleScope.SOURCE, "cannot divert"),
        ("expect_column_values_to_match_regex", {"column": "s", "regex": "("}, RuleScope.SOURCE, "Python"),
        ("expect_query_results_to_match_comparison", {}, RuleScope.PROTECTED, "queries a data source"),
        (
            "expect_column_max_to_be_between",
            {"column": "i", "max_value": 1, "row_condition": "i > 0", "condition_parser": "pandas"},
            RuleScope.PROTECTED,
            "condition_parser",
        ),
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "f", "quantile_ranges": 7},
            RuleScope.PROTECTED,
            "quantile_ranges",
        ),
    ],
)
def test_what_cannot_be_judged_is_said_before_data_is_read(name, arguments, scope, said) -> None:
    with pytest.raises(ValidationFindings, match=said) as caught:
        compiled([Rule("r", name, arguments, scope)], table(0).schema, diverting=scope is RuleScope.SOURCE)
    assert caught.value.code == "GOV-401"


def test_without_great_expectations_its_rules_are_refused_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match="GOV-902"):
        compiled([Rule("r", "expect_column_values_to_be_increasing", {"column": "i"}, RuleScope.PROTECTED)])
