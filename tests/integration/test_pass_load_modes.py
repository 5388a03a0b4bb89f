"""Versions that stand on segments of earlier ones: append, and replacing of partitions."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv as pa_csv
from before_and_after import CUSTOMERS, german_subjects, withdraw
from governed_home import Home, edited

from governance.lineage.facets import nonconformities
from governance.model.evidence import Stage

COUNTRY = "- name: country\n        logicalType: string\n"


def test_append_stands_on_the_segments_before_it(home: Home) -> None:
    edited(home.contract(CUSTOMERS), lambda t: t.replace("loadMode: full", "loadMode: append"))
    home.run(CUSTOMERS)
    first = home.manifest(CUSTOMERS)
    home.run(CUSTOMERS)
    second = home.manifest(CUSTOMERS)
    assert second.segments[: len(first.segments)] == first.segments
    assert second.body["rows"] == 2 * first.body["rows"] == home.rows(CUSTOMERS).num_rows
    names = home.rows(CUSTOMERS)["customer_pseudonym"].to_pylist()
    assert names[: len(names) // 2] == names[len(names) // 2 :]
    assert home.cli("log", "verify", "--files")[0] == 3


def test_who_withdrew_is_not_carried_into_another_version(home: Home, tmp_path: Path) -> None:
    edited(home.contract(CUSTOMERS), lambda t: t.replace("loadMode: full", "loadMode: append"))
    home.run(CUSTOMERS)
    first, before = home.manifest(CUSTOMERS), home.rows(CUSTOMERS).num_rows
    subject, rows = next(iter(german_subjects(home).items()))
    withdraw(home, subject, tmp_path)
    home.run(CUSTOMERS)
    second = home.manifest(CUSTOMERS)
    assert second.body["rows"] == 2 * (before - rows) == home.rows(CUSTOMERS).num_rows
    [stated] = home.evidence(Stage.PROTECT, CUSTOMERS)[-1]["facts"]["carried"]
    assert (stated["from"], stated["dropped"]) == (first.segments[0].segment_id, rows)
    assert not nonconformities(home.evidence(Stage.PROTECT, CUSTOMERS)[-1])
    assert second.segments[0].segment_id == stated["segment_id"] != first.segments[0].segment_id


def test_a_partition_replaces_its_own_and_leaves_the_others(home: Home, tmp_path: Path) -> None:
    edited(
        home.contract(CUSTOMERS),
        lambda t: t.replace("loadMode: full", "loadMode: replace-partition").replace(
            COUNTRY, COUNTRY + "        partitioned: true\n        partitionKeyPosition: 1\n"
        ),
    )
    home.run(CUSTOMERS)
    first = {tuple(s.partition.values()): s for s in home.manifest(CUSTOMERS).segments}
    assert {("DE",), ("FR",), ("US",)} <= set(first)
    table = pa_csv.read_csv(home.source(CUSTOMERS))
    german = [i for i, c in enumerate(table["country"].to_pylist()) if c == "DE"]
    only = tmp_path / "german.csv"
    pa_csv.write_csv(table.take(german), only)
    home.run(CUSTOMERS, source=only)
    second = {tuple(s.partition.values()): s for s in home.manifest(CUSTOMERS).segments}
    assert set(second) == set(first)
    changed = {k for k in first if first[k].segment_id != second[k].segment_id}
    assert changed == {("DE",)}
    assert second[("DE",)].rows == first[("DE",)].rows
    assert sum(s.rows for s in second.values()) == home.rows(CUSTOMERS).num_rows
