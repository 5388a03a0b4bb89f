"""Reads values out of a parsed document that may hold anything.

What has the wrong type reads as absent: the schema has already said so, and the meaning of the rest
can still be judged, so that all faults come out at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governance.contracts.documents import Pointer


def text(value: Any, key: str) -> str | None:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) and found else None


def mapping(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def entries(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def texts(value: Any, key: str) -> list[str]:
    return [item for item in entries(value, key) if isinstance(item, str)]


def switch(value: Any, key: str, default: bool) -> bool:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, bool) else default


def special_category(said: Mapping[str, Any]) -> bool:
    """Where the author's word cannot be read, columns are not blamed for it: it is a fault already."""
    value = said.get("specialCategory", not said)
    return value if isinstance(value, bool) else True


def whole(value: Any, key: str, default: int) -> int:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def number(value: Any, key: str, default: float) -> float:
    found = value.get(key) if isinstance(value, Mapping) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else default


def custom_properties(owner: Any, at: Pointer) -> Iterator[tuple[str, Any, Pointer]]:
    """``(property, value, pointer of the value)`` of each ODCS custom property of ``owner``."""
    for index, entry in enumerate(entries(owner, "customProperties")):
        name = text(entry, "property")
        if name is not None and "value" in entry:
            yield name, entry["value"], (*at, "customProperties", index, "value")


def team(root: Any) -> tuple[str, ...]:
    """User names of the team: a list of members, or since ODCS 3.1 an object with ``members``."""
    members = entries(root, "team") or entries(mapping(root, "team"), "members")
    return tuple(dict.fromkeys(name for member in members if (name := text(member, "username"))))
