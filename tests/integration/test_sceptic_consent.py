"""What a sceptic asks about consent and about runs: tests 1, 2 and 8 of twelve.

1. Somebody withdraws between START and release. 2. Consent is backdated. 8. A run starts and is never heard of again.
"""

from __future__ import annotations

import csv
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from before_and_after import CUSTOMERS, german_subjects, ledger_rows, withdraw
from governed_home import Home, edited, refused
from sceptic_reports import cell, record, remarks

from governance.log import OPENLINEAGE_EVENT, NewEntry
from governance.model.evidence import Stage
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.ledger import import_consent
from governance.pipeline.protect import protect
from governance.pipeline.release import release
from governance.pipeline.step import RunContext
from governance.pipeline.validate import validate


def test_1_withdrawal_between_start_and_release_fails_naming_rows_by_count(
    released: Home, tmp_path: Path
) -> None:
    contract = edited(
        released.contract(CUSTOMERS),
        lambda t: t.replace("onLateWithdrawal: rewrite", "onLateWithdrawal: quarantine"),
    )
    subject, rows = next(iter(german_subjects(released).items()))
    before = released.manifest(CUSTOMERS).version
    context = released.open(CUSTOMERS, contract_path=contract)
    for step in (classify, consent, protect, validate):
        step(context)
    withdraw(released, subject, tmp_path)
    with refused("GOV-204", free_of=(subject,)) as caught:
        release(context)
    assert caught[0].message.startswith(f"{rows} rows of ")
    said = record(released, "compliance")
    [quarantined] = remarks(said, "run-quarantined")
    assert f"GOV-204 {rows} rows of {CUSTOMERS}" in quarantined["text"]
    assert any("GOV-204" in r["text"] for r in remarks(said, "task-failed"))
    assert cell(said, CUSTOMERS, "version")["value"]["version"] == before
    assert cell(said, CUSTOMERS, "runs")["value"] == {"quarantined": 1, "released": 1}
    assert subject not in json.dumps(said)


def test_1_processing_before_the_withdrawal_stays_lawful(
    validated: tuple[Home, RunContext], tmp_path: Path
) -> None:
    home, context = validated
    subject, rows = next(iter(german_subjects(home).items()))
    before = home.manifest(CUSTOMERS).body["rows"]
    withdraw(home, subject, tmp_path)
    release(context)
    said = record(home, "compliance")
    [late] = remarks(said, "late-withdrawals")
    assert late["count"] == 1 and "stays lawful (Art. 7(3))" in late["text"]
    assert cell(said, CUSTOMERS, "rows")["value"]["released"] == before - rows


def test_2_backdated_consent_counts_from_its_recording_and_cures_nothing(
    released: Home, tmp_path: Path
) -> None:
    first = released.evidence(Stage.CONSENT, CUSTOMERS)[-1]["facts"]
    size = released.workspace().log.checkpoint().size
    earlier = record(released, "consent-evidence")
    allowed = german_subjects(released)
    with released.source(CUSTOMERS).open(encoding="utf-8", newline="") as file:
        asked = [row["customer_id"] for row in csv.DictReader(file) if row["jurisdiction"] == "DE"]
    subject = next(name for name in asked if name and name not in allowed)
    opened_before = released.open(CUSTOMERS)
    grant = ledger_rows(subject, ("model_training", "grant", datetime.now(UTC) - timedelta(days=400), None))
    late = pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC"))
    file = tmp_path / "backdated.parquet"
    pq.write_table(grant.set_column(grant.column_names.index("collected_at"), "collected_at", late), file)
    import_consent(released.workspace(), file)
    classify(opened_before)
    consent(opened_before)
    released.run(CUSTOMERS)
    runs = [facet["facts"] for facet in released.evidence(Stage.CONSENT, CUSTOMERS)]
    assert runs[0] == first
    assert [run["allowed"] for run in runs[:2]] == [first["allowed"]] * 2, "opened before it was recorded"
    assert runs[-1]["allowed"] > first["allowed"]
    before = first["backdated"]["subjects"]
    assert [run["backdated"]["subjects"] for run in runs] == [before, before, before + 1]
    said = record(released, "consent-evidence")
    [flagged] = [r for r in remarks(said, "backdated-consents") if "model_training" in r["text"]]
    known = [f["facts"]["backdated"]["subjects"] for f in released.evidence(Stage.CONSENT)]
    others = cell(said, "support_inference", "backdated")["value"]
    assert flagged["count"] == cell(said, "model_training", "backdated")["value"] == sum(known) - others
    decisions = [d for d in cell(said, "model_training", "decisions")["value"] if d["dataset"] == CUSTOMERS]
    assert decisions[0]["allowed"] == first["allowed"]
    assert decisions[0]["position"] < decisions[-1]["position"]
    assert record(released, "consent-evidence", as_of=size) == earlier


def test_8_a_start_without_an_end_is_unknown_and_counted(released: Home) -> None:
    released.open(CUSTOMERS)
    producer = {
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
    }
    starts = [
        {
            "eventType": "START",
            "eventTime": "2026-11-24T10:00:00Z",
            "run": {"runId": str(uuid.UUID(int=number))},
            "job": {"namespace": "airflow", "name": "nightly.load"},
            **producer,
        }
        for number in range(3)
    ]
    ended = {**starts[0], "eventType": "COMPLETE", "eventTime": "2026-11-24T10:05:00Z"}
    log = released.workspace().log
    log.append(
        [NewEntry(json.dumps(e).encode(), OPENLINEAGE_EVENT, "ingest:airflow") for e in (*starts, ended)]
    )
    said = record(released, "compliance")
    [silent] = [r for r in remarks(said, "task-without-end") if "nightly.load" in r["text"]]
    assert (silent["basis"], silent["count"]) == ("unknown", 2)
    [unfinished] = remarks(said, "run-unfinished")
    assert (unfinished["basis"], unfinished["count"]) == ("unknown", 1)
    assert cell(said, CUSTOMERS, "runs")["value"] == {"released": 1, "unfinished": 1}
    assert said["population"]["whole_log"]["runs"]["unfinished"] == 1
    assert said["population"]["whole_log"]["tasks"]["started_without_end"] == sum(
        r["count"] for r in remarks(said, "task-without-end")
    )
