"""Every request that the log has a tombstone of: how far it is, and how long it may still take."""

from __future__ import annotations

from functools import partial
from typing import Any

from governance.keys.providers.provider import provider_for
from governance.model.canonical import instant
from governance.pipeline.workspace import Workspace
from governance.rights.erasing import record_destruction, stated_tombstones
from governance.rights.facts import erasure_facts, erasure_steps, facts_of
from governance.rights.plan import now


def erasure_status(workspace: Workspace) -> list[dict[str, Any]]:
    """Requests in log order, with ``days_left`` until the policy's deadline where they are not at their end.

    A key provider that had not confirmed a destruction is asked again; what it says now is recorded.
    """
    listed, present = [], now(workspace)
    asked = partial(provider_for, passphrase=workspace.settings.passphrase)
    stones = list(stated_tombstones(workspace))
    log, first = workspace.log, min((said["log_index"] for said in stones), default=0)
    steps = erasure_steps(log, start=first) if stones else []
    for said in stones:
        name = said["request"]
        facts = facts_of(log, name, [step for step in steps if name in step.requests])
        if facts is not None and facts["state"] == "pending":
            workspace.keyring.confirm(asked)
            if record_destruction(workspace, name, facts["destroyed"][-1]):
                facts = erasure_facts(log, name)
        if facts is None:
            continue
        open_ = facts["state"] in ("requested", "suppressed", "held")
        listed.append(
            {
                **{
                    name: facts[name]
                    for name in ("request", "state", "subjects", "held", "requested_at", "due_at")
                },
                "days_left": (instant(facts["due_at"]) - present).days if open_ else None,
                "late": facts["late"] or (open_ and present > instant(facts["due_at"])),
                "pending": "; ".join(facts["pending"]),
            }
        )
    return listed
