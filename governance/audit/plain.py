"""Cells that need no words of their own: text, lists, names with values, tables of what a list holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from governance.audit.blocks import Block, Items, Text, grid, heading, number, several, spoken, terms, utc

_ORDER = (
    *(
        "request",
        "at",
        "controller",
        "recipient",
        "role",
        "name",
        "node",
        "what",
        "provision",
        "place",
        "category",
    ),
    *(
        "dataset",
        "version",
        "in_place_of",
        "copy",
        "purpose",
        "basis",
        "from",
        "to",
        "by",
        "country",
        "instrument",
    ),
)
"""Members that come first, in this order: a record keeps none. The others follow by name."""


_NAMED: Mapping[str, tuple[str, str]] = {
    "methods": ("Column", "Method"),
    "disclosures": ("Recipient", "Disclosures"),
}
"""Cells whose members are names that people gave, not ours."""

_OURS = frozenset(
    {"basis", "check", "condition", "driver", "ground", "instrument", "method", "operation", "reason"}
)
"""Members whose values are words of ours."""

_UNITS = {"Y": "year", "M": "month", "W": "week", "D": "day"}
_SPAN = re.compile(r"P([0-9]{1,4})([YMWD])")


def present(key: str, value: Any) -> list[Any]:
    """The blocks of a cell that has a value. A list of mappings is a table with a column a member."""
    if isinstance(value, Mapping):
        return _mapping(key, value)
    if isinstance(value, list):
        return _list(key, value)
    return [Text(shown(value))]


def shown(value: Any) -> str:
    """A value in a line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, list):
        return ", ".join(shown(each) for each in value) or "none"
    if isinstance(value, Mapping):
        if value.keys() >= {"value", "unit"} and value.keys() <= {"value", "unit", "driver"}:
            return time_limit(value)
        return "; ".join(f"{spoken(name)}: {shown(each)}" for name, each in value.items())
    if isinstance(value, str) and (span := _SPAN.fullmatch(value)):
        return several(int(span[1]), _UNITS[span[2]])
    return utc(value) if _is_instant(value) else str(value)


def time_limit(said: Mapping[str, Any]) -> str:
    """``6 years, regulatory``, from an ODCS retention: value, unit and driver."""
    unit = _UNITS.get(str(said.get("unit")).upper(), str(said.get("unit") or ""))
    number_ = said.get("value")
    counted = several(number_, unit) if type(number_) is int and unit else f"{number_} {unit}"
    return counted + (f", {said['driver']}" if said.get("driver") else "")


def _said(name: str, value: Any) -> str:
    """The value of a member in a line."""
    return spoken(value) if name in _OURS and isinstance(value, str) else shown(value)


def _mapping(key: str, value: Mapping[str, Any]) -> list[Block]:
    if not value:
        return [Text("None")]
    if key in _NAMED:
        return [grid(spoken(key).capitalize(), _NAMED[key], sorted((n, shown(v)) for n, v in value.items()))]
    span = _is_instant(value.get("from")) and _is_instant(value.get("to"))
    ends = {"from": "First", "to": "Last"} if span else {}
    flat = {n: value[n] for n in _ordered(value) if not _is_table(value[n])}
    blocks: list[Block] = [
        terms((ends.get(n, heading(n)), _said(n, v)) for n, v in flat.items() if v is not None)
    ]
    for name in (n for n in _ordered(value) if n not in flat):
        blocks += _list(f"{key}: {name}", value[name])
    return blocks


def _list(key: str, value: list[Any]) -> list[Block]:
    if not value:
        return [Text("None")]
    if not _is_table(value):
        return [Items(tuple(shown(each) for each in value))]
    names = _ordered({name for row in value for name in row})
    figures = [
        at for at, name in enumerate(names) if all(type(row.get(name)) in (int, type(None)) for row in value)
    ]
    rows = [[_said(name, row.get(name)) for name in names] for row in value]
    return [grid(spoken(key).capitalize(), [heading(name) for name in names], rows, figures)]


def _ordered(names: Iterable[str]) -> list[str]:
    rank = {name: at for at, name in enumerate(_ORDER)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _is_instant(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 20 and value[10:11] == "T" and value.endswith("Z")
