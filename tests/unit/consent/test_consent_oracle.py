"""Decisions equal an oracle written from docs/consent.md, and the SQL that stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.consent.actions import CLOSING, PERMITTING, SEGMENT, STAMP, Action
from governance.consent.heads import Batch
from governance.consent.joined import standings_by_join
from governance.consent.ledger import microseconds
from governance.consent.records import Population, SubjectRecords, is_backdated
from governance.consent.snapshot import ConsentSnapshot
from governance.consent.timeline import RankedRecords, compile_timeline
from governance.model.decision import Reason
from governance.model.policy import Purpose

DOCS = Path(__file__).parents[3] / "docs" / "consent.md"
SQL = re.search(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]

CONNECTION = duckdb.connect(config={"threads": 1})

START = datetime(2025, 1, 1, tzinfo=UTC)
SUBJECTS = [bytes([i]) * 16 for i in range(1, 5)]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Record:
    subject: bytes
    domain: str
    purpose: str
    action: str
    valid_from: datetime
    valid_to: datetime | None
    collected_at: datetime
    position: int
    recorded_at: datetime
    defect: str | None = None

    @property
    def backdated(self) -> bool:
        return self.collected_at - self.valid_from > timedelta(hours=24)

    @property
    def counts_from(self) -> datetime:
        if self.backdated and self.action in ("grant", "authorize", "opt_in", "unrestrict"):
            return max(self.valid_from, self.recorded_at)
        return self.valid_from


# Few distinct moments, so that ties are common.
moments = st.integers(0, 12).map(lambda n: START + n * DAY)


@st.composite
def ledgers(draw: st.DrawFn) -> list[Record]:
    batches = [START + draw(st.integers(0, 12)) * DAY for _ in range(3)]
    records = []
    for _ in range(draw(st.integers(0, 14))):
        action = draw(st.sampled_from(list(Action)))
        valid_from = draw(moments)
        length = draw(st.none() | st.integers(1, 8))
        position = draw(st.integers(1, 3))
        specific = action in ("grant", "authorize")
        records.append(
            Record(
                subject=draw(st.sampled_from(SUBJECTS[:3])),
                domain=draw(st.sampled_from(["patient"] * 6 + ["customer"])),
                purpose=draw(st.sampled_from(["training"] * 6 + ["other"] + ([] if specific else ["*"]))),
                action=action.value,
                valid_from=valid_from,
                valid_to=None if length is None or action in CLOSING else valid_from + length * DAY,
                collected_at=valid_from + timedelta(hours=draw(st.sampled_from([-30, 0, 24, 25, 300]))),
                position=position,
                recorded_at=batches[position - 1],
                defect=draw(st.sampled_from([None] * 7 + ["minor"])),
            )
        )
    return records


purposes = st.builds(
    Purpose,
    name=st.just("training"),
    description=st.just(""),
    gdpr_basis=st.sampled_from(
        [None, "consent", "consent", "contract", "legitimate_interests", "public_task", "x"]
    ),
    gdpr_condition=st.sampled_from([None, "explicit_consent", "health_care"]),
    hipaa_ground=st.sampled_from([None, "authorization", "authorization", "treatment", "limited_data_set"]),
    ccpa_opt_out=st.booleans(),
)


def permission(seen: list[Record], opens: str, closes: str, instant: datetime) -> str:
    ended = max((r.valid_from for r in seen if r.action == closes and r.valid_from <= instant), default=None)
    lapsed = [r.valid_from for r in seen if r.action == "expire" and r.valid_from <= instant]
    live = [r for r in seen if r.action == opens and (ended is None or r.valid_from > ended)]
    if any(
        r.counts_from <= instant
        and (r.valid_to is None or instant < r.valid_to)
        and not any(r.valid_from <= end for end in lapsed)
        for r in live
    ):
        return "active"
    if any(r.counts_from <= instant for r in live):
        return "expired"
    if ended is not None:
        return "withdrawn"
    return "not_yet_valid" if live else "none"


def holds(seen: list[Record], opens: str, closes: str | None, instant: datetime) -> bool:
    ended = max((r.valid_from for r in seen if r.action == closes and r.counts_from <= instant), default=None)
    return any(
        r.action == opens
        and (ended is None or r.valid_from >= ended)
        and r.valid_from <= instant
        and (r.valid_to is None or instant < r.valid_to)
        for r in seen
    )


def oracle(
    records: list[Record],
    subject: bytes | None,
    regimes: int | None,
    purpose: Purpose,
    special: bool,
    instant: datetime,
    position: int,
) -> str:
    if subject is None:
        return "no_subject"
    if regimes is None:
        return "unknown_jurisdiction"
    seen = [
        r
        for r in records
        if r.subject == subject
        and r.domain == "patient"
        and r.purpose in ("training", "*")
        and r.position <= position
        and r.defect is None
    ]
    if holds(seen, "restrict", "unrestrict", instant):
        return "restricted"
    basis = purpose.gdpr_basis
    if regimes & 1:
        if basis in ("public_task", "legitimate_interests") and holds(seen, "object", None, instant):
            return "objected"
        if basis in (None, "x"):
            return "no_lawful_basis"
        if special and purpose.gdpr_condition is None:
            return "no_art_9_condition"
        if basis == "consent" or (special and purpose.gdpr_condition == "explicit_consent"):
            consent = permission(seen, "grant", "withdraw", instant)
            if consent != "active":
                return "no_consent" if consent == "none" else f"consent_{consent}"
    if regimes & 2:
        if purpose.hipaa_ground is None:
            return "no_lawful_basis"
        if purpose.hipaa_ground == "authorization":
            given_ = permission(seen, "authorize", "revoke", instant).replace("withdrawn", "revoked")
            if given_ != "active":
                return "no_authorization" if given_ == "none" else f"authorization_{given_}"
    if regimes & 4 and purpose.ccpa_opt_out and holds(seen, "opt_out", "opt_in", instant):
        return "opted_out"
    return "allowed"


def segment(records: list[Record]) -> pa.Table:
    rows = [
        {
            "record": bytes(16),
            "domain": r.domain,
            "subject": r.subject,
            "purpose": r.purpose,
            "action": r.action,
            "valid_from": r.valid_from,
            "valid_to": r.valid_to,
            "collected_at": r.collected_at,
            "backdated": r.backdated,
            "defect": r.defect,
        }
        for r in records
    ]
    return pa.Table.from_pylist(rows, schema=SEGMENT)


def viewed(records: list[Record], position: int) -> list[tuple[pa.Table, int]]:
    out = []
    for number in range(1, position + 1):
        batch = [r for r in records if r.position == number]
        if batch:
            table = segment([r for r in batch if r.domain == "patient" and r.purpose in ("training", "*")])
            out.append((table, microseconds(batch[0].recorded_at)))
    return out


POPULATION = np.frombuffer(b"".join(SUBJECTS), np.uint8).reshape(-1, 16)


def snapshot_of(records: list[Record], position: int, purpose: Purpose, instant: datetime) -> ConsentSnapshot:
    seen, _ = SubjectRecords.gather(viewed(records, position), Population(POPULATION))
    standings = compile_timeline(RankedRecords.of(seen)).standings(microseconds(instant), 4)
    backdated = np.zeros(4, bool)
    backdated[seen.ordinal[is_backdated(seen.kind)]] = True
    return ConsentSnapshot(purpose, standings, backdated)


def joined_standings(records: list[Record], position: int, instant: datetime) -> np.ndarray:
    rows = pa.table({"number": pa.array(range(4), pa.int64()), "subject": pa.array(SUBJECTS, pa.binary(16))})
    counts = {action.value: 1 for action in Action}
    batch = Batch(1, "", 0, START, "", len(records), 0, 0, counts)
    return standings_by_join(
        lambda: iter(viewed(records, position)), [batch], rows.to_reader, 4, microseconds(instant)
    )


def by_sql(records: list[Record], source: pa.Table, parameters: dict[str, Any]) -> list[str]:
    records = [r for r in records if r.defect is None]
    consent = segment(records)
    consent = consent.append_column("position", pa.array([r.position for r in records], pa.int64()))
    consent = consent.append_column("recorded_at", pa.array([r.recorded_at for r in records], STAMP))
    CONNECTION.register("consent", consent)
    CONNECTION.register("source", source)
    found = CONNECTION.execute(f"SELECT reason FROM ({SQL}) ORDER BY number", parameters).fetchall()
    return [reason for (reason,) in found]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ledgers(), purposes, st.booleans(), moments, st.integers(0, 3))
def test_decide_equals_the_oracle_and_the_sql(
    records: list[Record], purpose: Purpose, special: bool, instant: datetime, position: int
) -> None:
    rows = [(s, r) for s in [None, *range(4)] for r in [None, *range(8)]]
    snapshot = snapshot_of(records, position, purpose, instant)
    ordinals = np.array([-1 if s is None else s for s, _ in rows], np.int64)
    applicable = np.array([255 if r is None else r for _, r in rows], np.uint8)
    decided = [Reason(code).label for code in snapshot.decide(ordinals, applicable, special)]

    expected = [
        oracle(records, None if s is None else SUBJECTS[s], r, purpose, special, instant, position)
        for s, r in rows
    ]
    assert decided == expected
    joined = ConsentSnapshot(purpose, joined_standings(records, position, instant), np.zeros(4, bool))
    assert [Reason(code).label for code in joined.decide(ordinals, applicable, special)] == expected

    source = pa.table(
        {
            "number": pa.array(range(len(rows))),
            "subject": pa.array([None if s is None else SUBJECTS[s] for s, _ in rows], pa.binary(16)),
            "regimes": pa.array([r for _, r in rows], pa.int32()),
        }
    )
    parameters = {
        "domain": "patient",
        "purpose": "training",
        "instant": instant,
        "position": position,
        "gdpr_basis": purpose.gdpr_basis,
        "gdpr_condition": purpose.gdpr_condition,
        "hipaa_ground": purpose.hipaa_ground,
        "ccpa_opt_out": purpose.ccpa_opt_out,
        "special_category": special,
    }
    assert by_sql(records, source, parameters) == expected


@settings(max_examples=100, deadline=None)
@given(ledgers(), purposes, st.booleans(), moments)
def test_a_later_batch_never_cures_a_run_by_backdating(
    records: list[Record], purpose: Purpose, special: bool, instant: datetime
) -> None:
    """What arrives after the run's instant and is backdated permits nothing at that instant."""
    late = [r for r in records if r.recorded_at > instant and r.backdated and r.action in PERMITTING]
    without = [r for r in records if r not in late]
    for subject in SUBJECTS:
        for regimes in range(8):
            arguments = (subject, regimes, purpose, special, instant, 3)
            after, before = oracle(records, *arguments), oracle(without, *arguments)
            assert (after == "allowed") == (before == "allowed")


def test_the_backdated_flag_covers_every_action_in_view() -> None:
    record = Record(
        SUBJECTS[1], "patient", "training", "restrict", START, None, START + 3 * DAY, 1, START + 4 * DAY
    )
    purpose = Purpose("training", "", "consent", None, None, False)
    snapshot = snapshot_of([record], 1, purpose, START)
    assert snapshot.backdated.tolist() == [False, True, False, False]
