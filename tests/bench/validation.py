"""Quality rules: one DuckDB aggregate over the stream, beside Great Expectations on pandas."""

from __future__ import annotations

from typing import Any

from tests.bench import dataset
from tests.bench.experiment import Call, Experiment, Figure, Floor, Goal, cpu, peak
from tests.bench.measuring import measure

_EMAIL = r"^[^@\s]+@[^@\s]+\.[a-z]+$"
RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("expect_column_values_to_not_be_null", {"column": "subject_id"}),
    ("expect_column_values_to_not_be_null", {"column": "score", "mostly": 0.9}),
    ("expect_column_values_to_be_between", {"column": "amount", "min_value": 0, "max_value": 99_999}),
    ("expect_column_values_to_be_between", {"column": "score", "min_value": 0, "max_value": 999}),
    (
        "expect_column_values_to_be_in_set",
        {"column": "jurisdiction", "value_set": list(dataset.JURISDICTIONS)},
    ),
    ("expect_column_values_to_match_regex", {"column": "email", "regex": _EMAIL}),
    ("expect_column_value_lengths_to_be_between", {"column": "phone", "min_value": 15, "max_value": 15}),
    ("expect_column_value_lengths_to_equal", {"column": "ssn", "value": 11}),
    ("expect_column_mean_to_be_between", {"column": "amount", "min_value": 40_000, "max_value": 60_000}),
    ("expect_table_row_count_to_be_between", {"min_value": 1}),
)


BATCH_ROWS = 16_384
"""As fast as larger batches, and a quarter less memory: Parquet decodes a batch of every column at a time."""


def ours(rows: int) -> dict[str, Any]:
    """:func:`judge` over the file's batches."""
    import pyarrow.parquet as pq

    from governance.model.contract import Rule, RuleScope
    from governance.validate import judge

    rules = [
        Rule(f"rule {n}", name, arguments, RuleScope.PROTECTED) for n, (name, arguments) in enumerate(RULES)
    ]
    path = dataset.source(rows) / "events.parquet"

    def work() -> dict[str, Any]:
        with pq.ParquetFile(path, pre_buffer=False) as opened:
            verdict = judge(
                opened.iter_batches(batch_size=BATCH_ROWS, use_threads=False), opened.schema_arrow, rules
            )
        return {"success": verdict.success}

    result = measure(work)
    if not result["success"]:
        raise AssertionError("a rule fails on data that fits it")
    return result


def great_expectations(rows: int) -> dict[str, Any]:
    """The same rules by Great Expectations on a pandas frame, reading included."""
    import os

    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    definition = asset.add_batch_definition_whole_dataframe("b")

    def named(expectation: str) -> Any:
        return getattr(gx.expectations, "".join(part.capitalize() for part in expectation.split("_")))

    suite = gx.ExpectationSuite(
        name="s", expectations=[named(name)(**arguments) for name, arguments in RULES]
    )

    def work() -> dict[str, Any]:
        frame = pd.read_parquet(dataset.source(rows) / "events.parquet")
        batch = definition.get_batch({"dataframe": frame})
        return {"success": batch.validate(suite, result_format="SUMMARY").success}

    return measure(work)


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    size = rows or (1_000_000 if quick else 10_000_000)
    return [
        Experiment(
            "validate",
            Call("validation:ours", {"rows": size}),
            [
                Figure("validate.cpu", "s", cpu, Goal("ratio", 2.5), floor=cpu, peer=cpu),
                Figure("validate.peer", "s", cpu, Goal("advantage", 5, at_most=False), peer=cpu),
                Figure("validate.memory", "MiB", peak, Goal("value", 300, unit="MiB"), floor=peak, peer=peak),
            ],
            floor=Floor(("scan", str(dataset.source(size)))),
            peer=Call("validation:great_expectations", {"rows": size}),
            before=[Call("dataset:make_source", {"rows": size})],
            pairs=5,
            context={"rows": size, "rules": len(RULES)},
        )
    ]
