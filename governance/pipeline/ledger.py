"""Bringing consent records in: identifiers become pseudonyms, the batch becomes a leaf of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from governance.consent import Batch
from governance.consent.views import COMPILE_AT_MOST, PUBLISH_ABOVE
from governance.log import CONSENT_BATCH
from governance.pipeline.workspace import OPERATOR, Workspace


def import_consent(
    workspace: Workspace, path: Path, domain: str | None = None, custodian: bytes | None = None
) -> Batch:
    """Import one file of consent records.

    After a large one the index that runs decide by is compiled and published, so that none of them has to.
    Records of subjects on the suppression list are left out. ``domain`` is of the subjects of ISO/IEC
    TS 27560 records that state none; ``custodian``, an X25519 public key, keeps the file sealed to it.

    Raises:
        ConsentError: GOV-201 for what is wrong in the file, GOV-202 for overlapping intervals; the
            ledger is then as it was before.
        LogError: GOV-50x when the batch cannot be made a leaf.
    """
    vault, ledger, policy = workspace.vault, workspace.ledger, workspace.policy
    domains: set[str] = set()

    def internal(domain: str, identifiers: pa.Array) -> np.ndarray:
        domains.add(domain)
        ordinals = vault.resolve(domain, identifiers, create=True)
        population = vault.internal(domain)
        # Whoever was erased gets no pseudonym again; the ledger leaves such records out.
        return np.vstack([population, np.zeros((1, 16), np.uint8)])[ordinals]

    def record(batch: dict[str, Any]) -> int:
        return workspace.append_json(batch, CONSENT_BATCH, OPERATOR)

    recorded_at = workspace.clock()
    batch = ledger.import_file(
        path,
        internal=internal,
        record=record,
        recorded_at=recorded_at,
        purposes=list(policy.purposes),
        domain=domain,
        custodian=custodian,
    )
    # More than can be compiled at once is joined, which leaves nothing for a run to find.
    if batch.rows > PUBLISH_ABOVE and sum(each.rows for each in ledger.batches()) <= COMPILE_AT_MOST:
        for name in sorted(domains):
            for purpose in policy.purposes.values():
                ledger.snapshot(purpose, name, recorded_at, batch.position, vault.internal(name))
    return batch
