"""How the cells of the accounting of disclosures read."""

from __future__ import annotations

from typing import Any

from governance.audit.blocks import Block, Text, number, spoken, text, utc

_ROLES = {
    "business_associate": "business associate",
    "covered_entity": "covered entity",
    "research": "researcher",
    "public_health": "public health authority",
    "health_oversight": "health oversight agency",
    "law_enforcement": "law enforcement",
}


def present(key: str, value: Any) -> list[Any]:
    """The blocks of a cell that has a value."""
    found = {
        "date": _date,
        "recipient": _recipient,
        "description": _description,
        "purpose": _purpose,
        "extent": _extent,
        "ground": _ground,
    }.get(key)
    return text(value) if found is None else found(value)


def _date(value: Any) -> list[Block]:
    return [Text(utc(value["disclosed_at"]))]


def _recipient(value: Any) -> list[Block]:
    role = _ROLES.get(str(value.get("hipaa_role")))
    return [Text(str(value.get("title") or value.get("name"))), *([Text(role)] if role else [])]


def _description(value: Any) -> list[Block]:
    kinds = ", ".join(spoken(n) for n in value["classifications"])
    blocks: list[Block] = [Text(str(value["text"] or "No description was given"))]
    if kinds:
        blocks.append(Text(f"Kinds of data: {kinds}"))
    blocks.append(Text(f"Columns: {', '.join(value['columns'])}"))
    blocks.append(Text(f"{value['dataset']} {value['version']}", code=True))
    return blocks


def _purpose(value: Any) -> list[Block]:
    return [Text(value["description"] or spoken(value["name"])), Text(value["name"], code=True)]


def _extent(value: Any) -> list[Block]:
    individuals = f"{number(value['subjects'])} individuals" if value.get("subjects") is not None else None
    return text("; ".join(p for p in (f"{number(value['rows'])} rows", individuals) if p))


def _ground(value: Any) -> list[Block]:
    ground = spoken(value["ground"]).capitalize() if value["ground"] else "None recorded"
    return [Text(ground), *([Text(value["law"])] if value.get("law") else [])]
