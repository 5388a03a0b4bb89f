"""Which versions and disclosures hold subjects, asked of the membership indexes; rows are read where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from governance.errors import GovernanceError, ProtectionError, StorageError
from governance.model.canonical import instant, timestamp
from governance.model.contract import Contract
from governance.model.dataset import Manifest, Segment
from governance.pipeline.disclosed import FOLDER, SUFFIX, KeptDisclosure, kept_disclosure
from governance.pipeline.membership import (
    MEMBERSHIP,
    Pseudonyms,
    index_segments,
    segment_members,
    subject_columns,
)
from governance.pipeline.pointer import released_chain, released_contract
from governance.pipeline.workspace import Workspace
from governance.rights.holdings import dataset_names

Mask = npt.NDArray[np.bool_]

HELD, NOT_HELD, ERASED, UNKNOWN = "held", "not held", "keys destroyed", "unknown"


@dataclass(slots=True)
class DatasetMembership:
    """What a dataset's versions hold of the wanted subjects.

    ``versions`` are newest first, each with its ``state``; ``unindexed`` counts segments that have no index
    that could be asked: :func:`write_missing` writes it.
    """

    dataset: str
    versions: list[dict[str, Any]] = field(default_factory=list)
    segments: int = 0
    unindexed: int = 0

    @property
    def states(self) -> dict[str, str]:
        """The state by version."""
        return {row["version"]: row["state"] for row in self.versions}


def datasets_of(workspace: Workspace, domain: str) -> Iterator[tuple[str, Contract, list[Manifest]]]:
    """Datasets with a released version whose subjects are of a domain, their versions newest first."""
    for dataset in dataset_names(workspace):
        chain = _readable(released_chain(workspace, dataset))
        newest = next(chain, None)
        if newest is None:
            continue
        contract = released_contract(workspace, newest)
        if domain in contract.subject.every_domain:
            yield dataset, contract, [newest, *chain]


def find_members(
    workspace: Workspace, dataset: str, manifests: list[Manifest], wanted: Pseudonyms
) -> DatasetMembership:
    """Ask the index of every segment of the versions, each once, for internal pseudonyms of shape (n, 16).

    A version whose segments cannot all be asked, and of which none is known to hold anybody, is *unknown*,
    never *not held*.
    """
    storage, answer = workspace.dataset_storage(dataset), DatasetMembership(dataset)
    states: dict[str, str] = {}

    def state_of(segment: Segment) -> str:
        try:
            members = segment_members(workspace, storage, segment)
        except ProtectionError as fault:
            return ERASED if fault.code == "GOV-303" else UNKNOWN
        except StorageError:
            return UNKNOWN
        if members is None:
            return _without_index(workspace, segment)
        try:
            return HELD if members.contains(wanted).any() else NOT_HELD
        except StorageError:
            return UNKNOWN

    for manifest in manifests:
        for segment in manifest.segments:
            if segment.segment_id not in states:
                states[segment.segment_id] = state_of(segment)
        found = {states[segment.segment_id] for segment in manifest.segments}
        state = next((each for each in (HELD, UNKNOWN, NOT_HELD, ERASED) if each in found), NOT_HELD)
        run = manifest.body["run"]
        answer.versions.append(
            {
                "dataset": dataset,
                "version": manifest.version,
                "state": state,
                "run_id": run["run_id"],
                "purpose": run["purpose"],
                "opened_at": run["opened_at"],
                "segments": sum(states[s.segment_id] == HELD for s in manifest.segments),
            }
        )
    answer.segments = len(states)
    answer.unindexed = sum(state == UNKNOWN for state in states.values())
    return answer


def write_missing(workspace: Workspace, dataset: str) -> int:
    """Write the indexes of a dataset's segments that have none and whose keys live; how many were written.

    Raises:
        StorageError: GOV-722, GOV-724. ProtectionError: GOV-310 where the keys are at a broker.
    """
    storage, written = workspace.dataset_storage(dataset), 0
    there = {path.rpartition("/")[2] for path in storage.list(MEMBERSHIP)}
    for manifest in _readable(released_chain(workspace, dataset)):
        contract = released_contract(workspace, manifest)
        columns = subject_columns(manifest)
        for segment in manifest.segments if columns else ():
            alive = _without_index(workspace, segment) == UNKNOWN
            if segment.segment_id not in there and alive and storage.exists(f"segments/{segment.segment_id}"):
                index_segments(workspace, storage, contract, columns, [segment])
                written += 1
            there.add(segment.segment_id)
    return written


def disclosures_holding(workspace: Workspace, wanted: Pseudonyms) -> dict[str, bool]:
    """Whether each disclosure whose membership is kept holds any of the subjects, by its id."""
    found = {}
    for path in sorted((workspace.settings.home / FOLDER).glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        kept = _kept(workspace, name)
        if kept is not None:
            found[name] = bool(kept.members.contains(wanted).any())
    return found


def expire_disclosures(workspace: Workspace, now: datetime) -> list[str]:
    """Destroy what is kept of disclosures past their statutory period; the names of these disclosures.

    Raises:
        ProtectionError: GOV-30x from the rotation that destroys the keys.
    """
    due: list[tuple[str, Path]] = []
    for path in sorted((workspace.settings.home / FOLDER).glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        kept = _kept(workspace, name)
        if kept is not None and instant(kept.kept_until) <= now:
            due.append((name, path))
    if due:
        workspace.keyring.destroy_segment_keys(
            {*(f"disclosure-{name}" for name, _ in due), *workspace.vault.retired}
        )
        for _, path in due:
            path.unlink(missing_ok=True)
        workspace.append_json(
            {"v": 1, "disclosures": [name for name, _ in due], "expired_at": timestamp(now)}, EXPIRED
        )
        workspace.log.checkpoint()
    return [name for name, _ in due]


EXPIRED = "application/vnd.governance.disclosure-membership-expired+json"


def _kept(workspace: Workspace, name: str) -> KeptDisclosure | None:
    try:
        return kept_disclosure(workspace, name)
    except ProtectionError as fault:
        # Its key was destroyed: a backup brought the file back.
        if fault.code != "GOV-303":
            raise
        return None


def _without_index(workspace: Workspace, segment: Segment) -> str:
    try:
        workspace.keyring.segment_key(next(iter(segment.key_ids.values())))
    except ProtectionError as fault:
        return ERASED if fault.code == "GOV-303" else UNKNOWN
    return UNKNOWN


def _readable(chain: Iterator[Manifest]) -> Iterator[Manifest]:
    """The released version, then earlier ones as far as their manifests are there."""
    first = True
    while True:
        try:
            manifest = next(chain, None)
        except GovernanceError as fault:
            if first and fault.code != "GOV-603":
                raise
            return
        if manifest is None:
            return
        first = False
        yield manifest
