"""Suspensions of an accounting: 45 CFR 164.528(a)(2).

A health oversight agency or a law enforcement official may state that an accounting of what was disclosed to it would be
likely to impede its work, and until when. The statement is a step of the accounting request that it is about. What is
suspended is left out of the individual's accounting, which does not tell that anything is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from governance.errors import AccessError
from governance.model.canonical import instant, timestamp
from governance.model.request import SubjectRequest
from governance.model.statements import REQUEST
from governance.pipeline.workspace import Workspace
from governance.rights.requests import Entries, read_requests, request_named

ROLES = ("health_oversight", "law_enforcement")
"""What a recipient is to the policy that may ask for it."""

ORAL_DAYS = 30
"""164.528(a)(2)(ii)(C): an oral statement suspends no longer."""

_STEP = "suspended"


def suspend_accounting(
    workspace: Workspace, name: str, recipient: str, *, until: datetime, written: bool, by: str
) -> SubjectRequest:
    """State that the accounting of disclosures to ``recipient`` is suspended for one request.

    Args:
        until: aware; of an oral statement at most :data:`ORAL_DAYS` days ahead.
        by: who states it, as the system knows them.

    Raises:
        AccessError: GOV-607 for a request that is no accounting or is decided, for a recipient that is no such agency,
            or for a time that the law does not allow. LogError: GOV-50x.
    """
    request, now = request_named(workspace.log, name), workspace.clock()
    if request.kind != "accounting":
        raise _refused(f"request {name} asks for no accounting", "name the accounting request it is about")
    if request.decision is not None:
        raise _refused(
            f"request {name} is decided: {request.decision}", "a suspension comes before the accounting"
        )
    to = workspace.policy.recipients.get(recipient)
    if to is None or to.hipaa_role not in ROLES:
        raise _refused(
            f"{recipient} is no health oversight agency or law enforcement official in the policy",
            f"give the recipient one of the hipaaRole {', '.join(ROLES)}",
        )
    if until <= now or (not written and until > now + timedelta(days=ORAL_DAYS)):
        raise _refused(
            f"an accounting is suspended until a time ahead, of an oral statement at most {ORAL_DAYS} days",
            "give --until as the agency states it; a longer time needs a written statement (164.528(a)(2)(ii))",
        )
    workspace.append_json(
        {
            "v": 1,
            "request": name,
            "step": _STEP,
            "at": timestamp(now),
            "by": by,
            "recipient": recipient,
            "until": timestamp(until),
            "statement": "written" if written else "oral",
        },
        REQUEST,
    )
    workspace.log.checkpoint()
    return request_named(workspace.log, name)


def suspended_recipients(log: Entries, now: datetime, request: str | None) -> dict[str, str]:
    """Recipients whose disclosures are left out now, with until when, for one request.

    Raises:
        AccessError: GOV-607 for an unknown request, or for none where a suspension is in force: it may be about it.
    """
    known = read_requests(log)
    if request is not None:
        request_named(log, request)
    found: dict[str, str] = {}
    for name, each in known.items():
        if each.kind != "accounting" or (request is not None and name != request):
            continue
        for step in each.steps:
            if step["step"] == _STEP and instant(step["until"]) > now:
                found[step["recipient"]] = max(step["until"], found.get(step["recipient"], ""))
    if found and request is None:
        raise _refused(
            "accountings are suspended, and no request is named", "name it by --request: only its own count"
        )
    return found


def _refused(message: str, remedy: str) -> AccessError:
    return AccessError("GOV-607", message, remedy)
