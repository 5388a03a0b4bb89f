"""What a run reads: a source outside, the rows that an earlier run of the dataset set aside, or landed ones.

Quarantined and landed rows are read through the dataset's own storage and keys, decrypted in memory only.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import pyarrow as pa

from governance import sources
from governance.errors import SourceError
from governance.model.canonical import canonical, digest, parse
from governance.model.dataset import SourceFile, SourceSnapshot
from governance.model.evidence import Stage
from governance.pipeline.landing import DERIVED, LANDED, folders_of, require_stated
from governance.pipeline.pointer import released_manifest
from governance.pipeline.workspace import Workspace
from governance.protect.encryption import open_sealed
from governance.protect.outputs import QUARANTINE
from governance.protect.rewriting import RULE
from governance.sources.base import MAX_BATCH_ROWS
from governance.storage import Storage

SEALED = (QUARANTINE, LANDED, DERIVED)
"""The kinds of sources that lie sealed below the dataset's own root."""

_CHUNK = 4 << 20
_RENAMES = 64


def quarantine_uri(dataset: str, version: str) -> str:
    """How a run names the rows that the run of ``version`` set aside."""
    return f"{QUARANTINE}:{dataset}/{version}"


def is_derived(workspace: Workspace, dataset: str, source: SourceSnapshot) -> bool:
    """Whether a source's rows name subjects by released pseudonyms: a task's, or set aside by a run that read such.

    Raises:
        AccessError, StorageError: as :func:`released_manifest`, for the run that set rows aside.
    """
    kind, uri = source.kind, source.uri
    while kind == QUARANTINE:
        version = uri.removeprefix(quarantine_uri(dataset, ""))
        stated = released_manifest(workspace, dataset, version).body["run"]["source"]
        kind, uri = stated["kind"], stated["uri"]
    return kind == DERIVED


def pin_source(
    workspace: Workspace,
    dataset: str,
    uri: str,
    types: Mapping[str, pa.DataType],
    purpose: str | None = None,
) -> tuple[SourceSnapshot, pa.Schema]:
    """Pin a source and say what columns it gives.

    Args:
        purpose: of the run; landed rows have to be made for it.

    Raises:
        SourceError: GOV-70x. AccessError: GOV-602 for landed rows of another purpose.
    """
    if uri.startswith((f"{LANDED}:", f"{DERIVED}:")):
        return _landed(workspace, dataset, uri, types, purpose)
    if not uri.startswith(f"{QUARANTINE}:"):
        snapshot = sources.pin(uri)
        return snapshot, sources.schema(snapshot, types=types)
    storage = workspace.dataset_storage(dataset)
    version = uri.removeprefix(quarantine_uri(dataset, ""))
    run = released_manifest(workspace, dataset, version).body["run"]
    folder = set_aside(storage, version, run["attempt"])
    if folder is None:
        raise SourceError(
            "GOV-704",
            f"no rows of version {version} of {dataset} are in quarantine",
            "`governance quarantine list` shows what is",
        )
    left = storage.read(f"staging/{version}/{run['attempt']}/schema.arrow")
    schema = pa.ipc.read_schema(pa.py_buffer(left))
    paths = parts(storage, folder)
    files = tuple(_pinned(storage, path) for path in paths)
    covered = canonical([QUARANTINE, [asdict(file) for file in files]])
    fields = [_typed(field, types) for field in schema]
    return SourceSnapshot(QUARANTINE, uri, files, digest(covered)), pa.schema(fields)


def read_pinned(
    workspace: Workspace,
    storage: Storage,
    snapshot: SourceSnapshot,
    *,
    types: Mapping[str, pa.DataType],
    columns: list[str] | None,
    known: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    """Stream a pinned source, verified.

    Raises:
        SourceError: GOV-70x; GOV-705 where quarantined rows are not those that were pinned.
        ProtectionError: GOV-303 when their key was destroyed.
    """
    if snapshot.kind not in SEALED:
        yield from sources.read(snapshot, types=types, columns=columns, known=known)
        return
    wanted = known if columns is None else pa.schema([known.field(name) for name in columns])
    for file in snapshot.files:
        if _pinned(storage, file.name) != file:
            raise SourceError(
                "GOV-705",
                f"{file.name} changed after the run pinned it: an erasure rewrote it, or it was altered",
                "start the run again",
            )
        opened = open_sealed(storage.path(file.name), storage.filesystem(), workspace.keyring.segment_key)
        try:
            for batch in opened.iter_batches(batch_size=MAX_BATCH_ROWS):
                # Names that Parquet cannot key were encoded; columns keep the source's order.
                own = batch.drop_columns([RULE]) if snapshot.kind == QUARANTINE else batch
                rows = own.rename_columns(known.names)
                yield pa.RecordBatch.from_arrays([_cast(rows, field) for field in wanted], schema=wanted)
        finally:
            opened.close()


def _landed(
    workspace: Workspace,
    dataset: str,
    uri: str,
    types: Mapping[str, pa.DataType],
    purpose: str | None,
) -> tuple[SourceSnapshot, pa.Schema]:
    storage = workspace.dataset_storage(dataset)
    kind, stated, folders = folders_of(workspace, dataset, uri, purpose)
    files: tuple[SourceFile, ...] = ()
    for folder, digest_of_folder in folders:
        found = tuple(_pinned(storage, path) for path in parts(storage, folder))
        require_stated(kind, found, digest_of_folder)
        files += found
    snapshot = SourceSnapshot(kind, uri, files, stated)
    with open_sealed(
        storage.path(files[0].name), storage.filesystem(), workspace.keyring.segment_key
    ) as opened:
        return snapshot, pa.schema([_typed(field, types) for field in opened.schema_arrow])


def set_aside(storage: Storage, version: str, attempt: str) -> str | None:
    """The folder of the rows that a run set aside; ``None`` when it set none aside or they are gone.

    An erasure writes it again under a name that follows from the one before.
    """
    facts = parse(storage.read(f"staging/{version}/{attempt}/{Stage.PROTECT}.json"))["facts"]
    if not facts["quarantine"]:
        return None
    name = facts["quarantine"]["segment_id"]
    for _ in range(_RENAMES):
        if parts(storage, f"{QUARANTINE}/{name}"):
            return f"{QUARANTINE}/{name}"
        name = f"{version}-{digest(name.encode())[7:23]}"
    return None


def parts(storage: Storage, folder: str) -> list[str]:
    """The data files of a quarantine folder, in order."""
    return sorted(path for path in storage.list(folder) if path.endswith(".parquet"))


def _pinned(storage: Storage, path: str) -> SourceFile:
    found, size = hashlib.sha256(), 0
    try:
        with storage.filesystem().open_input_stream(storage.path(path)) as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
                size += len(chunk)
    except (OSError, pa.ArrowException):
        raise SourceError("GOV-705", f"{path} is gone", "start the run again") from None
    return SourceFile(path, size, f"sha256:{found.hexdigest()}")


def _typed(field: pa.Field, types: Mapping[str, pa.DataType]) -> pa.Field:
    """A column as the contract of the replay wants it: texts may be read as numbers, all else stays."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    kind = pa.string() if pa.types.is_string_view(kind) else kind
    wanted = types.get(field.name)
    return pa.field(field.name, wanted if wanted is not None and pa.types.is_string(kind) else kind)


def _cast(rows: pa.RecordBatch, field: pa.Field) -> pa.Array:
    with contextlib.suppress(pa.ArrowException):  # its text quotes the value
        return rows[field.name].cast(field.type)
    raise SourceError(
        "GOV-702",
        f"sealed rows: column {field.name} holds what is no {field.type}",
        "keep the column's type in the contract, or load the mended rows from their source",
    )
