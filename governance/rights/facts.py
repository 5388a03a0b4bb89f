"""What the log says of an erasure: the data of a certificate, and nothing but the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from governance.lineage.index.index import genesis_evidence_key
from governance.lineage.signatures import Observed, RunKeys, verify_evidence
from governance.model.canonical import instant, parse
from governance.model.erasure import GROUNDS, TOMBSTONE
from governance.model.evidence import Stage

_MARK = b'"governance_erasure"'
_OF_RELEASE = (b'"governance_open"', b'"governance_release"')


class ReadableLog(Protocol):
    """What is needed of the log."""

    def size(self) -> int: ...

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Any]: ...

    @property
    def storage(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class ErasureStep:
    """One step as evidence has it: the ``requests`` it serves, ``facts`` as signed, and when the log took it in."""

    log_index: int
    requests: tuple[str, ...]
    received_at: str
    facts: dict[str, Any]


def erasure_steps(log: ReadableLog, request: str | None = None, *, start: int = 0) -> list[ErasureStep]:
    """Every observed step, of one request or of all, in log order. What is only declared does not count."""
    key = genesis_evidence_key(log)
    found = []
    for entry in log.entries(start):
        if entry.body is None or _MARK not in entry.body:
            continue
        verdict = verify_evidence(entry, evidence_public_key=key)
        if isinstance(verdict, Observed) and verdict.stage is Stage.ERASURE:
            requests = tuple(verdict.context.get("requests", ()))
            if request is None or request in requests:
                received_at = entry.envelope.received_at
                found.append(ErasureStep(entry.index, requests, received_at, dict(verdict.facts)))
    return found


def erasure_facts(log: ReadableLog, request: str) -> dict[str, Any] | None:
    """What a certificate of erasure states, as a pure function of the log.

    Returns:
        ``None`` when the log knows no such request. Else ``request``, ``ground`` with its provision,
        ``requested_at`` and ``due_at``, counts of ``subjects``, ``unknown``, ``erased_before`` and ``held``,
        ``suppressed_at`` (reads, disclosures and passes leave the subjects out since), ``rewritten`` versions,
        ``destroyed`` keys and what of the provider's word is ``pending``, ``searched`` places,
        ``derived``, ``recipients``, ``holds``, ``remains``, and ``state``: ``requested``, ``suppressed``,
        ``held``, ``pending`` (all done but for the provider's word), ``complete`` or ``nothing known``. Every
        part cites the log: ``evidence`` are indexes. ``late`` is whether it took longer than the policy allows.
    """
    return facts_of(log, request, erasure_steps(log, request))


def facts_of(log: ReadableLog, request: str, steps: list[ErasureStep]) -> dict[str, Any] | None:
    """As :func:`erasure_facts`, of the steps that are the request's."""
    if not steps:
        return None
    by_state: dict[str, list[ErasureStep]] = {}
    for step in steps:
        by_state.setdefault(step.facts["state"], []).append(step)
    asked = by_state.get("requested", steps)[0]
    destroyed, searched = by_state.get("destroyed", []), by_state.get("searched", [])
    suppressed = by_state.get("suppressed", [])
    ended = next((step for step in reversed(searched) if step.facts.get("complete")), None)
    due = asked.facts.get("due_at")
    last = destroyed[-1].facts.get("destruction", {}) if destroyed else {}
    return {
        "request": request,
        "ground": {
            "code": asked.facts.get("ground"),
            "provision": GROUNDS.get(asked.facts.get("ground", "")),
        },
        "state": _state(asked, suppressed, ended, last),
        "domain": asked.facts.get("domain"),
        "requested_at": asked.facts.get("requested_at"),
        "due_at": due,
        "suppressed_at": suppressed[0].received_at if suppressed else None,
        "completed_at": ended.received_at if ended else None,
        "pending": list(last.get("pending", [])),
        "late": bool(due and ended and instant(ended.received_at) > instant(due)),
        **{name: asked.facts.get(name, 0) for name in ("subjects", "unknown", "erased_before")},
        "held": (ended or (suppressed or [asked])[-1]).facts.get("held", 0),
        **{name: asked.facts.get(name, []) for name in ("datasets", "derived", "recipients")},
        **{name: (ended or asked).facts.get(name, []) for name in ("holds", "remains")},
        "rewritten": _rewritten(log, by_state.get("rewritten", []), asked.log_index),
        "destroyed": [_cited(step) for step in destroyed],
        "searched": _cited(searched[-1]) if searched else None,
        "tombstone": asked.facts.get("tombstone"),
        "tombstone_known": _has_tombstone(log, asked.facts.get("tombstone"), request),
        "evidence": [step.log_index for step in steps],
    }


def _state(
    asked: ErasureStep, suppressed: list[ErasureStep], ended: ErasureStep | None, last: dict[str, Any]
) -> str:
    if not asked.facts.get("subjects"):
        return "nothing known"
    if not suppressed:
        return "requested"
    if ended is None:
        return "suppressed"
    if ended.facts.get("held"):
        return "held"
    return "complete" if last.get("confirmed", True) else "pending"


def _cited(step: ErasureStep) -> dict[str, Any]:
    return {"log_index": step.log_index, "at": step.received_at, **step.facts}


def _rewritten(log: ReadableLog, steps: list[ErasureStep], start: int) -> list[dict[str, Any]]:
    """The rewriting steps, and of each version whether it was released: another release may have come first."""
    if not any("version" in step.facts for step in steps):
        return [_cited(step) for step in steps]
    key, keys, released = genesis_evidence_key(log), RunKeys(), set()
    for entry in log.entries(start):
        if entry.body is None or not any(mark in entry.body for mark in _OF_RELEASE):
            continue
        verdict = verify_evidence(entry, evidence_public_key=key, run_keys=keys)
        if isinstance(verdict, Observed) and verdict.stage is Stage.OPEN:
            keys.admit(verdict)
        elif isinstance(verdict, Observed) and verdict.facts.get("state") == "released":
            released.add(verdict.context["version"])
    return [
        {
            **_cited(step),
            **({"released": step.facts["version"] in released} if "version" in step.facts else {}),
        }
        for step in steps
    ]


def _has_tombstone(log: ReadableLog, index: int | None, request: str) -> bool:
    """Whether the entry that the evidence cites is the tombstone of this request."""
    if index is None or index >= log.size():
        return False
    for entry in log.entries(index, index + 1):
        if entry.envelope.media_type == TOMBSTONE and entry.body is not None:
            return bool(parse(entry.body).get("request") == request)
    return False
