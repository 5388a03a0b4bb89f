"""The pointer that names the released version of a dataset, held against the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from governance.contracts import load_contract
from governance.errors import AccessError, ContractError, LogError, StorageError
from governance.lineage import Observed, verify_evidence
from governance.log import OPENLINEAGE_EVENT, Entry, Log
from governance.model.canonical import canonical, digest, parse, timestamp
from governance.model.contract import Contract
from governance.model.dataset import Manifest
from governance.model.evidence import Stage
from governance.pipeline.workspace import PIPELINE, Workspace
from governance.protect import load_manifest
from governance.storage import Storage

POINTER = "current.json"

RESTORED = "application/vnd.governance.pointer-restored+json"


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

    @property
    def link(self) -> dict[str, str]:
        """As a manifest names the one before it."""
        return {
            "version": self.version,
            "manifest_digest": self.manifest_digest,
            "manifest_path": self.manifest_path,
        }

    @property
    def attempt(self) -> str:
        return self.manifest_path.rpartition("/")[2].removesuffix(".manifest.json")


def current_pointer(storage: Storage) -> tuple[Released | None, bytes | None]:
    """The pointer and its bytes, which a compare-and-swap expects back.

    Raises:
        StorageError: GOV-722 when it is not, byte for byte, what a release writes.
    """
    found = storage.pointer(POINTER)
    if found is None:
        return None, None
    try:
        pointer = Released(**parse(found))
        exact = pointer.to_bytes() == found and type(pointer.intended_index) is int
    except (ValueError, TypeError):
        exact = False
    if not exact:
        raise _altered(storage, "is not what a release writes")
    return pointer, found


def current_version(workspace: Workspace, dataset: str) -> Released | None:
    return current_pointer(workspace.dataset_storage(dataset))[0]


def released_manifest(workspace: Workspace, dataset: str, version: str | None = None) -> Manifest:
    """The verified manifest of the released version, or of an earlier one by id.

    The log must confirm the pointer. An earlier version is reached from there by the chain of signed
    manifests, so a version that was never released, or one put back by hand, is not found.

    Raises:
        AccessError: GOV-603 when nothing, or not this version, was released.
        StorageError: GOV-722 when the pointer is not what the log says was released last, or a manifest
            is not what the pointer, its successor and the key say.
    """
    storage = workspace.dataset_storage(dataset)
    pointer, manifest = _confirmed(workspace, storage, dataset)
    while manifest is not None:
        if version in (None, manifest.version):
            return manifest
        link = manifest.body["previous"]
        manifest = linked_manifest(workspace, storage, dataset, link) if link else None
    raise AccessError(
        "GOV-603",
        f"{dataset} has no released version{' ' + version if version else ''}",
        "run the governed pass first: `governance run CONTRACT --purpose P --source S`"
        if pointer is None
        else f"the present version is {pointer.version}; `governance lineage evidence {dataset}` lists all",
    )


def released_chain(workspace: Workspace, dataset: str) -> Iterator[Manifest]:
    """The released version and every one before it, newest first. Raises as :func:`released_manifest`."""
    storage = workspace.dataset_storage(dataset)
    _, manifest = _confirmed(workspace, storage, dataset)
    while manifest is not None:
        yield manifest
        link = manifest.body["previous"]
        manifest = linked_manifest(workspace, storage, dataset, link) if link else None


def released_contract(workspace: Workspace, manifest: Manifest) -> Contract:
    """The contract a version was made under.

    Raises:
        ContractError: GOV-112 when the copy beside the version is not the one the manifest names.
    """
    storage = workspace.dataset_storage(manifest.dataset)
    path = contract_path(manifest)
    # Before it is parsed: an altered byte may have made it something else than a contract.
    if digest(storage.read(path)) != manifest.body["run"]["contract_digest"]:
        raise ContractError(
            "GOV-112",
            f"{manifest.dataset}/{path}, the contract of {manifest.version}, was altered",
            "restore it from the log: `governance log show` prints the leaf the manifest names",
        )
    return load_contract(path, data=storage.read(path))


def contract_path(manifest: Manifest) -> str:
    """Where the contract that a version was made under lies, relative to the dataset root."""
    run = manifest.body["run"]
    return f"versions/{run['version']}/{run['attempt']}.contract.odcs.yaml"


def _confirmed(
    workspace: Workspace, storage: Storage, dataset: str
) -> tuple[Released | None, Manifest | None]:
    while True:
        pointer, seen = current_pointer(storage)
        if pointer is None:
            return None, None
        try:
            manifest = linked_manifest(workspace, storage, dataset, pointer.link)
            require_logged(workspace.log, storage, pointer, manifest, workspace.evidence_public_key)
        except StorageError:
            # Another release may have come between the pointer and the log.
            if storage.pointer(POINTER) == seen:
                raise
        else:
            return pointer, manifest


def linked_manifest(workspace: Workspace, storage: Storage, dataset: str, link: dict[str, Any]) -> Manifest:
    """The verified manifest that a pointer or a later manifest names. Raises StorageError GOV-722."""
    path = link["manifest_path"]
    if not storage.exists(path):
        raise StorageError(
            "GOV-722",
            f"{dataset}/{path}, the manifest of {link['version']}, is missing",
            "restore it from the storage's own copy, or release a new version",
        )
    try:
        return _verified(
            storage.read(path),
            workspace.evidence_public_key,
            dataset,
            link["version"],
            link["manifest_digest"],
        )
    except StorageError as fault:
        raise StorageError(fault.code, f"{dataset}/{path}: {fault.message}", fault.remedy) from None


@lru_cache(maxsize=2)
def _verified(data: bytes, public_key: bytes, dataset: str, version: str, expected: str) -> Manifest:
    """A release looks at what it stands on several times over; the same bytes need no second proof."""
    return load_manifest(data, public_key, dataset=dataset, version=version, expected_digest=expected)


def require_logged(
    log: Log, storage: Storage, pointer: Released, manifest: Manifest, evidence_public_key: bytes
) -> None:
    """Require that the log says the pointer's version was about to be released, and none after it.

    Reads the log from that entry on.

    Raises:
        StorageError: GOV-722 for a pointer that was put back to an earlier version, or to one that was
            held back.
    """
    try:
        intended = verify_evidence(
            log.entry(pointer.intended_index),
            evidence_public_key=evidence_public_key,
            run_public_key=manifest.body["run"]["run_public_key"],
        )
    except LogError:
        intended = None
    said = intended.facts if isinstance(intended, Observed) and intended.stage is Stage.RELEASE else {}
    if (said.get("state"), said.get("manifest_digest")) != ("intended", pointer.manifest_digest):
        raise _altered(
            storage, f"cites log entry {pointer.intended_index}, which does not announce its release"
        )
    for entry in log.entries(pointer.intended_index + 1):
        later = _release_said(entry, manifest.dataset)
        if later is None:
            continue
        context, facts = later
        if _released_digest(facts) not in (None, pointer.manifest_digest):
            raise _altered(
                storage,
                f"names {pointer.version}, but log entry {entry.index} released {context.get('version')}",
            )
        attempt = (context.get("version"), context.get("attempt"))
        if facts.get("state") == "quarantined" and attempt == (pointer.version, pointer.attempt):
            raise _altered(
                storage, f"names {pointer.version}, which log entry {entry.index} put in quarantine"
            )


def said_released(log: Log, pointer: Released, dataset: str) -> tuple[int, dict[str, Any]] | None:
    """Index and facts of the entry that says the pointer's version was released, if there is one."""
    for entry in log.entries(pointer.intended_index + 1):
        said = _release_said(entry, dataset)
        if said and _released_digest(said[1]) == pointer.manifest_digest:
            return entry.index, said[1]
    return None


def datasets_released(log: Log) -> set[str]:
    """The datasets of which the pipeline said that a version was released."""
    said = (_release_said(entry) for entry in log.entries())
    return {str(context.get("dataset")) for context, facts in filter(None, said) if _released_digest(facts)}


def newest_release(workspace: Workspace, dataset: str) -> Released:
    """What the pointer of ``dataset`` must say, by the log and the manifests alone.

    Raises:
        AccessError: GOV-603 when the log names no release. StorageError: GOV-722 when the manifest of
            the newest one is not there or not what the log says.
    """
    intended: dict[str, Released] = {}
    newest = None
    for entry in workspace.log.entries():
        context, facts = _release_said(entry, dataset) or ({}, {})
        if facts.get("state") == "intended":
            digest, path = str(facts["manifest_digest"]), str(facts["manifest_path"])
            intended[digest] = Released(str(context["version"]), digest, path, entry.index)
        newest = intended.get(str(_released_digest(facts)), newest)
    if newest is None:
        raise AccessError("GOV-603", f"the log names no release of {dataset}", "run the governed pass first")
    storage = workspace.dataset_storage(dataset)
    manifest = linked_manifest(workspace, storage, dataset, newest.link)
    require_logged(workspace.log, storage, newest, manifest, workspace.evidence_public_key)
    return newest


def restore_pointer(workspace: Workspace, dataset: str) -> Released:
    """Put the pointer back to what the log released last, and record that it was done.

    Raises:
        As :func:`newest_release`; StorageError GOV-721 when a release came in between.
    """
    storage = workspace.dataset_storage(dataset)
    seen = storage.pointer(POINTER)
    newest = newest_release(workspace, dataset)
    if seen != newest.to_bytes():
        said = {"dataset": dataset, "version": newest.version, "manifest_digest": newest.manifest_digest}
        workspace.append_json({**said, "restored_at": timestamp(workspace.clock())}, RESTORED)
        storage.swap_pointer(POINTER, seen, newest.to_bytes())
    return newest


def _released_digest(facts: dict[str, Any]) -> Any:
    return facts.get("manifest_digest") if facts.get("state") == "released" else None


def _release_said(entry: Entry, dataset: str | None = None) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Context and facts of the pipeline's own word about a release; ``None`` for all else."""
    if entry.body is None or b'"governance_release"' not in entry.body:
        return None
    try:
        envelope = entry.envelope
        if (envelope.media_type, envelope.principal) != (OPENLINEAGE_EVENT, PIPELINE):
            return None
        facet = parse(entry.body)["run"]["facets"]["governance_release"]
        context, facts = dict(facet["context"]), dict(facet["facts"])
    except (ValueError, LookupError, TypeError, LogError):
        return None  # whether an entry is what was appended is for the log's own verification
    return (context, facts) if dataset in (None, context.get("dataset")) else None


def _altered(storage: Storage, what: str) -> StorageError:
    name = storage.uri.rstrip("/").rpartition("/")[2]
    return StorageError(
        "GOV-722",
        f"{name}/{POINTER} {what}",
        f"`governance log verify` says whether the log itself holds; if it does, `governance log restore {name}` "
        "points at what it released last",
    )
