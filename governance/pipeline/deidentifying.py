"""Holds a contract to how it claims to be de-identified (45 CFR 164.514(b))."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from governance.errors import ContractError
from governance.model.canonical import digest
from governance.model.contract import Contract
from governance.model.deidentification import SAFE_HARBOR
from governance.model.policy import Policy
from governance.protect import safe_harbor_evidence, safe_harbor_faults

CLAIM = "GOV-318"


def deidentified(
    contract: Contract, policy: Policy, opened_at: datetime, found: Mapping[str, str] | None
) -> dict[str, Any] | None:
    """What is claimed and was checked; ``None`` where nothing is claimed. JSON, no value of a dataset.

    Args:
        opened_at: when the run opened; declarations and determinations are judged by its day in UTC.
        found: source column → classification found by the scan; ``None`` before it, when columns that
            declare no classification cannot be judged yet.

    Raises:
        ContractError: GOV-318, the claim does not hold.
    """
    claim = contract.deidentification
    if claim is None:
        return None
    day = opened_at.date().isoformat()
    if claim.profile != SAFE_HARBOR:
        return _determined(contract, policy, day)
    judged = [c for c in contract.columns if found is not None or c.classification is not None]
    faults = safe_harbor_faults(judged, found)
    if claim.declared_on is None or claim.declared_on > day:
        faults = (*faults, "noActualKnowledge: declared for a later day than the run's; declare it again")
    if faults:
        raise ContractError(
            CLAIM,
            f"contract {contract.dataset} is no Safe Harbor: {'; '.join(faults)}",
            "write what each column proposes, or take `deidentification` out of the contract",
        )
    return {
        "profile": claim.profile,
        "no_actual_knowledge": {"declared_by": claim.declared_by, "date": claim.declared_on},
        **safe_harbor_evidence(contract.columns, found or {}, ner=policy.text_ner),
    }


def _determined(contract: Contract, policy: Policy, day: str) -> dict[str, Any]:
    claim = contract.deidentification
    named = claim.determination if claim else None
    found = policy.determinations.get(named or "")
    if found is None or contract.dataset not in found.datasets:
        wrong, remedy = "is not in the policy for this dataset", "name one that is"
    elif not found.decided <= day < found.expires:
        wrong, remedy = f"holds from {found.decided} until {found.expires}", "have it renewed by the expert"
    elif not _is(Path(found.document), found.digest):
        wrong, remedy = (
            "names a document that is missing or another",
            "put the pinned document beside the policy",
        )
    else:
        return {
            "profile": "expert_determination",
            "rule": "45 CFR 164.514(b)(1)",
            "determination": {
                "name": found.name,
                "expert": found.expert,
                "method": found.method,
                "decided": found.decided,
                "expires": found.expires,
                "risk": found.risk,
                "document_digest": found.digest,
            },
        }
    raise ContractError(CLAIM, f"contract {contract.dataset}: determination {named} {wrong}", remedy)


def _is(document: Path, pinned: str) -> bool:
    try:
        return digest(document.read_bytes()) == pinned
    except OSError:
        return False
