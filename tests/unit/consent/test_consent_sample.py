"""Regimes and reasons, and the sample's decisions recounted in the SQL of the docs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from test_consent_ledger import DAY, internal

from governance.consent import UNKNOWN, ConsentLedger, regimes
from governance.consent.law import Permission, Standing, decision
from governance.demo.samples import make_samples
from governance.errors import ConsentError
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose


def contract(**changes: Any) -> Any:
    jurisdiction = SimpleNamespace(source_name="jurisdiction", constant=changes.pop("constant", None))
    return SimpleNamespace(
        **{"dataset": "d", "covered_entity": False, "jurisdiction": jurisdiction} | changes
    )


def policy(establishment: tuple[str, ...] = (), **places: tuple[str, ...]) -> Any:
    listed: Mapping[str, tuple[str, ...]] = {k.replace("_", "-"): v for k, v in places.items()}
    return SimpleNamespace(jurisdictions=listed, establishment_regimes=establishment)


def test_regimes_come_from_place_establishment_and_status() -> None:
    rules = policy(DE=("GDPR",), US_CA=("ccpa",), US_TX=())
    codes = pa.array(["DE", "US-CA", "US-TX", "US", "de", None, "ZZ"])
    assert regimes(rules, contract(), codes, 7).tolist() == [1, 4, 0, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert regimes(rules, contract(covered_entity=True), codes.dictionary_encode(), 7).tolist()[:4] == [
        3,
        6,
        2,
        255,
    ]
    established = policy(("GDPR",), US_CA=("CCPA",), US_TX=())
    assert regimes(established, contract(), pa.chunked_array([codes]), 7).tolist()[:4] == [255, 5, 1, 255]
    assert regimes(rules, contract(constant="DE"), None, 3).tolist() == [1, 1, 1]
    assert regimes(rules, contract(), pa.nulls(2), 2).tolist() == [255, 255]
    with pytest.raises(ConsentError, match=r"GOV-205"):
        regimes(rules, contract(constant="ZZ"), None, 3)
    with pytest.raises(ConsentError, match=r"GOV-205"):
        regimes(policy(DE=("LGPD",)), contract(), codes, 7)


def test_the_first_reason_against_a_row_is_given() -> None:
    none = Standing(Permission.NONE, Permission.NONE, True, True, True)
    everything = Regime.GDPR | Regime.HIPAA | Regime.CCPA
    objectable = Purpose("p", "", "legitimate_interests", None, None, True)
    said = []
    for standing in (
        none,
        none._replace(restricted=False),
        none._replace(restricted=False, objected=False),
    ):
        said.append(decision(standing, everything, objectable, special_category=True))
    consented = Standing(Permission.NONE, Permission.NONE, False, False, True)
    for ground in ("authorization", None, "treatment"):
        purpose = Purpose("p", "", "contract", "health_care", ground, True)
        said.append(decision(consented, everything, purpose, special_category=True))
    assert said == [
        Reason.RESTRICTED,
        Reason.OBJECTED,
        Reason.NO_ART_9_CONDITION,
        Reason.NO_AUTHORIZATION,
        Reason.NO_LAWFUL_BASIS,
        Reason.OPTED_OUT,
    ]


def test_the_sample_recounts_in_sql_from_its_own_file(tmp_path: Path) -> None:
    """Decisions on the sample equal the documented SQL on the raw ledger file, by subject id."""
    from test_consent_oracle import SQL

    sample = make_samples(tmp_path / "sample", rows=4_000)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    ledger = ConsentLedger.create(tmp_path / "consent")
    ledger.import_file(sample.consent_ledger, internal=internal, record=lambda _: 0, recorded_at=now)
    rows = pq.read_table(sample.clinical_encounters, columns=["mrn", "jurisdiction"])
    subjects = rows["mrn"].unique().drop_null()
    places = {"US-CA": 6, "US-TX": 2, "US-NY": 2, "DE": 3, "FR": 3, "ES": 3, "GB": 3}
    codes = pc.index_in(rows["jurisdiction"], pa.array(list(places)))
    applicable = pa.array(list(places.values())).take(codes)
    purpose = Purpose("model_training", "", "consent", "explicit_consent", "authorization", True)
    opened = now + DAY
    snapshot = ledger.snapshot(purpose, "patient", opened, 1, internal("patient", subjects))
    ordinals = pc.fill_null(pc.index_in(rows["mrn"], subjects), -1).to_numpy().astype(np.int64)
    bits = pc.fill_null(applicable, 255).to_numpy().astype(np.uint8)
    decided = [Reason(c).label for c in snapshot.decide(ordinals, bits, special_category=True)]

    raw = pq.read_table(sample.consent_ledger).rename_columns({"subject_id": "subject"})
    raw = raw.append_column("position", pa.array(np.ones(raw.num_rows, np.int64)))
    raw = raw.append_column("recorded_at", pa.array([now] * raw.num_rows, pa.timestamp("us", "UTC")))
    source = pa.table({"number": range(rows.num_rows), "subject": rows["mrn"], "regimes": applicable})
    parameters = {
        "domain": "patient",
        "purpose": "model_training",
        "instant": opened,
        "position": 1,
        "gdpr_basis": "consent",
        "gdpr_condition": "explicit_consent",
        "hipaa_ground": "authorization",
        "ccpa_opt_out": True,
        "special_category": True,
    }
    with duckdb.connect() as connection:
        connection.register("consent", raw)
        connection.register("source", source)
        found = connection.execute(f"SELECT reason FROM ({SQL}) ORDER BY number", parameters).fetchall()
    assert decided == [reason for (reason,) in found]
    assert len(set(decided)) >= 9


def test_a_canary_subject_is_decided_as_the_listing_says(tmp_path: Path) -> None:
    import json

    sample = make_samples(tmp_path / "sample", rows=2_000)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    ledger = ConsentLedger.create(tmp_path / "consent")
    ledger.import_file(sample.consent_ledger, internal=internal, record=lambda _: 0, recorded_at=now)
    details = json.loads((sample.directory / "canary_details.json").read_text())
    places = {"US-CA": 4, "US-TX": 0, "US-NY": 0, "DE": 1, "FR": 1, "ES": 1, "GB": 1}
    patients = pq.read_table(sample.clinical_encounters, columns=["mrn", "jurisdiction"]).to_pylist()
    where = {r["mrn"]: r["jurisdiction"] for r in patients if r["jurisdiction"] in places}
    purpose = Purpose("model_training", "", "consent", "explicit_consent", "authorization", True)
    for detail in details:
        if (detail["dataset"], detail["column"]) == ("clinical_encounters", "mrn"):
            one = internal("patient", pa.array([detail["value"]]))
            snapshot = ledger.snapshot(purpose, "patient", now, 1, one)
            bits = np.array([places[where[detail["value"]]] | Regime.HIPAA], np.uint8)
            allowed = snapshot.decide(np.array([0]), bits, True)[0] == Reason.ALLOWED
            assert allowed == detail["subject_allowed"]
