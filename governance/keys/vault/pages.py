"""Columns of fixed-width records in sealed pages; the format is in :mod:`governance.keys.vault.vault`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

from governance.errors import ProtectionError
from governance.keys.sealing import OVERHEAD, Altered, Sealer, Secretive
from governance.keys.usage import within_limit
from governance.keys.vault.rows import ColumnName, VaultRows
from governance.model.canonical import canonical, parse

Bytes = npt.NDArray[np.uint8]
_Item = TypeVar("_Item")

PAGE_RECORDS = 4096
WIDTHS = {"index": 16, "internal": 16, "secret": 32, "pseudonym": 16, "suppressed": 16, "restricted": 8}

_HEAD = "governance vault head v1"
_COLUMN = "governance vault column v1"
_PAGE = "governance vault page v1"

AT_ONCE = 64
"""Pages asked for, and written, in one go: at most 8 MiB."""


class Head(NamedTuple):
    """The vault's state at one generation: which version of each column belongs to it."""

    vault: str
    key_id: str
    generation: int
    tombstones: int
    columns: dict[ColumnName, int]
    seals: int = 0


class Directory(NamedTuple):
    """A column's record count and the generation each of its pages was sealed at."""

    column_id: int
    length: int
    generations: npt.NDArray[np.uint64]


class Cached(Secretive):
    """A column in memory: room for more than ``count`` records, so that growing is amortised."""

    __slots__ = ("count", "generation", "room", "sealed_at")

    def __init__(self, width: int) -> None:
        self.room: Bytes = np.empty((PAGE_RECORDS, width), np.uint8)
        self.count = 0
        self.generation = -1
        self.sealed_at = np.empty(0, np.uint64)

    @property
    def records(self) -> Bytes:
        """Shape (count, width), read-only."""
        view = self.room[: self.count]
        view.flags.writeable = False
        return view

    def reserve(self, count: int) -> None:
        if count > len(self.room):
            room = np.empty((max(count, 2 * len(self.room)), self.room.shape[1]), np.uint8)
            room[: self.count] = self.room[: self.count]
            self.room = room


class Pages(Secretive):
    """Reads and writes sealed columns within a transaction that the caller holds.

    ``page_key`` unwraps the key that a head names. The cache only ever follows what was committed:
    a write goes to the database and is read back by the next refresh.
    """

    __slots__ = ("_cache", "_page_key", "_sealer", "_seals", "_where", "head")

    def __init__(self, page_key: Callable[[str], bytes], where: str) -> None:
        self._page_key = page_key
        self._where = where
        self._sealer: Sealer | None = None
        self._seals = 0
        self._cache: dict[ColumnName, Cached] = {}
        self.head: Head | None = None

    def refresh(self, rows: VaultRows) -> Head:
        """Follow the committed head, and forget every column if the vault was sealed anew."""
        row = rows.head()
        if row is None:
            raise self.damaged("it has no head; one that was moved to another storage has none here")
        vault, key_id, generation, sealed = row
        if not (isinstance(vault, str) and isinstance(key_id, str) and _counts(generation)):
            raise self.damaged("its head names no vault, key or generation")
        if self.head is not None and (self.head.key_id, self.head.generation) == (key_id, generation):
            return self.head
        if self.head is not None and self.head.generation > generation:
            raise self.damaged("it went back to an earlier state while it was open")
        if self.head is None or self.head.key_id != key_id:
            self._sealer = Sealer(self._page_key(key_id))
            self._cache.clear()
        body = parse(self._unsealed(sealed, "the head", _HEAD, vault, key_id, generation))
        columns = {ColumnName(*name): at for *name, at in body["columns"]}
        # One who wrote before seals were counted sealed far less often than the margin is wide.
        self._seals = body.get("seals", 0)
        self.head = Head(vault, key_id, generation, body["tombstones"], columns, self._seals)
        return self.head

    def column(self, rows: VaultRows, name: ColumnName) -> Cached:
        """A column as of the refreshed head; pages sealed since the last time are read."""
        head = self._current()
        cached = self._cache.get(name) or Cached(WIDTHS[name.kind])
        directory = self._directory(rows, head, name)
        if directory is not None and head.columns[name] != cached.generation:
            before = np.zeros(len(directory.generations), np.uint64)
            before[: len(cached.sealed_at)] = cached.sealed_at
            cached.reserve(directory.length)
            changed = np.flatnonzero(before != directory.generations).tolist()
            for number, page in self.pages(rows, name, directory, changed):
                start = number * PAGE_RECORDS
                cached.room[start : start + len(page)] = page
            cached.count = directory.length
            cached.sealed_at = directory.generations
            cached.generation = head.columns[name]
        self._cache[name] = cached
        return cached

    def pages(
        self, rows: VaultRows, name: ColumnName, directory: Directory, numbers: list[int]
    ) -> Iterator[tuple[int, Bytes]]:
        """Open pages and hold each against the column's directory. Raises GOV-307."""
        width, vault = WIDTHS[name.kind], self._current().vault
        for part in _portions(numbers):
            held = rows.pages(directory.column_id, part)
            for number in part:
                place = f"page {number} of the {name.kind} column of domain {name.domain}"
                generation, sealed = held.get(number, (None, b""))
                if generation is None or generation != directory.generations[number]:
                    raise self.damaged(f"{place} is missing or is another generation's")
                size = width * min(PAGE_RECORDS, directory.length - number * PAGE_RECORDS)
                if not isinstance(sealed, bytes) or len(sealed) != size + OVERHEAD:
                    raise self.damaged(f"{place} has the wrong length")
                at = int(directory.generations[number])
                plain = self._unsealed(sealed, place, _PAGE, vault, *name, number, at)
                yield number, np.frombuffer(plain, np.uint8).reshape(-1, width)

    def append(self, rows: VaultRows, name: ColumnName, records: Bytes, generation: int) -> None:
        """Write records after the last one; the page that was not full is sealed again."""
        directory = self._directory(rows, self._current(), name)
        if directory is None:
            directory = Directory(rows.column(name, generation), 0, np.empty(0, np.uint64))
        first, kept = divmod(directory.length, PAGE_RECORDS)
        if kept:
            [(_, begun)] = self.pages(rows, name, directory, [first])
            records = np.concatenate([begun, records])
        self._write_from(rows, name, directory, first, records, generation)

    def write_column(self, rows: VaultRows, name: ColumnName, records: Bytes, generation: int) -> None:
        """Seal a whole column anew; it may be a new one or have grown."""
        directory = Directory(rows.column(name, generation), 0, np.empty(0, np.uint64))
        self._write_from(rows, name, directory, 0, records, generation)
        rows.cut(directory.column_id, -(-len(records) // PAGE_RECORDS))

    def write_pages(
        self,
        rows: VaultRows,
        name: ColumnName,
        column_id: int,
        pages: Iterable[tuple[int, Bytes]],
        generation: int,
    ) -> None:
        vault = self._current().vault
        for part in _portions(pages):
            sealed = [
                (number, generation, self._seal(page.tobytes(), _PAGE, vault, *name, number, generation))
                for number, page in part
            ]
            rows.write_pages(column_id, sealed)

    def write_directory(
        self, rows: VaultRows, name: ColumnName, directory: Directory, generation: int
    ) -> None:
        """Seal a column's directory at the generation of its newest page."""
        plain = np.concatenate([np.array([directory.length], np.uint64), directory.generations])
        body = plain.astype("<u8").tobytes()
        sealed = self._seal(body, _COLUMN, self._current().vault, *name, generation)
        rows.write_directory(directory.column_id, generation, sealed)

    def write_head(self, rows: VaultRows, head: Head) -> None:
        """Publish a generation; the last step of every write."""
        columns = sorted([*name, generation] for name, generation in head.columns.items())
        body = canonical({"tombstones": head.tombstones, "columns": columns, "seals": self._seals + 1})
        sealed = self._seal(body, _HEAD, head.vault, head.key_id, head.generation)
        rows.write_head(head.key_id, head.generation, sealed)

    def directory(self, rows: VaultRows, name: ColumnName) -> Directory:
        """The directory of a column the head lists."""
        directory = self._directory(rows, self._current(), name)
        if directory is None:
            raise self.damaged(f"the {name.kind} column of domain {name.domain} is missing")
        return directory

    def sealing_with(self, key: bytes) -> Pages:
        """A writer for the same vault under another key."""
        other = Pages(self._page_key, self._where)
        other._sealer, other.head = Sealer(key), self.head
        return other

    def damaged(self, what: str) -> ProtectionError:
        return ProtectionError(
            "GOV-307",
            f"the subject vault {self._where} is damaged: {what}",
            "restore the newest backup of the vault; pseudonyms cannot be made again",
        )

    def _directory(self, rows: VaultRows, head: Head, name: ColumnName) -> Directory | None:
        if name not in head.columns:
            return None
        row = rows.directory(name)
        place = f"the {name.kind} column of domain {name.domain}"
        if row is None or row[1] != head.columns[name]:
            raise self.damaged(f"{place} is missing or is another generation's")
        plain = self._unsealed(row[2], place, _COLUMN, head.vault, *name, head.columns[name])
        numbers = np.frombuffer(plain, "<u8").astype(np.uint64)
        return Directory(row[0], int(numbers[0]), numbers[1:])

    def _write_from(
        self,
        rows: VaultRows,
        name: ColumnName,
        directory: Directory,
        first: int,
        records: Bytes,
        generation: int,
    ) -> None:
        """Records from page ``first`` on, and the directory that follows from them."""
        parts = (records[start : start + PAGE_RECORDS] for start in range(0, len(records), PAGE_RECORDS))
        self.write_pages(rows, name, directory.column_id, enumerate(parts, first), generation)
        generations = np.full(first + -(-len(records) // PAGE_RECORDS), generation, np.uint64)
        generations[:first] = directory.generations[:first]
        grown = Directory(directory.column_id, first * PAGE_RECORDS + len(records), generations)
        self.write_directory(rows, name, grown, generation)

    def _seal(self, plain: bytes, *context: str | int) -> bytes:
        if self._sealer is None:
            raise ValueError("the vault was not refreshed")
        self._seals += 1
        within_limit(f"the key of the subject vault {self._where}", self._seals)
        return self._sealer.seal(plain, *context)

    def _unsealed(self, sealed: object, place: str, *context: str | int) -> bytes:
        if self._sealer is None:
            raise ValueError("the vault was not refreshed")
        try:
            if isinstance(sealed, bytes):
                return self._sealer.unseal(sealed, *context)
        except Altered:
            pass
        raise self.damaged(f"{place} was altered")

    def _current(self) -> Head:
        if self.head is None:
            raise ValueError("the vault was not refreshed")
        return self.head


def _counts(generation: object) -> TypeGuard[int]:
    """Whether a generation is one that canonical JSON can state."""
    return isinstance(generation, int) and 0 <= generation < 1 << 53


def overwritten(page: Bytes, number: int, ordinals: npt.NDArray[np.int64], records: Bytes) -> Bytes:
    """A column's page with ``records`` at those of ``ordinals`` that lie in it."""
    places = ordinals - number * PAGE_RECORDS
    inside = (places >= 0) & (places < len(page))
    if inside.any():
        page = page.copy()
        page[places[inside]] = records[inside]
    return page


def _portions(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    waiting = iter(items)
    while part := list(islice(waiting, AT_ONCE)):
        yield part
