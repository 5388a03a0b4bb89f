"""The numbers and the values of a pass, counted and computed again from the input, by other means."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from governed_home import DATASETS, PURPOSES, Home

from governance.lineage.facets import nonconformities
from governance.model.evidence import Stage

DOCS = Path(__file__).parents[2] / "docs" / "consent.md"
SUBJECT = {"clinical_encounters": "mrn", "customer_profiles": "customer_id", "support_prompts": "customer_id"}
DOMAIN = {"clinical_encounters": "patient", "customer_profiles": "customer", "support_prompts": "customer"}
REGIME_BITS = {"GDPR": 1, "HIPAA": 2, "CCPA": 4}

# 45 CFR 164.514(b)(2)(i)(B): the areas of at most 20,000 people by the census of 2000, as HHS lists them.
SMALL_AREAS = {
    f"{n:03}" for n in (36, 59, 63, 102, 203, 556, 692, 790, 821, 823, 830, 831, 878, 879, 884, 890, 893)
}

Row = dict[str, Any]


def source_rows(home: Home, dataset: str) -> list[Row]:
    """The input in plain Python."""
    path = home.source(dataset)
    if dataset == "clinical_encounters":
        return [r for part in sorted(path.glob("*.parquet")) for r in pq.ParquetFile(part).read().to_pylist()]
    if dataset == "customer_profiles":
        with path.open(encoding="utf-8", newline="") as file:
            return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def failing_rule(dataset: str, row: Row) -> str | None:
    """The first rule about the source that a row fails, as the contracts word them."""

    def beyond(value: Any, low: float, high: float = math.inf) -> bool:
        return value not in (None, "") and not low <= float(value) <= high

    if dataset == "clinical_encounters":
        if beyond(row["age"], 0, 120):
            return "age is plausible"
        if row["sex"] not in (None, "F", "M", "X", "U"):
            return "sex is a known code"
        return "charges are not negative" if beyond(row["total_charge"], 0) else None
    if dataset == "customer_profiles":
        if row["loyalty_tier"] not in (None, "bronze", "silver", "gold", "platinum"):
            return "the tier is one of ours"
        return "lifetime value is not negative" if beyond(row["lifetime_value"], 0) else None
    if row["language"] not in (None, "de", "en", "es", "fr", "it"):
        return "language is one we serve"
    if row["prompt"] is not None and not row["prompt"].strip():
        return "prompts are not empty"
    return "satisfaction is a mark from 1 to 5" if beyond(row["satisfaction"], 1, 5) else None


def reasons(home: Home, dataset: str, rows: list[Row], instant: datetime) -> list[str]:
    """Each row's decision by the SQL that docs/consent.md publishes, over the original ledger file."""
    sql = re.search(r"```sql\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert sql
    policy = yaml.safe_load((home.path / "policy.yaml").read_text("utf-8"))
    purpose = policy["purposes"][PURPOSES[dataset]]
    covered = dataset == "clinical_encounters"
    everywhere = {*policy.get("establishmentRegimes", ()), *(["HIPAA"] if covered else [])}
    listed = {
        code: sum(REGIME_BITS[r] for r in everywhere.union(regimes))
        for code, regimes in policy["jurisdictions"].items()
    }
    source = pa.table(
        {
            "n": pa.array(range(len(rows)), pa.int64()),
            "subject": pa.array([(r[SUBJECT[dataset]] or "").strip() or None for r in rows], pa.string()),
            "regimes": pa.array([listed.get(r["jurisdiction"]) for r in rows], pa.int64()),
        }
    )
    with duckdb.connect(":memory:") as connection:
        connection.register("source", source)
        ledger = home.path / "input" / "consent_ledger.parquet"
        recorded = home.workspace().ledger.batches()[0].recorded_at
        connection.execute(
            "CREATE TABLE consent AS SELECT *, subject_id AS subject, 1 AS position, "
            f"TIMESTAMPTZ '{recorded.isoformat()}' AS recorded_at FROM '{ledger}'"
        )
        gdpr = purpose.get("gdpr", {})
        parameters = {
            "domain": DOMAIN[dataset],
            "instant": instant,
            "position": 1,
            "purpose": PURPOSES[dataset],
            "gdpr_basis": gdpr.get("basis"),
            "gdpr_condition": gdpr.get("condition"),
            "special_category": covered,
            "hipaa_ground": purpose.get("hipaa"),
            "ccpa_opt_out": purpose["ccpaOptOut"],
        }
        decided = connection.execute(f"SELECT n, reason FROM ({sql[1]}) ORDER BY n", parameters).fetchall()
    assert [n for n, _ in decided] == list(range(len(rows)))
    return [reason for _, reason in decided]


@pytest.fixture(params=DATASETS)
def recount(request: pytest.FixtureRequest, released_once: Path) -> tuple[Home, str, list[Row], list[str]]:
    home, dataset = Home(released_once), str(request.param)
    rows = source_rows(home, dataset)
    opened = datetime.fromisoformat(home.manifest(dataset).body["run"]["opened_at"])
    return home, dataset, rows, reasons(home, dataset, rows, opened)


def test_counts_agree_with_a_recount(recount: tuple[Home, str, list[Row], list[str]]) -> None:
    home, dataset, rows, decided = recount
    counts = home.manifest(dataset).body["counts"]
    denied = Counter(r for r in decided if r != "allowed")
    rules = [failing_rule(dataset, r) for r, why in zip(rows, decided, strict=True) if why == "allowed"]
    failing = Counter(r for r in rules if r)
    assert denied
    assert failing
    assert counts == {
        "rows_in": len(rows),
        "rows_denied": denied.total(),
        "rows_quarantined": failing.total(),
        "rows_out": len(rows) - denied.total() - failing.total(),
    }
    by_reason = home.evidence(Stage.CONSENT, dataset)[-1]["facts"]["by_reason"]
    assert Counter(by_reason) - Counter(allowed=len(rows)) == denied
    assert home.evidence(Stage.PROTECT, dataset)[-1]["facts"]["quarantined_by_rule"] == dict(failing)
    assert home.rows(dataset).num_rows == counts["rows_out"]


def test_released_values_are_the_transformed_source(
    recount: tuple[Home, str, list[Row], list[str]],
) -> None:
    home, dataset, rows, decided = recount
    kept = [
        r for r, why in zip(rows, decided, strict=True) if why == "allowed" and not failing_rule(dataset, r)
    ]
    expected = {
        "clinical_encounters": _clinical,
        "customer_profiles": _customer,
        "support_prompts": _support,
    }[dataset]
    got = home.rows(dataset).to_pylist()
    assert len(got) == len(kept)
    for before, after in zip(kept, got, strict=True):
        for column, value in expected(before).items():
            if value is ...:
                continue
            assert after[column] == value, column
    subjects = [(r[SUBJECT[dataset]].strip(), a[_pseudonym(a)]) for r, a in zip(kept, got, strict=True)]
    pairs = set(subjects)
    assert len(pairs) == len({s for s, _ in pairs}) == len({p for _, p in pairs})
    assert all(re.fullmatch("[0-9a-f]{32}", p) for _, p in pairs)


def _pseudonym(row: Row) -> str:
    return next(c for c in row if c.endswith("_pseudonym"))


def _year(text: Any, opened: int = 2026) -> int | None:
    found = re.search(r"(?<!\d)(\d{4})(?!\d)", str(text or ""))
    year = int(found[1]) if found else None
    return year if year and year >= opened - 89 else None


def _clinical(row: Row) -> Row:
    area = (row["postal_code"] or "")[:3]
    zip_code = bool(re.fullmatch(r"\d{5}(-?\d{4})?", (row["postal_code"] or "").strip()))
    if row["postal_code"] is None:
        zip3: Any = None
    elif not zip_code or area in SMALL_AREAS:
        zip3 = "000"
    else:
        zip3 = ...
    kept = ("sex", "state", "country", "jurisdiction", "department", "diagnosis_code", "diagnosis")
    charge = row["total_charge"]
    return {
        **{name: row[name] for name in (*kept, "medication", "length_of_stay_days")},
        "birth_year": row["date_of_birth"].year
        if row["date_of_birth"] and row["date_of_birth"].year >= date.today().year - 89
        else None,
        "age": None if row["age"] is None else min(row["age"], 90),
        "admission_year": row["admitted_at"].year if row["admitted_at"] else None,
        "discharge_year": row["discharged_at"].year if row["discharged_at"] else None,
        "zip3": zip3,
        "total_charge": None if charge is None else math.floor(charge / 500) * 500,
    }


def _customer(row: Row) -> Row:
    return {
        **{n: row[n] for n in ("country", "jurisdiction", "loyalty_tier", "marketing_segment")},
        "lifetime_value": None if row["lifetime_value"] is None else float(row["lifetime_value"]),
        "birth_year": _year(row["birth_date"]),
        "signup_year": _year(row["signup_date"]),
        "postal_region": None if row["postal_code"] is None else row["postal_code"][:2],
    }


def _support(row: Row) -> Row:
    return {n: row[n] for n in ("jurisdiction", "channel", "language", "topic", "satisfaction")}


def test_zip_areas_are_cut_not_emptied(released_once: Path) -> None:
    areas = Home(released_once).rows("clinical_encounters")["zip3"].to_pylist()
    known = [a for a in areas if a not in (None, "000")]
    assert len(known) > len(areas) / 4
    assert not set(known) & set(SMALL_AREAS)


def test_a_conversation_has_one_token_and_it_is_not_its_id(released_once: Path) -> None:
    home = Home(released_once)
    tokens = home.rows("support_prompts")["conversation"].to_pylist()
    assert not {t for t in tokens if "CONV" in t}
    assert len(set(tokens)) <= len({r["conversation_id"] for r in source_rows(home, "support_prompts")})


def test_every_stored_facet_conforms_to_its_schema(released_once: Path) -> None:
    events = Home(released_once).events()
    ours = [f for e in events for k, f in e["run"]["facets"].items() if k.startswith("governance_")]
    ours += [
        f
        for e in events
        for d in (*e["inputs"], *e["outputs"])
        for k, f in d.get("facets", {}).items()
        if k.startswith("governance_")
    ]
    assert len(ours) > 3 * 7
    assert not [fault for facet in ours for fault in nonconformities(facet)]
