"""Cells: a value, how it is known, and the log entries it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Basis(StrEnum):
    """How a cell is known. ``CONFLICTING``: what people declared and what was observed differ."""

    DECLARED = "declared"
    OBSERVED = "observed"
    CONFLICTING = "conflicting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a row. ``value`` is JSON, ``cites`` log indexes, ascending, each once.

    ``note`` says in words why it is unknown, what conflicts, or what limits the value.
    """

    value: Any
    basis: Basis
    cites: tuple[int, ...]
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        cell: dict[str, Any] = {"value": self.value, "basis": self.basis.value, "cites": list(self.cites)}
        return cell | ({"note": self.note} if self.note else {})


def declared(value: Any, cites: Iterable[int], note: str | None = None) -> Cell:
    """What people say."""
    return Cell(value, Basis.DECLARED, _once(cites), note)


def observed(value: Any, cites: Iterable[int], note: str | None = None) -> Cell:
    """What signed evidence shows."""
    return Cell(value, Basis.OBSERVED, _once(cites), note)


def conflicting(value: Any, cites: Iterable[int], note: str) -> Cell:
    """What is declared one way and observed another."""
    return Cell(value, Basis.CONFLICTING, _once(cites), note)


def unknown(note: str, cites: Iterable[int] = ()) -> Cell:
    """What nobody declared and nothing shows."""
    return Cell(None, Basis.UNKNOWN, _once(cites), note)


@dataclass(frozen=True, slots=True)
class Column:
    """A field that every row of a report has. ``law`` names the provision that asks for it."""

    key: str
    heading: str
    law: str

    def to_json(self) -> dict[str, str]:
        return {"key": self.key, "heading": self.heading, "law": self.law}


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``title`` names it for people; ``id`` is unique in its report."""

    id: str
    title: str
    cells: dict[str, Cell]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "cells": {key: cell.to_json() for key, cell in self.cells.items()},
        }


@dataclass(frozen=True, slots=True)
class Remark:
    """An exception or an unknown. ``code`` is stable, ``count`` says how many things it is about."""

    code: str
    text: str
    basis: Basis
    count: int
    cites: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "text": self.text,
            "basis": self.basis.value,
            "count": self.count,
            "cites": list(self.cites),
        }


def remark(
    code: str, text: str, cites: Iterable[int], *, basis: Basis = Basis.OBSERVED, count: int | None = None
) -> Remark:
    """A remark about ``count`` things, or as many as are cited."""
    cited = _once(cites)
    return Remark(code, text, basis, len(cited) if count is None else count, cited)


def _once(cites: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(cites)))
