"""The declarative detectors: YAML tables read once, compiled and checked.

A pattern that does not compile in RE2, or that matches the empty string, is refused: an alternation
with it would flag every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import re2
import yaml

from governance.detect import vocabulary
from governance.detect.classifications import TaxonomyEntry, taxonomy
from governance.detect.dictionaries import entries
from governance.detect.validators import VALIDATORS
from governance.errors import SettingError

MAXIMUM_PROGRAM = 8_000
"""Instructions an RE2 program of one column pattern may have; beyond it the DFA runs out of memory."""


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
    """How columns of one classification are recognised. ``examples``: (value, must match)."""

    classification: str
    reason: str
    decisive: tuple[str, ...]
    supporting: tuple[str, ...]
    tests: tuple[ValueTest, ...]
    range: tuple[float, float] | None
    examples: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnRegistry:
    """All column detectors in the order of the file, which breaks ties."""

    detectors: tuple[ColumnDetector, ...]
    negating: frozenset[str]
    qualifiers: frozenset[str]


@dataclass(frozen=True, slots=True)
class TextDetector:
    """A span of text with a classification.

    The span is ``pattern``; ``before`` and ``after`` are context that must stand beside it and stays.
    ``gate`` is a literal without which no row can match;  ``redact`` says whether the span is replaced
    by ``[tag]``, ``redact_unchecked`` whether also where the validator would say no.
    """

    name: str
    classification: str
    tag: str
    pattern: str
    before: str
    after: str
    sieve: str
    gate: str | None
    validator: str | None
    score: float
    redact: bool
    redact_unchecked: bool
    examples: tuple[tuple[str, bool], ...]

    @property
    def expression(self) -> str:
        """One RE2 expression: group 1 before, group 2 the span, group 3 after."""
        return f"({self.before})({self.pattern})({self.after})"


@dataclass(frozen=True, slots=True)
class DetectorFile:
    """A team's file of detectors. ``digest`` is the SHA-256 of its bytes, ``sha256:…``."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Detectors:
    """All that a scan knows: classifications, column detectors and text detectors, and the files that were added.

    Make one by :func:`builtin` or :func:`governance.detect.load_detectors`; it is immutable, and compiled once.
    """

    taxonomy: Mapping[str, TaxonomyEntry]
    columns: ColumnRegistry
    text: tuple[TextDetector, ...]
    files: tuple[DetectorFile, ...] = ()


DetectorsLike: TypeAlias = Detectors | str | Path | Sequence[str | Path] | None
"""Detectors, or the path or paths of a team's files, or ``None`` for those of this package."""


def _refuse(where: str, reason: str) -> SettingError:
    return SettingError("GOV-901", f"{where}: {reason}", "correct the detector in this file")


def _checked(pattern: str, where: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as fault:
        raise _refuse(where, f"the pattern is not RE2: {fault}") from None
    if compiled.fullmatch("") is not None:
        raise _refuse(where, "the pattern matches the empty string")
    if compiled.programsize > MAXIMUM_PROGRAM:
        raise _refuse(
            where, "the pattern compiles to too large a program; use * or + for long counted repetitions"
        )
    return compiled


def _examples(entry: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    stated = entry.get("examples") or {}
    return tuple((str(v), True) for v in stated.get("match", ())) + tuple(
        (str(v), False) for v in stated.get("no_match", ())
    )


def _known(classification: str, where: str) -> str:
    if classification not in taxonomy():
        raise _refuse(where, f"the taxonomy has no classification {classification}")
    return classification


def _value_test(fields: Mapping[str, Any], where: str) -> ValueTest:
    validator = fields.get("validator")
    if validator is not None and validator not in VALIDATORS:
        raise _refuse(where, f"no validator is named {validator}")
    if fields.get("dictionary") is not None:
        entries(fields["dictionary"])
    return ValueTest(
        pattern=_checked(fields["pattern"], where).pattern if "pattern" in fields else None,
        dictionary=fields.get("dictionary"),
        validator=validator,
        alone=fields.get("alone"),
        minimum=fields.get("minimum", 5),
        agree=fields.get("agree"),
        numbers=fields.get("numbers", False),
    )


# Both are safe loaders; libyaml's is ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _load(name: str) -> dict[str, Any]:
    text = files(__package__).joinpath(name).read_text("utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=_LOADER)  # noqa: S506
    return loaded


@cache
def column_registry() -> ColumnRegistry:
    """The detectors of ``column_detectors.yaml``. Raises GOV-901 naming the entry that is wrong."""
    loaded = _load("column_detectors.yaml")
    detectors = []
    for number, entry in enumerate(loaded["columns"], 1):
        where = f"column_detectors.yaml: entry {number} ({entry.get('classification')})"
        header = entry.get("header") or {}
        limits = entry.get("range")
        detectors.append(
            ColumnDetector(
                classification=_known(entry["classification"], where),
                reason=entry.get("reason", ""),
                decisive=tuple(map(str, header.get("decisive", ()))),
                supporting=tuple(map(str, header.get("supporting", ()))),
                tests=tuple(_value_test(fields, where) for fields in entry.get("tests", ())),
                range=(float(limits[0]), float(limits[1])) if limits else None,
                examples=_examples(entry),
            )
        )
    return ColumnRegistry(tuple(detectors), frozenset(loaded["negating"]), frozenset(loaded["qualifiers"]))


def _expanded(text: str, fragments: Mapping[str, str]) -> str:
    for name, fragment in fragments.items():
        text = text.replace(f"<{name}>", fragment)
    return text


def _fragments(stated: Mapping[str, str]) -> dict[str, str]:
    fragments = {"months": vocabulary.MONTHS, "en_street": vocabulary.EN_STREET}
    for name, text in stated.items():
        fragments[name] = _expanded(text, fragments)
    return fragments


@cache
def text_detectors() -> tuple[TextDetector, ...]:
    """The detectors of ``text_detectors.yaml``, most specific first: an earlier span wins an overlap.

    Raises GOV-901 naming the entry that is wrong.
    """
    loaded = _load("text_detectors.yaml")
    fragments = _fragments(loaded["fragments"])
    detectors = []
    for entry in loaded["text"]:
        where = f"text_detectors.yaml: {entry['name']}"
        validator = entry.get("validator")
        if validator is not None and validator not in VALIDATORS:
            raise _refuse(where, f"no validator is named {validator}")
        before, pattern, after = (
            _expanded(entry.get(part, ""), fragments) for part in ("before", "pattern", "after")
        )
        compiled = _checked(f"({before})({pattern})({after})", where)
        if compiled.groups != 3:
            raise _refuse(where, "use (?:…) for groups")
        detector = TextDetector(
            name=entry["name"],
            classification=_known(entry["classification"], where),
            tag=entry["tag"],
            pattern=pattern,
            before=before,
            after=after,
            sieve=entry.get("sieve", "shapes"),
            gate=entry.get("gate"),
            validator=validator,
            score=float(entry.get("score", 0.85)),
            redact=bool(entry.get("redact", True)),
            redact_unchecked=bool(entry.get("redact_unchecked", False)) or validator is None,
            examples=_examples(entry),
        )
        detectors.append(detector)
    return tuple(detectors)


@cache
def builtin() -> Detectors:
    """The detectors this package ships."""
    return Detectors(taxonomy(), column_registry(), text_detectors())


def resolve(detectors: DetectorsLike) -> Detectors:
    """Detectors as given, loaded from a team's files, or :func:`builtin` where none are named."""
    if isinstance(detectors, Detectors):
        return detectors
    if detectors is None:
        return builtin()
    from governance.detect.custom import load_detectors

    return load_detectors(detectors)
