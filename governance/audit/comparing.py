"""Where two records differ first, in words that name the row and the cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """``rows_before`` rows agreed before ``text`` was found."""

    rows_before: int
    text: str


def first_difference(said: Mapping[str, Any], made: Mapping[str, Any]) -> Difference | None:
    """The first difference between a record and what its entries give; rows before all else."""
    if (rows := _rows(said.get("rows"), made["rows"])) is not None:
        return rows
    for member in (*made, *(m for m in said if m not in made)):
        if member not in said:
            return Difference(len(made["rows"]), f"{member} is missing")
        if member not in made:
            return Difference(len(made["rows"]), f"{member} does not belong into this kind of record")
        if not same(said[member], made[member]):
            return Difference(
                len(made["rows"]), f"{_path(member, said[member], made[member])} is not what the entries give"
            )
    return None


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: ``true`` is not ``1`` and ``1.0`` is not written in a record."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def resting_on(record: Mapping[str, Any], index: int) -> str:
    """Which row, exception or unknown of a record cites an entry, to be added to a sentence."""
    try:
        for number, row in enumerate(record["rows"], start=1):
            for key, cell in row["cells"].items():
                if index in cell["cites"]:
                    return f"; the first row that rests on it is row {number} ({row['title']}), {key}"
        for member, word in (("exceptions", "exception"), ("unknowns", "unknown")):
            for number, remark in enumerate(record[member], start=1):
                if index in remark["cites"]:
                    return f"; {word} {number} ({remark['code']}) rests on it"
    except (KeyError, TypeError, AttributeError):
        return "; the record does not say which row rests on it"
    return "; no row cites it, the checks of others rest on it"


def _rows(said: Any, made: list[Any]) -> Difference | None:
    if not isinstance(said, list):
        return Difference(0, "rows are missing")
    for number, row in enumerate(made, start=1):
        if number > len(said):
            return Difference(number - 1, f"row {number} ({row['title']}) is missing")
        found = said[number - 1]
        if not same(found, row):
            return Difference(number - 1, f"row {number} ({row['title']}){_cell(found, row)}")
    if len(said) > len(made):
        return Difference(len(made), f"row {len(made) + 1} is not in the entries")
    return None


def _cell(found: Any, row: Mapping[str, Any]) -> str:
    cells = found.get("cells") if isinstance(found, dict) else None
    if isinstance(cells, dict):
        for key, cell in row["cells"].items():
            if not same(cells.get(key), cell):
                return f", {key}: is not what the entries give"
    return " is not what the entries give"


def _path(path: str, said: Any, made: Any) -> str:
    if isinstance(said, dict) and isinstance(made, dict):
        for key in made:
            if key not in said or not same(said[key], made[key]):
                return _path(f"{path}.{key}", said.get(key), made[key])
    if isinstance(said, list) and isinstance(made, list):
        for number, (one, other) in enumerate(zip(said, made, strict=False)):
            if not same(one, other):
                return _path(f"{path}[{number}]", one, other)
    return path
