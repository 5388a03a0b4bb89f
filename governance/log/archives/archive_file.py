"""One archive file: a range of entries as a Parquet file that verifies by itself.

Columns: ``index`` (int64), ``leaf`` (binary), ``salt`` and ``body`` (binary, null for an entry whose body is
not archived here or was removed). The file's metadata ``governance.archive`` is JSON: ``v``, ``origin``,
``first``, ``stop``, the signed ``checkpoint`` as text, and what leads from these leaves to its root: ``left``,
the subtree hashes before ``first``, and ``consistency``, the RFC 6962 §2.1.2 proof from ``stop`` to the
checkpoint's size, both in base64. Statistics are not written: they would repeat parts of bodies.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from governance.errors import LogError
from governance.log.envelope import Envelope
from governance.log.note import Checkpoint, VerifierKey, read_checkpoint
from governance.log.tree import Frontier, leaf_hash, verify_consistency

if TYPE_CHECKING:
    import pyarrow as pa

    from governance.log.rotation import Handover

Row: TypeAlias = tuple[int, bytes, bytes | None, bytes | None]
"""Index, leaf, salt, body."""

_KEY = b"governance.archive"
_GROUP_ROWS = 1024
_GROUP_BYTES = 32 << 20
_REMEDY = "Do not use this file; restore it from a backup and run `governance log verify`."


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself; the hashes are 32 bytes each."""

    origin: str
    first: int
    stop: int
    checkpoint: str
    left: tuple[bytes, ...]
    consistency: tuple[bytes, ...]

    def to_json(self) -> str:
        hashes = {name: [base64.b64encode(v).decode() for v in getattr(self, name)] for name in _HASHES}
        named = {"v": 1, "origin": self.origin, "first": self.first, "stop": self.stop}
        return json.dumps({**named, "checkpoint": self.checkpoint, **hashes})

    @classmethod
    def from_json(cls, text: bytes) -> Header:
        """Raises ValueError, KeyError or TypeError when it is none."""
        said = json.loads(text)
        if said["v"] != 1 or type(said["first"]) is not int or type(said["stop"]) is not int:
            raise ValueError
        hashes = [tuple(base64.b64decode(v, validate=True) for v in said[name]) for name in _HASHES]
        if any(len(value) != 32 for part in hashes for value in part):
            raise ValueError
        return cls(said["origin"], said["first"], said["stop"], said["checkpoint"], *hashes)


_HASHES = ("left", "consistency")


class Writer:
    """Writes a new file, durable once finished; it stays locked until let go of."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._parquet = pq.ParquetWriter(
            self._file,
            _schema(),
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        self._rows: list[Row] = []
        self._held = 0
        self.bytes = 0
        self.bodies = 0
        self.path = path

    def add(self, row: Row) -> None:
        """Add the next entry."""
        held = sum(len(part) for part in row[1:] if isinstance(part, bytes))
        self._rows.append(row)
        self._held += held
        self.bytes += held
        self.bodies += row[3] is not None
        if len(self._rows) == _GROUP_ROWS or self._held >= _GROUP_BYTES:
            self._flush()

    def finish(self, header: Header) -> str:
        """Complete the file and make it durable; return its digest."""
        self._flush()
        self._parquet.add_key_value_metadata({_KEY: header.to_json()})
        self._parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.seek(0)
        return "sha256:" + hashlib.file_digest(self._file, "sha256").hexdigest()

    def close(self) -> None:
        """Let go of the file, whatever is in it."""
        # Its destructor would write to a closed file.
        with contextlib.suppress(OSError):
            self._parquet.close()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._parquet.write_batch(
                pa.record_batch([list(c) for c in zip(*self._rows, strict=True)], schema=_schema())
            )
            self._rows, self._held = [], 0


class ArchiveFile:
    """An opened file. Its bytes are hashed when it is opened and never trusted before they were compared.

    Raises:
        LogError: GOV-516 when it cannot be opened, GOV-517 when it is no archive.
    """

    def __init__(self, path: Path, digest: str | None = None) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise LogError(
                "GOV-516", f"the archive {path} cannot be read: {error.strerror}", "Bring the file back."
            ) from None
        self.digest = "sha256:" + hashlib.file_digest(self._file, "sha256").hexdigest()
        if digest is not None and self.digest != digest:
            self._file.close()
            raise self.altered("it is not the file that the log names: its digest is another")
        try:
            self._parquet = pq.ParquetFile(self._file, page_checksum_verification=True)
            metadata = self._parquet.metadata
            if self._parquet.schema_arrow.names != _schema().names:
                raise ValueError
            self.header = Header.from_json(metadata.metadata[_KEY])
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, binascii.Error):
            self._file.close()
            raise self.altered("it is no archive or is damaged") from None
        groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        self._starts = list(accumulate(groups, initial=self.header.first))
        self._cached: tuple[int, list[Row]] = (-1, [])

    def altered(self, reason: str) -> LogError:
        """The fault that this file does not verify."""
        return LogError("GOV-517", f"the archive {self.path} does not verify: {reason}", _REMEDY)

    def rows(self) -> Iterator[Row]:
        """Every entry. Raises GOV-517 where it cannot be read."""
        for group in range(len(self._starts) - 1):
            yield from self._group(group)

    def row(self, index: int) -> Row:
        """One entry of the range."""
        group = bisect_right(self._starts, index) - 1
        if not 0 <= group < len(self._starts) - 1:
            raise self.altered(f"it does not hold entry {index}")
        row: Row = self._group(group)[index - self._starts[group]]
        return row

    def body(self, index: int, leaf: bytes) -> tuple[bytes, bytes] | None:
        """Salt and body of an entry, held against its leaf; None where the file holds none."""
        found, stored, salt, body = self.row(index)
        if found != index or stored != leaf:
            raise self.altered(f"it holds another leaf for entry {index} than the log")
        if salt is None or body is None:
            return None
        if not Envelope.from_leaf(leaf).covers(salt, body):
            raise self.altered(f"the body of entry {index} is not what its envelope covers")
        return salt, body

    def check(self) -> Checkpoint:
        """Derive every digest and the root again; return the checkpoint, whose SIGNATURE IS NOT VERIFIED.

        Raises:
            LogError: GOV-517 naming the first entry that is wrong, where there is one.
        """
        header = self.header
        try:
            checkpoint = read_checkpoint(header.checkpoint)
            tree = Frontier(header.first, header.left)
        except (LogError, ValueError):
            raise self.altered("its checkpoint or its hashes are malformed") from None
        for index, leaf, salt, body in self.rows():
            if index != tree.size:
                raise self.altered(f"entry {index} stands in the place of {tree.size}")
            if body is not None and not (salt is not None and _covers(leaf, salt, body)):
                raise self.altered(f"the body of entry {index} is not what its envelope covers")
            tree.append(leaf_hash(leaf))
        if tree.size != header.stop:
            raise self.altered(f"it ends at entry {tree.size} instead of {header.stop}")
        try:
            proof = list(header.consistency)
            verify_consistency(tree.size, checkpoint.size, proof, tree.root(), checkpoint.root)
        except LogError:
            raise self.altered("its leaves do not come to its checkpoint's root") from None
        return checkpoint

    def deleted(self) -> bool:
        """Whether the opened file has no name any more."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _group(self, group: int) -> list[Row]:
        import pyarrow as pa

        number, rows = self._cached
        if number != group:
            try:
                table = self._parquet.read_row_group(group)
            except (pa.ArrowException, OSError, ValueError):
                span = f"{self._starts[group]} to {self._starts[group + 1] - 1}"
                raise self.altered(f"the entries {span} cannot be read") from None
            rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
            self._cached = group, rows
        return rows


def verify_archive(path: Path, vkey: str, handovers: Sequence[Handover] = ()) -> ArchiveFile:
    """Check an archive file with nothing but a pinned public key, and return it opened.

    Args:
        handovers: rotations of the log's key, where the pinned key is not the one that signed.

    Raises:
        LogError: GOV-516, GOV-517 for the file, GOV-506 when its checkpoint is not signed by that key, GOV-511
            when a handover of that key does not hold, or a retired key signed.
    """
    from governance.log.rotation import follow, open_checkpoint

    terms = follow(VerifierKey.parse(vkey), handovers)
    file = ArchiveFile(path)
    file.check()
    if open_checkpoint(file.header.checkpoint, terms).origin != file.header.origin:
        raise file.altered("it says that it is of another log")
    return file


def _covers(leaf: bytes, salt: bytes, body: bytes) -> bool:
    try:
        return Envelope.from_leaf(leaf).covers(salt, body)
    except LogError:
        return False


def _schema() -> pa.Schema:
    import pyarrow as pa

    binary: Any = pa.large_binary()
    return pa.schema(
        [
            pa.field("index", pa.int64(), nullable=False),
            pa.field("leaf", binary, nullable=False),
            pa.field("salt", binary),
            pa.field("body", binary),
        ]
    )
