"""What an accounting of disclosures to one individual is asked of the log: which disclosures hold them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.lineage import Index
from governance.model.canonical import timestamp
from governance.pipeline.workspace import Workspace
from governance.rights.holdings import dataset_names
from governance.rights.membership import (
    HELD,
    NOT_HELD,
    DatasetMembership,
    datasets_of,
    disclosures_holding,
    find_members,
)
from governance.rights.receipt import known_subject
from governance.rights.subject_lineage import ACCESS
from governance.rights.suspensions import suspended_recipients


@dataclass(frozen=True, slots=True)
class AccountingAnswer:
    """``asked`` are the report's parameters; ``suspended`` recipients have disclosures that are left out, until when."""

    asked: dict[str, Any]
    suspended: dict[str, str]


def accounting_of(
    workspace: Workspace, domain: str, identifier: str, *, request: str | None = None, by: str | None = None
) -> AccountingAnswer:
    """Which disclosures hold one individual, and of which it cannot be told.

    Each disclosure's own membership answers; where none is kept, its version does, and what that cannot say is unsure.
    That it is asked stands in the log before the answer does; of whom does not. A service leaves its own trace.

    Args:
        request: the accounting request in the register; its suspensions leave disclosures out.
        by: who asks, as the system knows them; ``None`` where whoever calls leaves the trace.

    Raises:
        ConsentError: GOV-203 for an individual the vault does not know. AccessError: GOV-607 for an unknown request,
            or for none where a suspension is in force. StorageError: GOV-72x. LogError: GOV-50x.
    """
    suspended = suspended_recipients(workspace.log, workspace.clock(), request)
    ordinal = known_subject(workspace, domain, identifier)
    if by is not None:
        _leave_trace(workspace, domain, request, by)
    internal = workspace.vault.internal(domain)[[ordinal]]
    kept = disclosures_holding(workspace, internal)
    own = {
        dataset: find_members(workspace, dataset, manifests, internal)
        for dataset, _, manifests in datasets_of(workspace, domain)
    }
    others = set(dataset_names(workspace)) - set(own)
    held, unsure, withheld = [], [], {}
    index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
    try:
        rows = [row for row in index.evidence(stage="disclose") if row["basis"] == "observed"]
    finally:
        index.close()
    for row in rows:
        facts = row["facts"]
        name, recipient = facts["disclosure_id"], facts["recipient"]["name"]
        state = _state(kept.get(name), str(row["dataset"]), str(row["version"]), own, others)
        if state == NOT_HELD:
            continue
        if recipient in suspended:
            withheld[recipient] = suspended[recipient]
        elif state == HELD:
            held.append(name)
        else:
            unsure.append(name)
    return AccountingAnswer(
        {
            "subject": internal[0].tobytes().hex(),
            "disclosures": sorted(set(held)),
            "unsure": sorted(set(unsure)),
            **({"request": request} if request else {}),
        },
        withheld,
    )


def _state(
    kept: bool | None,
    dataset: str,
    version: str,
    own: Mapping[str, DatasetMembership],
    others: set[str],
) -> str:
    """Whether a disclosure holds the individual: by its own membership, else by its version."""
    if kept is not None:
        return HELD if kept else NOT_HELD
    if dataset in others:
        return NOT_HELD
    found = own.get(dataset)
    state = found.states.get(version) if found else None
    # A disclosure holds nobody whom its version does not; of whom it holds, consent may have withheld some.
    return NOT_HELD if state == NOT_HELD else "unsure"


def _leave_trace(workspace: Workspace, domain: str, request: str | None, by: str) -> None:
    workspace.append_json(
        {
            "v": 1,
            "id": str(uuid.uuid4()),
            "at": timestamp(workspace.clock()),
            "caller": by,
            "token_id": None,
            "what": {"kind": "accounting of disclosures", "domain": domain},
            "reason": f"accounting request {request}" if request else "45 CFR 164.528",
        },
        ACCESS,
    )
