"""Positions, late withdrawals, backdating, damage, explanations and regimes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance.consent import ConsentLedger
from governance.errors import ConsentError, SettingError
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose

DAY = timedelta(days=1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
TRAINING = Purpose("training", "", "consent", "explicit_consent", "authorization", True)
NAMES = ["ann", "bob", "cid", "dee"]


def internal(domain: str, identifiers: pa.Array) -> np.ndarray:
    packed = b"".join(hashlib.md5(f"{domain}/{i}".encode()).digest() for i in identifiers.to_pylist())  # noqa: S324
    return np.frombuffer(packed, np.uint8).reshape(-1, 16)


PEOPLE = internal("patient", pa.array(NAMES))


class Book:
    """A ledger under test and the leaves it wrote."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = ConsentLedger.create(directory / "consent")
        self.leaves: list[dict[str, Any]] = []
        self.ids = count()

    def record(self, body: dict[str, Any]) -> int:
        if body not in self.leaves:
            self.leaves.append(body)
        return self.leaves.index(body)

    def add(self, recorded_at: datetime, *records: tuple[str, str, datetime], **more: Any) -> None:
        rows = [
            {
                "record_id": f"{next(self.ids)}",
                "domain": "patient",
                "subject_id": subject,
                "purpose": "training",
                "action": action,
                "valid_from": valid_from,
                "valid_to": None,
                "collected_at": more.get("collected_at", valid_from),
            }
            for subject, action, valid_from in records
        ]
        table = pa.Table.from_pylist(rows)
        valid_to = pa.nulls(table.num_rows, pa.timestamp("us", "UTC"))
        table = table.set_column(table.column_names.index("valid_to"), "valid_to", valid_to)
        path = self.directory / "batch.parquet"
        pq.write_table(table, path)
        self.ledger.import_file(path, internal=internal, record=self.record, recorded_at=recorded_at)

    def reasons(self, instant: datetime, position: int, regime: Regime = Regime.GDPR) -> dict[str, str]:
        snapshot = self.ledger.snapshot(TRAINING, "patient", instant, position, PEOPLE)
        codes = snapshot.decide(np.arange(4), np.full(4, regime, np.uint8), special_category=True)
        return {name: Reason(code).label for name, code in zip(NAMES, codes, strict=True)}


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_a_position_sees_only_what_was_recorded_by_then(book: Book) -> None:
    book.add(T0, ("ann", "grant", T0 - DAY), ("bob", "grant", T0 - DAY))
    book.add(T0 + DAY, ("ann", "withdraw", T0 + DAY))
    now = T0 + 2 * DAY
    assert book.reasons(now, 0)["ann"] == "no_consent"
    assert book.reasons(now, 1)["ann"] == "allowed"
    assert book.reasons(now, 2)["ann"] == "consent_withdrawn"
    assert book.reasons(T0, 2)["ann"] == "allowed"
    for position in (-1, 3):
        with pytest.raises(ConsentError, match=r"GOV-203.*does not exist"):
            book.reasons(now, position)


def test_backdated_consent_counts_from_when_it_was_recorded(book: Book) -> None:
    opened, recorded = T0 + DAY, T0 + 3 * DAY
    book.add(T0, ("bob", "grant", T0))
    book.add(recorded, ("ann", "grant", T0 - 40 * DAY), collected_at=T0)
    assert book.reasons(opened, 1)["ann"] == "no_consent"
    assert book.reasons(opened, 2)["ann"] == "consent_not_yet_valid"
    assert book.reasons(recorded, 2)["ann"] == "allowed"
    snapshot = book.ledger.snapshot(TRAINING, "patient", recorded, 2, PEOPLE)
    assert snapshot.backdated.tolist() == [True, False, False, False]
    assert book.ledger.batches()[1].backdated == 1


def test_a_backdated_withdrawal_counts_from_its_day(book: Book) -> None:
    book.add(T0, ("ann", "grant", T0))
    book.add(T0 + 9 * DAY, ("ann", "withdraw", T0 + DAY), collected_at=T0 + 8 * DAY)
    assert book.reasons(T0 + 2 * DAY, 2)["ann"] == "consent_withdrawn"


def test_late_withdrawals_are_found_and_later_grants_cure_nothing(book: Book) -> None:
    everyone = [(name, "grant", T0) for name in NAMES]
    book.add(T0, *everyone, ("cid", "authorize", T0))
    opened, publish = T0 + DAY, T0 + 5 * DAY
    book.add(
        T0 + 2 * DAY,
        ("ann", "withdraw", T0 + 2 * DAY),
        ("bob", "withdraw", T0 + DAY / 2),
        ("bob", "grant", T0 + 3 * DAY),
        ("cid", "revoke", T0 + 2 * DAY),
        ("dee", "withdraw", T0 + 50 * DAY),
        collected_at=T0 + 2 * DAY,
    )
    late = book.ledger.late(TRAINING, "patient", publish, 1, 2, PEOPLE, opened_at=opened)
    assert late.tolist() == [0, 1, 2]
    assert book.ledger.late(TRAINING, "patient", publish, 1, 2, PEOPLE).tolist() == [0, 2]
    applicable = np.full(4, Regime.GDPR, np.uint8)
    late = book.ledger.late(
        TRAINING,
        "patient",
        publish,
        1,
        2,
        PEOPLE,
        opened_at=opened,
        regimes=applicable,
        special_category=True,
    )
    assert late.tolist() == [0, 1]
    assert book.ledger.late(TRAINING, "patient", publish, 2, 2, PEOPLE).tolist() == []


def test_a_restriction_stops_rows_without_any_regime(book: Book) -> None:
    book.add(T0, ("ann", "restrict", T0), ("bob", "restrict", T0), ("bob", "unrestrict", T0 + DAY))
    reasons = book.reasons(T0 + 2 * DAY, 1, Regime.NONE)
    assert (reasons["ann"], reasons["bob"], reasons["cid"]) == ("restricted", "allowed", "allowed")


def test_rows_without_subject_or_jurisdiction_or_outside_the_population(book: Book) -> None:
    book.add(T0, ("ann", "grant", T0))
    snapshot = book.ledger.snapshot(TRAINING, "patient", T0, 1, PEOPLE)
    codes = snapshot.decide(np.array([-1, 0, -1, 0]), np.array([1, 255, 255, 9], np.uint8), False)
    assert [Reason(c) for c in codes] == [
        Reason.NO_SUBJECT,
        Reason.UNKNOWN_JURISDICTION,
        Reason.NO_SUBJECT,
        Reason.UNKNOWN_JURISDICTION,
    ]
    with pytest.raises(ConsentError, match="1 rows name subjects"):
        snapshot.decide(np.array([0, 4]), np.array([0, 0], np.uint8), False)


def test_an_altered_or_missing_segment_is_refused(book: Book) -> None:
    book.add(T0, ("ann", "grant", T0))
    [segment] = (book.directory / "consent" / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(ConsentError, match=r"GOV-203.*was altered"):
        book.reasons(T0, 1)
    with pytest.raises(ConsentError, match=r"GOV-203.*was altered"):
        book.add(T0, ("bob", "grant", T0))
    segment.unlink()
    with pytest.raises(ConsentError, match=r"GOV-203.*is missing"):
        book.ledger.table(1)


def test_nothing_on_disk_and_no_leaf_names_a_subject(book: Book) -> None:
    subject = "canary-Zq7Kp2Lm9Rt4Wn"
    book.add(T0, (subject, "grant", T0))
    files = [p for p in (book.directory / "consent").rglob("*") if p.is_file()]
    assert len(files) >= 3
    assert not any(subject.encode() in p.read_bytes() for p in files)
    assert "subject" not in str(book.leaves)
    assert book.leaves[0]["actions"] == {"grant": 1}


def test_create_and_open(tmp_path: Path, book: Book) -> None:
    with pytest.raises(SettingError, match=r"GOV-901"):
        ConsentLedger.create(tmp_path / "consent")
    with pytest.raises(ConsentError, match=r"GOV-203"):
        ConsentLedger.open(tmp_path / "nowhere")
    book.add(T0, ("ann", "grant", T0))
    assert ConsentLedger.open(tmp_path / "consent").batches() == book.ledger.batches()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(ConsentError, match=r"GOV-203"):
        ConsentLedger.open(tmp_path / "bad")


def test_an_explanation_lists_the_records_and_says_why(book: Book) -> None:
    book.add(T0, ("ann", "grant", T0 - 5 * DAY), collected_at=T0)
    book.add(T0 + DAY, ("ann", "withdraw", T0 + DAY))
    found = book.ledger.explain(PEOPLE[0].tobytes(), TRAINING, "patient", T0 + 2 * DAY, 2)
    assert [(r.position, r.log_index, r.action) for r in found.records] == [
        (1, 0, "grant"),
        (2, 1, "withdraw"),
    ]
    assert found.records[0].counts_from == T0
    text = "\n".join(found.reasoning)
    assert "backdated, counts from 2026-01-01" in text
    assert "consent was taken back" in text
    assert found.reasons == {
        "none": Reason.ALLOWED,
        "gdpr": Reason.CONSENT_WITHDRAWN,
        "hipaa": Reason.NO_AUTHORIZATION,
        "ccpa": Reason.ALLOWED,
    }
    assert (
        "No record is in view."
        in book.ledger.explain(PEOPLE[1].tobytes(), TRAINING, "patient", T0, 2).reasoning
    )


def test_a_failing_log_leaves_a_pending_batch_that_the_next_import_completes(book: Book) -> None:
    good = book.record

    def broken(_: dict[str, Any]) -> int:
        raise OSError("the log is down")

    book.record = broken  # type: ignore[method-assign]
    with pytest.raises(OSError, match="down"):
        book.add(T0, ("ann", "grant", T0))
    assert (book.ledger.position, book.ledger.pending) == (0, True)
    book.record = good  # type: ignore[method-assign]
    book.add(T0, ("bob", "grant", T0), ("ann", "withdraw", T0 + DAY), collected_at=T0 + DAY / 2)
    assert (book.ledger.position, book.ledger.pending) == (2, False)
    assert [leaf["position"] for leaf in book.leaves] == [1, 2]
