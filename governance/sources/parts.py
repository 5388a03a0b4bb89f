"""A pinned source cut into parts that several processes read at once."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governance.sources.pinning import open_pinned

if TYPE_CHECKING:
    from governance.model.dataset import SourceFile, SourceSnapshot


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a source, or some row groups of a Parquet file, counted from 0."""

    file: str
    row_groups: tuple[int, ...] | None = None


def split(snapshot: SourceSnapshot, shares: int) -> tuple[tuple[Part, ...], ...]:
    """Deal a source out into at most ``shares`` shares of about the same size, none of them empty.

    Whole files where there are enough of them; else Parquet files by row groups. A file of another kind is
    never cut. Together the shares are the source, each row once.

    Raises:
        SourceError: GOV-701, GOV-705, for a Parquet file that has to be looked into.
    """
    sizes: list[tuple[int, Part]] = []
    for file in snapshot.files:
        pieces = -(-shares // len(snapshot.files))
        if snapshot.kind == "parquet" and pieces > 1:
            sizes += _row_groups(snapshot, file, pieces)
        else:
            sizes.append((file.size, Part(file.name)))
    dealt: list[list[Part]] = [[] for _ in range(min(shares, len(sizes)))]
    loads = [(0, share) for share in range(len(dealt))]
    for size, part in sorted(sizes, key=lambda each: -each[0]):
        load, share = heapq.heappop(loads)
        dealt[share].append(part)
        heapq.heappush(loads, (load + size, share))
    return tuple(tuple(share) for share in dealt)


def _row_groups(snapshot: SourceSnapshot, file: SourceFile, pieces: int) -> list[tuple[int, Part]]:
    from governance.sources.parquet import row_group_count

    with open_pinned(snapshot, file) as opened:
        opened.verify(file)
        groups = row_group_count(opened)
    if groups < 2:
        return [(file.size, Part(file.name))]
    pieces = min(pieces, groups)
    bounds = [groups * i // pieces for i in range(pieces + 1)]
    return [
        (file.size * (end - start) // groups, Part(file.name, tuple(range(start, end))))
        for start, end in itertools.pairwise(bounds)
    ]
