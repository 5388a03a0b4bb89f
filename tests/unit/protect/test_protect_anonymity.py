"""k-anonymity, l-diversity, t-closeness: against plain SQL, against pycanon, and refused when not met."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_support import MemoryKeys, pseudonyms

from governance.errors import ContractError, ProtectionError
from governance.model.anonymity import Anonymity, QuasiIdentifier, SensitiveColumn
from governance.protect.anonymity import RULE, Anonymizer
from governance.protect.anonymity.frequencies import Frequencies
from governance.protect.anonymity.hierarchies import generalize
from governance.protect.anonymity.measures import measure
from governance.protect.anonymity.search import recoding
from governance.protect.plan import ColumnPlan, RewritePlan
from governance.protect.reading import open_sealed
from governance.protect.rewriting import rewrite

AGE = QuasiIdentifier("age", "ranges", (5, 10, 20, 40))
ZIP = QuasiIdentifier("zip", "prefixes", (3, 2, 1))
SEX = QuasiIdentifier("sex")
DIAGNOSES = ("asthma", "cancer", "flu", "gastritis", "hiv")


def people(rows: int, seed: int = 1, subjects: int | None = None) -> pa.Table:
    random = np.random.default_rng(seed)
    subject = np.arange(rows) if subjects is None else random.integers(0, subjects, rows)
    return pa.table(
        {
            "id": pa.array(subject),
            "age": pa.array(random.integers(18, 95, rows).astype(np.int32)),
            "zip": pa.array([f"{n:05d}" for n in random.integers(10_000, 19_999, rows)]),
            "sex": pa.array(np.array(["f", "m"])[random.integers(0, 2, rows)]),
            "diagnosis": pa.array(np.array(DIAGNOSES)[random.choice(5, rows, p=[0.3, 0.1, 0.4, 0.15, 0.05])]),
            "pay": pa.array(random.integers(3, 12, rows) * 1000),
        }
    )


def by_sql(table: pa.Table, quasi: list[str], sensitive: str, ordered: bool) -> dict[str, float]:
    """The four measures by their definitions, in plain SQL over the rows."""
    keys = ", ".join(quasi)
    with duckdb.connect() as db:
        db.register("t", table)
        db.execute(
            f"CREATE TABLE e AS SELECT dense_rank() OVER (ORDER BY {keys}) AS c, id, {sensitive} AS s FROM t"
        )
        k, different = db.execute(
            "SELECT min(k), min(l) FROM (SELECT count(DISTINCT id) k, count(DISTINCT s) l FROM e GROUP BY c)"
        ).fetchone()
        (h,) = db.execute(
            "SELECT min(h) FROM (SELECT c, -sum(p * ln(p)) h FROM (SELECT c, count(*) / sum(count(*)) OVER "
            "(PARTITION BY c) p FROM e GROUP BY c, s) GROUP BY c)"
        ).fetchone()
        db.execute(
            "CREATE TABLE d AS SELECT c, s, coalesce(n, 0) / sum(coalesce(n, 0)) OVER (PARTITION BY c) - q AS diff "
            "FROM (SELECT DISTINCT c FROM e) CROSS JOIN (SELECT s, count(*) / (SELECT count(*) FROM e) q FROM e "
            "GROUP BY s) LEFT JOIN (SELECT c, s, count(*) n FROM e GROUP BY c, s) USING (c, s)"
        )
        if ordered:
            (t,) = db.execute(
                "SELECT max(t) FROM (SELECT c, sum(abs(r)) / greatest((SELECT count(DISTINCT s) FROM e) - 1, 1) t "
                "FROM (SELECT c, sum(diff) OVER (PARTITION BY c ORDER BY s) r FROM d) GROUP BY c)"
            ).fetchone()
        else:
            (t,) = db.execute(
                "SELECT max(t) FROM (SELECT c, sum(abs(diff)) / 2 t FROM d GROUP BY c)"
            ).fetchone()
    return {"k": k, "l_distinct": different, "l_entropy": math.exp(h), "t": t}


def counted(
    table: pa.Table, quasi: list[QuasiIdentifier], sensitive: list[str], batch: int = 97
) -> Frequencies:
    found = Frequencies(quasi, len(sensitive))
    for part in table.to_batches(batch):
        found.add([part[q.column] for q in quasi], [part[s] for s in sensitive], part["id"].to_numpy())
    return found


@pytest.mark.parametrize(("sensitive", "ordered"), [("diagnosis", False), ("pay", True)])
@pytest.mark.parametrize("levels", [(3, 3, 0), (4, 4, 1), (0, 4, 1)])
def test_measures_are_those_of_plain_sql(sensitive: str, ordered: bool, levels: tuple[int, ...]) -> None:
    table, quasi = people(3000), [AGE, ZIP, SEX]
    asked = Anonymity(tuple(quasi), 2, (SensitiveColumn(sensitive, ordered),))
    found = measure(counted(table, quasi, [sensitive]).classes(levels), asked)
    coarse = table
    for q, level in zip(quasi, levels, strict=True):
        place = coarse.schema.get_field_index(q.column)
        made = generalize(coarse[q.column].combine_chunks(), q, level)
        coarse = coarse.set_column(place, q.column, made)
    expected = by_sql(coarse, [q.column for q in quasi], sensitive, ordered)
    assert (found.k, found.l_distinct[0]) == (expected["k"], expected["l_distinct"])
    assert found.l_entropy[0] == pytest.approx(expected["l_entropy"])
    assert found.t[0] == pytest.approx(expected["t"])


COLUMNS = (
    ColumnPlan("person", "id", "pseudonym", "customer_id", "restricted"),
    ColumnPlan("age", "age", "age_cap", "age", "internal"),
    ColumnPlan("zip", "zip", "keep", "postal_code", "internal"),
    ColumnPlan("sex", "sex", "keep", "gender", "internal"),
    ColumnPlan("diagnosis", "diagnosis", "keep", "health_condition", "restricted"),
    ColumnPlan("pay", "pay", "keep", "income", "internal"),
)


def plan_of(**changes: Any) -> RewritePlan:
    def decide(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        ordinals = batch["id"].to_numpy().astype(np.int64)
        return np.where(ordinals % 11 == 0, 3, 0).astype(np.uint8), ordinals

    said: dict[str, Any] = {
        "columns": COLUMNS,
        "decide": decide,
        "divert": lambda batch: [("adult", batch["age"].to_numpy() < 21)],
        "pseudonyms": pseudonyms,
        "token_key": lambda label: bytes(16),
        "redact": lambda text, rows: text,
        "year": 2026,
    }
    return RewritePlan(**{**said, **changes})


def enforced(
    table: pa.Table, asked: Anonymity, storage: Any, **changes: Any
) -> tuple[pa.Table, Any, dict[str, Any]]:
    keys = MemoryKeys()
    anonymizer = Anonymizer(asked, plan_of(**changes))
    anonymizer.learn(iter(table.to_batches(500)))
    result = rewrite(table.to_batches(333), anonymizer.plan(), storage=storage, keys=keys, threads=False)
    evidence = anonymizer.evidence()
    tables = []
    for segment in result.segments:
        for file in segment.files:
            if file.role == "data":
                with open_sealed(storage.path(file.path), storage.filesystem(), keys.segment_key) as opened:
                    tables.append(pa.Table.from_batches(opened.iter_batches()))
    return pa.concat_tables(tables) if tables else result.schema.empty_table(), result, evidence


@pytest.mark.parametrize("subjects", [None, 700])
@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_written_is_as_anonymous_as_asked(storage: Any, subjects: int | None, ordered: bool) -> None:
    sensitive = "pay" if ordered else "diagnosis"
    asked = Anonymity((AGE, ZIP, SEX), 4, (SensitiveColumn(sensitive, ordered),), 2, 1.5, 0.45, 0.1)
    written, result, evidence = enforced(people(3000, subjects=subjects), asked, storage)
    found = by_sql(
        written.rename_columns(["id", *written.column_names[1:]]), ["age", "zip", "sex"], sensitive, ordered
    )
    assert found["k"] >= 4 and found["l_distinct"] >= 2 and found["l_entropy"] >= 1.5 and found["t"] <= 0.45
    measured, (told,) = evidence["measured"], evidence["sensitive"]
    assert measured["k"] == found["k"] if subjects is None else measured["k"] <= found["k"]
    assert told["l_distinct"] == found["l_distinct"]
    assert told["l_entropy"] == pytest.approx(found["l_entropy"], abs=1e-5)
    assert told["t"] == pytest.approx(found["t"], abs=1e-5)
    assert measured["rows"] == result.rows_out == written.num_rows
    assert result.rows_in == result.rows_out + result.rows_denied + result.rows_quarantined
    assert result.quarantined_by_rule.get(RULE, 0) == evidence["suppressed"]
    assert evidence["suppressed"] <= 0.1 * (result.rows_out + evidence["suppressed"])
    assert json.dumps(evidence, allow_nan=False)


def test_no_single_column_could_be_finer(storage: Any) -> None:
    asked = Anonymity((AGE, ZIP, SEX), 5, max_suppression=0.05)
    _, _, evidence = enforced(people(2000), asked, storage)
    levels = [q["level"] for q in evidence["quasi_identifiers"]]
    table = people(2000).filter(pa.compute.greater_equal(people(2000)["age"], 21))
    table = table.filter(pa.array(table["id"].to_numpy() % 11 != 0))
    capped = table.set_column(1, "age", pa.compute.min_element_wise(table["age"], pa.scalar(90, pa.int32())))
    for place, level in enumerate(levels):
        if level:
            finer = [*levels[:place], level - 1, *levels[place + 1 :]]
            classes = counted(capped, [AGE, ZIP, SEX], []).classes(finer)
            assert classes.rows[classes.subjects < 5].sum() > 0.05 * capped.num_rows


def test_rows_of_one_subject_are_one(storage: Any) -> None:
    table = people(50).set_column(0, "id", pa.array(np.full(50, 3)))
    with pytest.raises(ProtectionError) as caught:
        enforced(table, Anonymity((AGE, ZIP, SEX), 2), storage)
    assert caught.value.code == "GOV-317"


@pytest.mark.parametrize(
    "asked",
    [
        Anonymity((SEX,), 10_000),
        Anonymity((SEX,), 2, (SensitiveColumn("diagnosis"),), l_distinct=6),
        Anonymity((SEX,), 2, (SensitiveColumn("diagnosis"),), l_entropy=5.0),
    ],
)
def test_what_cannot_be_met_is_refused(asked: Anonymity) -> None:
    anonymizer = Anonymizer(asked, plan_of())
    with pytest.raises(ProtectionError) as caught:
        anonymizer.learn(iter(people(400).to_batches(100)))
    assert caught.value.code == "GOV-317"


def test_a_source_that_changed_between_the_reads_is_refused(storage: Any) -> None:
    anonymizer = Anonymizer(Anonymity((AGE, SEX), 2, max_suppression=0.2), plan_of())
    anonymizer.learn(iter(people(600).to_batches(100)))
    rewrite(
        people(600, seed=2).to_batches(), anonymizer.plan(), storage=storage, keys=MemoryKeys(), threads=False
    )
    with pytest.raises(ProtectionError) as caught:
        anonymizer.evidence()
    assert caught.value.code == "GOV-317"


def test_memory_is_bounded_by_coarsening_on_the_way(storage: Any) -> None:
    table = people(4000)
    asked = Anonymity((AGE, ZIP, SEX), 3, (SensitiveColumn("diagnosis"),), l_distinct=2, max_suppression=0.1)
    keys = MemoryKeys()
    anonymizer = Anonymizer(asked, plan_of(), largest=900)
    anonymizer.learn(iter(table.to_batches(200)))
    result = rewrite(table.to_batches(333), anonymizer.plan(), storage=storage, keys=keys, threads=False)
    found = anonymizer.evidence()
    assert found["measured"]["k"] >= 3
    assert found["measured"]["rows"] == result.rows_out
    few = Anonymizer(asked, plan_of(), largest=3)
    with pytest.raises(ProtectionError) as caught:
        few.learn(iter(table.to_batches(200)))
    assert caught.value.code == "GOV-317"


def test_nothing_to_release_is_no_failure(storage: Any) -> None:
    written, _, evidence = enforced(
        people(300), Anonymity((SEX,), 2), storage, divert=lambda b: [("all", np.ones(b.num_rows, bool))]
    )
    assert written.num_rows == 0
    assert evidence["measured"] == {"classes": 0, "rows": 0, "k": None}


@pytest.mark.parametrize(
    ("quasi", "error", "code"),
    [
        (QuasiIdentifier("person"), ProtectionError, "GOV-305"),
        (QuasiIdentifier("nobody"), ContractError, "GOV-103"),
        (QuasiIdentifier("zip", "ranges", (5,)), ProtectionError, "GOV-305"),
        (QuasiIdentifier("age", "dates", ("year",)), ProtectionError, "GOV-305"),
        (QuasiIdentifier("age", "tree", tree={"1": ("x",)}), ProtectionError, "GOV-305"),
    ],
)
def test_columns_that_do_not_go_with_it(quasi: QuasiIdentifier, error: type, code: str) -> None:
    with pytest.raises(error) as caught:
        Anonymizer(Anonymity((quasi,), 2), plan_of()).learn(iter(people(10).to_batches()))
    assert caught.value.code == code


DATES = QuasiIdentifier("x", "dates", ("month", "quarter", "year", "decade"))
CITIES = {"Bonn": ("Germany", "Europe"), "Lyon": ("France", "Europe"), "Pune": ("India", "Asia")}


def values_of(quasi: QuasiIdentifier) -> st.SearchStrategy[pa.Array]:
    kinds: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
        "ranges": (st.integers(-1000, 1000), pa.int32()),
        "prefixes": (st.text(max_size=6), pa.string()),
        "dates": (st.dates(date(1900, 1, 1), date(2100, 1, 1)), pa.date32()),
        "tree": (st.sampled_from([*CITIES, "Oz"]), pa.string()),
        "none": (st.booleans(), pa.bool_()),
    }
    items, kind = kinds[quasi.kind]
    return st.lists(st.none() | items, max_size=30).map(lambda listed: pa.array(listed, kind))


@given(st.data())
@settings(max_examples=60)
def test_levels_are_nested_and_keep_the_type(data: st.DataObject) -> None:
    quasi = data.draw(st.sampled_from([AGE, ZIP, SEX, DATES, QuasiIdentifier("x", "tree", tree=CITIES)]))
    values = data.draw(values_of(quasi))
    finer = values
    for level in range(1, quasi.top + 1):
        coarser = generalize(values, quasi, level)
        assert coarser.type == values.type
        pairs = set(zip(finer.to_pylist(), coarser.to_pylist(), strict=True))
        assert len(pairs) == len({fine for fine, _ in pairs})
        finer = coarser
    assert finer.null_count == len(finer)


ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 30),
        st.none() | st.sampled_from(["111", "112", "121", "2", "21", ""]),
        st.none() | st.sampled_from("abc"),
        st.integers(-1, 40),
    ),
    min_size=1,
    max_size=60,
)
ASKED = st.builds(
    Anonymity,
    st.just((AGE, ZIP)),
    st.integers(2, 4),
    st.booleans().map(lambda ordered: (SensitiveColumn("s", ordered),)),
    st.sampled_from([None, 2]),
    st.sampled_from([None, 1.3]),
    st.sampled_from([None, 0.2, 0.5]),
    st.sampled_from([0.0, 0.1, 0.5]),
)


@given(ROWS, ASKED, st.sampled_from([4_000_000, 40]))
@settings(max_examples=60)
def test_classes_that_stay_hold_by_definition(rows: list[Any], asked: Anonymity, largest: int) -> None:
    ages, codes, values, ids = (list(column) for column in zip(*rows, strict=True))
    quasi, sensitive = (
        [pa.array(ages, pa.int32()), pa.array(codes, pa.string())],
        pa.array(values, pa.string()),
    )
    found = Frequencies(asked.quasi_identifiers, 1, largest=largest)
    try:
        for first in range(0, len(rows), 7):
            part = [column.slice(first, 7) for column in (*quasi, sensitive)]
            found.add(part[:2], part[2:], np.array(ids[first : first + 7]))
        chosen = recoding(found, asked)
    except ProtectionError as refused:
        assert refused.code == "GOV-317"
        return
    of = found.class_of(chosen.classes, quasi, chosen.levels)
    stays = chosen.stays[of]
    coarse = [
        generalize(c, q, n).to_pylist() for c, q, n in zip(quasi, (AGE, ZIP), chosen.levels, strict=True)
    ]
    assert (~stays).sum() == chosen.suppressed <= asked.max_suppression * len(rows)
    classes: dict[Any, list[int]] = {}
    for place in np.flatnonzero(stays):
        classes.setdefault((coarse[0][place], coarse[1][place]), []).append(int(place))
    everyone = [values[place] or "" for places in classes.values() for place in places]
    order = sorted(set(everyone))
    whole = np.array([everyone.count(value) for value in order]) / max(len(everyone), 1)
    for places in classes.values():
        assert len({ids[p] for p in places if ids[p] >= 0}) >= asked.k
        told = [values[p] for p in places if values[p] is not None]
        assert asked.l_distinct is None or len(set(told)) >= asked.l_distinct
        share = np.array([told.count(value) for value in sorted(set(told))]) / max(len(told), 1)
        assert asked.l_entropy is None or math.exp(-(share * np.log(share)).sum()) >= asked.l_entropy - 1e-6
        here = np.array([[values[p] or "" for p in places].count(value) for value in order]) / len(places)
        apart = 0.5 * np.abs(here - whole).sum()
        if asked.sensitive[0].ordered:
            apart = np.abs(np.cumsum(here - whole)).sum() / max(len(order) - 1, 1)
        assert asked.t is None or apart <= asked.t + 1e-6


@pytest.fixture(scope="module")
def pycanon() -> Iterator[str]:
    python = os.environ.get("GOVERNANCE_PYCANON_PYTHON")
    if not python:
        pytest.skip("GOVERNANCE_PYCANON_PYTHON names no Python that has pycanon")
    yield python


_ORACLE = """
import json, sys
import pandas as pd
from pycanon import anonymity
data = pd.read_json(sys.stdin.read(), orient="columns", dtype={"zip": str})
quasi, sensitive = sys.argv[1].split(","), [sys.argv[2]]
print(json.dumps({
    "k": int(anonymity.k_anonymity(data, quasi)),
    "l_distinct": int(anonymity.l_diversity(data, quasi, sensitive)),
    "l_entropy": float(anonymity.entropy_l_diversity(data, quasi, sensitive)),
    "t": float(anonymity.t_closeness(data, quasi, sensitive)),
}))
"""


@pytest.mark.parametrize(("sensitive", "ordered"), [("diagnosis", False), ("pay", True)])
def test_measures_are_those_of_pycanon(pycanon: str, tmp_path: Path, sensitive: str, ordered: bool) -> None:
    table, quasi = people(1500), [AGE, ZIP, SEX]
    for q, level in zip(quasi, (4, 3, 0), strict=True):
        made = generalize(table[q.column].combine_chunks(), q, level)
        table = table.set_column(table.schema.get_field_index(q.column), q.column, made)
    asked = Anonymity(tuple(quasi), 2, (SensitiveColumn(sensitive, ordered),))
    found = measure(counted(table, quasi, [sensitive]).classes((0, 0, 0)), asked)
    answer = subprocess.run(
        [pycanon, "-c", _ORACLE, "age,zip,sex", sensitive],
        input=json.dumps(table.drop_columns(["id"]).to_pydict()),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = json.loads(answer.stdout.splitlines()[-1])
    assert (found.k, found.l_distinct[0]) == (expected["k"], expected["l_distinct"])
    assert math.floor(found.l_entropy[0] + 1e-9) == math.floor(expected["l_entropy"] + 1e-9)
    assert found.t[0] == pytest.approx(expected["t"], abs=1e-6)
