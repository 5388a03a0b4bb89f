"""Reading a released version: through the manifest check, for its purpose, without who withdrew or was erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from governance.access.tokens import opening, require_opening
from governance.errors import AccessError
from governance.model.canonical import timestamp
from governance.model.contract import Contract
from governance.model.dataset import Manifest
from governance.model.decision import Reason
from governance.model.key_grant import Claim, Operation
from governance.pipeline.consent import ConsentDecision, ReleasedSubjects
from governance.pipeline.pointer import released_contract, released_manifest
from governance.pipeline.workspace import PIPELINE, Workspace
from governance.protect import open_version
from governance.protect.types import schema_of

READ = "application/vnd.governance.read+json"


def read_released(
    workspace: Workspace,
    dataset: str,
    *,
    purpose: str,
    columns: Sequence[str] | None = None,
    detokenize: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Stream the released version of ``dataset`` for one purpose.

    The read is recorded before the first row is handed out. Rows whose subject withdrew since the
    release are left out, as of the ledger's present position, and so are those of erased subjects.

    Args:
        detokenize: turn the tokens of reversible free text back into the values that they were made of; recorded too.

    Raises:
        AccessError: GOV-602 for a purpose the version was not released for, GOV-603 when nothing is
            released or a column is not in the version, GOV-609 when this purpose may not open tokens.
        StorageError: GOV-722, GOV-723 when the version is not what was signed.
        ProtectionError: GOV-303 when its keys are gone.
    """
    yield from _batches(workspace, dataset, purpose, columns, detokenize)[1]


def released_reader(
    workspace: Workspace,
    dataset: str,
    *,
    purpose: str,
    columns: Sequence[str] | None = None,
    detokenize: bool = False,
) -> tuple[Manifest, pa.RecordBatchReader]:
    """The released version of ``dataset`` and a reader that streams its rows once; the read is recorded now.

    Args:
        detokenize: as for :func:`read_released`.

    Raises:
        As :func:`read_released`; what it meets in the files is raised while it streams.
    """
    manifest, batches, wanted = _batches(workspace, dataset, purpose, columns, detokenize)
    full = schema_of(manifest.body["schema"])
    schema = pa.schema([full.field(name) for name in wanted])
    return manifest, pa.RecordBatchReader.from_batches(schema, batches)


def _batches(
    workspace: Workspace, dataset: str, purpose: str, columns: Sequence[str] | None, detokenize: bool
) -> tuple[Manifest, Iterator[pa.RecordBatch], list[str]]:
    manifest, wanted, released = recorded_read(workspace, dataset, purpose, columns, detokenize)
    rows = permitted(workspace, manifest, released, wanted)
    if not detokenize:
        return manifest, (batch for batch, _, _ in rows), wanted
    contract = released_contract(workspace, manifest)
    opened = opening(workspace, contract, [name for name in contract.reversible if name in wanted])
    return manifest, (opened(batch, people) for batch, _, people in rows), wanted


def recorded_read(
    workspace: Workspace,
    dataset: str,
    purpose: str,
    columns: Sequence[str] | None,
    detokenize: bool = False,
) -> tuple[Manifest, list[str], ReleasedSubjects]:
    """Check that a read may be and record it: the version, its wanted columns and who may be read in it now.

    Raises:
        As :func:`read_released`, except for what it meets in the files.
    """
    manifest = released_manifest(workspace, dataset)
    released_for = manifest.body["run"]["purpose"]
    if purpose != released_for:
        raise AccessError(
            "GOV-602",
            f"{dataset} was released for {released_for!r}, not for {purpose!r}",
            f"read it for {released_for!r}, or run the governed pass for {purpose!r}",
        )
    wanted = wanted_columns(manifest, columns)
    contract = released_contract(workspace, manifest)
    tokens = require_opening(workspace, contract, purpose, wanted) if detokenize else ()
    read = {
        "dataset": dataset,
        "version": manifest.version,
        "purpose": purpose,
        "columns": wanted,
        **({"detokenized": list(tokens)} if tokens else {}),
        "read_at": timestamp(workspace.clock()),
    }
    operation = Operation.DETOKENIZE if tokens else Operation.READ
    workspace.claim(Claim.of_run(operation, manifest.body["run"]))
    workspace.append_json(read, READ, PIPELINE)
    return manifest, wanted, released_subjects(workspace, contract, purpose)


def wanted_columns(manifest: Manifest, columns: Sequence[str] | None) -> list[str]:
    """The asked columns in the version's order.

    Raises:
        AccessError: GOV-603 for a column the version does not have.
    """
    present = [c["name"] for c in manifest.body["schema"]]
    missing = [c for c in columns or () if c not in present]
    if missing:
        raise AccessError(
            "GOV-603",
            f"{manifest.dataset} {manifest.version} has no column {', '.join(missing)}",
            f"choose from {', '.join(present)}",
        )
    return [c for c in present if columns is None or c in columns]


def released_subjects(workspace: Workspace, contract: Contract, *purposes: str) -> ReleasedSubjects:
    """Consent on the version's rows for every one of ``purposes``, now: at the ledger's present position."""
    instant, position = workspace.clock(), workspace.ledger.position
    decisions = [
        ConsentDecision(workspace, contract, workspace.policy, purpose, instant, position)
        for purpose in dict.fromkeys(purposes)
    ]
    return ReleasedSubjects(decisions, workspace.vault)


def permitted(
    workspace: Workspace, manifest: Manifest, released: ReleasedSubjects, wanted: list[str]
) -> Iterator[tuple[pa.RecordBatch, np.ndarray, np.ndarray]]:
    """Batches of the wanted columns, rows that consent still allows, with their ordinals."""
    storage = workspace.dataset_storage(manifest.dataset)
    workspace.expect_keys(manifest)
    needed = list(dict.fromkeys([*wanted, *released.columns]))
    for batch in open_version(storage, manifest, workspace.keyring.segment_key, columns=needed):
        reasons, ordinals = released.decide(batch)
        keep = reasons == Reason.ALLOWED
        yield batch.filter(pa.array(keep)).select(wanted), reasons, ordinals[keep]
