"""The files of a disclosure: encrypted Parquet under keys that follow from one sealed secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.errors import AccessError, GovernanceError
from governance.model.dataset import Segment, SegmentFile
from governance.protect.encryption import open_sealed
from governance.protect.reading import verify_files
from governance.protect.segment import SegmentWriter
from governance.storage import storage_for

DATA = "data"
_SEGMENT = "disclosure"
_LEVEL = "restricted"


class DisclosureKeys:
    """Column and footer keys, derived by HKDF-SHA256 (RFC 5869) from the secret that HPKE seals."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "DisclosureKeys(…)"

    def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
        return f"{segment_id}.{sensitivity}"

    def segment_key(self, key_id: str) -> bytes:
        return HKDF(SHA256(), 32, salt=None, info=key_id.encode()).derive(self._secret)


class DisclosureWriter:
    """Writes batches of one schema into ``folder/data``; removes them if the block fails."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._keys = DisclosureKeys(secret)
        self._writer: SegmentWriter | None = None

    def __enter__(self) -> DisclosureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._writer is not None:
            self._writer.abort()

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = SegmentWriter(
                storage_for(str(self._folder)),
                _SEGMENT,
                batch.schema,
                dict.fromkeys(batch.schema.names, _LEVEL),
                self._keys,
                folder=DATA,
            )
        self._writer.write(batch)

    def close(self) -> tuple[SegmentFile, ...]:
        """The files, durable. Empty when there was no row."""
        return self._writer.close().files if self._writer else ()


def read_disclosure(
    folder: Path, secret: bytes, files: Sequence[Mapping[str, Any]]
) -> Iterator[pa.RecordBatch]:
    """Verify the files against the statement, then stream their rows.

    Raises:
        AccessError: GOV-604 when a file is missing, added or altered, or the secret is another's.
    """
    listed = tuple(SegmentFile(f["path"], f["size"], f["digest"], f["role"]) for f in files)
    storage = storage_for(str(folder))
    try:
        verify_files(storage, [Segment(_SEGMENT, {}, 0, listed, {})])
        for file in listed:
            if file.role == "data":
                sealed = open_sealed(
                    storage.path(file.path), storage.filesystem(), DisclosureKeys(secret).segment_key
                )
                yield from sealed.iter_batches()
    except GovernanceError as fault:
        raise AccessError(
            "GOV-604", f"the disclosure in {folder.name} cannot be read: {fault.message}", fault.remedy
        ) from None
