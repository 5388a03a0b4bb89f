"""Why one subject may or may not be processed, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from governance.consent.actions import EVERY_PURPOSE, PERMITTING
from governance.consent.heads import Batch
from governance.consent.law import EXCEPTIONS, Permission, Standing, decision
from governance.model.canonical import timestamp
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose


@dataclass(frozen=True, slots=True)
class RecordLine:
    """A record in view. ``counts_from`` differs from ``valid_from`` where backdating defers it."""

    position: int
    log_index: int
    recorded_at: datetime
    action: str
    purpose: str
    valid_from: datetime
    valid_to: datetime | None
    collected_at: datetime
    backdated: bool
    counts_from: datetime
    notice_version: str | None
    channel: str | None
    given_by: str | None
    defect: str | None

    @property
    def words(self) -> str:
        """The record as one sentence."""
        until = f" to {timestamp(self.valid_to)}" if self.valid_to else ""
        every = " for every purpose" if self.purpose == EVERY_PURPOSE else ""
        notes = ""
        if self.backdated:
            notes = "; backdated"
            if self.counts_from != self.valid_from:
                notes += f", counts from {timestamp(self.counts_from)}, when it was recorded"
        if self.given_by:
            notes += f"; given by the {self.given_by}"
        if self.defect:
            notes += f"; permits nothing: {self.defect.replace('_', ' ')}"
        return (
            f"batch {self.position} (log index {self.log_index}): {self.action}{every} from "
            f"{timestamp(self.valid_from)}{until}, collected {timestamp(self.collected_at)}{notes}"
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """``reasons`` has the decision under each regime alone, and under none; ``reasoning`` is in words."""

    records: tuple[RecordLine, ...]
    standing: Standing
    reasons: dict[str, Reason]
    reasons_special_category: dict[str, Reason]
    reasoning: tuple[str, ...]


def explain(
    seen: Sequence[tuple[pa.Table, Batch]],
    standing: Standing,
    purpose: Purpose,
    instant: datetime,
    position: int,
) -> Explanation:
    """Assemble the explanation from the subject's records and the standing that rows are decided by."""
    lines = [_line(row, batch) for table, batch in seen for row in table.to_pylist()]
    lines.sort(key=lambda line: (line.valid_from, line.position))
    words = [
        f"As of {timestamp(instant)}, by the ledger's first {position} batches, for purpose {purpose.name}.",
        f"{len(lines)} records are in view." if lines else "No record is in view.",
        *(line.words for line in lines),
        *_standing_words(standing, purpose),
    ]
    reasons, special = (
        {
            (regime.name or "none").lower(): decision(standing, regime, purpose, special_category=category)
            for regime in (Regime.NONE, Regime.GDPR, Regime.HIPAA, Regime.CCPA)
        }
        for category in (False, True)
    )
    words += [
        f"Under {name.upper()} alone: {reason.label}." for name, reason in reasons.items() if name != "none"
    ]
    if special["gdpr"] != reasons["gdpr"]:
        words.append(f"Under GDPR for special categories: {special['gdpr'].label}.")
    words.append("Every regime that applies to a row must allow it; an unknown jurisdiction is denied.")
    return Explanation(tuple(lines), standing, reasons, special, tuple(words))


_PERMISSION = {
    Permission.ACTIVE: "is in force",
    Permission.NONE: "was never recorded",
    Permission.NOT_YET_VALID: "has not begun",
    Permission.EXPIRED: "has expired",
    Permission.WITHDRAWN: "was taken back",
}


def _standing_words(standing: Standing, purpose: Purpose) -> list[str]:
    condition = f", Art. 9(2) condition {purpose.gdpr_condition}" if purpose.gdpr_condition else ""
    words = [
        f"GDPR: the purpose rests on {purpose.gdpr_basis or 'no lawful basis'}{condition}; "
        f"consent {_PERMISSION[standing.consent]}.",
    ]
    if purpose.hipaa_ground in EXCEPTIONS:
        words.append(f"HIPAA: {purpose.hipaa_ground} needs no authorization.")
    elif purpose.hipaa_ground is None:
        words.append("HIPAA: the purpose is not permitted.")
    else:
        words.append(f"HIPAA: needs an authorization; it {_PERMISSION[standing.authorization]}.")
    if standing.restricted:
        words.append("Processing is restricted: nothing may be processed, under any law.")
    if standing.objected:
        words.append("The subject objected: this stops public task and legitimate interests.")
    if standing.opted_out:
        stops = "stops" if purpose.ccpa_opt_out else "does not stop"
        words.append(f"CCPA: the consumer opted out, which {stops} this purpose.")
    return words


def _line(row: dict[str, Any], batch: Batch) -> RecordLine:
    valid_from: datetime = row["valid_from"]
    deferred = bool(row["backdated"]) and row["action"] in PERMITTING
    return RecordLine(
        position=batch.position,
        log_index=batch.log_index,
        recorded_at=batch.recorded_at,
        action=str(row["action"]),
        purpose=str(row["purpose"]),
        valid_from=valid_from,
        valid_to=row["valid_to"],
        collected_at=row["collected_at"],
        backdated=bool(row["backdated"]),
        counts_from=max(valid_from, batch.recorded_at) if deferred else valid_from,
        notice_version=row["notice_version"],
        channel=row["channel"],
        given_by=row["given_by"],
        defect=row["defect"],
    )
