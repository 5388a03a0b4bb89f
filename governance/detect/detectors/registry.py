"""The detectors this package ships: YAML tables read once, compiled and checked; and all that a scan knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml

from governance.detect.classifications import TaxonomyEntry, taxonomy
from governance.detect.detectors import vocabulary
from governance.detect.detectors.detector import (
    ColumnDetector,
    DetectorFault,
    TextDetector,
    ValueTest,
    column_detector,
    expanded,
    text_detector,
)
from governance.detect.detectors.dictionaries import alternation, entries
from governance.errors import SettingError

__all__ = [
    "ColumnDetector",
    "ColumnRegistry",
    "DetectorFile",
    "Detectors",
    "DetectorsLike",
    "TextDetector",
    "ValueTest",
    "builtin",
    "column_registry",
    "fragments",
    "resolve",
    "text_detectors",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ColumnRegistry:
    """All column detectors in the order of the file, which breaks ties."""

    detectors: tuple[ColumnDetector, ...]
    negating: frozenset[str]
    qualifiers: frozenset[str]


@dataclass(frozen=True, slots=True)
class DetectorFile:
    """A team's file of detectors, and its digest with those of the dictionaries it names."""

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


# Both are safe loaders; libyaml's is ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _load(name: str) -> dict[str, Any]:
    text = files("governance.detect").joinpath(name).read_text("utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=_LOADER)  # noqa: S506
    return loaded


def _shipped(where: str, compiled: Callable[[], T]) -> T:
    try:
        return compiled()
    except DetectorFault as fault:
        raise SettingError(
            "GOV-901", f"{where}: {fault.reason}", "correct the detector in this file"
        ) from None


@cache
def column_registry() -> ColumnRegistry:
    """The detectors of ``column_detectors.yaml``. Raises GOV-901 naming the entry that is wrong."""
    loaded = _load("column_detectors.yaml")
    detectors = [
        _shipped(
            f"column_detectors.yaml: entry {number} ({entry.get('classification')})",
            lambda entry=entry: column_detector(entry, taxonomy()),  # type: ignore[misc]
        )
        for number, entry in enumerate(loaded["columns"], 1)
    ]
    return ColumnRegistry(tuple(detectors), frozenset(loaded["negating"]), frozenset(loaded["qualifiers"]))


@cache
def fragments() -> Mapping[str, str]:
    """The named pieces of expressions of ``text_detectors.yaml``, expanded."""
    known = {"months": vocabulary.MONTHS, "en_street": vocabulary.EN_STREET}
    for name, text in _load("text_detectors.yaml")["fragments"].items():
        known[name] = expanded(text, known)
    return known | {
        "trade_unions": f"(?:{alternation(entries('trade_unions'))})",
        "medications": f"(?:{alternation(entries('medications'))})",
        "medication_suffixes": "|".join(vocabulary.MEDICATION_SUFFIXES),
    }


@cache
def text_detectors() -> tuple[TextDetector, ...]:
    """The detectors of ``text_detectors.yaml`` and ``special_text_detectors.yaml``, most specific first: an earlier
    span wins an overlap.

    Raises GOV-901 naming the entry that is wrong.
    """
    special = _load("special_text_detectors.yaml")
    return tuple(
        _shipped(
            f"{file}: {entry['name']}",
            lambda entry=entry: text_detector(entry, taxonomy(), fragments()),  # type: ignore[misc]
        )
        for file, entries_ in (
            ("special_text_detectors.yaml", special["first"]),
            ("text_detectors.yaml", _load("text_detectors.yaml")["text"]),
            ("special_text_detectors.yaml", special["last"]),
        )
        for entry in entries_
    )


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
    from governance.detect.detectors.custom import load_detectors

    return load_detectors(detectors)
