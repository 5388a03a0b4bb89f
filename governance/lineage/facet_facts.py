"""What single facets and token leaves say, as tuples for the rows of the index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from governance.lineage.reading import instant_of, mapping, named, text
from governance.model.principal import scope_of

TOKEN = "application/vnd.governance.token+json"  # noqa: S105  -- a media type
TOKEN_REVOCATION = "application/vnd.governance.token-revocation+json"  # noqa: S105  -- a media type
TOKEN_MEDIA_TYPES = frozenset({TOKEN, TOKEN_REVOCATION})


def column_inputs(value: Any, entry: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Input namespace, name, column, type, transformation, description and masking of each edge.

    Before facet version 1-1-0 the transformation stood on the output column as a whole.
    """
    for field in value if isinstance(value, list) else []:
        source, column = named(field), text(mapping(field).get("field"))
        if source is None or column is None:
            continue
        listed = field.get("transformations")
        transformations = [mapping(t) for t in listed] if isinstance(listed, list) and listed else [None]
        for transformation in transformations:
            if transformation is not None:
                masking = transformation.get("masking")
                yield (
                    *source,
                    column,
                    text(transformation.get("type")),
                    text(transformation.get("subtype")),
                    text(transformation.get("description")),
                    masking if isinstance(masking, bool) else None,
                )
            else:
                kind = text(entry.get("transformationType"))
                described = text(entry.get("transformationDescription"))
                yield (*source, column, None, kind, described, kind == "MASKED" if kind else None)


def lineage_rows(
    scope: str, namespace: str | None, name: str | None, facet: Any, job: tuple[Any, Any]
) -> Iterator[tuple[Any, ...]]:
    """Owner, target, source, transformation and masking of each relation a ``lineage`` facet states.

    A target whose ``inputs`` are an empty array has one row without a source.
    """
    owner = (scope, namespace, name)
    if scope == "dataset":
        yield from _lineage_entry(owner, ("DATASET", namespace, name), mapping(facet), job)
        return
    entries = mapping(facet).get("entries")
    for entry in entries if isinstance(entries, list) else []:
        if (target := _entity(entry, job)) is not None:
            yield from _lineage_entry(owner, target, mapping(entry), job)


def _lineage_entry(
    owner: tuple[Any, ...], target: tuple[Any, ...], entry: Mapping[str, Any], job: tuple[Any, Any]
) -> Iterator[tuple[Any, ...]]:
    inputs = entry.get("inputs")
    if inputs == []:
        yield (*owner, *target, None, None, None, None, None, None, None, None, None)
    yield from _sources((*owner, *target, None), inputs, job)
    for field, stated in mapping(entry.get("fields")).items():
        yield from _sources((*owner, *target, field), mapping(stated).get("inputs"), job)


def _sources(head: tuple[Any, ...], inputs: Any, job: tuple[Any, Any]) -> Iterator[tuple[Any, ...]]:
    for item in inputs if isinstance(inputs, list) else []:
        if (source := _entity(item, job)) is None:
            continue
        listed = item.get("transformations")
        for stated in listed if isinstance(listed, list) and listed else [None]:
            how = mapping(stated)
            masking = how.get("masking")
            yield (
                *head,
                *source,
                text(item.get("field")) if source[0] == "DATASET" else None,
                text(how.get("type")),
                text(how.get("subtype")),
                text(how.get("description")),
                masking if isinstance(masking, bool) else None,
            )


def _entity(value: Any, job: tuple[Any, Any]) -> tuple[str, str, str] | None:
    """Kind, namespace and name; a JOB without a name is the event's own."""
    kind = mapping(value).get("type")
    found = named(value)
    if kind == "JOB" and found is None and job[0] and "name" not in value and "namespace" not in value:
        found = (job[0], job[1])
    return (kind, *found) if kind in ("DATASET", "JOB") and found else None


def token_row(body: bytes, media_type: str, principal: str) -> tuple[Any, ...] | None:
    """What a token leaf says, ``None`` when it says nothing or does not come from an administrator."""
    if scope_of(principal) != "admin":
        return None
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    token = text(mapping(said).get("id"))
    if token is None or said.get("v") != 1:
        return None
    if media_type == TOKEN_REVOCATION:
        return (True, token, None, None, None, None, None)
    digest, scopes, expires = text(said.get("digest")), _strings(said.get("scopes")), said.get("expires_at")
    namespaces = None if said.get("namespaces") is None else _strings(said["namespaces"])
    until = _utc(expires)
    if digest is None or scopes is None or (until is None) != (expires is None):
        return None
    if namespaces is None and said.get("namespaces") is not None:
        return None
    return (False, token, digest, text(said.get("name")), scopes, namespaces, until)


def _strings(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _utc(value: Any) -> datetime | None:
    instant = instant_of(value)
    return None if instant is None else instant.replace(tzinfo=None)
