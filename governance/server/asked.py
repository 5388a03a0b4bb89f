"""What several routes ask alike: the log size to answer for, who may ask, and leaving a trace of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from governance.errors import AccessError
from governance.lineage.index.index import Index
from governance.log import NewEntry
from governance.model.canonical import canonical, timestamp
from governance.server.access import allow
from governance.server.served import ServedStore
from governance.server.tokens import Caller

ACCESS = "application/vnd.governance.access+json"
"""The media type of a leaf that says who looked at what, and why."""

AsOf = Annotated[int | None, Query(ge=0, le=2**62, description="A log size: only entries before it count.")]
Reason = Annotated[
    str, Query(max_length=500, description="Why you ask. It stands in the log, with your name.")
]


def auditor(request: Request) -> Caller:
    """A caller who may audit the whole log.

    Raises:
        AccessError: GOV-610, GOV-611 without the scope or with a token of some namespaces only.
    """
    caller = allow("audit")(request)
    if caller.namespaces is not None:
        raise AccessError(
            "GOV-611",
            "the log holds all namespaces and the token sees some",
            "use an audit token that was made without --namespace",
        )
    return caller


Auditor = Annotated[Caller, Depends(auditor)]


def bounded(index: Index, as_of: int | None) -> int:
    """The log size that a question is about: what was asked, or all there is."""
    return index.size if as_of is None else min(as_of, index.size)


def leave_trace(served: ServedStore, caller: Caller, what: Mapping[str, Any], reason: str) -> int:
    """Say in the log who looks at what and why, before it is shown; returns the entry's index.

    Raises:
        AccessError: GOV-613 without a reason.
        LogError: GOV-501, GOV-510: what cannot be logged is not shown.
    """
    if not reason.strip() or not reason.isprintable():
        raise AccessError(
            "GOV-613", "the question states no reason", "add ?reason=… : why you ask; it stands in the log"
        )
    record = {
        "v": 1,
        "id": str(uuid.uuid4()),
        "at": timestamp(served.clock()),
        "caller": caller.name,
        "token_id": caller.token_id,
        "what": dict(what),
        "reason": reason.strip(),
    }
    [index] = served.group.submit([NewEntry(canonical(record), ACCESS, caller.principal("audit"))]).result()
    return index
