"""What single facets say, as values for the rows of the index. Everything here is tolerant: a member of
another shape than the OpenLineage schemas give it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any

import msgspec

from governance.lineage.naming import PREFIX
from governance.lineage.reading import instant_of, mapping, named, text

canonical_text: Callable[[Any], bytes] = msgspec.json.Encoder(order="sorted").encode
"""JSON with sorted members, so that bodies compare as text. A number beyond a double becomes null."""


def encoded(value: Any) -> str:
    """:data:`canonical_text` as a string."""
    return canonical_text(value).decode()


_Stated = Annotated[str, msgspec.Meta(min_length=1)]


class _How(msgspec.Struct, gc=False):
    type: str | None = None
    subtype: str | None = None
    description: str | None = None
    masking: bool | None = None


class _Input(msgspec.Struct, gc=False):
    namespace: _Stated
    name: _Stated
    field: _Stated
    transformations: Annotated[list[_How], msgspec.Meta(min_length=1)]


class _Column(msgspec.Struct, gc=False):
    inputFields: list[_Input] = []  # noqa: N815  -- as the spec names it


class Facet(msgspec.Struct, gc=False):
    """A facet: its body as canonical text in UTF-8, whether it deletes, and what is read out of its kind.

    ``id`` is given when it first becomes a row. ``said`` is, by key: of ``columnLineage`` the edges, value after
    value, until these are rows; of ``version`` the version, of ``parent`` and ``nominalTime`` their members, of
    ``lineage`` the body; of any other ``None``.
    """

    text: bytes
    deleted: bool
    said: Any
    id: int = 0


def facet_of(key: str, value: Any, written: bytes) -> Facet:
    """A facet out of its parsed body, and this as canonical text."""
    read = READ.get(key)
    deleted = isinstance(value, dict) and value.get("_deleted") is True
    return Facet(written, deleted, None if read is None else read(mapping(value)))


class FacetSet(msgspec.Struct, gc=False):
    """The facets of one owner by key; ``ours`` says that there is one of ours among them.

    ``id`` is given when it first becomes a row.
    """

    by_key: Mapping[str, Facet]
    ours: bool = False
    id: int = 0

    def said(self, key: str) -> Any:
        """What the facet of that key says, ``None`` if there is none."""
        facet = self.by_key.get(key)
        return None if facet is None else facet.said


NO_FACETS = FacetSet({})


def facet_set(by_key: Mapping[str, Facet]) -> FacetSet:
    """Facets as a set of their own."""
    return FacetSet(by_key, any(key.startswith(PREFIX) for key in by_key))


def _column_edges(facet: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of all edges, eight an edge: output column, input namespace, name and column, type,
    transformation, description, masking."""
    fields = mapping(facet.get("fields"))
    try:
        edges = _plain_edges(fields)
    except msgspec.ValidationError:
        edges = _odd_edges(fields)
    # What concerns the dataset as a whole has no output column.
    edges += ((None, *edge) for edge in _inputs(facet.get("dataset"), {}))
    return tuple(chain.from_iterable(edges))


def _plain_edges(fields: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Of what has the shape of facet version 1-1-0 or later, nearly all, in a fraction of the time.

    Raises:
        msgspec.ValidationError: something has another shape.
    """
    return [
        (
            *(column, of.namespace, of.name, of.field),
            *(how.type or None, how.subtype or None, how.description or None, how.masking),
        )
        for column, entry in msgspec.convert(fields, dict[str, _Column]).items()
        for of in entry.inputFields
        for how in of.transformations
    ]


def _odd_edges(fields: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (column, *edge)
        for column, entry in fields.items()
        for edge in _inputs(mapping(entry).get("inputFields"), mapping(entry))
    ]


def _inputs(value: Any, entry: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Before facet version 1-1-0 the transformation stood on the output column as a whole."""
    for field in value if isinstance(value, list) else []:
        source, column = named(field), text(mapping(field).get("field"))
        if source is None or column is None:
            continue
        for stated in _transformations(field):
            if stated is not None:
                yield (*source, column, *_how(stated))
            else:
                kind = text(entry.get("transformationType"))
                described = text(entry.get("transformationDescription"))
                yield (*source, column, None, kind, described, kind == "MASKED" if kind else None)


def _transformations(field: Mapping[str, Any]) -> list[Mapping[str, Any] | None]:
    listed = field.get("transformations")
    return [mapping(stated) for stated in listed] if isinstance(listed, list) and listed else [None]


def _how(stated: Mapping[str, Any]) -> tuple[str | None, str | None, str | None, bool | None]:
    masking = stated.get("masking")
    return (
        text(stated.get("type")),
        text(stated.get("subtype")),
        text(stated.get("description")),
        masking if isinstance(masking, bool) else None,
    )


def _parent(facet: Mapping[str, Any]) -> tuple[str | None, str | None, str | None, str | None]:
    """Run, job namespace and job name of the parent, and the run of the root."""
    root = text(mapping(mapping(facet.get("root")).get("run")).get("runId"))
    return text(mapping(facet.get("run")).get("runId")), *(named(facet.get("job")) or (None, None)), root


def _nominal(facet: Mapping[str, Any]) -> tuple[Any, Any]:
    return _naive(text(facet.get("nominalStartTime"))), _naive(text(facet.get("nominalEndTime")))


@lru_cache(4096)
def _naive(stated: str | None) -> datetime | None:
    """Runs of one schedule share their nominal times."""
    instant = instant_of(stated)
    return instant and instant.replace(tzinfo=None)


READ: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "columnLineage": _column_edges,
    "version": lambda facet: text(facet.get("datasetVersion")),
    "parent": _parent,
    "nominalTime": _nominal,
    "lineage": lambda facet: facet,
}
"""What is read out of facets of these keys."""


def lineage_rows(
    scope: str,
    namespace: str | None,
    name: str | None,
    facet: Mapping[str, Any],
    job: tuple[str | None, str | None],
) -> Iterator[tuple[Any, ...]]:
    """Owner, target, source, transformation and masking of each relation a ``lineage`` facet states.

    A target whose ``inputs`` are an empty array has one row without a source.
    """
    owner = (scope, namespace, name)
    if scope == "dataset":
        yield from _lineage_entry(owner, ("DATASET", namespace, name), facet, job)
        return
    entries = facet.get("entries")
    for entry in entries if isinstance(entries, list) else []:
        if (target := _entity(entry, job)) is not None:
            yield from _lineage_entry(owner, target, mapping(entry), job)


def _lineage_entry(
    owner: tuple[Any, ...],
    target: tuple[Any, ...],
    entry: Mapping[str, Any],
    job: tuple[str | None, str | None],
) -> Iterator[tuple[Any, ...]]:
    inputs = entry.get("inputs")
    if inputs == []:
        yield (*owner, *target, *[None] * 9)
    yield from _sources((*owner, *target, None), inputs, job)
    for field, stated in mapping(entry.get("fields")).items():
        yield from _sources((*owner, *target, field), mapping(stated).get("inputs"), job)


def _sources(
    head: tuple[Any, ...], inputs: Any, job: tuple[str | None, str | None]
) -> Iterator[tuple[Any, ...]]:
    for item in inputs if isinstance(inputs, list) else []:
        if (source := _entity(item, job)) is not None:
            field = text(item.get("field")) if source[0] == "DATASET" else None
            for stated in _transformations(item):
                yield (*head, *source, field, *_how(stated or {}))


def _entity(value: Any, job: tuple[str | None, str | None]) -> tuple[str, str, str] | None:
    """Kind, namespace and name; a JOB without a name is the event's own."""
    kind = mapping(value).get("type")
    found = named(value)
    if kind == "JOB" and found is None and job[0] and job[1] and not {"name", "namespace"} & value.keys():
        found = (job[0], job[1])
    return (kind, *found) if kind in ("DATASET", "JOB") and found else None
