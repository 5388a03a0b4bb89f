"""What lies outside the log and must agree with it: checkpoints, pointers, manifests, files."""

from __future__ import annotations

from dataclasses import dataclass, field

from governance.errors import GovernanceError, StorageError
from governance.model.canonical import digest
from governance.pipeline.pointer import POINTER, contract_path, datasets_released, released_manifest
from governance.pipeline.workspace import Workspace
from governance.protect.reading import verify_files
from governance.storage import storage_for


@dataclass(slots=True)
class Outside:
    """Signed checkpoint notes kept outside the log, and what of a home contradicts it, in words."""

    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def outside_the_log(workspace: Workspace, *, files: bool = False) -> Outside:
    """Gather the signer's memory and the manifest of each released version.

    A rolled-back or forked store is caught by them; an altered, exchanged or missing pointer, manifest
    or contract is named.

    Args:
        files: read every file of the released versions too, and name the first one of each that differs.
    """
    found = Outside()
    remembered = workspace.signer.last()
    if remembered:
        found.notes.append(remembered.note)
    root = storage_for(workspace.settings.datasets)
    pointed = {p.split("/")[0] for p in root.list() if p.count("/") == 1 and p.endswith(f"/{POINTER}")}
    for dataset in sorted(pointed | datasets_released(workspace.log)):
        try:
            found.notes.append(_verified(workspace, dataset, files))
        except GovernanceError as fault:
            found.faults.append(f"{fault.code} {fault.message}")
    return found


def _verified(workspace: Workspace, dataset: str, files: bool) -> str:
    manifest = released_manifest(workspace, dataset)
    storage = workspace.dataset_storage(dataset)
    contract = contract_path(manifest)
    if not storage.exists(contract) or digest(storage.read(contract)) != manifest.body["contract_digest"]:
        raise StorageError(
            "GOV-723",
            f"{dataset}/{contract} is not the contract the version was made under",
            "restore it from the log: `governance log show` prints the leaf the manifest names",
        )
    if files:
        try:
            verify_files(storage, manifest.segments)
        except StorageError as fault:
            raise StorageError(fault.code, f"{dataset}/{fault.message}", fault.remedy) from None
    note: str = manifest.body["checkpoint"]
    return note
