"""Drift: what moved is measured, what did not passes, and a profile tells of nobody."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import ValidationError, ValidationFindings
from governance.model.contract import Rule, RuleScope
from governance.validate import Drift, check
from governance.validate.drift import SMALLEST, measures


def rule(column: str = "n", **arguments) -> Rule:
    return Rule(f"drift of {column}", "drift", {"column": column, **arguments}, RuleScope.PROTECTED)


def profiled(table: pa.Table, *rules: Rule, before=None, key: bytes = b"k" * 32):
    drift = Drift(rules, table.schema, lambda against: before, lambda: key)
    for batch in table.to_batches(max_chunksize=700):
        drift.see(batch)
    return drift.finish()


def numbers(mean: float, rows: int = 5000, nulls: float = 0.0, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    values = random.normal(mean, 1, rows)
    return pa.table({"n": pa.array(values, mask=random.random(rows) < nulls)})


def texts(weights: dict[str, int]) -> pa.Table:
    return pa.table({"c": [name for name, count in weights.items() for _ in range(count)]})


def test_numbers_that_moved_are_told_from_others() -> None:
    limits = rule(psi=0.2, ks=0.1, null_rate=0.05)
    profiles, first = profiled(numbers(0), limits)
    assert first[0]["success"]
    assert first[0]["result"]["observed_value"] is None
    before = ("v1", profiles)
    assert profiled(numbers(0, seed=2), limits, before=before)[1][0]["success"]
    moved = profiled(numbers(1), limits, before=before)[1][0]
    assert not moved["success"]
    assert moved["meta"]["compared_with"] == "v1"
    # Two normal distributions one deviation apart: KS 2Φ(½) − 1 ≈ 0.383, PSI ≈ 1.
    assert moved["result"]["observed_value"]["ks"] == pytest.approx(0.383, abs=0.04)
    assert moved["result"]["observed_value"]["psi"] == pytest.approx(1, abs=0.2)
    missing = profiled(numbers(0, nulls=0.2), limits, before=before)[1][0]
    assert missing["result"]["observed_value"]["null_rate"] == pytest.approx(0.2, abs=0.03)


def test_categories_that_shifted_are_told_under_a_keyed_hash() -> None:
    limits = rule("c", category_shift=0.1)
    profiles, _ = profiled(texts({"gold": 500, "silver": 480, "secret-name": 3}), limits)
    told = json.dumps(profiles)
    assert not [word for word in ("gold", "silver", "secret-name") if word in told]
    assert profiles["c"]["categories"]["rest"] == 3
    same = profiled(texts({"silver": 500, "gold": 480}), limits, before=("v1", profiles))[1][0]
    assert same["success"]
    shifted = profiled(texts({"gold": 900, "silver": 100}), limits, before=("v1", profiles))[1][0]
    assert shifted["result"]["observed_value"]["category_shift"] == pytest.approx(0.39, abs=0.01)
    assert (
        profiled(texts({"gold": 500}), limits, key=b"x" * 32)[0] != profiled(texts({"gold": 500}), limits)[0]
    )


def test_a_warning_says_so_and_a_pinned_version_must_be_there() -> None:
    limits = rule(psi=0.01, on_drift="warn")
    before = ("v1", profiled(numbers(0), limits)[0])
    warned = profiled(numbers(2), limits, before=before)[1][0]
    assert not warned["success"]
    assert warned["meta"]["severity"] == "warning"
    assert not profiled(numbers(0), rule(psi=1, against="v" + "0" * 24))[1][0]["success"]


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-1e12, 1e12), st.just(float("inf"))), max_size=300),
    more=st.lists(st.integers(-5, 5), max_size=300),
)
def test_no_bin_is_told_with_few_rows_and_every_row_is_in_one(values, more) -> None:
    table = pa.table({"n": pa.array([*values, *map(float, more)], pa.float64())})
    profiles, _ = profiled(table, rule(psi=1))
    if not table.num_rows:
        return
    profile = profiles["n"]
    assert sum(profile["counts"]) + profile["nulls"] == profile["rows"] == table.num_rows
    assert len(profile["counts"]) == len(profile["edges"]) + 1
    assert len(profile["counts"]) == 1 or min(profile["counts"]) >= SMALLEST
    assert measures(profile, profile) == {"psi": 0, "ks": 0, "null_rate": 0}


def test_dates_have_profiles_too() -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=n % 300) for n in range(900)]
    later = [day + dt.timedelta(days=300) for day in days]
    limits = rule("d", ks=0.2)
    profiles, _ = profiled(pa.table({"d": days}), limits)
    assert profiled(pa.table({"d": later}), limits, before=("v1", profiles))[1][0]["success"] is False


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (rule(), "limits one or more"),
        (rule(psi=0), "above 0"),
        (rule(psi=True), "above 0"),
        (rule(psi=1, kl=1), "limits one or more"),
        (rule(psi=1, on_drift="shout"), "fail or warn"),
        (rule("x", psi=1), "no column"),
        (rule(category_shift=1), "no meaning"),
    ],
)
def test_wrong_drift_rules_are_refused_before_data_is_read(wrong: Rule, said: str) -> None:
    with pytest.raises(ValidationFindings, match=said):
        check([wrong], pa.schema([("n", pa.float64())]))


def test_what_has_too_many_categories_is_refused_without_naming_one() -> None:
    table = pa.table({"c": [f"name-{n}" for n in range(10_001)]})
    with pytest.raises(ValidationError, match="more than 10,000 categories") as caught:
        profiled(table, rule("c", psi=1))
    assert "name-" not in str(caught.value)
