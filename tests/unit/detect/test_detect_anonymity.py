"""Which column sets single people out."""

from __future__ import annotations

import datetime
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from governance.detect import classify_table, quasi_identifiers
from governance.detect.columns.anonymity import gathered
from governance.errors import SettingError

FOUND = {
    "sex": "gender",
    "age": "age",
    "zip": "postal_code",
    "ward": "none",
    "name": "person_name",
    "row": "none",
}


def _table(rows: int = 3_000) -> pa.Table:
    random = np.random.default_rng(7)
    return pa.table(
        {
            "sex": pa.array(["F", "M"]).take(pa.array(random.integers(0, 2, rows))),
            "age": random.integers(20, 60, rows),
            "zip": pa.array([f"{n:05d}" for n in random.integers(10_000, 10_040, rows)]),
            "ward": pa.array([None, "N", "S"]).take(pa.array(random.integers(0, 3, rows))),
            "name": [f"n{n}" for n in range(rows)],
            "row": [f"r{n}" for n in range(rows)],
        }
    )


def test_the_smallest_risky_sets_are_those_a_plain_count_finds() -> None:
    table, k = _table(), 5
    measured = quasi_identifiers(table, FOUND, k=k)
    assert measured.considered == ("sex", "age", "zip", "ward")
    assert set(measured.left_out) == {"name", "row"}
    risky: list[set[str]] = []
    for size in range(1, 5):
        for names in combinations(measured.considered, size):
            if any(known < set(names) for known in risky):
                continue
            sizes = table.group_by(list(names)).aggregate([([], "count_all")])["count_all"].to_numpy()
            if sizes[sizes < k].sum() >= 0.05 * table.num_rows:
                risky.append(set(names))
                found = next(each for each in measured.risky if set(each.columns) == set(names))
                assert found.groups == len(sizes)
                assert found.minimum_k == sizes.min()
                assert found.unique_share == pytest.approx(sizes[sizes == 1].sum() / table.num_rows, abs=1e-6)
                assert found.below_share == pytest.approx(sizes[sizes < k].sum() / table.num_rows, abs=1e-6)
    assert {frozenset(each.columns) for each in measured.risky} == set(map(frozenset, risky))
    assert measured.together is not None
    assert measured.together.columns == measured.considered


def test_no_value_is_in_the_answer() -> None:
    said = str(quasi_identifiers(_table(200), FOUND).to_json())
    assert "10012" not in said
    assert "r17" not in said


def test_findings_of_a_scan_are_taken_as_they_are() -> None:
    table = _table(400).rename_columns(["sex", "age", "zip_code", "ward", "full_name", "row"])
    measured = quasi_identifiers(table, classify_table(table))
    assert {"sex", "age", "zip_code"} <= set(measured.considered)


def test_timestamps_count_by_day_and_nested_columns_by_field() -> None:
    start = datetime.datetime(2024, 1, 1)
    table = pa.table(
        {
            "at": [start + datetime.timedelta(minutes=m) for m in range(60)],
            "who": [{"sex": "FM"[n % 2], "tags": ["a"] * (n % 3)} for n in range(60)],
        }
    )
    measured = quasi_identifiers(table, {"at": "date", "who.sex": "gender"})
    assert measured.considered == ("who.sex",)
    assert measured.left_out["at"] == "all rows have the same value"
    assert "one value a row" in measured.left_out["who.tags"]


def test_empty_tables_and_tables_without_such_columns() -> None:
    assert quasi_identifiers(_table(0), FOUND).risky == ()
    assert quasi_identifiers(pa.table({"name": ["a", "b"]}), {"name": "person_name"}).together is None


def test_at_most_twelve_columns_are_considered() -> None:
    random = np.random.default_rng(3)
    table = pa.table(
        {f"c{n}": random.integers(0, 3, 50) for n in range(15)} | {"born": random.integers(1950, 1990, 50)}
    )
    measured = quasi_identifiers(table, dict.fromkeys(table.column_names, "none") | {"born": "date_of_birth"})
    assert len(measured.considered) == 12
    assert "born" in measured.considered
    assert len(measured.left_out) == 4


def test_bad_settings_and_too_much_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError) as caught:
        quasi_identifiers(_table(10), FOUND, k=1)
    assert caught.value.code == "GOV-901"
    monkeypatch.setattr("governance.detect.columns.anonymity.MAXIMUM_BYTES", 100)
    with pytest.raises(SettingError) as caught:
        gathered(_table(100).to_batches(), ["age"])
    assert caught.value.code == "GOV-116"
