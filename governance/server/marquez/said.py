"""What facets say, in the members that Marquez has for it: fields, tags, owners, source."""

from __future__ import annotations

import re
from typing import Any

from governance.lineage.reading import mapping, text

Row = dict[str, Any]
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")  # RFC 3986 §3.1


def tags_said(facet: Any, field: str | None = None) -> list[str]:
    """The tags of an entity, or of one field of it: ``key``, or ``key:value`` where a value says more."""
    said = [mapping(tag) for tag in _elements(facet, "tags")]
    names = [tag_name(tag.get("key"), tag.get("value")) for tag in said if text(tag.get("field")) == field]
    return list(dict.fromkeys(name for name in names if name))


def tag_name(key: Any, value: Any) -> str:
    """A tag as one word, as Marquez knows tags."""
    key, value = text(key) or "", text(value)
    return key if value is None or value == "true" else f"{key}:{value}"


def owners_said(facet: Any) -> list[Row]:
    """Name and type of each owner."""
    said = [mapping(owner) for owner in _elements(facet, "owners")]
    return [{"name": o["name"], "type": text(o.get("type"))} for o in said if text(o.get("name"))]


def fields_said(schema: Any, tags: Any) -> list[Row]:
    """Fields of a schema facet in Marquez's shape; nested ones by their dotted path."""
    return [_field(path, field, tags) for path, field in _flat(_elements(schema, "fields"), "")]


def source_type(url: str) -> str:
    """The kind of a source, as Marquez has it: the scheme of its URL, in capitals."""
    scheme = _SCHEME.match(url)
    return scheme[1].upper() if scheme else "DB"


def _flat(fields: list[Any], prefix: str) -> list[tuple[str, Row]]:
    flat: list[tuple[str, Row]] = []
    for field in fields:
        name = text(mapping(field).get("name"))
        if name is not None:
            flat.append((prefix + name, field))
            flat.extend(_flat(_elements(field, "fields"), f"{prefix}{name}."))
    return flat


def _field(path: str, field: Row, tags: Any) -> Row:
    said = [tag for tag in _elements(field, "tags") if isinstance(tag, str)]
    return {
        "name": path,
        "type": text(field.get("type")),
        "tags": list(dict.fromkeys(said + tags_said(tags, path))),
        "description": text(field.get("description")) or "",
    }


def _elements(value: Any, member: str) -> list[Any]:
    found = mapping(value).get(member)
    return found if isinstance(found, list) else []
