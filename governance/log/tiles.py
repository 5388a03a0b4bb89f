"""C2SP tlog-tiles: the log as files that anyone can serve, copy and check.

Source: https://c2sp.org/tlog-tiles. A *tile* is up to 256 consecutive tree hashes at a height that is a
multiple of eight; an *entry bundle* holds up to 256 leaves, each behind its length as a big-endian uint16.
Full tiles and bundles never change. Nothing here touches a disk; :mod:`governance.log.export` does.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from governance.errors import LogError
from governance.log.note import read_checkpoint
from governance.log.storage import Storage
from governance.log.tree import EMPTY_ROOT, HASH_SIZE, leaf_hash, node_hash, subtrees

WIDTH = 256
CHECKPOINT = "checkpoint"
_HEIGHT = 8
_MAX_LEVEL = 63
_LENGTH = struct.Struct(">H")
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:[.]p/([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Resource:
    """A tile at ``level``, or an entry bundle where that is None; ``width`` is 1 to 256."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, e.g. ``tile/0/x001/x234/067.p/8``."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{name}{partial}"

    @property
    def stop(self) -> int:
        """The size that a log must have for this to exist."""
        return (self.index * WIDTH + self.width) << (_HEIGHT * (self.level or 0))

    @classmethod
    def parse(cls, path: str) -> Resource | None:
        """What a path names; None for every spelling but the one that :attr:`path` has."""
        matched = _PATH.fullmatch(path)
        if matched is None:
            return None
        level = None if matched[1] == "entries" else int(matched[1])
        index = int(matched[2].replace("/", "").replace("x", ""))
        found = cls(level, index, int(matched[3] or WIDTH))
        sound = found.path == path and found.width >= 1 and (level or 0) <= _MAX_LEVEL
        return found if sound else None


def tile(storage: Storage, level: int, index: int, width: int = WIDTH) -> bytes:
    """Tile ``index`` of ``level``: ``width`` hashes of 32 bytes, from the nodes that the store keeps.

    Raises:
        LogError: GOV-504 when the log has not reached it.
    """
    _reached(storage, Resource(level, index, width))
    height = _HEIGHT * level
    return b"".join(storage.nodes([(height, index * WIDTH + place) for place in range(width)]))


def entries_bundle(storage: Storage, index: int, width: int = WIDTH) -> bytes:
    """Entry bundle ``index``: ``width`` leaves, each behind its length.

    Raises:
        LogError: GOV-504 when the log has not reached it.
    """
    _reached(storage, Resource(None, index, width))
    return bundle([row.leaf for row in storage.read(index * WIDTH, index * WIDTH + width)])


def content(storage: Storage, path: str) -> bytes | None:
    """What a tlog-tiles server answers for ``path`` below its prefix; None for what there is not (404).

    Only what the newest kept checkpoint commits to is served. ``checkpoint`` changes and must not be cached,
    everything else never does.
    """
    note = storage.latest_checkpoint()
    if note is None:
        return None
    if path == CHECKPOINT:
        return note.encode()
    wanted = Resource.parse(path)
    if wanted is None or wanted.stop > read_checkpoint(note).size:
        return None
    if wanted.level is None:
        return entries_bundle(storage, wanted.index, wanted.width)
    return tile(storage, wanted.level, wanted.index, wanted.width)


def bundle(leaves: Sequence[bytes]) -> bytes:
    """An entry bundle of these leaves, each at most 65,535 bytes."""
    return b"".join(part for leaf in leaves for part in (_LENGTH.pack(len(leaf)), leaf))


def leaves_of(data: bytes) -> list[bytes]:
    """The leaves of an entry bundle.

    Raises:
        LogError: GOV-515 when a length does not fit.
    """
    leaves, place = [], 0
    while place < len(data):
        stop = place + 2 + int.from_bytes(data[place : place + 2], "big")
        if stop > len(data) or place + 2 > len(data):
            raise LogError("GOV-515", "an entry bundle is cut short", "Export the log again.")
        leaves.append(data[place + 2 : stop])
        place = stop
    return leaves


def resources(size: int, since: int = 0) -> Iterator[Resource]:
    """What a log of ``size`` serves and one of ``since`` did not, level 0 first, partial tiles last of each."""
    level, count, before = 0, size, since
    while count:
        for index in range(before // WIDTH, count // WIDTH):
            yield Resource(level, index)
        if count % WIDTH and count != before:
            yield Resource(level, count // WIDTH, count % WIDTH)
        level, count, before = level + 1, count // WIDTH, before // WIDTH


class Edge:
    """The right edge of a growing tree in tiles: the hashes of the unfinished tile at each level.

    Args:
        size: number of leaves so far.
        partial: the unfinished tiles, level 0 first; ``size // 256**level % 256`` hashes each.
    """

    def __init__(self, size: int = 0, partial: Sequence[bytes | bytearray] = ()) -> None:
        self.size = size
        self._partial = [bytearray(hashes) for hashes in partial]

    @classmethod
    def of(cls, storage: Storage, size: int) -> Edge:
        """The edge of a stored log as it was at ``size``, from the nodes that the store keeps."""
        partial: list[bytes] = []
        level, count = 0, size
        while count:
            wide = count % WIDTH
            partial.append(tile(storage, level, count // WIDTH, wide) if wide else b"")
            level, count = level + 1, count // WIDTH
        return cls(size, partial)

    def copy(self) -> Edge:
        """An independent copy."""
        return Edge(self.size, self._partial)

    def append(self, hashes: bytes) -> list[tuple[Resource, bytes]]:
        """Add leaf hashes, 32 bytes each; return the tiles that they complete, with their content."""
        completed: list[tuple[Resource, bytes]] = []
        for place in range(0, len(hashes), HASH_SIZE):
            self._push(0, hashes[place : place + HASH_SIZE], completed)
            self.size += 1
        return completed

    def _push(self, level: int, value: bytes, completed: list[tuple[Resource, bytes]]) -> None:
        if level == len(self._partial):
            self._partial.append(bytearray())
        row = self._partial[level]
        row += value
        if len(row) == WIDTH * HASH_SIZE:
            index = self.size >> (_HEIGHT * (level + 1))
            completed.append((Resource(level, index), bytes(row)))
            top = subtree_root(row)
            row.clear()
            self._push(level + 1, top, completed)

    def partial(self) -> list[tuple[Resource, bytes]]:
        """The unfinished tiles, with their content."""
        return [
            (Resource(level, self.size >> (_HEIGHT * (level + 1)), len(row) // HASH_SIZE), bytes(row))
            for level, row in enumerate(self._partial)
            if row
        ]

    def root(self) -> bytes:
        """The Merkle tree hash at the current size."""
        roots: list[bytes] = []
        for row in reversed(self._partial):
            for level, place in subtrees(0, len(row) // HASH_SIZE):
                first = (place << level) * HASH_SIZE
                roots.append(subtree_root(row[first : first + (HASH_SIZE << level)]))
        if not roots:
            return EMPTY_ROOT
        folded = roots.pop()
        while roots:
            folded = node_hash(roots.pop(), folded)
        return folded


def subtree_root(hashes: bytes | bytearray) -> bytes:
    """The root over a power of two of hashes, 32 bytes each."""
    row = [bytes(hashes[place : place + HASH_SIZE]) for place in range(0, len(hashes), HASH_SIZE)]
    while len(row) > 1:
        row = [node_hash(row[place], row[place + 1]) for place in range(0, len(row), 2)]
    return row[0]


def leaf_hashes(leaves: Sequence[bytes]) -> bytes:
    """The level 0 hashes of these leaves, 32 bytes each."""
    return b"".join(map(leaf_hash, leaves))


def _reached(storage: Storage, wanted: Resource) -> None:
    level = wanted.level or 0
    size = storage.size()
    inside = wanted.index >= 0 and 1 <= wanted.width <= WIDTH and 0 <= level <= _MAX_LEVEL
    if not inside or wanted.stop > size:
        raise LogError(
            "GOV-504",
            f"a log of {size} entries has no {wanted.path}",
            "Take the tiles of a size that a checkpoint names.",
        )
