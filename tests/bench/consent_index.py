"""Consent: the index, deciding rows by it and by joins, beside a plain DuckDB semi-join on the same data."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import Any

from tests.bench import dataset
from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, peak, per_cpu_second, value_of
from tests.bench.measuring import measure

INSTANT = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 131_072


def _data(rows: int) -> Any:
    from tests.bench.dataset import ROWS_PER_SUBJECT, SEED

    folder = OUT / f"consent-{rows}-{SEED}"
    return folder, max(rows // ROWS_PER_SUBJECT, 1)


def make(rows: int) -> dict[str, Any]:
    """Rows of ordinals and a ledger of their subjects, about half of whom withdrew."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

    from governance.consent import ConsentLedger

    folder, subjects = _data(rows)
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        random = np.random.default_rng(dataset.SEED)
        who = random.integers(0, subjects, rows)
        pq.write_table(pa.table({"subject_id": who}), partial / "rows.parquet")
        pq.write_table(dataset.ledger_table(subjects, True), partial / "ledger.parquet")
        ConsentLedger.create(partial / "ledger").import_file(
            partial / "ledger.parquet",
            internal=lambda _, identifiers: _population(subjects)[identifiers.cast(pa.int64()).to_numpy()],
            record=lambda _: 1,
            recorded_at=INSTANT,
        )
        partial.rename(folder)
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def _population(subjects: int) -> Any:
    import numpy as np

    internal = np.zeros((subjects, 16), np.uint8)
    internal[:, :8] = (np.arange(subjects, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))[:, None].view(
        np.uint8
    )
    return internal


def ours(rows: int) -> dict[str, Any]:
    """The index from the ledger's segments, the same again as published, and a decision for every row."""
    import numpy as np
    import pyarrow.parquet as pq

    from governance.consent import ConsentLedger
    from governance.model.decision import Reason, Regime
    from governance.model.policy import Purpose

    folder, subjects = _data(rows)
    population = _population(subjects)
    purpose = Purpose(dataset.PURPOSE, "", "consent", None, None, ccpa_opt_out=True)
    ordinals = pq.read_table(folder / "rows.parquet")["subject_id"].to_numpy()
    applicable = np.full(rows, Regime.GDPR, np.uint8)
    kept: list[Any] = []

    def snapshot() -> None:
        ledger = ConsentLedger.open(folder / "ledger")
        kept.append(ledger.snapshot(purpose, "customer", INSTANT, ledger.position, population))

    shutil.rmtree(folder / "ledger" / "index", ignore_errors=True)
    building, again = measure(snapshot), measure(snapshot)

    def decide() -> dict[str, Any]:
        allowed = 0
        for start in range(0, rows, _BATCH):
            stop = start + _BATCH
            reasons = kept[1].decide(ordinals[start:stop], applicable[start:stop], False)
            allowed += int((reasons == Reason.ALLOWED).sum())
        return {"allowed": allowed}

    deciding = measure(decide)
    _check(rows, deciding["allowed"])
    records = ConsentLedger.open(folder / "ledger").batches()[0].rows
    return {
        **deciding,
        "cpu_s": again["cpu_s"] + deciding["cpu_s"],
        "wall_s": again["wall_s"] + deciding["wall_s"],
        "rows": rows,
        "build_rate": records / building["cpu_s"],
        "snapshot_rate": records / again["cpu_s"],
        "decide_rate": rows / deciding["cpu_s"],
    }


def joined(rows: int) -> dict[str, Any]:
    """The decision of every row by DuckDB joins alone, one thread, 1 GB, no spill: no index, no ordinals."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from governance.consent import ConsentLedger, ConsentSnapshot
    from governance.model.decision import Reason, Regime
    from governance.model.policy import Purpose

    folder, subjects = _data(rows)
    population = _population(subjects)
    ledger = ConsentLedger.open(folder / "ledger")
    purpose = Purpose(dataset.PURPOSE, "", "consent", None, None, ccpa_opt_out=True)

    def batches() -> Any:
        file = pq.ParquetFile(folder / "rows.parquet")
        first = 0
        for batch in file.iter_batches(_BATCH):
            who = population[batch["subject_id"].to_numpy()]
            packed = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(who), [None, pa.py_buffer(np.ascontiguousarray(who))]
            )
            numbers = pa.array(np.arange(first, first + len(who)))
            first += len(who)
            yield pa.record_batch({"number": numbers, "subject": packed})

    schema = pa.schema([("number", pa.int64()), ("subject", pa.binary(16))])

    def work() -> dict[str, Any]:
        standings = ledger.standings_by_join(
            purpose.name, "customer", INSTANT, ledger.position,
            lambda: pa.RecordBatchReader.from_batches(schema, batches()), rows,
        )  # fmt: skip
        snapshot = ConsentSnapshot(purpose, standings, np.zeros(rows, bool))
        allowed = 0
        for start in range(0, rows, _BATCH):
            numbers = np.arange(start, min(start + _BATCH, rows))
            reasons = snapshot.decide(numbers, np.full(len(numbers), Regime.GDPR, np.uint8), False)
            allowed += int((reasons == Reason.ALLOWED).sum())
        return {"allowed": allowed}

    result = measure(work)
    _check(rows, result["allowed"])
    return {**result, "rows": rows}


def semi_join(rows: int) -> dict[str, Any]:
    """The same question in SQL over the same rows and the ledger's file, one thread, 1 GB."""
    import duckdb

    folder, _ = _data(rows)
    connection = duckdb.connect(config={"threads": 1, "memory_limit": "1GB", "max_temp_directory_size": "0B"})

    def work() -> dict[str, Any]:
        query = f"""
            WITH latest AS (
                SELECT subject_id::BIGINT AS subject_id, max(valid_from) FILTER (action = 'grant') AS granted,
                       max(valid_from) FILTER (action = 'withdraw') AS withdrawn
                FROM '{folder}/ledger.parquet'
                WHERE domain = 'customer' AND purpose = '{dataset.PURPOSE}' AND valid_from <= TIMESTAMPTZ '{INSTANT}'
                  AND (valid_to IS NULL OR valid_to > TIMESTAMPTZ '{INSTANT}')
                GROUP BY 1)
            SELECT count(*) FROM '{folder}/rows.parquet' r
            SEMI JOIN (FROM latest WHERE withdrawn IS NULL OR granted > withdrawn) l USING (subject_id)"""
        return {"allowed": connection.execute(query).fetchall()[0][0], "rows": rows}

    result = measure(work)
    return {**result, "rows": rows}


def _check(rows: int, allowed: int) -> None:
    theirs = semi_join(rows)["allowed"]
    if theirs != allowed:
        raise AssertionError(f"{allowed} rows allowed, plain SQL says {theirs}")


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    size = rows or (2_000_000 if quick else 10_000_000)
    million = 1e6
    return [
        Experiment(
            "consent",
            Call("consent_index:ours", {"rows": size}),
            [
                Figure(
                    "consent.decide", "M rows/s", value_of("decide_rate", million),
                    Goal("value", 10, at_most=False, unit="M rows/s"),
                    peer=per_cpu_second("rows", million),
                ),
                Figure(
                    "consent.snapshot_and_decide", "M rows/s", per_cpu_second("rows", million),
                    peer=per_cpu_second("rows", million),
                ),
                Figure("consent.build", "M records/s", value_of("build_rate", million)),
                Figure("consent.snapshot", "M records/s", value_of("snapshot_rate", million)),
                Figure("consent.memory", "MiB", peak, peer=peak),
            ],
            peer=Call("consent_index:semi_join", {"rows": size}),
            before=[Call("consent_index:make", {"rows": size})],
            context={"rows": size},
        ),
        Experiment(
            "consent.join",
            Call("consent_index:joined", {"rows": size}),
            [
                Figure(
                    "consent.join", "M rows/s", per_cpu_second("rows", million),
                    Goal("value", 1, at_most=False, unit="M rows/s"),
                    peer=per_cpu_second("rows", million),
                ),
                Figure("consent.join.memory", "MiB", peak, peer=peak),
            ],
            peer=Call("consent_index:semi_join", {"rows": size}),
            before=[Call("consent_index:make", {"rows": size})],
            context={"rows": size},
        ),
    ]  # fmt: skip
