"""An event as the OpenLineage client serializes it, in one pass over the objects instead of three.

Serializing costs more than a durable append. The bytes are exactly those of the client's
``Serde.to_json``, so that an event sent by its own transport and by ours is one event to the log.
"""

from __future__ import annotations

import json
from datetime import date
from enum import Enum
from typing import Any
from uuid import UUID

from openlineage.client.serde import Serde

_PLAIN = frozenset({str, int, float, bool, type(None)})
_names: dict[type, tuple[str, ...]] = {}


class _Unusual(Exception):
    """Something whose treatment is the client's business."""


def serialized(event: Any) -> bytes:
    """The bytes that the client would send."""
    try:
        # A dictionary the client takes as it is, tuples and all.
        plain = Serde.to_dict(event) if isinstance(event, dict) else _plain(event)
    except _Unusual:
        plain = Serde.to_dict(event)
    return json.dumps(plain, sort_keys=True, default=_placeholder).encode("utf-8")


def _plain(value: Any) -> Any:
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind is dict:
        made = {}
        for key, item in value.items():
            if key.__class__ is not str:
                raise _Unusual
            if (cleaned := _plain(item)) is not None:
                made[key] = cleaned
        return made
    if kind is list or kind is tuple:
        # The client drops empty objects from lists, and only from lists.
        return [c for item in value if (c := _plain(item)) is not None and (c.__class__ is not dict or c)]
    names = _names.get(kind)
    if names is None:
        attributes = getattr(kind, "__attrs_attrs__", None)
        if attributes is None:
            return _leaf(value)
        names = _names[kind] = tuple(a.name for a in attributes)
    return {name: c for name in names if (c := _plain(getattr(value, name))) is not None}


def _leaf(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict | list | tuple | set | frozenset):
        raise _Unusual
    return int(value) if value.__class__.__name__ == "int64" else value


def _placeholder(value: Any) -> str:
    return f"<<non-serializable: {type(value).__qualname__}>>"
