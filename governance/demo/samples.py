"""Sample input, seeded and of any size: realistic, dirty, and with canaries to look for afterwards.

Everything is made up: names and addresses come from Faker, numbers from a seeded generator. Values
depend on ``rows`` and ``seed`` only, never on the clock.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from governance.demo.samples_canaries import canary_listing
from governance.demo.samples_consent import consent_records
from governance.demo.samples_people import make_people
from governance.demo.samples_pools import locale_pools
from governance.demo.samples_rows import Encounters, conversations, customers

MINIMUM_ROWS = 400
_CHUNK = 250_000

Progress = Callable[[str, int, int], None]
"""Called with what is being made, how much is done, and how much there is to do."""


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Where the sample lies. ``rows`` counts the rows of each dataset by its contract's name."""

    directory: Path
    clinical_encounters: Path
    customers: Path
    support_conversations: Path
    consent_ledger: Path
    canaries: Path
    rows: dict[str, int]


def make_samples(
    directory: Path, *, rows: int = 200_000, seed: int = 7, progress: Progress | None = None
) -> SampleFiles:
    """Write the sample input into ``directory``, which is created if needed.

    Args:
        rows: encounters before duplicates; customers and conversations are a quarter of it each.
        seed: the same seed and rows give the same values.
        progress: told how far each file is.

    Raises:
        ValueError: fewer than :data:`MINIMUM_ROWS` rows, too few for every canary.
    """
    if rows < MINIMUM_ROWS:
        raise ValueError(f"a sample needs at least {MINIMUM_ROWS} rows, not {rows}")
    tell = progress or (lambda _what, _done, _total: None)
    directory.mkdir(parents=True, exist_ok=True)
    files = SampleFiles(
        directory,
        directory / "clinical_encounters",
        directory / "customers.csv",
        directory / "support_conversations.jsonl.gz",
        directory / "consent_ledger.parquet",
        directory / "canaries.json",
        {},
    )
    pools = locale_pools(seed, min(4_000, max(400, rows // 10)))
    tell("people", 1, 2)
    patients = make_people(pools, max(80, rows // 5), "MRN-", np.random.default_rng([seed, 1]))
    clients = make_people(pools, max(80, rows // 8), "C-", np.random.default_rng([seed, 2]))
    tell("people", 2, 2)

    encounters = Encounters(patients, pools, seed)
    files.rows["clinical_encounters"] = _write_encounters(files.clinical_encounters, encounters, rows, tell)
    profile = customers(clients, rows // 4, np.random.default_rng([seed, 3]))
    pa_csv.write_csv(profile.table, files.customers)
    files.rows["customer_profiles"] = profile.table.num_rows
    tell("customers", 1, 1)
    talk = conversations(clients, rows // 4, np.random.default_rng([seed, 4]))
    files.rows["support_prompts"] = _write_lines(files.support_conversations, talk.table, tell)
    ledger = consent_records(
        [
            ("patient", patients, ("model_training", "research")),
            ("customer", clients, ("model_training", "support_inference")),
        ],
        np.random.default_rng([seed, 5]),
    )
    pq.write_table(ledger, files.consent_ledger, compression="zstd")
    files.rows["consent_ledger"] = ledger.num_rows
    tell("consent ledger", 1, 1)
    listing = canary_listing(patients, clients, encounters.hidden, profile.hidden, talk.hidden)
    files.canaries.write_text(json.dumps(listing.values, ensure_ascii=False, indent=1), encoding="utf-8")
    details = directory / "canary_details.json"
    details.write_text(json.dumps(listing.details, ensure_ascii=False, indent=1), encoding="utf-8")
    return files


def _write_encounters(directory: Path, encounters: Encounters, rows: int, tell: Progress) -> int:
    directory.mkdir(exist_ok=True)
    first = rows // 2
    written = 0
    for name, start, stop in (("part-0.parquet", 0, first), ("part-1.parquet", first, rows)):
        with pq.ParquetWriter(directory / name, encounters.schema, compression="zstd") as writer:
            bounds = np.linspace(start, stop, 1 + -(-(stop - start) // _CHUNK)).astype(int).tolist()
            for begin, end in pairwise(bounds):
                table = encounters.chunk(begin, end)
                writer.write_table(table, row_group_size=131_072)
                written += table.num_rows
                tell("clinical encounters", end, rows)
    return written


def _write_lines(path: Path, table: pa.Table, tell: Progress) -> int:
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        done = 0
        for batch in table.to_batches(max_chunksize=25_000):
            packed.write("".join(_lines(batch)).encode())
            done += batch.num_rows
            tell("support conversations", done, table.num_rows)
    return int(table.num_rows)


def _lines(batch: pa.RecordBatch) -> Iterator[str]:
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    return (encode(row) + "\n" for row in batch.to_pylist())
