"""Labelled notes: one JSON document a line, ``{"text": …, "spans": [[start, end, type], …]}``.

Offsets count characters as Python does, ends are exclusive. Other keys (``id``, ``lang``) are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from governance.detect.classifications import TaxonomyEntry, taxonomy
from governance.errors import ContractFindings

MAXIMUM_CHARACTERS = 20_000_000
"""Characters one file of notes may hold: they are all kept in memory."""
_MAXIMUM_FAULTS = 20
_TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

Span: TypeAlias = tuple[int, int, str]
"""``[start, end)`` in characters, and a type."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A note and its labelled spans, in order and without overlaps; the types are of the taxonomy."""

    text: str
    spans: tuple[Span, ...]


class _Fault(Exception):
    """What is wrong with one line; never quotes the note."""


def read_labelled(
    path: str | Path,
    mapping: Mapping[str, str] | None = None,
    known: Mapping[str, TaxonomyEntry] | None = None,
) -> list[LabelledText]:
    """Read labelled notes; every fault of the file is reported at once, by line.

    Args:
        path: a JSON Lines file in UTF-8.
        mapping: the file's own types to classifications; an empty classification leaves spans of the type out.
        known: classifications by name, where a team's own are among them.

    Raises:
        ContractFindings: GOV-122 naming the lines: no JSON, no text, offsets that are no integers, that leave the
            text or are empty, spans that overlap, a type that is neither mapped nor of the taxonomy; also for an
            unreadable or empty file and for one without any span.
    """
    names = taxonomy() if known is None else known
    given = dict(mapping or {})
    faults = [
        f"the mapping of {_shown(source)} names {_shown(target)}, which is no classification"
        for source, target in given.items()
        if target and target not in names
    ]
    notes: list[LabelledText] = []
    size = 0
    try:
        for number, line in _lines(Path(path)):
            try:
                note = _note(line, given, names)
            except _Fault as fault:
                faults.append(f"line {number}: {fault}")
                if len(faults) >= _MAXIMUM_FAULTS:
                    faults.append("reading stopped here")
                    break
                continue
            size += len(note.text)
            if size > MAXIMUM_CHARACTERS:
                faults.append(f"line {number}: more than {MAXIMUM_CHARACTERS:,} characters in all")
                break
            notes.append(note)
    except OSError as fault:
        faults.append(f"the file cannot be read: {fault.strerror}")
    if not faults and not any(note.spans for note in notes):
        faults.append("no line has a labelled span")
    if faults:
        raise ContractFindings(
            "GOV-122", str(path), faults, 'write lines as {"text": …, "spans": [[start, end, type], …]}, '
            "with types of the taxonomy or mapped by --map TYPE=CLASSIFICATION",
        )  # fmt: skip
    return notes


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as opened:
        number = 0
        # A line without an end must not fill the memory.
        while line := opened.readline(8 * MAXIMUM_CHARACTERS):
            number += 1
            if line.strip():
                yield number, line


def _note(line: bytes, mapping: Mapping[str, str], names: Mapping[str, Any]) -> LabelledText:
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):
        raise _Fault("no JSON document in UTF-8") from None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("text"), str):
        raise _Fault('no object with a string "text"')
    text: str = loaded["text"]
    stated = loaded.get("spans")
    if not isinstance(stated, list):
        raise _Fault('no list "spans"')
    spans = []
    for place, span in enumerate(stated, 1):
        if not isinstance(span, list) or len(span) != 3 or not isinstance(span[2], str):
            raise _Fault(f"span {place} is not [start, end, type]")
        start, end, kind = span
        if type(start) is not int or type(end) is not int:
            raise _Fault(f"span {place}: the offsets are no integers")
        if not 0 <= start < end <= len(text):
            raise _Fault(f"span {place} is empty or leaves the {len(text)} characters of the text")
        target = mapping.get(kind, kind)
        if not target:
            continue
        if target not in names:
            raise _Fault(f"span {place}: the type {_shown(kind)} is no classification and not mapped")
        spans.append((start, end, target))
    spans.sort()
    for (_, before, _), (after, _, _) in pairwise(spans):
        if after < before:
            raise _Fault(f"two spans overlap at character {after}")
    return LabelledText(text, tuple(spans))


def _shown(name: str) -> str:
    # A misplaced field may hold a value where a type should stand.
    return name if _TYPE_NAME.fullmatch(name) else "(withheld: no type's name)"
