"""One entry of a YAML table of detectors, checked and compiled.

A pattern that is not RE2, that matches the empty string (an alternation with it would flag every
row) or whose program leaves RE2's automaton is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import re2

from governance.detect.detectors.dictionaries import entries, fold
from governance.detect.detectors.validators import named

MAXIMUM_PROGRAM = 8_000
"""Instructions an RE2 program of one pattern may have; beyond it the DFA runs out of memory."""

INVALID, PATTERN, EXAMPLE = "GOV-113", "GOV-114", "GOV-115"


class DetectorFault(ValueError):
    """What is wrong with one entry; ``code`` is :data:`INVALID`, :data:`PATTERN` or :data:`EXAMPLE`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ValueTest:
    """What the values of a classification look like; pattern, dictionary and validator must all hold.

    ``alone``, ``agree``: shares of distinct values in [0, 1]; ``minimum``: distinct values. ``words`` are the
    folded entries of a dictionary that a team brought; without them ``dictionary`` is one of ``data/``.
    """

    pattern: str | None
    dictionary: str | None
    validator: str | None
    alone: float | None
    minimum: int
    agree: float | None
    numbers: bool
    words: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ColumnDetector:
    """How columns of one classification are recognised. ``examples``: (value, must match).

    ``custom`` detectors were brought by a team: no model has seen their columns, so their own rules decide.
    """

    classification: str
    reason: str
    decisive: tuple[str, ...]
    supporting: tuple[str, ...]
    tests: tuple[ValueTest, ...]
    range: tuple[float, float] | None
    examples: tuple[tuple[str, bool], ...]
    custom: bool = False


@dataclass(frozen=True, slots=True)
class TextDetector:
    """A span of text with a classification.

    The span is ``pattern``; ``before`` and ``after`` are context that must stand beside it and stays.
    ``redact`` says whether the span is replaced by ``[tag]``, ``redact_unchecked`` whether also where the
    validator would say no.
    """

    name: str
    classification: str
    tag: str
    pattern: str
    before: str
    after: str
    sieve: str
    validator: str | None
    score: float
    redact: bool
    redact_unchecked: bool
    examples: tuple[tuple[str, bool], ...]

    @property
    def expression(self) -> str:
        """One RE2 expression: group 1 before, group 2 the span, group 3 after."""
        return f"({self.before})({self.pattern})({self.after})"


def checked_pattern(pattern: str) -> Any:
    """A compiled pattern. Raises :class:`DetectorFault` with the reason it is refused for."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as fault:
        said = fault.args[0] if fault.args else fault
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        raise DetectorFault(PATTERN, f"the pattern is not RE2: {said}") from None
    if compiled.fullmatch("") is not None:
        raise DetectorFault(PATTERN, "the pattern matches the empty string")
    if compiled.programsize > MAXIMUM_PROGRAM:
        raise DetectorFault(
            PATTERN, "the pattern compiles to too large a program; use * or + for long counted repetitions"
        )
    return compiled


def column_detector(
    entry: Mapping[str, Any],
    known: Collection[str],
    words: Mapping[str, frozenset[str]] | None = None,
    *,
    custom: bool = False,
) -> ColumnDetector:
    """Compile one entry of ``columns``.

    Args:
        known: the classifications there are.
        words: a team's dictionaries by name, folded.

    Raises:
        DetectorFault: what is wrong with it.
    """
    header, limits = entry.get("header") or {}, entry.get("range")
    return ColumnDetector(
        classification=_known(entry["classification"], known),
        reason=entry.get("reason", ""),
        decisive=_phrases(header.get("decisive", ()), folded=custom),
        supporting=_phrases(header.get("supporting", ()), folded=custom),
        tests=tuple(value_test(fields, words or {}) for fields in entry.get("tests", ())),
        range=(float(limits[0]), float(limits[1])) if limits else None,
        examples=_examples(entry),
        custom=custom,
    )


def value_test(fields: Mapping[str, Any], words: Mapping[str, frozenset[str]]) -> ValueTest:
    """Compile one test of an entry of ``columns``. Raises :class:`DetectorFault`."""
    dictionary = fields.get("dictionary")
    if dictionary is not None and dictionary not in words:
        try:
            entries(dictionary)
        except FileNotFoundError:
            raise DetectorFault(INVALID, f"no dictionary is named {dictionary}") from None
    return ValueTest(
        pattern=checked_pattern(fields["pattern"]).pattern if "pattern" in fields else None,
        dictionary=dictionary,
        validator=_validator(fields),
        alone=fields.get("alone"),
        minimum=fields.get("minimum", 5),
        agree=fields.get("agree"),
        numbers=fields.get("numbers", False),
        words=words.get(dictionary) if dictionary else None,
    )


def text_detector(
    entry: Mapping[str, Any], known: Collection[str], fragments: Mapping[str, str], *, sieve: str = "shapes"
) -> TextDetector:
    """Compile one entry of ``text``; ``sieve`` is the one of an entry that names none. Raises :class:`DetectorFault`."""
    before, pattern, after = (
        expanded(entry.get(part, ""), fragments) for part in ("before", "pattern", "after")
    )
    checked_pattern(pattern)
    if checked_pattern(f"({before})({pattern})({after})").groups != 3:
        raise DetectorFault(PATTERN, "use (?:…) for groups")
    validator = _validator(entry)
    return TextDetector(
        name=entry.get("name", entry["classification"]),
        classification=_known(entry["classification"], known),
        tag=entry.get("tag", "ID"),
        pattern=pattern,
        before=before,
        after=after,
        sieve=entry.get("sieve", sieve),
        validator=validator,
        score=float(entry.get("score", 0.85)),
        redact=bool(entry.get("redact", True)),
        redact_unchecked=bool(entry.get("redact_unchecked", False)) or validator is None,
        examples=_examples(entry),
    )


def expanded(text: str, fragments: Mapping[str, str]) -> str:
    """``text`` with each ``<name>`` of a fragment replaced by it."""
    for name, fragment in fragments.items():
        text = text.replace(f"<{name}>", fragment)
    return text


def _phrases(stated: Any, *, folded: bool) -> tuple[str, ...]:
    phrases = tuple(map(str, stated))
    return tuple(" ".join(fold(p).replace("_", " ").split()) for p in phrases) if folded else phrases


def _examples(entry: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    stated = entry.get("examples") or {}
    return tuple((str(v), True) for v in stated.get("match", ())) + tuple(
        (str(v), False) for v in stated.get("no_match", ())
    )


def _known(classification: str, known: Collection[str]) -> str:
    if classification not in known:
        raise DetectorFault(INVALID, f"the taxonomy has no classification {classification}")
    return classification


def _validator(entry: Mapping[str, Any]) -> str | None:
    name: str | None = entry.get("validator")
    if name is not None:
        try:
            named(name)
        except KeyError:
            raise DetectorFault(INVALID, f"no validator is named {name}") from None
    return name
