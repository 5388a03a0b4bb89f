"""What the sceptic's tests share: a report of a home, its cells and remarks by name."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governed_home import Home

from governance.audit import make_report


def record(home: Home, kind: str, *, as_of: int | None = None, **asked: str) -> dict[str, Any]:
    """The record of a report, made from the home as another process finds it."""
    with tempfile.TemporaryDirectory() as out:
        made = make_report(home.workspace(), kind, Path(out), as_of=as_of, asked=asked or None)
        return made.record


def remarks(said: Mapping[str, Any], code: str) -> list[dict[str, Any]]:
    """The exceptions and unknowns of a code."""
    return [r for member in ("exceptions", "unknowns") for r in said[member] if r["code"] == code]


def cell(said: Mapping[str, Any], row: str, column: str) -> dict[str, Any]:
    """One cell by its row's id."""
    [found] = [r["cells"][column] for r in said["rows"] if r["id"] == row]
    return dict(found)
