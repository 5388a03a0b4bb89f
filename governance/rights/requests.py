"""The register of data subjects' requests: one leaf of the log a step, folded into the state of each.

Nothing here says who asks: a request goes by the name under which it is filed. Its steps are stated by people,
in the order of the log; the clock is computed from what was received and extended, whenever it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from governance.errors import AccessError
from governance.model.canonical import instant, parse, timestamp
from governance.pipeline.workspace import Workspace
from governance.rights.clocks import statutory_clock

REQUEST = "application/vnd.governance.request+json"
"""The log's media type of a step of a request."""

IDENTITY = ("verified", "refuted", "more-asked")
DECISIONS = ("granted", "partly-granted", "refused", "withdrawn")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EVIDENCE = re.compile(r"sha256:[0-9a-f]{64}|log:[0-9]{1,15}|[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class Entries(Protocol):
    """What is needed of the log."""

    def entries(self, start: int = 0, stop: int | None = None) -> Any: ...


@dataclass(slots=True)
class SubjectRequest:
    """A request as the log has it. Instants are aware; ``due_at`` is ``None`` while its clock waits.

    ``identity`` is *not checked* or of :data:`IDENTITY`; ``decision`` of :data:`DECISIONS` or ``None``.
    ``steps`` are the leaves, with their ``log_index``.
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
        }


def read_requests(log: Entries) -> dict[str, SubjectRequest]:
    """Every request of the log, by name, in the order they were opened: a pure function of the log.

    A step that does not fit the state it comes upon (a second decision, a step of no request) changes nothing
    and is counted as ``conflicting``.
    """
    found: dict[str, SubjectRequest] = {}
    for entry in log.entries():
        if entry.envelope.media_type == REQUEST and entry.body is not None:
            _fold(found, {**parse(entry.body), "log_index": entry.index})
    return found


def open_request(
    workspace: Workspace,
    name: str,
    *,
    kind: str,
    regime: str,
    domain: str,
    by: str,
    received_at: datetime | None = None,
) -> SubjectRequest:
    """Enter a request into the register.

    Args:
        name: letters, digits, ``_`` and ``-``; it stands in the log, so no personal data.
        received_at: when it came in, which may be earlier than it is entered.

    Raises:
        AccessError: GOV-607 for a malformed name, one that is taken, or a receipt in the future.
        SettingError: GOV-901 for a regime or a kind without a clock. LogError: GOV-50x.
    """
    if not _NAME.fullmatch(name):
        raise _refused(
            "a request's name is 1 to 64 letters, digits, _ and -", "give it the number of its file"
        )
    statutory_clock(regime, kind)
    now = workspace.clock()
    received = received_at or now
    if received > now:
        raise _refused("a request cannot have been received in the future", "give the instant it came in")
    if name in read_requests(workspace.log):
        raise _refused(f"there is a request {name} already", "give this one a name of its own")
    said = {"kind": kind, "regime": regime, "domain": domain, "received_at": timestamp(received)}
    return _step(workspace, name, "opened", by, said)


def check_identity(workspace: Workspace, name: str, result: str, *, method: str, by: str) -> SubjectRequest:
    """State the outcome of a check of who asks, of :data:`IDENTITY`, and how it was made.

    Raises:
        AccessError: GOV-607. LogError: GOV-50x.
    """
    _known(result, IDENTITY, "result of an identity check")
    _undecided(workspace, name)
    return _step(workspace, name, "identity", by, {"result": result, "method": _words(method, "method")})


def extend(workspace: Workspace, name: str, *, reason: str, by: str) -> SubjectRequest:
    """Take the extension that the law allows, once, before the period ends, and for a stated reason.

    Raises:
        AccessError: GOV-607 when it was taken, the period is over, or the law knows none. LogError: GOV-50x.
    """
    request = _undecided(workspace, name)
    clock = statutory_clock(request.regime, request.kind)
    if clock.extension is None:
        raise _refused(f"{clock.law} knows no extension", "decide the request in time")
    if request.extended is not None:
        raise _refused(f"request {name} was extended already", "decide it: there is no second extension")
    if request.overdue(workspace.clock()):
        raise _refused(
            f"the period of request {name} is over, so it can no longer be extended ({clock.law})",
            "decide it now and say why it is late",
        )
    return _step(workspace, name, "extended", by, {"reason": _words(reason, "reason")})


def decide(
    workspace: Workspace, name: str, decision: str, *, reason: str, evidence: Sequence[str], by: str
) -> SubjectRequest:
    """Decide a request. The legal holds of the policy that cover its domain then are stated with it.

    Args:
        evidence: what carries it out or explains it: digests, ``log:INDEX`` or names of reports and erasures.

    Raises:
        AccessError: GOV-607 when it is decided, or is granted though who asks was not verified.
        LogError: GOV-50x.
    """
    _known(decision, DECISIONS, "decision")
    request = _undecided(workspace, name)
    if (
        decision in ("granted", "partly-granted")
        and request.kind != "opt-out"
        and request.identity != "verified"
    ):
        raise _refused(
            f"request {name} cannot be granted: who asks is {request.identity}",
            f"`governance request verify {name}` states the check; an opt-out needs none",
        )  # fmt: skip
    if bad := [each for each in evidence if not _EVIDENCE.fullmatch(each)]:
        raise _refused(
            f"{len(bad)} of the evidence are no digests, log entries or names", "give sha256:…, log:7, DSR-1"
        )
    day = workspace.clock().date()
    holds = [
        {"regime": hold.regime, "ground": hold.ground, "until": hold.until.isoformat() if hold.until else ""}
        for hold in workspace.policy.legal_holds
        if (not hold.domains or request.domain in hold.domains) and (hold.until is None or day <= hold.until)
    ]
    return _step(
        workspace, name, "decided", by,
        {"decision": decision, "reason": _words(reason, "reason"), "evidence": list(evidence), "holds": holds},
    )  # fmt: skip


def request_named(log: Entries, name: str) -> SubjectRequest:
    """A request by name. Raises AccessError GOV-607 when the log has none."""
    found = read_requests(log).get(name)
    if found is None:
        raise _refused(f"the register has no request {name}", "`governance request list` names them")
    return found


def _fold(found: dict[str, SubjectRequest], step: Mapping[str, Any]) -> None:
    name, at = str(step.get("request")), step["at"]
    request = found.get(name)
    if step["step"] == "opened":
        if request is None:
            found[name] = SubjectRequest(
                name, step["kind"], step["regime"], step["domain"], instant(step["received_at"]), steps=[dict(step)]
            )  # fmt: skip
        else:
            request.conflicting += 1
        return
    if request is None:
        return
    request.steps.append(dict(step))
    if request.decision is not None or (step["step"] == "extended" and request.extended is not None):
        request.conflicting += 1
    elif step["step"] == "identity":
        request.identity = step["result"]
        request.verified_at = instant(at) if step["result"] == "verified" else None
    elif step["step"] == "extended":
        request.extended = step["reason"]
    elif step["step"] == "decided":
        request.decision, request.decided_at = step["decision"], instant(at)
        request.holds, request.evidence = step["holds"], step["evidence"]


def _step(workspace: Workspace, name: str, step: str, by: str, said: Mapping[str, Any]) -> SubjectRequest:
    at = timestamp(workspace.clock())
    workspace.append_json({"v": 1, "request": name, "step": step, "at": at, "by": by, **said}, REQUEST)
    workspace.log.checkpoint()
    return request_named(workspace.log, name)


def _undecided(workspace: Workspace, name: str) -> SubjectRequest:
    request = request_named(workspace.log, name)
    if request.decision is not None:
        raise _refused(f"request {name} is decided: {request.decision}", "open a new request for what is new")
    return request


def _known(given: str, known: Sequence[str], what: str) -> None:
    if given not in known:
        raise _refused(f"that is no {what}", f"use one of {', '.join(known)}")


def _words(text: str, what: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 500:
        raise _refused(f"a {what} is needed, in one line", "say it briefly, without personal data")
    return text.strip()


def _refused(message: str, remedy: str) -> AccessError:
    return AccessError("GOV-607", message, remedy)
