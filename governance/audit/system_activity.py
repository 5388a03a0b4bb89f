"""What happened in the system, entry by entry: who sent it, of what kind, how it ended (45 CFR 164.312(b)).

Everything is tallied by day, sender, kind and outcome. What a review looks at one by one is kept as an :class:`Action`;
the traffic of lineage, and the stages within a run, are in the tally alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from governance.lineage.reading import ReadEvent
from governance.lineage.signatures import Observed, Verdict
from governance.log.envelope import Envelope
from governance.log.log import OPENLINEAGE_EVENT
from governance.model.evidence import Stage

_LEAF = "application/vnd.governance."

LEAVES: Mapping[str, str] = MappingProxyType(
    {
        f"{_LEAF}{name}": kind
        for name, kind in (
            ("genesis+json", "log_opened"),
            ("contract+yaml", "contract_recorded"),
            ("policy+yaml", "policy_recorded"),
            ("consent-batch+json", "consent_imported"),
            ("redaction+json", "entry_redacted"),
            ("timestamp+json", "log_timestamped"),
            ("key-rotation+json", "log_key_rotated"),
            ("archive+json", "log_archived"),
            ("prune+json", "log_pruned"),
            ("tombstone+json", "subject_suppressed"),
            ("token+json", "token_made"),
            ("token-revocation+json", "token_revoked"),
            ("access+json", "subject_or_body_looked_up"),
            ("read+json", "version_read"),
            ("request+json", "request_step"),
            ("classification-correction+json", "classification_corrected"),
            ("erasure-approval+json", "erasure_approved"),
            ("keys+json", "keys_managed"),
            ("landing+json", "rows_landed"),
            ("observed+json", "refusal_observed_only"),
            ("quarantine-expiry+json", "quarantine_expired"),
            ("pointer-restored+json", "pointer_restored"),
            ("training+json", "model_trained"),
            ("clock+json", "clock_ran_out"),
            ("disclosure-membership-expired+json", "membership_expired"),
            ("inventory+json", "storage_listed"),
            ("tombstone-replay+json", "tombstone_replayed"),
            ("readmission+json", "subject_readmitted"),
        )
    }
)
"""The kind of each leaf that is no event, by media type."""

STAGES: Mapping[Stage, str] = MappingProxyType(
    {
        Stage.APPROVE: "release_approved",
        Stage.RELEASE: "release",
        Stage.DISCLOSE: "disclosure",
        Stage.ERASURE: "erasure_step",
        Stage.KEY_GRANT: "keys_asked_for",
        Stage.SIGN_OFF: "report_signed_off",
    }
)
"""The kind of each stage's evidence that is reviewed one by one."""

EVENT, STAGE, CLAIM, TASK = "lineage_event", "stage_evidence", "claimed_evidence", "task"
DONE, FAILED, NOT_PROVEN, UNREADABLE, REDACTED = "done", "failed", "not_proven", "unreadable", "redacted"


@dataclass(frozen=True, slots=True)
class Action:
    """One entry that is reviewed by itself. ``signed``: by the evidence key, or by a run's.

    ``said`` are context and facts of evidence, or the members of a leaf; they may hold what no report shows.
    """

    index: int
    received_at: str
    principal: str
    kind: str
    outcome: str
    signed: bool
    said: Mapping[str, Any]


@dataclass(slots=True)
class SystemActivity:
    """``tally`` counts entries by (day, sender, kind, outcome); ``first`` is each sender's first entry, starts of tasks
    left out."""

    tally: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    actions: list[Action] = field(default_factory=list)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)

    def note(
        self,
        index: int,
        envelope: Envelope,
        body: bytes | None,
        event: ReadEvent | None,
        verdict: Verdict | None,
    ) -> None:
        """Take in an entry; of an event also what was read of it, and how its evidence was judged."""
        sender = envelope.principal
        # A bundle with a start and without its end would read as a task that never ended.
        if event is None or event.event_type != "START":
            self.first.setdefault(sender, (index, envelope.received_at))
        kind, outcome, said = _seen(envelope.media_type, body, event, verdict)
        self.tally[envelope.received_at[:10], sender, kind, outcome] += 1
        if said is not None:
            signed = isinstance(verdict, Observed)
            self.actions.append(Action(index, envelope.received_at, sender, kind, outcome, signed, said))

    def between(self, start: str | None, end: str | None) -> Iterator[Action]:
        """The actions that the log received in a period, both ends included; an end of ``None`` is open."""
        for action in self.actions:
            if (start is None or start <= action.received_at) and (end is None or action.received_at <= end):
                yield action

    def counted(self, start: str | None, end: str | None) -> Iterator[tuple[tuple[str, str, str], int]]:
        """The tally of the days of a period, by (sender, kind, outcome)."""
        first, last = (start or "")[:10], (end or "9")[:10]
        for (day, *what), number in self.tally.items():
            if first <= day <= last:
                yield (what[0], what[1], what[2]), number


def _seen(
    media_type: str, body: bytes | None, event: ReadEvent | None, verdict: Verdict | None
) -> tuple[str, str, Mapping[str, Any] | None]:
    """The kind, the outcome, and what was said where it is reviewed by itself."""
    if media_type != OPENLINEAGE_EVENT:
        return _leaf(LEAVES.get(media_type, "other_entry"), body)
    if event is None:
        return EVENT, REDACTED if body is None else UNREADABLE, None
    if isinstance(verdict, Observed):
        kind = STAGES.get(verdict.stage)
        if kind is None:
            return STAGE, DONE, None
        said = {**verdict.context, **verdict.facts}
        return kind, str(said.get("state") or said.get("decision") or DONE), said
    if verdict is not None:
        return CLAIM, NOT_PROVEN, {"claimed": verdict.stage.value if verdict.stage else None}
    if event.event_type in ("FAIL", "ABORT"):
        return TASK, FAILED, {"job": ".".join(event.job) if event.job else None}
    return EVENT, DONE, None


def _leaf(kind: str, body: bytes | None) -> tuple[str, str, Mapping[str, Any] | None]:
    if kind == "log_opened":
        return kind, DONE, None
    if body is None:
        return kind, REDACTED, {}
    if kind in ("contract_recorded", "policy_recorded"):
        return kind, DONE, {}
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    return (kind, DONE, said) if isinstance(said, dict) else (kind, UNREADABLE, {})
