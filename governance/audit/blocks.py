"""How a cell's value is laid out, whatever it is rendered to: text, a list, terms, or a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. ``code`` sets it in a fixed-width face: digests and ids."""

    text: str
    code: bool = False
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[str, ...]
    kind: str = "items"


@dataclass(frozen=True, slots=True)
class Terms:
    """Names with their values."""

    pairs: tuple[tuple[str, str], ...]
    kind: str = "terms"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table inside a cell. ``caption`` says what it holds, ``figures`` which columns are numbers."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: frozenset[int] = frozenset()
    kind: str = "grid"


Block: TypeAlias = Text | Items | Terms | Grid

_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
_LAWS = frozenset({"CCPA", "GDPR", "HIPAA"})
_CONTACT = ("name", "address", "country", "email", "phone")


def spoken(name: Any) -> str:
    """A machine's name in a person's words: ``medical_record_number`` → ``medical record number``."""
    return str(name).replace("_", " ")


def heading(name: Any) -> str:
    """The same at the beginning of a line; laws have capitals: ``gdpr+hipaa`` → ``GDPR + HIPAA``."""
    laws = str(name).upper().split("+")
    if _LAWS.issuperset(laws):
        return " + ".join(laws)
    return _CAMEL.sub(" ", spoken(name)).capitalize()


def number(value: Any) -> str:
    """A count with separators; a dash for what is not there."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "–"


def several(value: Any, singular: str) -> str:
    """``1 column``, ``2 columns``."""
    return f"{number(value)} {singular}{'' if value == 1 else 's'}"


def utc(text: Any) -> str:
    """``2026-11-24 10:00:00 UTC``."""
    said = str(text)
    return f"{said[:10]} {said[11:19]} UTC" if len(said) >= 20 else said


def contact(said: Mapping[str, Any]) -> str:
    """A person or body on one line."""
    return ", ".join(str(said[k]) for k in _CONTACT if said.get(k) and not _repeated(k, said))


def text(value: Any) -> list[Block]:
    return [Text(str(value))]


def terms(pairs: Iterable[tuple[str, Any]]) -> Terms:
    """Pairs whose value is there."""
    return Terms(tuple((name, str(value)) for name, value in pairs if value not in (None, "")))


def grid(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[Any]], figures: Iterable[int] = ()
) -> Grid:
    made = tuple(tuple("–" if c is None or c == "" else str(c) for c in row) for row in rows)
    return Grid(caption, tuple(headers), made, frozenset(figures))


def _repeated(key: str, said: Mapping[str, Any]) -> bool:
    return key == "country" and bool(said.get("address"))
