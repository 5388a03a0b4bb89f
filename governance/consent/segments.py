"""Immutable Parquet segments, one a batch, named by their digest and checked at each read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from governance.consent.actions import SEGMENT
from governance.durable import replace_file
from governance.errors import ConsentError

_SUFFIX = ".parquet"
_NAMES = ("domain", "purpose", "action")


def write_segment(directory: Path, table: pa.Table) -> str:
    """Write a batch durably and return ``sha256:`` and the hexadecimal digest of its file.

    When it returns, the file and its name survive a loss of power. A file that is there already has
    the same bytes, because its name says so.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.cast(SEGMENT),
        sink,
        compression="zstd",
        use_dictionary=[*_NAMES, "notice_version", "channel", "given_by", "defect"],
        write_statistics=["domain", "purpose", "valid_from", "valid_to", "collected_at"],
        row_group_size=1_048_576,
    )
    data = sink.getvalue()
    name = hashlib.sha256(data).hexdigest()
    replace_file(directory / (name + _SUFFIX), data)
    return "sha256:" + name


def read_segment(directory: Path, digest: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a segment through its digest; what is parsed is what was hashed.

    Raises:
        ConsentError: GOV-203 when the file is missing or was altered.
    """
    table: pa.Table = pq.read_table(pa.BufferReader(_checked(directory, digest)), columns=_list(columns))
    return table


def segment_parts(directory: Path, digest: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A segment's row groups one by one, names dictionary-encoded. Raises as :func:`read_segment`."""
    file = pq.ParquetFile(pa.BufferReader(_checked(directory, digest)), read_dictionary=list(_NAMES))
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=_list(columns))


def _checked(directory: Path, digest: str) -> bytes:
    name = digest.removeprefix("sha256:")
    try:
        data = (directory / (name + _SUFFIX)).read_bytes()
    except OSError:
        raise _damaged(name, "is missing or cannot be read") from None
    if hashlib.sha256(data).hexdigest() != name:
        raise _damaged(name, "was altered")
    return data


def _list(columns: Sequence[str] | None) -> list[str] | None:
    return list(columns) if columns else None


def sweep(directory: Path, named: set[str]) -> None:
    """Remove what a killed import left: temporary files, and segments that no head names."""
    keep = {digest.removeprefix("sha256:") + _SUFFIX for digest in named}
    for path in directory.iterdir():
        if path.name not in keep:
            path.unlink(missing_ok=True)


def _damaged(name: str, how: str) -> ConsentError:
    return ConsentError(
        "GOV-203",
        f"consent segment {name[:16]}… {how}",
        "restore the ledger's `segments` from a backup; their digests are in the log's consent batches",
    )
