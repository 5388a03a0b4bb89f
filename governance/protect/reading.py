"""Opens versions: first every file against the manifest, then the data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from governance.errors import GovernanceError, ProtectionError, StorageError
from governance.model.dataset import Manifest, Segment, SegmentFile
from governance.protect.encryption import SegmentKey, is_sealed, open_sealed
from governance.protect.ports import SegmentStorage
from governance.protect.types import schema_of

_CHUNK = 4 << 20
_TAIL = 28


def open_version(
    storage: SegmentStorage,
    manifest: Manifest,
    segment_key: SegmentKey,
    columns: Sequence[str] | None = None,
    *,
    segments: Collection[str] | None = None,
    verified: Mapping[str, bytes] | None = None,
    batch_rows: int = 131_072,
) -> Iterator[pa.RecordBatch]:
    """Verify a version's files, then stream its rows decrypted.

    The files are verified when this is called, before the first row is given. A file that is
    swapped between then and its reading is noticed too: the end of an encrypted file (footer tag,
    length, magic) is compared again, and all its pages are bound to that footer.

    Args:
        storage: the dataset root.
        manifest: a verified one, see :func:`governance.protect.manifest.load_manifest`.
        segment_key: the keyring's.
        columns: the released columns wanted, in this order; all by default.
        segments: only these segment ids, e.g. those that an erasure touches.
        verified: what :func:`verify_files` gave for these segments; they are verified here when absent.
        batch_rows: rows per batch at most.

    Returns:
        Batches of the manifest's schema; columns that an older segment lacks are null.

    Raises:
        StorageError: GOV-723, a file was altered, swapped, dropped or added; the message names it.
        ProtectionError: GOV-303, a key is unknown or destroyed; GOV-302, a key is another one.
    """
    chosen = [s for s in manifest.segments if segments is None or s.segment_id in segments]
    schema = schema_of(manifest.body["schema"])
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    tails = verify_files(storage, chosen) if verified is None else verified
    return _stream(storage, chosen, schema, tails, segment_key, batch_rows)


def verify_files(storage: SegmentStorage, segments: Sequence[Segment]) -> dict[str, bytes]:
    """Check that the segments' folders hold exactly the listed files with the listed bytes.

    Returns:
        Each file's last bytes, to know it again by.

    Raises:
        StorageError: GOV-723, naming the file.
    """
    for segment in segments:
        listed = {file.path for file in segment.files}
        found: set[str] = set()
        for folder in {path.rpartition("/")[0] for path in listed}:
            found.update(storage.list(folder))
        for path in sorted(found - listed):
            raise _altered(path, "was added: the manifest does not list it")
        for path in sorted(listed - found):
            raise _altered(path, "is missing")
    return {file.path: _verified(storage, file) for segment in segments for file in segment.files}


def unsealed_files(storage: SegmentStorage, manifest: Manifest) -> tuple[str, ...]:
    """The data files of a version that tell anything without a key; empty if it is sealed."""
    return tuple(
        file.path
        for segment in manifest.segments
        for file in segment.files
        if file.role == "data" and _opens_without_key(storage, file.path)
    )


def _opens_without_key(storage: SegmentStorage, relative: str) -> bool:
    with storage.filesystem().open_input_file(storage.path(relative)) as handle:
        if not is_sealed(handle):
            return True
        try:
            pq.ParquetFile(handle).close()
        except (pa.ArrowException, OSError):
            return False
        return True


def _verified(storage: SegmentStorage, file: SegmentFile) -> bytes:
    found = hashlib.sha256()
    size = 0
    tail = b""
    try:
        with storage.filesystem().open_input_stream(storage.path(file.path)) as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
                size += len(chunk)
                tail = (tail + bytes(chunk[-_TAIL:]))[-_TAIL:]
    except (OSError, pa.ArrowException):
        raise _altered(file.path, "cannot be read") from None
    if size != file.size or f"sha256:{found.hexdigest()}" != file.digest:
        raise _altered(file.path, "is not what was written: its digest differs")
    return tail


def _stream(
    storage: SegmentStorage,
    segments: Sequence[Segment],
    schema: pa.Schema,
    tails: Mapping[str, bytes],
    segment_key: SegmentKey,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    for segment in segments:
        rows = 0
        for file in segment.files:
            if file.role == "data":
                for batch in _read(storage, file.path, schema, tails[file.path], segment_key, batch_rows):
                    rows += batch.num_rows
                    yield batch
        if rows != segment.rows:
            raise _altered(f"segments/{segment.segment_id}", "holds another number of rows than stated")


def _read(
    storage: SegmentStorage,
    relative: str,
    schema: pa.Schema,
    tail: bytes,
    segment_key: SegmentKey,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    path = storage.path(relative)
    filesystem = storage.filesystem()
    with _open_input(filesystem, path, relative) as handle:
        handle.seek(max(handle.size() - _TAIL, 0))
        if bytes(handle.read(_TAIL)) != tail:
            raise _altered(relative, "was swapped while the version was being read")
        file = _opened(path, relative, filesystem, handle, segment_key)
        try:
            present = set(file.schema_arrow.names)
            wanted = [name for name in schema.names if name in present]
            batches = file.iter_batches(batch_size=batch_rows, columns=wanted)
            while (batch := _next(batches, relative)) is not None:
                yield _conformed(batch, schema, relative)
        finally:
            file.close()


def _open_input(filesystem: Any, path: str, relative: str) -> Any:
    try:
        return filesystem.open_input_file(path)
    except OSError:
        raise _altered(relative, "is missing") from None


def _opened(
    path: str, relative: str, filesystem: Any, handle: Any, segment_key: SegmentKey
) -> pq.ParquetFile:
    try:
        return open_sealed(path, filesystem, segment_key, source=handle)
    except ProtectionError as fault:
        raise _placed(fault, relative) from None


def _next(batches: Iterator[pa.RecordBatch], relative: str) -> pa.RecordBatch | None:
    try:
        return next(batches, None)
    except ProtectionError as fault:
        raise _placed(fault, relative) from None
    except (pa.ArrowException, OSError):
        pass
    # Raised here and not above: a reader's message may quote a value, and a context keeps it.
    raise _altered(relative, "cannot be decrypted")


def _placed(fault: ProtectionError, relative: str) -> GovernanceError:
    if fault.code != "GOV-308":
        return ProtectionError(fault.code, f"{relative}: {fault.message}", fault.remedy)
    # The digests of file and key material hold, so it is the key that differs.
    return ProtectionError(
        "GOV-302",
        f"{relative}: the segment key is not the one that sealed it",
        "use the keyring and key provider of the home that released the version",
    )


def _conformed(batch: pa.RecordBatch, schema: pa.Schema, relative: str) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    arrays: list[pa.Array] = []
    mismatched = ""
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        try:
            arrays.append(
                pa.nulls(batch.num_rows, field.type) if index < 0 else batch.column(index).cast(field.type)
            )
        except (pa.ArrowException, NotImplementedError):
            mismatched = field.name
            break
    if mismatched:
        raise ProtectionError(
            "GOV-304",
            f"{relative}: column {mismatched} cannot be read as {schema.field(mismatched).type}",
            "rewrite the older segments, or keep the column's type in the contract",
        )
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _altered(relative: str, what: str) -> StorageError:
    return StorageError(
        "GOV-723",
        f"{relative} {what}",
        "restore the file from the storage's own copy, or go back to a version that verifies",
    )
