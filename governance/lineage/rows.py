"""Rows of the index, gathered column by column and handed over as Arrow tables, one a page of the log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from governance.lineage.event_parts import Dataset, EventParts
from governance.lineage.facet_facts import Facet, FacetSet, lineage_rows
from governance.lineage.naming import PREFIX
from governance.lineage.schemas import EVENT, OF_AN_EVENT, PLAIN, RANK, SCHEMAS, TIME

FUTURE = timedelta(days=1)
"""An eventTime this much later than the log received it is not believed: it ranks last."""

_NO_PARENT = (None, None, None, None)
_NO_TIMES = (None, None)
_HEAD = [name for name in SCHEMAS["events"].names if name not in ("future", "rank", "early", "digest")]
_OWNER = ("scope", "namespace", "name", "basis")


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

    def columns(self) -> dict[str, Any]:
        width = len(self.names)
        return {name: self.values[place::width] for place, name in enumerate(self.names)}


class PageRows:
    """The rows of one page of entries. ``tables`` hands them over; add nothing afterwards.

    Args:
        next_facet: the number that the next new facet gets, from 1.
    """

    def __init__(self, next_facet: int = 1) -> None:
        self.next_facet = next_facet
        self._plain = {name: _Rows(SCHEMAS[name].names) for name in (*PLAIN, "facet_bodies")}
        self._heads = _Rows(_HEAD)
        self._digests: list[bytes] = []
        self._tables = {name: _Rows(schema.names) for name, schema in OF_AN_EVENT.items()}
        # Facets of one owner follow one another: an owner with their number, then a value for each.
        self._owners = _Rows(_OWNER)
        self._counts: list[int] = []
        self._keys: list[str] = []
        self._ids: list[int] = []
        self._deleted: list[bool] = []
        self._ours: list[int] = []
        self._edges: list[list[Any]] = [[] for _ in SCHEMAS["facet_edges"]]

    def plain(self, table: str, *row: Any) -> None:
        """A row of a table that is not about events."""
        self._plain[table].add(0, row)

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
        place, run_facets = len(self._digests), event.run_facets
        job = (event.job_namespace, event.job_name)
        parent = run_facets.said("parent") or _NO_PARENT
        nominal = run_facets.said("nominalTime") or _NO_TIMES
        head = (index, event.time, received, event.kind, event.run_id, *job)
        said = (event.event_type, event.producer, principal, *parent, *nominal, event.faults)
        self._digests.append(hashlib.sha256(body).digest())
        self._heads.values += head + said
        for row in evidence:
            self._tables["evidence"].add(place, row)
        if run_facets.keys:
            self._facets(place, job, ("run", None, None, "declared"), run_facets)
        if event.job_facets.keys:
            self._facets(place, job, ("job", *job, "declared"), event.job_facets)
        datasets = event.datasets
        if len({dataset[1:3] for dataset in datasets}) < len(datasets):
            datasets = _settled(datasets)
        read_or_wrote = self._tables["run_io"]
        for direction, namespace, name, facets, own in datasets:
            read_or_wrote.add(place, (direction, namespace, name))
            if facets.keys:
                self._facets(place, job, ("dataset", namespace, name, basis), facets)
                if version := facets.said("version"):
                    row = (direction, namespace, name, version, basis)
                    self._tables["dataset_versions"].add(place, row)
            if own.keys:
                self._facets(place, job, (direction, namespace, name, basis), own)

    def _facets(
        self,
        place: int,
        job: tuple[str | None, str | None],
        owner: tuple[str, str | None, str | None, str],
        facets: FacetSet,
    ) -> None:
        self._owners.add(place, owner)
        self._counts.append(len(facets.keys))
        if facets.ours:
            self._ours += [len(self._keys) + n for n, key in enumerate(facets.keys) if key.startswith(PREFIX)]
        self._keys += facets.keys
        self._ids += facets.ids or self._numbered(facets)
        self._deleted += facets.deleted
        scope, namespace, name, basis = owner
        stated = facets.by_key.get("lineage")
        if stated is not None and not stated.deleted and scope in ("job", "dataset"):
            for row in lineage_rows(scope, namespace, name, stated.said, job):
                self._tables["lineage"].add(place, (*row, basis))

    def _numbered(self, facets: FacetSet) -> list[int]:
        for key, facet in facets.by_key.items():
            if not facet.id:
                facet.id = self.next_facet
                self.next_facet += 1
                self._plain["facet_bodies"].add(0, (facet.id, facet.text))
                if key == "columnLineage" and facet.said:
                    columns = ([facet.id] * len(facet.said[0]), *facet.said)
                    for values, column in zip(self._edges, columns, strict=True):
                        values += column
        facets.ids = [facet.id for facet in facets.by_key.values()]
        return facets.ids

    def tables(self) -> Mapping[str, pa.Table]:
        """The rows, by table; tables without rows are left out."""
        found = {
            name: _from(rows.columns(), SCHEMAS[name]) for name, rows in self._plain.items() if rows.event
        }
        if self._edges[0]:
            schema = SCHEMAS["facet_edges"]
            found["facet_edges"] = _from(dict(zip(schema.names, self._edges, strict=True)), schema)
        if self._digests:
            events = found["events"] = self._events()
            for name, rows in self._tables.items():
                if rows.event:
                    found[name] = _from(rows.columns() | _taken(events, rows.event), SCHEMAS[name])
            if self._ids:
                found["facet_rows"] = self._facet_rows(events)
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

    def _facet_rows(self, events: pa.Table) -> pa.Table:
        owner = pa.array(np.repeat(np.arange(len(self._counts), dtype="i4"), self._counts))
        values = _taken(events, np.repeat(np.array(self._owners.event, "i4"), self._counts))
        for name, column in self._owners.columns().items():
            values[name] = pa.array(column, pa.string()).take(owner)
        values |= {"facet": self._keys, "facet_id": self._ids, "deleted": self._deleted}
        if self._ours:
            values["rank"] = _by_index(values["rank"], values["log_index"], self._ours)
        return _from(values, SCHEMAS["facet_rows"])


def _settled(datasets: Sequence[Dataset]) -> list[Dataset]:
    """One of each where an event names a dataset twice: of two facets of a name, the greater body."""
    whole: dict[tuple[str, str], dict[str, Facet]] = {}
    own: dict[tuple[str, str, str], dict[str, Facet]] = {}
    for direction, namespace, name, facets, its in datasets:
        _greater(whole.setdefault((namespace, name), {}), facets)
        _greater(own.setdefault((direction, namespace, name), {}), its)
    return [
        (direction, namespace, name, FacetSet(whole.pop((namespace, name), {})), FacetSet(its))
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


def _by_index(rank: pa.Array, log_index: pa.Array, rows: list[int]) -> pa.Array:
    """Ours rank by log index: what was signed later counts, whatever time it claims."""
    words = np.frombuffer(rank.buffers()[1], "<u8")[: 2 * len(rank)].reshape(-1, 2).copy()
    words[rows, 0] = 0
    words[rows, 1] = np.asarray(log_index.take(pa.array(rows)))
    return _decimals(words[:, 1], words[:, 0])


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
