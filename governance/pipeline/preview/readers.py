"""Who could read a version, and who could not, as the policy says today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance.model.contract import Contract
from governance.model.key_grant import Operation
from governance.model.policy import Policy, Recipient


def readers(
    contract: Contract, policy: Policy, purpose: str, columns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Recipients and workloads with what bars them, and who would have to approve.

    Args:
        columns: the planned ones, with ``sensitivity`` and ``method``.
    """
    levels = policy.sensitivities
    released = [c for c in columns if c["method"] != "drop"]
    highest = max((levels.index(c["sensitivity"]) for c in released), default=0)
    workloads = []
    for name, workload in sorted(policy.workloads.items()):
        bars = []
        if not workload.works_on(contract.dataset):
            bars.append("not this dataset")
        if purpose not in workload.purposes:
            bars.append(f"not for {purpose}")
        if Operation.READ not in workload.operations:
            bars.append("may not read")
        if levels.index(workload.sensitivity) < highest:
            bars.append(f"{workload.sensitivity} columns at most")
        workloads.append({"name": name, "may_read": not bars, "why": bars})
    recipients = []
    for name, recipient in sorted(policy.recipients.items()):
        bars = _bars(recipient, purpose)
        recipients.append({"name": name, "country": recipient.country, "may_receive": not bars, "why": bars})
    may_open = policy.purposes[purpose].detokenize if purpose in policy.purposes else False
    return {
        "purpose": purpose,
        **(
            {"tokens": {"columns": list(contract.reversible), "may_open": may_open}}
            if contract.reversible
            else {}
        ),
        "workloads": workloads,
        "recipients": recipients,
        "approval": _approval(contract, policy, highest),
    }


def _bars(recipient: Recipient, purpose: str) -> list[str]:
    bars = []
    if purpose not in recipient.purposes:
        bars.append(f"GOV-602 not for {purpose}: the policy allows {', '.join(recipient.purposes)}")
    if recipient.public_key is None:
        bars.append("GOV-602 it has no public key in the policy")
    return bars


def _approval(contract: Contract, policy: Policy, highest: int) -> dict[str, Any]:
    """Whether people have to approve the release; the one who starts the run may not either."""
    if policy.approval_from is None or highest < policy.sensitivities.index(policy.approval_from):
        return {"needed": False, "approvers": []}
    return {"needed": True, "approvers": [name for name in policy.approvers if name not in contract.authors]}
