"""A data subject's request as the steps in the log make it: a fold, and the clock that its law sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from governance.model.canonical import instant, timestamp
from governance.model.clocks import statutory_clock

IDENTITY = ("verified", "refuted", "more-asked")
DECISIONS = ("granted", "partly-granted", "refused", "withdrawn")

ROLES = ("service-provider", "contractor", "third-party", "recipient")
"""Whom a request is passed on to (Cal. Code Regs. tit. 11, 7022(b), 7026(f); GDPR Art. 19)."""


@dataclass(slots=True)
class SubjectRequest:
    """A request as the log has it. Instants are aware; ``due_at`` is ``None`` while its clock waits.

    ``identity`` is *not checked* or of :data:`IDENTITY`; ``decision`` of :data:`DECISIONS` or ``None``.
    ``steps`` are the leaves, with their ``log_index``; ``told`` those that say to whom the request was passed on, or
    why it could not be. ``manner`` is how the request came, ``reason`` the decision's.
    """

    name: str
    kind: str
    regime: str
    domain: str
    received_at: datetime
    identity: str = "not checked"
    verified_at: datetime | None = None
    extended: str | None = None
    holds: list[dict[str, str]] = field(default_factory=list)
    decision: str | None = None
    decided_at: datetime | None = None
    evidence: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    conflicting: int = 0
    manner: str | None = None
    confirmed_at: datetime | None = None
    reason: str | None = None
    told: list[dict[str, Any]] = field(default_factory=list)

    def due_at(self) -> datetime | None:
        """When the answer is due, by the clock of its regime.

        Raises:
            SettingError: GOV-901 when the regime has no such clock any more.
        """
        clock = statutory_clock(self.regime, self.kind)
        return clock.due(self.received_at, verified_at=self.verified_at, extended=self.extended is not None)

    def overdue(self, now: datetime) -> bool:
        """Whether it was decided after it was due, or is not decided and was due before now."""
        due = self.due_at()
        return due is not None and (self.decided_at or now) > due

    def to_json(self, now: datetime) -> dict[str, Any]:
        """As commands show it."""
        due = self.due_at()
        return {
            "request": self.name,
            "kind": self.kind,
            "regime": self.regime,
            "domain": self.domain,
            "received_at": timestamp(self.received_at),
            "identity": self.identity,
            "due_at": timestamp(due) if due else None,
            "days_left": None if due is None or self.decision else (due - now).days,
            "overdue": self.overdue(now),
            "extended": self.extended,
            "holds": self.holds,
            "decision": self.decision,
            "decided_at": timestamp(self.decided_at) if self.decided_at else None,
            "law": statutory_clock(self.regime, self.kind).law,
            "evidence": self.evidence,
            "conflicting": self.conflicting,
            "manner": self.manner,
            "confirmed_at": timestamp(self.confirmed_at) if self.confirmed_at else None,
            "reason": self.reason,
            "told": [{k: step.get(k) for k in ("recipient", "role", "impossible")} for step in self.told],
        }


def take_step(found: dict[str, SubjectRequest], step: Mapping[str, Any]) -> None:
    """Fold one leaf, with its ``log_index``, into the state of its request.

    A step that does not fit the state it comes upon (a second decision) changes nothing and is counted as
    ``conflicting``; a step of no request is left out.

    Raises:
        KeyError, TypeError, ValueError: for a body that is no step of a request.
    """
    name, at = str(step.get("request")), step["at"]
    request = found.get(name)
    if step["step"] == "opened":
        if request is None:
            found[name] = SubjectRequest(
                name, step["kind"], step["regime"], step["domain"], instant(step["received_at"]), steps=[dict(step)],
                manner=step.get("manner"),
            )  # fmt: skip
        else:
            request.conflicting += 1
        return
    if request is None:
        return
    request.steps.append(dict(step))
    if step["step"] == "told":
        # Others are told once it is decided, so this is the one step that may follow a decision.
        request.told.append(dict(step))
    elif request.decision is not None or (step["step"] == "extended" and request.extended is not None):
        request.conflicting += 1
    elif step["step"] == "confirmed":
        request.confirmed_at = request.confirmed_at or instant(at)
    elif step["step"] == "identity":
        request.identity = step["result"]
        request.verified_at = instant(at) if step["result"] == "verified" else None
    elif step["step"] == "extended":
        request.extended = step["reason"]
    elif step["step"] == "decided":
        request.decision, request.decided_at = step["decision"], instant(at)
        request.reason, request.holds, request.evidence = step.get("reason"), step["holds"], step["evidence"]
