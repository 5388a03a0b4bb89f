"""The parts of an event that the index keeps, read in one of two ways.

What conforms to the spec, nearly everything, is read by a compiled decoder that does not look into facets
it has seen before. What it does not take, for whatever reason, is read by :mod:`governance.lineage.reading`,
which decides: the quick way only ever says what the careful one would have said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from governance.lineage.index.facet_facts import (
    NO_FACETS,
    READ,
    Facet,
    FacetSet,
    canonical_text,
    facet_of,
    facet_set,
)
from governance.lineage.naming import PREFIX
from governance.lineage.reading import EVENT_TYPES, ReadEvent, mapping, text

_CACHED = 64 * 2**20
_CACHED_ONE = 128 * 2**10
_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OURS = PREFIX.encode("ascii")

Dataset: TypeAlias = tuple[str, str, str, FacetSet, FacetSet]


class EventParts(msgspec.Struct, gc=False):
    """An event's members as the rows have them; ``time`` is aware.

    ``datasets`` are direction (``input``, ``output``, ``static``), namespace, name, its facets, and
    those that it has as an input or output only.
    """

    kind: str
    time: datetime | None
    faults: tuple[str, ...]
    event_type: str | None
    producer: str | None
    run_id: str | None
    job_namespace: str | None
    job_name: str | None
    run_facets: FacetSet
    job_facets: FacetSet
    datasets: list[Dataset]


def parts_of(event: ReadEvent) -> EventParts:
    """The parts of an event that was read carefully."""
    job_namespace, job_name = event.job or (None, None)
    return EventParts(
        event.kind,
        event.time,
        event.faults,
        event.event_type,
        text(event.body.get("producer")),
        event.run_id,
        job_namespace,
        job_name,
        _facets(event.body.get("run"), "facets", _ordinary),
        _facets(event.body.get("job"), "facets") if event.job else NO_FACETS,
        [
            (direction, namespace, name, _facets(value, "facets"), _facets(value, f"{direction}Facets"))
            for member, direction in (("inputs", "input"), ("outputs", "output"), ("dataset", "static"))
            for namespace, name, value in event.datasets(member)
        ],
    )


def _ordinary(key: str) -> bool:
    """Evidence never turns up as an ordinary facet."""
    return not key.startswith(PREFIX)


def _facets(owner: Any, member: str, kept: Callable[[str], bool] | None = None) -> FacetSet:
    facets = mapping(mapping(owner).get(member))
    return facet_set(
        {
            key: facet_of(key, value, canonical_text(value))
            for key, value in facets.items()
            if kept is None or kept(key)
        }
    )


_EMPTY = msgspec.Raw(b"{}")


class _Run(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    runId: str  # noqa: N815  -- as the spec names it
    facets: msgspec.Raw = _EMPTY


class _Job(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    namespace: str
    name: str
    facets: msgspec.Raw = _EMPTY


class _Dataset(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    namespace: str
    name: str
    facets: msgspec.Raw = _EMPTY
    inputFacets: msgspec.Raw = _EMPTY  # noqa: N815
    outputFacets: msgspec.Raw = _EMPTY  # noqa: N815


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    eventTime: str  # noqa: N815
    producer: str
    schemaURL: str  # noqa: N815
    eventType: str | None = None  # noqa: N815
    run: _Run | None = None
    job: _Job | None = None
    dataset: _Dataset | None = None
    inputs: list[_Dataset] = []
    outputs: list[_Dataset] = []


class QuickReader:
    """Reads events that conform and carry no evidence. Remembers facets, which producers repeat."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Event).decode
        self._decode_set = msgspec.json.Decoder(dict[str, Any]).decode
        self._sets: dict[bytes, FacetSet] = {}
        self._facets: dict[bytes | tuple[str, bytes], Facet] = {}
        self._held = 0

    def read(self, body: bytes) -> EventParts | None:
        """The parts, or ``None``: then :func:`governance.lineage.reading.read_event` must say."""
        # From the end it is found, or not, in a third of the time.
        if body.rfind(_OURS) >= 0:
            return None
        try:
            return self._read(self._decode(body))
        except (ValueError, OverflowError, RecursionError):
            return None

    def _read(self, event: _Event) -> EventParts | None:
        time = datetime.fromisoformat(event.eventTime)
        if time.tzinfo is not UTC:
            if time.tzinfo is None:
                return None
            time = time.astimezone(UTC)
        run, job, of = event.run, event.job, self._set
        kind = "job" if event.dataset is None else "dataset"
        if run is not None:
            kind = "run"
            if _UUID.fullmatch(run.runId) is None or event.eventType not in _TYPES:
                return None
        if job is None:
            if kind != "dataset":
                return None
        elif not (job.namespace and job.name):
            return None
        datasets = [("input", d.namespace, d.name, of(d.facets), of(d.inputFacets)) for d in event.inputs]
        datasets += [("output", d.namespace, d.name, of(d.facets), of(d.outputFacets)) for d in event.outputs]
        if event.dataset is not None:
            whole = event.dataset
            datasets.append(("static", whole.namespace, whole.name, of(whole.facets), NO_FACETS))
        for dataset in datasets:
            if not (dataset[1] and dataset[2]):
                return None
        if not (event.producer and event.schemaURL):
            return None
        return EventParts(
            kind,
            time,
            (),
            event.eventType if event.eventType in EVENT_TYPES else None,
            event.producer,
            None if run is None else run.runId,
            None if job is None else job.namespace,
            None if job is None else job.name,
            NO_FACETS if run is None else of(run.facets),
            NO_FACETS if job is None else of(job.facets),
            datasets,
        )

    def _set(self, raw: msgspec.Raw) -> FacetSet:
        if raw is _EMPTY:
            return NO_FACETS
        body = bytes(raw)
        return self._sets.get(body) or self._new_set(body)

    def _new_set(self, body: bytes) -> FacetSet:
        facets: dict[str, Facet] = {}
        known = self._facets
        for key, value in self._decode_set(body).items():
            if key.startswith(PREFIX):
                # Its name was written with escapes, so that the bytes did not show it.
                raise ValueError(key)
            written = canonical_text(value)
            # Two facets that say the same are one, unless something is read out of one of the two.
            name = (key, written) if key in READ else written
            facet = known.get(name)
            if facet is None:
                facet = facet_of(key, value, written)
                if len(written) <= _CACHED_ONE:
                    known[name] = facet
                    self._held += 2 * len(written)
            facets[key] = facet
        new = FacetSet(facets)
        if len(body) <= _CACHED_ONE:
            self._sets[body] = new
            self._held += len(body)
        if self._held > _CACHED:
            self._sets.clear()
            known.clear()
            self._held = 0
        return new


_TYPES = EVENT_TYPES | {None}
