"""A consent receipt for one subject: what the ledger says, and the released versions with rows of that subject."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from governance.consent import CoveredVersion, receipt
from governance.errors import ConsentError, ContractError
from governance.model.canonical import instant
from governance.model.policy import Policy, Purpose
from governance.pipeline.consent import audience
from governance.pipeline.pointer import released_chain
from governance.pipeline.workspace import Workspace
from governance.rights.holdings import Wanted, dataset_names, find_rows


def consent_receipt(
    workspace: Workspace, identifier: str, domain: str, purpose: str, *, at: datetime | None = None
) -> dict[str, Any]:
    """The receipt, bound to every version made for the purpose in which rows of the subject were found.

    Raises:
        ConsentError: GOV-203 for a subject the vault does not know.
        ContractError: GOV-104 for a purpose the policy does not have.
        StorageError: GOV-722, GOV-723 for a version that is not what was signed.
    """
    asked, ordinal = known_purpose(workspace.policy, purpose), known_subject(workspace, domain, identifier)
    issued, position = at or workspace.clock(), workspace.ledger.position
    told = workspace.ledger.explain(
        workspace.vault.internal(domain)[ordinal].tobytes(), asked, domain, issued, position
    )
    return receipt(
        told,
        subject=identifier,
        domain=domain,
        purpose=asked,
        controller=_controller(workspace.policy, domain),
        position=position,
        issued_at=issued,
        covered=_covered(workspace, identifier, domain, ordinal, purpose),
    )


def known_purpose(policy: Policy, name: str) -> Purpose:
    """The policy's purpose of that name. Raises GOV-104."""
    if name not in policy.purposes:
        raise ContractError(
            "GOV-104",
            f"purpose {name!r} is not in the policy",
            f"use one of {', '.join(sorted(policy.purposes))}",
        )
    return policy.purposes[name]


def known_subject(workspace: Workspace, domain: str, identifier: str) -> int:
    """The subject's ordinal. Raises GOV-203."""
    ordinal = int(workspace.vault.resolve(domain, pa.array([identifier]), create=False)[0])
    if ordinal < 0:
        raise ConsentError(
            "GOV-203",
            f"the vault knows no such subject in domain {domain!r}",
            "check the identifier and its domain; an unknown subject has no consent and is denied",
        )
    return ordinal


def _covered(
    workspace: Workspace, identifier: str, domain: str, ordinal: int, purpose: str
) -> list[CoveredVersion]:
    vault = workspace.vault
    released = vault.pseudonyms(domain, audience(domain), np.array([ordinal], np.int64))
    marks = vault.suppression_marks(domain, pa.array([identifier]))
    found: list[CoveredVersion] = []
    for dataset in dataset_names(workspace):
        holding = find_rows(workspace, dataset, {domain: Wanted(domain, released, marks)})
        if holding is None:
            continue
        for manifest in released_chain(workspace, dataset):
            run = manifest.body["run"]
            if holding.versions.get(manifest.version) and run["purpose"] == purpose:
                position = int(manifest.body["consent_position_at_publish"])
                opened = instant(run["opened_at"])
                found.append(CoveredVersion(dataset, manifest.version, manifest.digest, position, opened))
    return found


def _controller(policy: Policy, domain: str) -> str:
    """Who answers for the domain, in the policy's words."""
    controllers = policy.organisation.get("controllers", ())
    named = [c for c in controllers if domain in c.get("domains", ())] or list(controllers)[:1]
    return str(named[0].get("name", "")) if named else str(policy.organisation.get("name", ""))
