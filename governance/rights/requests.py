"""The register of data subjects' requests: one leaf of the log a step, folded into the state of each.

Nothing here says who asks: a request goes by the name under which it is filed. Its steps are stated by people,
in the order of the log; the clock is computed from what was received and extended, whenever it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from governance.errors import AccessError
from governance.model.canonical import parse, timestamp
from governance.model.clocks import statutory_clock
from governance.model.request import DECISIONS, IDENTITY, ROLES, take_step
from governance.model.request import SubjectRequest as SubjectRequest
from governance.model.statements import REQUEST as REQUEST
from governance.pipeline.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EVIDENCE = re.compile(r"sha256:[0-9a-f]{64}|log:[0-9]{1,15}|[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class Entries(Protocol):
    """What is needed of the log."""

    def entries(self, start: int = 0, stop: int | None = None) -> Any: ...


def read_requests(log: Entries) -> dict[str, SubjectRequest]:
    """Every request of the log, by name, in the order they were opened: a pure function of the log.

    A step that does not fit the state it comes upon (a second decision, a step of no request) changes nothing
    and is counted as ``conflicting``.
    """
    found: dict[str, SubjectRequest] = {}
    for entry in log.entries():
        if entry.envelope.media_type == REQUEST and entry.body is not None:
            take_step(found, {**parse(entry.body), "log_index": entry.index})
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
    manner: str | None = None,
) -> SubjectRequest:
    """Enter a request into the register.

    Args:
        name: letters, digits, ``_`` and ``-``; it stands in the log, so no personal data.
        manner: how it was made, such as a web form (Cal. Code Regs. tit. 11, 7101(b)).
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
    if manner is not None:
        said["manner"] = _words(manner, "manner")
    return _step(workspace, name, "opened", by, said)


def confirm(workspace: Workspace, name: str, *, by: str) -> SubjectRequest:
    """State that receipt was confirmed to who asks (Cal. Code Regs. tit. 11, 7021(a)).

    Raises:
        AccessError: GOV-607 when it is decided already. LogError: GOV-50x.
    """
    _undecided(workspace, name)
    return _step(workspace, name, "confirmed", by, {})


def tell(
    workspace: Workspace, name: str, recipient: str, role: str, *, by: str, impossible: str | None = None
) -> SubjectRequest:
    """State that a request was passed on to somebody who has the data, of a role in :data:`ROLES`.

    Args:
        recipient: the name the policy has; no person.
        impossible: why it could not be, or only with disproportionate effort; then nobody was told.

    Raises:
        AccessError: GOV-607. LogError: GOV-50x.
    """
    request_named(workspace.log, name)
    _known(role, ROLES, "role")
    said = {"recipient": _words(recipient, "recipient"), "role": role}
    if impossible is not None:
        said["impossible"] = _words(impossible, "reason")
    return _step(workspace, name, "told", by, said)


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
