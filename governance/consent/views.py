"""From segments, and an index published before, to a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from governance.consent.heads import Batch, Heads
from governance.consent.index import ConsentIndex, read_index, remove_index, sweep_indexes, write_index
from governance.consent.joined import standings_by_join
from governance.consent.records import Population, SubjectRecords, flat, is_backdated
from governance.consent.timeline import RankedRecords, compile_timeline

PUBLISH_ABOVE = 20_000
"""So many records beyond the published index, and more than an eighth of it, are worth a new one."""

COMPILE_AT_MOST = 30_000_000
"""Batches of more records than this are joined instead: compiling takes about 150 bytes a record."""

Seen = Callable[[int], Iterator[tuple[pa.Table, int]]]
"""Records of the purpose and domain in batches after a position, each with its recorded time in microseconds."""


class PublishedIndexes:
    """Indexes by domain, purpose and position. The newest two of a purpose are kept."""

    def __init__(self, directory: Path, heads: Heads, *, publish: bool) -> None:
        self._may_publish = publish
        self._directory = directory
        self._heads = heads
        self._opened: dict[str, ConsentIndex] = {}

    def standings(
        self,
        key: tuple[str, str],
        position: int,
        population: Population,
        instant: int,
        seen: Seen,
        batches: Sequence[Batch],
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Each subject's standing, and whether a backdated record of it is in view.

        Args:
            batches: those up to the position.
        """
        index = self._newest(key, position, population)
        after = index.position if index else 0
        if sum(batch.rows for batch in batches[after:]) > COMPILE_AT_MOST:
            return joined(population, instant, lambda: seen(0), batches)
        delta, strays = SubjectRecords.gather(seen(after), population) if after < position else _NOTHING
        known = len(index.records.ordinal) if index else 0
        if index is None or len(delta) > max(PUBLISH_ABOVE, known // 8):
            parts = [index.records.all(), delta] if index else [delta]
            strays = np.concatenate([index.strays, strays]) if index else strays
            total = known + len(delta)
            delta = SubjectRecords.empty()
            index = ConsentIndex.compiled(SubjectRecords.joined(parts), position, population, strays)
            self._publish(key, index, worth=self._may_publish and total > PUBLISH_ABOVE)
        standings = index.timeline.standings(instant, len(population))
        backdated = np.zeros(len(population), dtype=bool)
        backdated[index.backdated()] = True
        if len(delta):
            touched = np.unique(delta.ordinal)
            again = SubjectRecords.joined([index.records.of_subjects(touched), delta])
            compile_timeline(RankedRecords.of(again)).lay_over(standings, instant)
            backdated[delta.ordinal[is_backdated(delta.kind)]] = True
        return standings, backdated

    def sweep(self) -> None:
        """Remove what a killed publisher left; one that is at work finds its file gone and does without."""
        sweep_indexes(self._directory, self._heads.every_index())

    def _newest(self, key: tuple[str, str], position: int, population: Population) -> ConsentIndex | None:
        for name in self._heads.published(*key, position):
            index = self._opened.get(name) or read_index(self._directory, name)
            if index is not None and index.fits(population):
                self._opened = {**dict(list(self._opened.items())[-3:]), name: index}
                return index
        return None

    def _publish(self, key: tuple[str, str], index: ConsentIndex, *, worth: bool) -> None:
        if not worth:
            return
        try:
            name = write_index(self._directory, index)
            for old in self._heads.publish(*key, index.position, name):
                remove_index(self._directory, old)
        except OSError:
            # Who may only read the ledger compiles for itself.
            return


def joined(
    population: Population,
    instant: int,
    seen: Callable[[], Iterator[tuple[pa.Table, int]]],
    batches: Sequence[Batch],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The same without an index, in a gigabyte beside the population."""
    backdated = np.zeros(len(population), dtype=bool)
    for table, _ in seen():
        ordinals = population.ordinals(flat(table["subject"]).filter(flat(table["backdated"])))
        backdated[ordinals[ordinals >= 0]] = True
    standings = standings_by_join(seen, batches, population.to_reader, len(population), instant)
    return standings, backdated


_NOTHING = (SubjectRecords.empty(), np.empty((0, 16), np.uint8))
