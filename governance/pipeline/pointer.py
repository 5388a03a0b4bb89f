"""The pointer that names the released version of a dataset, and the recovery of a torn release."""

from __future__ import annotations

from dataclasses import dataclass

from governance.errors import AccessError, StorageError
from governance.model.canonical import canonical, parse
from governance.model.dataset import Manifest
from governance.pipeline.workspace import Workspace
from governance.protect import load_manifest
from governance.storage import Storage

POINTER = "current.json"


@dataclass(frozen=True, slots=True)
class Released:
    """What the pointer says: a version, the digest of its manifest, and where both stand."""

    version: str
    manifest_digest: str
    manifest_path: str
    intended_index: int

    def to_bytes(self) -> bytes:
        return canonical(
            {
                "version": self.version,
                "manifest_digest": self.manifest_digest,
                "manifest_path": self.manifest_path,
                "intended_index": self.intended_index,
            }
        )


def current_pointer(storage: Storage) -> tuple[Released | None, bytes | None]:
    """The pointer and its bytes, which a compare-and-swap expects back."""
    found = storage.pointer(POINTER)
    return (Released(**parse(found)) if found else None), found


def current_version(workspace: Workspace, dataset: str) -> Released | None:
    return current_pointer(workspace.dataset_storage(dataset))[0]


def released_manifest(workspace: Workspace, dataset: str, version: str | None = None) -> Manifest:
    """The verified manifest of the released version, or of an earlier one by id.

    An earlier version is reached from the pointer by the chain of signed manifests, so a version that
    was never released, or one put back by hand, is not found.

    Raises:
        AccessError: GOV-603 when nothing, or not this version, was released.
        StorageError: GOV-722 when a manifest is not what the pointer, its successor and the key say.
    """
    storage = workspace.dataset_storage(dataset)
    pointer, _ = current_pointer(storage)
    link = (
        {
            "manifest_path": pointer.manifest_path,
            "manifest_digest": pointer.manifest_digest,
            "version": pointer.version,
        }
        if pointer
        else None
    )
    while link is not None:
        if not storage.exists(link["manifest_path"]):
            raise StorageError(
                "GOV-722",
                f"the manifest of {dataset} {link['version']} is missing",
                "restore it from the storage's own copy, or release a new version",
            )
        manifest = load_manifest(
            storage.read(link["manifest_path"]),
            workspace.evidence_public_key,
            dataset=dataset,
            version=link["version"],
            expected_digest=link["manifest_digest"],
        )
        if version in (None, manifest.version):
            return manifest
        link = manifest.body["previous"]
    raise AccessError(
        "GOV-603",
        f"{dataset} has no released version{' ' + version if version else ''}",
        "run the governed pass first: `governance run CONTRACT --purpose P --source S`",
    )


def contract_path(manifest: Manifest) -> str:
    """Where the contract that a version was made under lies, relative to the dataset root."""
    run = manifest.body["run"]
    return f"versions/{run['version']}/{run['attempt']}.contract.odcs.yaml"
