"""The reference of extension and policy properties, written from their JSON Schemas.

``docs/contracts.md`` holds what :func:`tables` gives between two marks; a test keeps it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governance.contracts.structure import schema


def tables(name: str) -> str:
    """Markdown: one table for each object of a schema, in the schema's order."""
    root = schema(name)
    parts = [_table("", root)] if name.startswith("policy") else []
    for title, part in root["$defs"].items():
        parts.append(_table(title, part))
    return "\n".join(parts)


def _table(title: str, part: Mapping[str, Any]) -> str:
    lines = [f"### `{title}`\n"] if title else []
    lines.append(f"{part['description']}\n")
    if "properties" in part:
        lines += ["| property | type | required | default | meaning |", "| --- | --- | --- | --- | --- |"]
        lines += list(_rows("", part))
        lines.append("")
    else:
        lines.append(f"Type: {_kind(part)}.{_default(part, ' Default: {}.')}\n")
    return "\n".join(lines)


def _rows(prefix: str, part: Mapping[str, Any]) -> Iterator[str]:
    required = set(part.get("required", ()))
    for name, entry in part["properties"].items():
        needed = "yes" if name in required else ""
        meaning = entry.get("description") or _target(entry)["description"]
        yield f"| `{prefix}{name}` | {_kind(entry)} | {needed} | {_default(entry, '{}')} | {meaning} |"
        if "properties" in entry:
            yield from _rows(f"{prefix}{name}.", entry)


_ROOTS = ("contract-extension.schema.json", "policy.schema.json")


def _target(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    name = entry["$ref"].rpartition("/")[2]
    found: Mapping[str, Any] = next(schema(r)["$defs"][name] for r in _ROOTS if name in schema(r)["$defs"])
    return found


def _default(entry: Mapping[str, Any], form: str) -> str:
    if "default" not in entry:
        return ""
    value = entry["default"]
    return form.format(f"`{str(value).lower() if isinstance(value, bool) else value}`")


def _kind(entry: Mapping[str, Any]) -> str:
    if "$ref" in entry:
        name = entry["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in entry:
        return " or ".join(_kind(branch) for branch in entry["anyOf"])
    if "enum" in entry:
        return " · ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry["type"] == "array":
        return f"list of {_kind(entry['items'])}"
    if entry["type"] == "object" and isinstance(entry.get("additionalProperties"), Mapping):
        return f"mapping of {_kind(entry['additionalProperties'])}"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        entry["type"], "mapping"
    )
