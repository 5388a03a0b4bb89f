"""Files the ledger takes in, and files it refuses whole."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.consent import Batch, ConsentLedger
from governance.consent.actions import KINDS, SEGMENT
from governance.consent.intervals import overlapping_rows
from governance.errors import ConsentError, ConsentFindings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
T0 = datetime(2025, 1, 1, tzinfo=UTC)
SECRET = "Secret-Value-4711"


def internal(domain: str, identifiers: pa.Array) -> np.ndarray:
    digests = [hashlib.md5(f"{domain}/{i.strip()}".encode()).digest() for i in identifiers.to_pylist()]  # noqa: S324
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


class Leaves:
    """A log that answers a known body with its first index."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def __call__(self, body: dict[str, Any]) -> int:
        text = json.dumps(body, sort_keys=True)
        if text not in self.bodies:
            self.bodies.append(text)
        return self.bodies.index(text)


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "record_id": f"r{number}",
        "domain": "patient",
        "subject_id": f"S{number}",
        "purpose": "training",
        "action": "grant",
        "valid_from": "2025-01-01T00:00:00Z",
        "valid_to": None,
        "collected_at": "2025-01-01T00:00:00Z",
        "notice_version": "n1",
        "channel": "web",
    } | changes


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = {
        "csv": lambda: "\n".join([",".join(rows[0]), *(",".join(v or "" for v in r.values()) for r in rows)]),
        "jsonl": lambda: "\n".join(json.dumps(r) for r in rows),
    }
    kind = path.suffixes[0].lstrip(".")
    data = (text[kind]() + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> ConsentLedger:
    return ConsentLedger.create(tmp_path / "consent")


@pytest.fixture
def leaves() -> Leaves:
    return Leaves()


def load(ledger: ConsentLedger, path: Path, leaves: Leaves, **more: Any) -> Batch:
    return ledger.import_file(path, internal=internal, record=leaves, **{"recorded_at": NOW, **more})


def refused(ledger: ConsentLedger, path: Path, leaves: Leaves, **more: Any) -> ConsentFindings:
    before = (ledger.batches(), len(leaves.bodies))
    with pytest.raises(ConsentFindings) as caught:
        load(ledger, path, leaves, **more)
    assert (ledger.batches(), len(leaves.bodies)) == before
    assert not ledger.pending
    assert SECRET not in str(caught.value)
    chained = caught.value.__cause__ or (
        None if caught.value.__suppress_context__ else caught.value.__context__
    )
    assert chained is None
    return caught.value


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_the_same_records_come_in_by_every_format(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path, name: str
) -> None:
    rows = [
        row(1, subject_id="Łukasz Ünal", valid_from="2025-01-01T01:30:00.250+01:30"),
        row(2, valid_to="2025-06-01T00:00:00Z"),
        row(3, action="opt_out", purpose="*", notice_version=None),
    ]
    if name == "a.parquet":
        times = {"valid_from", "valid_to", "collected_at"}
        typed = [
            {k: datetime.fromisoformat(v) if k in times and v else v for k, v in r.items()} for r in rows
        ]
        pq.write_table(pa.Table.from_pylist(typed), tmp_path / name)
    else:
        write(tmp_path / name, rows)
    batch = load(ledger, tmp_path / name, leaves)
    assert (batch.position, batch.rows, batch.duplicates, batch.log_index) == (1, 3, 0, 0)
    assert batch.actions == {"grant": 2, "opt_out": 1}
    table = ledger.table(1)
    assert table["valid_from"][0].as_py() == T0 + timedelta(milliseconds=250)
    assert table["valid_to"].to_pylist() == [None, datetime(2025, 6, 1, tzinfo=UTC), None]
    assert table["notice_version"].to_pylist() == ["n1", "n1", None]
    assert table["position"].to_pylist() == [1, 1, 1]
    expected = internal("patient", pa.array(["Łukasz Ünal", "S2", "S3"]))
    assert table["subject"].to_pylist() == [e.tobytes() for e in expected]


def test_every_fault_is_reported_at_once(ledger: ConsentLedger, leaves: Leaves, tmp_path: Path) -> None:
    rows = [
        row(1),
        row(2, action=SECRET),
        row(3, valid_from=SECRET),
        row(4, subject_id="  "),
        row(5, valid_to="2025-01-01T00:00:00Z"),
        row(6, purpose=SECRET),
        row(7, collected_at="2026-06-03T00:00:00Z"),
        row(8, action="withdraw", valid_to="2026-01-01T00:00:00Z"),
        row(9, purpose="*"),
        row(10, valid_from="2025-01-01T00:00:00"),
        row(11, valid_from="2025-13-01T00:00:00Z"),
        row(12, valid_from=None),
        row(1, channel="paper"),
    ]
    error = refused(ledger, write(tmp_path / "f.jsonl", rows), leaves, purposes=["training"])
    assert error.code == "GOV-201"
    text = "\n".join(error.faults)
    for words, rows_named in [
        ("action is none of grant, withdraw", "1 row: 2"),
        ("valid_from is not an RFC 3339 time with a zone", "3 rows: 3, 10, 11"),
        ("valid_from is empty", "1 row: 12"),
        ("subject_id is empty", "1 row: 4"),
        ("valid_to is not after valid_from", "1 row: 5"),
        ("purpose is not in the policy", "1 row: 6"),
        ("collected_at lies in the future", "1 row: 7"),
        ("valid_to must be empty", "1 row: 8"),
        ("must name one purpose", "1 row: 9"),
        ("record_id is used before in this file", "1 row: 13"),
    ]:
        assert any(words in fault and fault.endswith(rows_named) for fault in error.faults), (words, text)
    assert len(error.faults) == 10


def test_only_the_first_twenty_rows_are_named(ledger: ConsentLedger, leaves: Leaves, tmp_path: Path) -> None:
    error = refused(ledger, write(tmp_path / "f.csv", [row(i, action="x") for i in range(30)]), leaves)
    assert error.faults[0].endswith("30 rows: " + ", ".join(map(str, range(1, 21))) + " …")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.parquet", b"PAR1" + SECRET.encode(), "cannot be read as .parquet"),
        ("a.csv", f"record_id,domain\na,b\n{SECRET}\n".encode(), "cannot be read as .csv at row 2"),
        ("a.csv", b"record_id,domain\n\xff\xfe" + SECRET.encode() + b",b\n", "cannot be read as .csv"),
        ("a.csv", b"", "cannot be read as .csv"),
        ("a.jsonl", b'{"record_id": ' + SECRET.encode(), "cannot be read as .jsonl"),
        ("a.csv.gz", b"\x1f\x8b" + SECRET.encode(), "cannot be read as .gz"),
        ("a.xlsx", SECRET.encode(), "does not say what it is"),
        ("a.csv", f"record_id,{SECRET}\na,b\n".encode(), "column domain is missing"),
    ],
)
def test_broken_files_are_refused_without_quoting_them(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    error = refused(ledger, tmp_path / name, leaves)
    assert words in str(error)


def test_a_header_without_rows_and_a_missing_file(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(",".join(row(1)) + "\n")
    assert "no records" in str(refused(ledger, tmp_path / "a.csv", leaves))
    with pytest.raises(ConsentError, match="cannot be read"):
        load(ledger, tmp_path / "none.csv", leaves)


def test_times_without_a_zone_are_refused_by_column(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path
) -> None:
    table = pa.Table.from_pylist([row(1, valid_from=datetime(2025, 1, 1), collected_at=T0)])
    pq.write_table(table, tmp_path / "a.parquet")
    error = refused(ledger, tmp_path / "a.parquet", leaves)
    assert "timestamp without a time zone" in error.faults[0]


def test_importing_twice_changes_nothing(ledger: ConsentLedger, leaves: Leaves, tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", [row(1), row(2), row(2)])
    assert load(ledger, first, leaves).duplicates == 1
    again = load(ledger, first, leaves, recorded_at=NOW + timedelta(days=1))
    assert (again.position, again.rows, again.duplicates, again.log_index) == (1, 0, 3, -1)
    more = load(ledger, write(tmp_path / "b.csv", [row(1), row(3)]), leaves)
    assert (more.position, more.rows, more.duplicates) == (2, 1, 1)
    assert ledger.position == len(leaves.bodies) == 2


def test_a_changed_record_is_refused(ledger: ConsentLedger, leaves: Leaves, tmp_path: Path) -> None:
    load(ledger, write(tmp_path / "a.csv", [row(1), row(2)]), leaves)
    error = refused(ledger, write(tmp_path / "b.csv", [row(2, subject_id="S9"), row(3)]), leaves)
    assert error.faults == ("record_id is in the ledger already, with other content, in 1 row: 1",)


@pytest.mark.parametrize(
    ("rows", "clash"),
    [
        ([row(1), row(2, subject_id="S1", valid_from="2025-03-01T00:00:00Z")], [1, 2]),
        (
            [
                row(1, valid_to="2025-03-01T00:00:00Z"),
                row(2, subject_id="S1", valid_from="2025-03-01T00:00:00Z"),
            ],
            [],
        ),
        (
            [
                row(1, valid_to="2025-03-02T00:00:00Z"),
                row(2, subject_id=" S1 ", valid_from="2025-03-01T00:00:00Z"),
            ],
            [1, 2],
        ),
        ([row(1), row(2, subject_id="S1", purpose="other")], []),
        ([row(1), row(2, subject_id="S1", domain="customer")], []),
        ([row(1), row(2, subject_id="S1", action="authorize")], []),
        (
            [
                row(1),
                row(2, subject_id="S1", action="withdraw", valid_from="2025-02-01T00:00:00Z"),
                row(3, subject_id="S1", valid_from="2025-03-01T00:00:00Z"),
            ],
            [],
        ),
        (
            [
                row(1),
                row(2, subject_id="S1", action="withdraw", purpose="*", valid_from="2025-02-01T00:00:00Z"),
                row(3, subject_id="S1", valid_from="2025-03-01T00:00:00Z"),
            ],
            [],
        ),
        (
            [
                row(1, action="opt_out", purpose="*"),
                row(2, subject_id="S1", action="opt_in", valid_from="2025-02-01T00:00:00Z"),
                row(3, subject_id="S1", action="opt_out", purpose="*", valid_from="2025-03-01T00:00:00Z"),
            ],
            [1, 3],
        ),
    ],
)
def test_overlapping_intervals(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path, rows: list[dict[str, Any]], clash: list[int]
) -> None:
    path = write(tmp_path / "a.csv", rows)
    if not clash:
        assert load(ledger, path, leaves).rows == len(rows)
        return
    error = refused(ledger, path, leaves)
    assert error.code == "GOV-202"
    assert error.faults[0].endswith(f"{len(clash)} rows: {', '.join(map(str, clash))}")
    # In two batches, only the rows of the refused file are named.
    load(ledger, write(tmp_path / "b.csv", rows[:-1]), leaves)
    error = refused(ledger, write(tmp_path / "c.csv", rows[-1:]), leaves)
    assert (error.code, error.faults[0].endswith("1 row: 1")) == ("GOV-202", True)
    assert ledger.position == 1


def test_an_earlier_start_that_runs_into_an_earlier_batch_is_named(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path
) -> None:
    load(ledger, write(tmp_path / "a.csv", [row(1)]), leaves)
    early = row(2, subject_id="S1", valid_from="2024-01-01T00:00:00Z", valid_to="2025-01-02T00:00:00Z")
    error = refused(ledger, write(tmp_path / "b.csv", [row(5), early]), leaves)
    assert error.faults[0].endswith("1 row: 2")


days = st.integers(0, 9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS), st.booleans(), days, st.none() | st.integers(1, 5), st.sampled_from("ab*")
        ),
        max_size=8,
    )
)
def test_overlaps_equal_a_naive_search(drawn: list[Any]) -> None:
    records = []
    for kind, opens, start, length, purpose in drawn:
        if kind.closes is None or opens:
            purpose = "a" if kind.permits and purpose == "*" else purpose
            records.append((kind, True, start, None if length is None else start + length, purpose))
        else:
            records.append((kind, False, start, None, purpose))

    def finish(opening: Any) -> float:
        kind, _, start, until, purpose = opening
        closings = [
            s
            for k, opens, s, _, p in records
            if k is kind and not opens and p in (purpose, "*") and (s >= start if kind.permits else s > start)
        ]
        return min([until if until is not None else float("inf"), *closings])

    expected = {
        one + 1
        for one, a in enumerate(records)
        for two, b in enumerate(records)
        if one != two and a[0] is b[0] and a[1] and b[1] and a[4] == b[4]
        if max(a[2], b[2]) < min(finish(a), finish(b))
    }
    at = lambda day: None if day is None else T0 + timedelta(days=day)
    table = pa.Table.from_pylist(
        [
            {
                "record": bytes(16),
                "domain": "d",
                "subject": bytes(16),
                "purpose": purpose,
                "action": (kind.opens if opens else kind.closes).value,
                "valid_from": at(start),
                "valid_to": at(until),
                "collected_at": at(start),
                "backdated": False,
            }
            for kind, opens, start, until, purpose in records
        ],
        schema=SEGMENT,
    ).append_column("row", pa.array(range(1, len(records) + 1), pa.int64()))
    assert set(overlapping_rows(table)) == expected


def test_a_csv_with_quotes_commas_and_a_byte_order_mark(
    ledger: ConsentLedger, leaves: Leaves, tmp_path: Path
) -> None:
    table = pa.Table.from_pylist([row(1, subject_id='Müller, "Zoë"', channel="00123")])
    pa_csv.write_csv(table, tmp_path / "a.csv")
    data = (tmp_path / "a.csv").read_bytes()
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    load(ledger, tmp_path / "a.csv", leaves)
    stored = ledger.table(1)
    assert stored["channel"].to_pylist() == ["00123"]
    assert stored["subject"][0].as_py() == internal("patient", pa.array(['Müller, "Zoë"']))[0].tobytes()
