"""The nine-column dataset of every benchmark, its consent ledger, contract, policy and home.

Kept under ``out/bench/`` by size, seed and share denied, so that runs share it; made in a process that
is not measured.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT

SEED = 20_260_101
ROWS_PER_SUBJECT = 2
NAME = "bench_events"
PURPOSE = "model_training"
JURISDICTIONS = ("DE", "FR", "ES", "US-NY", "US-TX", "US-CA", "GB", "NL")
_BATCH = 1 << 20

CONTRACT = f"""\
apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000001
name: Events
version: 1.0.0
status: active
customProperties:
  - property: governance
    value:
      kind: training
      purposes: [{PURPOSE}]
      subject: {{column: subject_id, domain: customer, role: customer}}
      jurisdiction: {{column: jurisdiction}}
      loadMode: full
      onLateWithdrawal: rewrite
schema:
  - name: {NAME}
    physicalType: table
    properties:
      - name: subject_pseudonym
        physicalName: subject_id
        logicalType: string
        required: true
        classification: customer_id
        customProperties: [{{property: protection, value: pseudonym}}]
        quality:
          - name: every row has its pseudonym
            type: custom
            engine: greatExpectations
            implementation: {{type: expect_column_values_to_not_be_null}}
            customProperties: [{{property: scope, value: protected}}]
      - name: event_year
        physicalName: event_ts
        logicalType: timestamp
        classification: date
        customProperties: [{{property: protection, value: date_to_year}}]
        quality:
          - name: years are plausible
            type: custom
            engine: greatExpectations
            implementation: {{type: expect_column_values_to_be_between, kwargs: {{min_value: 2000, max_value: 2100}}}}
            customProperties: [{{property: scope, value: protected}}]
      - name: amount
        logicalType: integer
        classification: none
        quality:
          - name: amounts are not negative
            type: custom
            engine: greatExpectations
            implementation: {{type: expect_column_values_to_be_between, kwargs: {{min_value: 0}}}}
            customProperties: [{{property: scope, value: source}}]
      - name: jurisdiction
        logicalType: string
        classification: jurisdiction
        customProperties: [{{property: protection, value: keep}}]
        quality:
          - name: jurisdictions are ISO 3166 codes
            type: custom
            engine: greatExpectations
            implementation: {{type: expect_column_value_lengths_to_be_between, kwargs: {{min_value: 2, max_value: 5}}}}
            customProperties: [{{property: scope, value: protected}}]
      - name: email
        logicalType: string
        classification: email
        customProperties: [{{property: protection, value: mask}}]
      - name: phone
        logicalType: string
        classification: phone
        customProperties: [{{property: protection, value: {{method: mask, arguments: {{keep_last: 2}}}}}}]
      - name: ssn
        logicalType: string
        classification: ssn
        customProperties: [{{property: protection, value: drop}}]
      - name: score
        logicalType: integer
        classification: none
        quality:
          - name: most rows have a score
            type: custom
            engine: greatExpectations
            implementation: {{type: expect_column_values_to_not_be_null, kwargs: {{mostly: 0.9}}}}
            customProperties: [{{property: scope, value: protected}}]
      - name: note
        logicalType: string
        classification: free_text
        customProperties: [{{property: protection, value: redact}}]
    quality:
      - name: the version holds rows
        type: custom
        engine: greatExpectations
        implementation: {{type: expect_table_row_count_to_be_between, kwargs: {{min_value: 1}}}}
        customProperties: [{{property: scope, value: protected}}]
"""

_WORDS = (  # noqa: SIM905
    "the patient reported mild pain after visit and was given new order for follow up with account team please "
    "review shipment delayed customer asked refund invoice paid service call resolved ticket closed open urgent "
    "normal contact support billing address change request update policy renewal quarter north south"
).split()


def source(rows: int) -> Path:
    """The folder of the source's one Parquet file."""
    return OUT / f"source-{rows}-{SEED}"


def home(rows: int, denied_third: bool = False) -> Path:
    """A governance home with the ledger of the source's subjects imported, nothing released yet."""
    return OUT / f"home-{rows}-{SEED}{'-third-denied' if denied_third else ''}"


def make_source(rows: int) -> dict[str, Any]:
    """Nine columns, about 47 bytes of text and four numbers a row; one note in eight holds an identifier."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = source(rows)
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        random = np.random.default_rng(SEED)
        writer = None
        for start in range(0, rows, _BATCH):
            table = _rows(min(_BATCH, rows - start), max(rows // ROWS_PER_SUBJECT, 1), random)
            if writer is None:
                writer = pq.ParquetWriter(partial / "events.parquet", table.schema, compression="zstd")
            writer.write_table(table, row_group_size=122_880)
        if writer is not None:
            writer.close()
        partial.rename(folder)
    del pa
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def _rows(count: int, subjects: int, random: Any) -> Any:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def pick(values: Any) -> Any:
        return pa.array(values).take(pa.array(random.integers(0, len(values), count)))

    def digits(low: int, high: int, width: int) -> Any:
        return pc.utf8_lpad(pa.array(random.integers(low, high, count)).cast(pa.string()), width, "0")

    def joined(*parts: Any, by: str = "") -> Any:
        return pc.binary_join_element_wise(*parts, by)

    names = ["john", "mary", "ana", "li", "omar", "eva", "raj", "kim"]
    email = joined(
        pick(names),
        pa.array(random.integers(0, 1_000_000, count)).cast(pa.string()),
        pa.scalar("@"),
        pick(["example", "mail", "corp", "uni"]),
        pa.scalar(".com"),
    )
    phone = joined(pa.scalar("+1"), digits(201, 989, 3), digits(201, 989, 3), digits(0, 10_000, 4), by="-")
    ssn = joined(digits(1, 666, 3), digits(1, 99, 2), digits(1, 9_999, 4), by="-")
    ip = joined(pa.scalar("10"), digits(0, 255, 1), digits(0, 255, 1), pa.scalar("7"), by=".")
    hit = random.integers(0, 40, count)
    hidden = pa.nulls(count, pa.string())
    for which, text in enumerate(
        (
            joined(pa.scalar("mail"), email, by=" "),
            joined(pa.scalar("call"), phone, by=" "),
            pa.scalar("card 4111 1111 1111 1111"),
            joined(pa.scalar("ip"), ip, by=" "),
            joined(pa.scalar("ssn"), ssn, by=" "),
        )
    ):
        hidden = pc.if_else(pa.array(hit == which), text, hidden)
    words = joined(*(pick(_WORDS) for _ in range(8)), by=" ")
    note = pc.binary_join_element_wise(words, pc.fill_null(hidden, ""), " ")
    stamp = np.datetime64("2025-01-01", "us") + random.integers(0, 31_536_000_000_000, count).astype("m8[us]")
    return pa.table(
        {
            "subject_id": pa.array(random.integers(0, subjects, count)),
            "event_ts": pa.array(stamp, pa.timestamp("us", tz="UTC")),
            "amount": pa.array(random.integers(0, 100_000, count).astype(np.int32)),
            "jurisdiction": pick(JURISDICTIONS),
            "email": email,
            "phone": phone,
            "ssn": ssn,
            "score": pa.array(
                random.integers(0, 1_000, count).astype(np.int32), mask=random.random(count) < 0.02
            ),
            "note": pc.utf8_trim_whitespace(note),
        }
    )


def withdraws(subjects: Any) -> Any:
    """Who withdraws: 8 of 15, because only 5 of the 8 jurisdictions ask for consent and 8/15 × 5/8 = 1/3."""
    return subjects % 15 < 8


def denied(rows: int) -> int:
    """Rows to be denied with ``denied_third``, recounted from the source."""
    import duckdb

    return int(
        duckdb.sql(
            f"""SELECT count(*) FROM '{source(rows)}/*.parquet'
            WHERE subject_id % 15 < 8 AND jurisdiction NOT LIKE 'US-%'"""
        ).fetchall()[0][0]
    )


def ledger_table(subjects: int, denied_third: bool) -> Any:
    """One grant a subject; with ``denied_third`` so many withdraw it later that a third of the rows is denied."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(SEED + 1)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    identifiers = np.arange(subjects)
    offset = random.integers(0, 300 * 86_400, subjects).astype("m8[s]").astype("m8[us]")
    granted = np.datetime64(start.replace(tzinfo=None), "us") + offset
    withdrawn = identifiers[withdraws(identifiers)] if denied_third else identifiers[:0]
    later = granted[withdrawn] + np.timedelta64(timedelta(days=60))
    times = np.concatenate([granted, later])
    who = np.concatenate([identifiers, withdrawn])
    count = len(who)
    stamp = pa.timestamp("us", tz="UTC")
    actions = ["grant"] * subjects + ["withdraw"] * len(withdrawn)
    record = pa.compute.binary_join_element_wise("r", pa.array(np.arange(count)).cast(pa.string()), "-")
    return pa.table(
        {
            "record_id": record,
            "domain": pa.repeat("customer", count),
            "subject_id": pa.array(who).cast(pa.string()),
            "purpose": pa.repeat(PURPOSE, count),
            "action": pa.array(actions),
            "valid_from": pa.array(times, stamp),
            "valid_to": pa.nulls(count, stamp),
            "collected_at": pa.array(times, stamp),
            "notice_version": pa.repeat("2024-1", count),
            "channel": pa.repeat("web", count),
        }
    )


def settings_at(root: Path) -> Any:
    from governance.config import Settings

    return Settings.at(root, kek=f"file:{root}/secrets/kek.json")


def make_home(rows: int, denied_third: bool = False) -> dict[str, Any]:
    """A home with keys, vault, log, example policy, contract and the imported ledger."""
    make_source(rows)
    folder = home(rows, denied_third)
    if folder.exists():
        return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}
    import base64

    import pyarrow.compute  # noqa: F401
    import pyarrow.parquet as pq
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from governance.keys.providers.file import create_file_key
    from governance.model.resources import schemas
    from governance.pipeline.ledger import import_consent
    from governance.pipeline.workspace import Workspace

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "secrets").mkdir(parents=True, mode=0o700)
    create_file_key(partial / "secrets" / "kek.json")
    shutil.copy(schemas() / "examples" / "policy.yaml", partial / "policy.yaml")
    for recipient in ("northlake-research", "spreelabor-ki"):
        public = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
        (partial / f"{recipient}.pub").write_text(public + "\n")
    (partial / f"{NAME}.odcs.yaml").write_text(CONTRACT)
    subjects = max(rows // ROWS_PER_SUBJECT, 1)
    pq.write_table(ledger_table(subjects, denied_third), partial / "ledger.parquet")
    workspace = Workspace.create(settings_at(partial), origin="governance.example/bench")
    import_consent(workspace, partial / "ledger.parquet")
    workspace.log.checkpoint()
    partial.rename(folder)
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def fresh_home(rows: int, denied_third: bool, name: str) -> Path:
    """A copy of the home, as it was before anything was released from it."""
    copy = OUT / "work" / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(home(rows, denied_third), copy)
    return copy
