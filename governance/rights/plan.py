"""What an erasure would do, before anything is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.errors import ProtectionError
from governance.keys.vault.identifiers import distinct
from governance.lineage.graph.graph import Graph
from governance.lineage.index.index import Index
from governance.model.canonical import canonical, digest, instant
from governance.model.legal_hold import LegalHold
from governance.pipeline.consent import audience
from governance.pipeline.protect import DATASETS
from governance.pipeline.tombstones import ErasureRequest
from governance.pipeline.workspace import Workspace
from governance.rights.holdings import Holding, Wanted, dataset_names, find_rows
from governance.rights.residues import remaining

_DERIVED_DEPTH = 20


@dataclass(frozen=True)
class ErasurePlan:
    """``facts`` are for people and for the log; ``digest`` also covers of whom, without telling it.

    ``ordinals`` … ``held`` are of the subjects that the vault knows; ``unknown`` counts the others, of whom
    ``erased_before`` are on the suppression list already.
    """

    domain: str
    facts: Mapping[str, Any]
    digest: str
    ordinals: npt.NDArray[np.int64]
    internal: npt.NDArray[np.uint8]
    released: npt.NDArray[np.uint8]
    marks: npt.NDArray[np.uint8]
    held: npt.NDArray[np.bool_]
    recipients: Mapping[str, npt.NDArray[np.uint8]]

    def __repr__(self) -> str:
        return f"ErasurePlan({self.digest!r}, {len(self.ordinals)} subjects)"

    def request(self, name: str, ground: str, requested_at: datetime, days: int) -> ErasureRequest:
        """The request that carries this plan out within so many days."""
        return ErasureRequest(
            name, self.domain, ground, requested_at, requested_at + timedelta(days=days),
            self.ordinals, self.internal, self.released, self.marks, self.held, self.recipients,
            {**self.facts, "plan_digest": self.digest},
        )  # fmt: skip


def plan_erasure(workspace: Workspace, domain: str, identifiers: pa.Array) -> ErasurePlan:
    """Look where the subjects are, and who else would have to act.

    Args:
        identifiers: strings or integers, as the sources have them. They are not kept.

    Raises:
        ProtectionError: GOV-304 for identifiers of another type. StorageError: GOV-72x. LogError: GOV-50x.
    """
    vault = workspace.vault
    _, unique = distinct(identifiers)
    ordinals = vault.resolve(domain, unique, create=False)
    marks = vault.suppression_marks(domain, unique)
    before = vault.suppressed(domain, unique)
    known = (ordinals >= 0) & ~before
    order = np.argsort(ordinals[known])
    ordinals, marks = ordinals[known][order], marks[known][order]
    released = _pseudonyms(workspace, domain, audience(domain), ordinals)
    wanted = Wanted(domain, released, marks, vault.internal(domain)[ordinals])
    holdings = [h for name in dataset_names(workspace) if (h := find_rows(workspace, name, {domain: wanted}))]
    day = now(workspace).date()
    held = np.zeros(len(ordinals), bool)
    holds: list[dict[str, Any]] = []
    for holding in holdings:
        keeping = holds_on(workspace, holding, day)
        if keeping and holding.any:
            held |= holding.subjects
            holds += [stated_hold(holding.dataset, hold) for hold in keeping]
    index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
    try:
        touched = {holding.dataset: holding for holding in holdings if holding.any}
        told = recipients_of(index, touched)
        derived = derived_from(index, workspace.settings.namespace, touched)
    finally:
        index.close()
    facts = {
        "domain": domain,
        "subjects": len(ordinals),
        "unknown": int((~known & ~before).sum()),
        "erased_before": int(before.sum()),
        "held": int(held.sum()),
        "datasets": [_stated(h, any(x["dataset"] == h.dataset for x in holds)) for h in touched.values()],
        "derived": derived,
        "recipients": told,
        "holds": holds,
        "remains": remaining(),
    }
    names = {row["recipient"] for row in told}
    recipients = {
        name: _pseudonyms(workspace, domain, f"recipient:{name}", ordinals) for name in sorted(names)
    }
    whom = digest(marks.tobytes())
    return ErasurePlan(
        domain, facts, digest(canonical({**facts, "whom": whom})), ordinals,
        vault.internal(domain)[ordinals], released, marks, held, recipients,
    )  # fmt: skip


def holds_on(workspace: Workspace, holding: Holding, day: Any) -> list[LegalHold]:
    """The legal holds of the policy that keep a dataset's rows on a day: one on any of the people in them does."""
    return [
        hold
        for hold in workspace.policy.legal_holds
        if any(hold.covers(holding.dataset, domain, day) for domain in holding.domains)
    ]


def now(workspace: Workspace) -> datetime:
    """The present, never before the log's newest entry: a clock that jumps back makes nothing due later."""
    log = workspace.log
    newest = instant(log.entry(log.size() - 1).envelope.received_at)
    return max(workspace.clock(), newest)


def _pseudonyms(
    workspace: Workspace, domain: str, whose: str, ordinals: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    try:
        return workspace.vault.pseudonyms(domain, whose, ordinals, create=False)
    except ProtectionError:
        # Nobody of them was given one yet, or not all; what was never written stands in no row.
        return workspace.vault.pseudonyms(domain, whose, ordinals)


def _stated(holding: Holding, held: bool) -> dict[str, Any]:
    return {
        "dataset": holding.dataset,
        "version": holding.manifest.version if holding.manifest else None,
        "segments": len(holding.current),
        "rows": sum(holding.current.values()),
        "earlier_segments": len(holding.earlier),
        "quarantine_segments": len(holding.quarantine),
        "held": held,
    }


def stated_hold(dataset: str, hold: LegalHold) -> dict[str, Any]:
    """A legal hold as evidence states it."""
    until = hold.until.isoformat() if hold.until else None
    return {"dataset": dataset, "regime": hold.regime, "ground": hold.ground, "until": until}


def recipients_of(index: Index, touched: Mapping[str, Holding]) -> list[dict[str, Any]]:
    """Disclosures of versions that hold, or may hold, rows of the subjects (GDPR Art. 19)."""
    told = []
    for row in index.evidence(stage="disclose"):
        holding = touched.get(str(row["dataset"]))
        if row["basis"] == "observed" and holding and holding.versions.get(str(row["version"]), True):
            facts = row["facts"]
            told.append(
                {
                    "recipient": facts["recipient"]["name"],
                    "disclosure_id": facts["disclosure_id"],
                    "dataset": row["dataset"],
                    "version": row["version"],
                    "log_index": int(row["log_index"]),
                }
            )
    return told


def derived_from(index: Index, namespace: str, touched: Collection[str]) -> list[dict[str, Any]]:
    """What was made from the datasets: other datasets, and jobs that read them, such as trainings."""
    view = Graph.of(index).view()
    found: dict[tuple[str, str, str], int] = {}
    for dataset in touched:
        node = view.node("dataset", DATASETS, dataset)
        if node is None:
            continue
        reached, depths = view.closure(node, "downstream", _DERIVED_DEPTH)
        for name, depth in zip(view.names.names(reached), depths.tolist(), strict=True):
            own = name.kind == "job" and name.namespace == namespace and name.name.startswith(f"{dataset}.")
            if depth and not own and name.namespace != "disclosure":
                key = (name.kind, name.namespace, name.name)
                found[key] = min(depth, found.get(key, depth))
    return [
        {"kind": kind, "namespace": where, "name": name, "depth": int(depth)}
        for (kind, where, name), depth in sorted(found.items(), key=lambda item: (item[1], item[0]))
        if (where, name) not in {(DATASETS, dataset) for dataset in touched}
    ]
