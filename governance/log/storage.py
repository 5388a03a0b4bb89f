"""What a log needs of a storage, and how a location names one.

A storage keeps rows and takes turns; it knows nothing of envelopes, signatures or proofs. One row per
entry carries the leaf, the salt and body beside it, and the tree nodes that the leaf completes
(:func:`governance.log.tree.home`), so an append writes one row and a proof reads one row a level.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from governance.errors import LogError
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.note import check_name
from governance.log.tree import HASH_SIZE, Node, completed_by, home

PAGE = 128
PAGE_BYTES = 8 << 20
SPAN = 50_000
"""How many leaves are looked at for a mark at a time."""
TABLES = ("entry", "marker", "redaction", "checkpoint", "meta", "archive", "leftover")


class StoredEntry(msgspec.Struct, frozen=True, gc=False):
    """A row. ``nodes`` is the leaf hash and the interior nodes this leaf completes, 32 bytes each.

    ``salt`` and ``body`` are None after a redaction, whose leaf is then ``redacted_by``, and when they lie
    in an archive or were pruned from one.
    """

    index: int
    nodes: bytes
    leaf: bytes
    salt: bytes | None
    body: bytes | None
    redacted_by: int | None = None


class NewRow(NamedTuple):
    """A row to write at index ``place``. ``marker`` is the keyed digest that recognises a duplicate."""

    place: int
    nodes: bytes
    leaf: bytes
    salt: bytes
    body: bytes
    marker: bytes


@dataclass(frozen=True, slots=True)
class Redaction:
    """That entry ``index`` lost its body to leaf ``leaf``; ``refusal`` is the keyed digest of that body."""

    index: int
    leaf: int
    refusal: bytes


class Turn(Protocol):
    """The sequencer's turn: while it lasts nobody else appends. What it wrote is durable when it ends.

    ``size`` and ``last_nodes`` (the newest row's, empty at size 0) are the head found at its start;
    ``known`` and ``refused`` say which of the digests asked about are in the log, and where.
    """

    size: int
    last_nodes: bytes
    known: Mapping[bytes, int]
    refused: Mapping[bytes, int]

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """Tree nodes, in the order asked for."""

    def entry(self, index: int) -> StoredEntry | None:
        """One row."""

    def write(self, rows: Sequence[NewRow]) -> None:
        """Add rows; their indexes follow ``size`` without a gap."""

    def forget(self, redaction: Redaction, marker: bytes) -> None:
        """Take salt and body away and put the refusal in the place of ``marker``."""

    def archives(self) -> list[ArchiveRow]:
        """Every archive, by first index."""

    def put_archive(self, row: ArchiveRow, replaced: Path | None = None) -> None:
        """Write the row of an archive; the file at ``replaced`` is left over, to be deleted."""

    def redacted_in(self, first: int, stop: int) -> list[int]:
        """The redacted entries with ``first <= index < stop``."""

    def empty(self, first: int, stop: int) -> None:
        """Take salt and body of the entries ``first <= index < stop`` out of the database."""


class Storage(Protocol):
    """Where a log lives. Reads may come from any thread; turns exclude each other over all processes."""

    @property
    def location(self) -> str:
        """Where it is, without credentials, for messages."""

    @property
    def origin(self) -> str:
        """The log's name, fixed at creation: the first line of each checkpoint."""

    @property
    def dedup_key(self) -> bytes:
        """32 random bytes of this store, under which duplicates and refusals are recognised."""

    @property
    def local(self) -> bool:
        """Whether an append that waits for nobody waits for no network either, only for a disk."""

    @property
    def residue(self) -> str:
        """Where bytes of a removed body may still be found, in words; empty when nowhere known."""

    def size(self) -> int:
        """Number of entries."""

    def turn(
        self, markers: Sequence[bytes] = (), refusals: Sequence[bytes] = ()
    ) -> AbstractContextManager[Turn]:
        """Wait for the turn to append. An exception inside it undoes everything it wrote."""

    def append_if(
        self,
        size: int,
        last_nodes: bytes,
        rows: Sequence[NewRow],
        refusals: Sequence[bytes],
        *,
        wait: bool = True,
    ) -> bool:
        """Take a turn that adds rows if nothing speaks against it, with as few round trips as can be.

        Args:
            wait: for whoever has the turn now, in this process or another; otherwise that speaks against it.

        Returns:
            False, with nothing written, when the head is not ``size`` and ``last_nodes``, a row's marker is
            known, or one of the refusals is; True when the rows are durable.
        """

    def read(self, start: int, stop: int) -> Iterator[StoredEntry]:
        """Rows with ``start <= index < stop`` in order of index, page by page."""

    def marked(self, mark: bytes, start: int, stop: int) -> Iterator[StoredEntry]:
        """Those of :meth:`read` whose leaf holds these bytes; of the others no body is read."""

    def nodes(self, nodes: Sequence[Node]) -> list[bytes]:
        """Tree nodes, in the order asked for. Raises GOV-504 when one is missing."""

    def markers(self, markers: Sequence[bytes]) -> dict[bytes, int]:
        """Which of these dedup markers are kept, and for which index."""

    def marker_count(self) -> int:
        """How many dedup markers are kept."""

    def redactions(self) -> list[Redaction]:
        """Every redaction, by index."""

    def checkpoints(self) -> list[str]:
        """Every signed checkpoint kept, smallest first."""

    def latest_checkpoint(self) -> str | None:
        """The newest signed checkpoint."""

    def save_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed checkpoint, durable when it returns; one already kept at this size stays."""

    def replace_checkpoint(self, size: int, former: str, note: str) -> bool:
        """Put a note with more signatures in the place of ``former``; False when that is no longer kept."""

    def archives(self) -> list[ArchiveRow]:
        """Every archive of bodies, by first index."""

    def leftovers(self) -> list[str]:
        """Archive files that were replaced or pruned and are still to be deleted, by path."""

    def deleted(self, path: str) -> None:
        """That the leftover at ``path`` is gone."""

    def scrub(self) -> None:
        """Make the bytes of removed bodies go, as far as this storage can."""

    def close(self) -> None:
        """Let go of the connection."""


def open_storage(location: str, *, create: bool = False, origin: str | None = None) -> Storage:
    """Open the storage at ``location``: a directory, or a ``postgresql://`` URL.

    Args:
        location: a directory that holds ``log.sqlite``, or a PostgreSQL connection URL.
        create: make it when it is not there yet; an existing one is opened.
        origin: its name. With ``create`` the name it gets (default: a random one); otherwise, and when
            it is already there, the name it must have.

    Raises:
        LogError: GOV-501 when it is not there or cannot be opened, GOV-502 when it has another origin,
            GOV-506 when ``origin`` is not a valid name.
        SettingError: GOV-902 when PostgreSQL's driver is not installed.
    """
    if origin is not None:
        check_name(origin)
    if is_postgres(location):
        from governance.log.postgres import PostgresStorage

        return PostgresStorage(location, create=create, origin=origin)
    from governance.log.sqlite import SqliteStorage

    return SqliteStorage(location, create=create, origin=origin)


def is_postgres(location: str) -> bool:
    """Whether a location names a PostgreSQL database rather than a directory."""
    return location.startswith(("postgresql://", "postgres://"))


def new_origin() -> str:
    """A random name for a log whose creator gave none."""
    return f"governance-log/{secrets.token_hex(16)}"


def no_store(location: str) -> LogError:
    """There is no log at ``location``."""
    return LogError(
        "GOV-501",
        f"there is no lineage store at {location}",
        "Check --store or GOVERNANCE_STORE; `governance demo` and `governance run` create a store.",
    )


def other_origin(location: str, found: str, expected: str) -> LogError:
    """The log at ``location`` is not the one asked for."""
    return LogError(
        "GOV-502",
        f"the store at {location} is {found}, not {expected}",
        "Point --store or GOVERNANCE_STORE at the store that the dataset root names.",
    )


def newer_schema(location: str, found: int, known: int) -> LogError:
    """The log was written by a later version of this package."""
    return LogError(
        "GOV-501",
        f"the store at {location} has schema {found}, this version knows {known}",
        "Upgrade airflow-governance to the version that wrote the store, or a later one.",
    )


def migrations(dialect: str) -> list[tuple[int, str]]:
    """The numbered migrations ``(number, SQL)`` of a dialect, in order; numbers start at 1, no gaps."""
    folder = resources.files("governance.log") / "migrations" / dialect
    found = []
    for file in folder.iterdir():
        if named := re.fullmatch(r"(\d{4})_\w+\.sql", file.name):
            found.append((int(named[1]), file.read_text(encoding="utf-8")))
    return sorted(found)


def next_page(rows: Sequence[StoredEntry]) -> int:
    """How many rows the next page should have, so that it holds about :data:`PAGE_BYTES`."""
    size = sum(len(row.body or b"") + len(row.leaf) for row in rows) // len(rows)
    return max(1, min(4 * len(rows), PAGE_BYTES // (size + 512), 8 * PAGE))


def pick_nodes(rows: Mapping[int, bytes], nodes: Sequence[Node]) -> list[bytes]:
    """Cut ``nodes`` out of the ``nodes`` columns of their home rows.

    Raises:
        LogError: GOV-504 when a row is missing or too short.
    """
    picked = []
    for node in nodes:
        at = home(node)
        packed = rows.get(at, b"")
        if len(packed) != completed_by(at) * HASH_SIZE:
            raise LogError(
                "GOV-504",
                f"the tree nodes of entry {at} are missing or damaged",
                "Run `governance log verify` on the store; restore it from a backup if it is damaged.",
            )
        start = node[0] * HASH_SIZE
        picked.append(packed[start : start + HASH_SIZE])
    return picked
