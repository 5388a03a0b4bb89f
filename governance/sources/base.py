"""What a kind of source has to provide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from governance.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

    from governance.sources.pinning import OpenedFile

MAX_BATCH_ROWS = 131_072
"""No batch of any source has more rows."""


class SourceKind(Protocol):
    """A file format. Both methods run in memory bounded by a constant, whatever a file's size.

    ``suffixes`` are lower-case file name endings, dot included.
    """

    name: str
    suffixes: tuple[str, ...]

    def schema(self, files: Iterable[OpenedFile], types: Mapping[str, pa.DataType]) -> pa.Schema:
        """One schema for all files. Raises :class:`SourceError` GOV-701 if they do not share one."""

    def batches(self, file: OpenedFile, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """The columns of ``schema`` in its order, in batches of at most ``batch_rows`` rows."""


def unreadable(name: str, why: str) -> SourceError:
    """GOV-701 for the file ``name``."""
    return SourceError("GOV-701", f"{name}: {why}", "write the file again, whole, and run again")


def malformed(name: str, where: str, why: str) -> SourceError:
    """GOV-702 for the file ``name``; ``where`` is a row or line."""
    return SourceError("GOV-702", f"{name}: {where}: {why}", "mend the row in the source and run again")


def not_utf8(name: str, where: str) -> SourceError:
    """GOV-703 for the file ``name``; ``where`` is a line or column."""
    return SourceError(
        "GOV-703", f"{name}: {where}: invalid UTF-8", "convert the source to UTF-8 and run again"
    )


def empty(name: str, why: str) -> SourceError:
    """GOV-704."""
    return SourceError("GOV-704", f"{name}: {why}", "check what writes the source; nothing was changed")


def changed(name: str, why: str) -> SourceError:
    """GOV-705 for the file ``name``."""
    return SourceError(
        "GOV-705",
        f"{name}: {why} after the run pinned it",
        "let what writes the source finish, then start a new run",
    )


def mismatch(name: str, column: str, why: str) -> SourceError:
    """GOV-701: ``name`` does not have the schema of the files before it."""
    return SourceError(
        "GOV-701",
        f"{name}: column {column!r} {why}",
        "give all files of the source the same columns and types",
    )
