"""Rows of the index, gathered column by column and handed over as Arrow tables, one a page of the log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from governance.lineage.index.event_parts import Dataset, EventParts
from governance.lineage.index.facet_facts import NO_FACETS, Facet, FacetSet, facet_set, lineage_rows
from governance.lineage.index.schemas import EVENT, OF_AN_EVENT, PLAIN, RANK, SCHEMAS, TIME
from governance.lineage.naming import PREFIX

FUTURE = timedelta(days=1)
"""An eventTime this much later than the log received it is not believed: it ranks last."""

_NO_PARENT = (None, None, None, None)
_NO_TIMES = (None, None)
_EDGE = len(SCHEMAS["facet_edges"].names) - 1
_HEAD = [name for name in SCHEMAS["events"].names if name not in ("future", "rank", "early", "digest")]


class _Rows:
    """Rows of one table, value after value in one list: a list of rows would be walked by the garbage
    collector, millions of them in vain. ``event`` is the position of each row's event in the page.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.event: list[int] = []
        self.values: list[Any] = []

    def add(self, event: int, row: tuple[Any, ...]) -> None:
        self.event.append(event)
        self.values += row

    def __bool__(self) -> bool:
        return bool(self.values)

    def columns(self) -> dict[str, Any]:
        width = len(self.names)
        return {name: self.values[place::width] for place, name in enumerate(self.names)}


class _Facets:
    """Rows of ``facet_sets``, ``facet_bodies`` and ``facet_edges``, most of all rows where facets do not repeat."""

    def __init__(self) -> None:
        self._sets: list[int] = []
        self._sizes: list[int] = []
        self._keys: list[str] = []
        self._ids: list[int] = []
        self._deleted: list[int] = []
        self._ours: list[int] = []
        self._new: list[int] = []
        self._texts: list[bytes] = []
        self._joined: list[int] = []
        self._joins: list[int] = []
        self._edges: list[Any] = []

    def add(self, number: int, facets: FacetSet) -> int:
        """The rows of a set that gets this number and of its new facets; returns the next free number."""
        following, ids = number + 1, self._ids
        self._sets.append(number)
        self._sizes.append(len(facets.by_key))
        self._keys += facets.by_key
        for key, facet in facets.by_key.items():
            if not facet.id:
                facet.id = following
                self._new.append(following)
                self._texts.append(facet.text)
                following += 1
                if key == "columnLineage":
                    self._joined.append(facet.id)
                    self._joins.append(len(facet.said) // _EDGE)
                    self._edges += facet.said
                    facet.said = None
            if facet.deleted:
                self._deleted.append(len(ids))
            if facets.ours and key.startswith(PREFIX):
                self._ours.append(len(ids))
            ids.append(facet.id)
        return following

    def columns(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Tables that have rows, and these."""
        if self._ids:
            flags = np.zeros((2, len(self._ids)), bool)
            flags[0, self._deleted] = flags[1, self._ours] = True
            numbers = pa.array(np.repeat(np.array(self._sets, np.int64), self._sizes))
            sets = {"set_id": numbers, "facet": self._keys, "facet_id": self._ids}
            yield "facet_sets", sets | {"deleted": pa.array(flags[0]), "ours": pa.array(flags[1])}
        if self._new:
            yield "facet_bodies", {"facet_id": self._new, "body": _strings(self._texts)}
        if self._edges:
            _, *names = SCHEMAS["facet_edges"].names
            edges = {name: self._edges[place::_EDGE] for place, name in enumerate(names)}
            owners = pa.array(np.repeat(np.array(self._joined, np.int64), self._joins))
            yield "facet_edges", {"facet_id": owners} | edges


class PageRows:
    """The rows of one page of entries. ``tables`` hands them over; add nothing afterwards.

    Args:
        next_id: the number that the next new facet or set of facets gets, from 1.
    """

    def __init__(self, next_id: int = 1) -> None:
        self.next_id = next_id
        self._plain = {name: _Rows(SCHEMAS[name].names) for name in PLAIN}
        self._heads = _Rows(_HEAD)
        self._digests: list[bytes] = []
        self._tables = {name: _Rows(schema.names) for name, schema in OF_AN_EVENT.items()}
        self._facets = _Facets()

    def plain(self, table: str, *row: Any) -> None:
        """A row of a table that is not about events."""
        self._plain[table].values += row

    def event(
        self,
        index: int,
        body: bytes,
        event: EventParts,
        principal: str,
        received: datetime | None,
        basis: str,
        evidence: Sequence[tuple[Any, ...]] = (),
    ) -> None:
        """All rows of one event."""
        place, run, of_job = len(self._digests), event.run_facets, event.job_facets
        job = (event.job_namespace, event.job_name)
        parent = run.said("parent") or _NO_PARENT
        nominal = run.said("nominalTime") or _NO_TIMES
        head = (index, event.time, received, event.kind, event.run_id, *job)
        said = (event.event_type, event.producer, principal, *parent, *nominal, event.faults)
        sets = (run.id or self._numbered(run), of_job.id or self._numbered(of_job))
        self._digests.append(hashlib.sha256(body).digest())
        values = self._heads.values
        values += head
        values += said
        values += sets
        for row in evidence:
            self._tables["evidence"].add(place, row)
        if "lineage" in of_job.by_key:
            self._lineage(place, "job", job, job, of_job, "declared")
        datasets = event.datasets
        if len(datasets) > 1 and len({dataset[1:3] for dataset in datasets}) < len(datasets):
            datasets = _settled(datasets)
        mentions = self._tables["mentions"]
        for direction, namespace, name, facets, own in datasets:
            whole = facets.id or self._numbered(facets)
            its = None if own is NO_FACETS else own.id or self._numbered(own)
            mentions.event.append(place)
            mentions.values += (direction, namespace, name, basis, whole, its)
            if "version" in facets.by_key and (version := facets.said("version")):
                self._tables["dataset_versions"].add(place, (direction, namespace, name, version, basis))
            if "lineage" in facets.by_key:
                self._lineage(place, "dataset", (namespace, name), job, facets, basis)

    def _lineage(
        self,
        place: int,
        scope: str,
        owner: tuple[str | None, str | None],
        job: tuple[str | None, str | None],
        facets: FacetSet,
        basis: str,
    ) -> None:
        stated = facets.by_key["lineage"]
        if not stated.deleted:
            for row in lineage_rows(scope, *owner, stated.said, job):
                self._tables["lineage"].add(place, (*row, basis))

    def _numbered(self, facets: FacetSet) -> int | None:
        """The number of a set that was not seen before, whose rows are added; none of an empty one."""
        if not facets.by_key:
            return None
        number = facets.id = self.next_id
        self.next_id = self._facets.add(number, facets)
        return number

    def tables(self) -> Mapping[str, pa.Table]:
        """The rows, by table; tables without rows are left out."""
        found = {name: _from(rows.columns(), SCHEMAS[name]) for name, rows in self._plain.items() if rows}
        found |= {name: _from(values, SCHEMAS[name]) for name, values in self._facets.columns()}
        if self._digests:
            events = found["events"] = self._events()
            for name, rows in self._tables.items():
                if rows:
                    found[name] = _from(rows.columns() | _taken(events, rows.event), SCHEMAS[name])
        return found

    def _events(self) -> pa.Table:
        values = self._heads.columns()
        times = pa.array([t and t.replace(tzinfo=None) for t in values["event_time"]], TIME)
        receipts = pa.array(values["received_at"], TIME)
        known = ~np.asarray(times.is_null())
        micros = np.asarray(times.cast(pa.int64()).fill_null(0))
        received = np.asarray(receipts.cast(pa.int64()).fill_null(2**62))
        future = known & (micros - received > FUTURE // timedelta(microseconds=1))
        digests = b"".join(self._digests)
        rank, early = _ranks(micros, known, future, digests)
        values |= {"event_time": times, "received_at": receipts, "future": pa.array(future)}
        values |= {"rank": rank, "early": early, "digest": _hexadecimal(digests)}
        return _from(values, SCHEMAS["events"])


def _strings(texts: Sequence[bytes]) -> pa.Array:
    """UTF-8 as it was encoded: neither decoded nor checked again, and copied once, not each time a buffer grows."""
    ends = np.cumsum([0, *map(len, texts)])
    if ends[-1] >= 2**31:
        return pa.array(texts, pa.binary()).view(pa.string())
    offsets = pa.py_buffer(ends.astype("<i4"))
    return pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(b"".join(texts)))


def _settled(datasets: Sequence[Dataset]) -> list[Dataset]:
    """One of each where an event names a dataset twice: of two facets of a name, the greater body."""
    whole: dict[tuple[str, str], dict[str, Facet]] = {}
    own: dict[tuple[str, str, str], dict[str, Facet]] = {}
    for direction, namespace, name, facets, its in datasets:
        _greater(whole.setdefault((namespace, name), {}), facets)
        _greater(own.setdefault((direction, namespace, name), {}), its)
    return [
        (direction, namespace, name, facet_set(whole.pop((namespace, name), {})), facet_set(its))
        for (direction, namespace, name), its in own.items()
    ]


def _greater(kept: dict[str, Facet], facets: FacetSet) -> None:
    for key, facet in facets.by_key.items():
        if key not in kept or facet.text > kept[key].text:
            kept[key] = facet


def _taken(events: pa.Table, place: Any) -> dict[str, Any]:
    """What the rows of a table take over from their events."""
    where = pa.array(place, pa.int32())
    return {name: events.column(name).chunk(0).take(where) for name in EVENT.names}


def _ranks(
    micros: np.ndarray, known: np.ndarray, future: np.ndarray, digests: bytes
) -> tuple[pa.Array, pa.Array]:
    """How events rank against others, as 126-bit numbers: the greatest is the latest, the least the earliest.

    Whether the time is believed, the time, the first 64 bits of the body's digest.
    """
    low = np.frombuffer(digests, ">u8").reshape(-1, 4)[:, 0]
    late = np.where(future, 0, np.where(known, 2, 1))
    soon = np.where(future, 2, np.where(known, 0, 1))
    return tuple(_decimals((trust << 59) + micros + (1 << 57), low) for trust in (late, soon))


def _decimals(high: np.ndarray, low: np.ndarray) -> pa.Array:
    words = np.empty((len(high), 2), "<u8")
    words[:, 0], words[:, 1] = low, high
    return pa.Array.from_buffers(RANK, len(high), [None, pa.py_buffer(words)])


def _hexadecimal(digests: bytes) -> pa.Array:
    count = len(digests) // 32
    offsets = pa.py_buffer(np.arange(0, 64 * count + 1, 64, dtype="<i4"))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(digests.hex().encode("ascii")))


def _from(values: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = []
    for field in schema:
        value = values[field.name]
        arrays.append(
            value if isinstance(value, (pa.Array, pa.ChunkedArray)) else pa.array(value, field.type)
        )
    return pa.Table.from_arrays(arrays, schema=schema)
