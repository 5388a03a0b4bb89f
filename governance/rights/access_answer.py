"""What the answer to a request for access is asked of the log: where a look-up finds the subject."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from governance.pipeline.consent import audience
from governance.pipeline.workspace import Workspace
from governance.rights.holdings import Wanted, dataset_names, find_rows
from governance.rights.plan import plan_erasure
from governance.rights.receipt import known_subject


def asked_of(workspace: Workspace, domain: str, identifier: str) -> dict[str, Any]:
    """The report's parameters: internal pseudonym, versions with rows of the subject, and disclosures of them.

    A disclosure of a version that holds the subject counts as holding it.

    Raises:
        ConsentError: GOV-203 for a subject the vault does not know. StorageError: GOV-72x.
    """
    ordinal = known_subject(workspace, domain, identifier)
    wanted = wanted_of(workspace, domain, identifier, ordinal)
    holdings = [h for name in dataset_names(workspace) if (h := find_rows(workspace, name, {domain: wanted}))]
    held = {
        f"{holding.dataset} {version}"
        for holding in holdings
        for version, holds in holding.versions.items()
        if holds
    }
    told = plan_erasure(workspace, domain, pa.array([identifier])).facts["recipients"]
    return {
        "subject": workspace.vault.internal(domain)[ordinal].tobytes().hex(),
        "versions": sorted(held),
        "disclosures": sorted(r["disclosure_id"] for r in told if f"{r['dataset']} {r['version']}" in held),
    }


def wanted_of(workspace: Workspace, domain: str, identifier: str, ordinal: int) -> Wanted:
    """What to look for in released rows: pseudonyms as they were released, and marks of the suppression list."""
    vault = workspace.vault
    released = vault.pseudonyms(domain, audience(domain), np.array([ordinal], np.int64))
    return Wanted(domain, released, vault.suppression_marks(domain, pa.array([identifier])))
