"""A team's own classifications, detectors and dictionaries, from YAML whose examples are its tests.

load_detectors("detectors.yaml") -> Detectors, for classify_table, classify_text and redact
examine("detectors.yaml") -> what each example gave and how fast each pattern is
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import re2

from governance.detect.classifications import TaxonomyEntry, taxonomy_entry
from governance.detect.detectors import dictionaries, pattern_speed
from governance.detect.detectors.detector import (
    EXAMPLE,
    INVALID,
    PATTERN,
    ColumnDetector,
    DetectorFault,
    TextDetector,
    ValueTest,
    column_detector,
    text_detector,
)
from governance.detect.detectors.detector_files import (
    DetectorDocument,
    FileFault,
    Pointer,
    detector_paths,
    read_bytes,
    read_document,
    refused,
)
from governance.detect.detectors.registry import ColumnRegistry, DetectorFile, Detectors, builtin, fragments
from governance.detect.detectors.validators import named
from governance.errors import ContractError
from governance.model.canonical import digest as digest_of

MAXIMUM_WORDS = 200_000
"""Entries of one dictionary."""
MAXIMUM_DETECTORS = 500
"""Entries of one file."""
_MAXIMUM_REFUSED = 10
"""Refused patterns after which no further one is tried: each may take a second."""


@dataclass(frozen=True, slots=True)
class Example:
    """One example: the text, whether it must match, whether it did."""

    text: str
    expected: bool
    matched: bool

    @property
    def holds(self) -> bool:
        return self.expected is self.matched


@dataclass(frozen=True, slots=True)
class ExaminedEntry:
    """One detector of a file. ``kind`` is ``columns`` or ``text``; ``slowest`` is in MB/s, ``None`` without a pattern."""

    line: int
    kind: str
    classification: str
    examples: tuple[Example, ...]
    slowest: float | None
    corpus: str


@dataclass(frozen=True, slots=True, eq=False)
class ExaminedFile:
    """A file of detectors, compiled as far as it is right, with every fault.

    ``parts`` are the file and those of its dictionaries, with the digest of each.
    """

    path: Path
    parts: tuple[tuple[Path, str], ...]
    classifications: Mapping[str, TaxonomyEntry]
    columns: tuple[ColumnDetector, ...]
    text: tuple[TextDetector, ...]
    entries: tuple[ExaminedEntry, ...]
    faults: tuple[FileFault, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the file's bytes; with dictionaries in files of their own, of the digests of all of them."""
        digests = [digest for _, digest in self.parts]
        return digests[0] if len(digests) == 1 else digest_of("\n".join(digests).encode())


def load_detectors(
    paths: str | Path | Sequence[str | Path], *, pinned: Mapping[str, str] | None = None
) -> Detectors:
    """The detectors of this package and, before them, those of a team's files.

    Args:
        paths: YAML files, or folders of them.
        pinned: by path as given, the digest a file must have.

    Raises:
        ContractError: GOV-112 for a file that is not the pinned one, GOV-113 for one that cannot be read or is
            not valid, GOV-114 for a refused pattern, GOV-115 for an example that does not hold; every
            fault of a file at once.
    """
    examined: list[ExaminedFile] = []
    names: dict[str, None] = dict.fromkeys(builtin().taxonomy)
    for path in detector_paths(paths):
        file = _examined(path, tuple(names))
        if file.faults:
            raise refused(path, file.faults)
        if (pinned or {}).get(str(path), file.digest) != file.digest:
            raise ContractError(
                "GOV-112",
                f"{path}: is not the file of detectors that was pinned",
                "restore the file, or open a new run with the new one",
            )
        names.update(dict.fromkeys(file.classifications))
        examined.append(file)
    return _merged(tuple(examined))


def examine(path: str | Path, known: Collection[str] | None = None) -> ExaminedFile:
    """Read, compile and try one file.

    Args:
        known: classifications beside the file's own; the default is the package's.

    Raises:
        ContractError: GOV-113 when it cannot be read at all; everything else is among its faults.
    """
    return _examined(Path(path), tuple(builtin().taxonomy if known is None else known))


_seen: dict[tuple[Path, tuple[str, ...]], ExaminedFile] = {}
_MAXIMUM_SEEN = 32


def _examined(path: Path, known: tuple[str, ...]) -> ExaminedFile:
    """As :func:`examine`; a file that was examined before and is unchanged is not tried again."""
    seen = _seen.get((path, known))
    if seen is not None and all(digest_of(read_bytes(part)) == held for part, held in seen.parts):
        return seen
    examined = _Examination(read_document(path), known).result()
    while len(_seen) >= _MAXIMUM_SEEN:
        _seen.pop(next(iter(_seen)), None)
    _seen[path, known] = examined
    return examined


@lru_cache(maxsize=8)
def _merged(files: tuple[ExaminedFile, ...]) -> Detectors:
    known = builtin()
    names = {**known.taxonomy, **{n: e for file in files for n, e in file.classifications.items()}}
    columns = [detector for file in files for detector in file.columns]
    return Detectors(
        MappingProxyType(names),
        ColumnRegistry(
            (*columns, *known.columns.detectors), known.columns.negating, known.columns.qualifiers
        ),
        (*(detector for file in files for detector in file.text), *known.text),
        tuple(DetectorFile(str(file.path), file.digest) for file in files),
    )


class _Examination:
    """One file on its way to :class:`ExaminedFile`."""

    def __init__(self, document: DetectorDocument, known: tuple[str, ...]) -> None:
        self._document = document
        self._faults = list(document.faults)
        self._parts = [(document.path, document.digest)]
        self._known = known
        self._entries: list[ExaminedEntry] = []
        self._refused = 0

    def result(self) -> ExaminedFile:
        classifications: dict[str, TaxonomyEntry] = {}
        columns: list[ColumnDetector] = []
        text: list[TextDetector] = []
        # What a file with a wrong structure means is not judged: its faults would only echo.
        root = self._document.root
        if not self._faults and len(root.get("columns", ())) + len(root.get("text", ())) > MAXIMUM_DETECTORS:
            self._say((), INVALID, f"more than {MAXIMUM_DETECTORS} detectors; split it")
        if not self._faults:
            classifications = self._classifications(root.get("classifications", {}))
            words = self._dictionaries(root.get("dictionaries", {}))
            names = {*self._known, *classifications}
            columns = self._columns(root.get("columns", ()), names, words)
            text = self._text(root.get("text", ()), names)
            if self._refused >= _MAXIMUM_REFUSED:
                self._say((), PATTERN, "too many refused patterns; the rest of the file was not tried")
        return ExaminedFile(
            self._document.path,
            tuple(self._parts),
            classifications,
            tuple(columns),
            tuple(text),
            tuple(self._entries),
            tuple(sorted(set(self._faults))),
        )

    def _say(self, pointer: Pointer, code: str, reason: str) -> None:
        self._refused += code == PATTERN
        where = ".".join(str(part) for part in pointer) or "the file"
        self._faults.append(FileFault(self._document.line(pointer), code, f"{where}: {reason}"))

    def _classifications(self, stated: Mapping[str, Any]) -> dict[str, TaxonomyEntry]:
        found = {}
        for name, fields in stated.items():
            if name in self._known:
                self._say(
                    ("classifications", name), INVALID, "this classification exists already; use it as it is"
                )
            found[name] = taxonomy_entry(name, fields)
        return found

    def _dictionaries(self, stated: Mapping[str, Any]) -> dict[str, frozenset[str]]:
        found = {}
        for name, given in stated.items():
            pointer: Pointer = ("dictionaries", name)
            listed = given if isinstance(given, list) else self._word_file(pointer, given["file"])
            words = frozenset(filter(None, map(dictionaries.fold, listed)))
            if not words or len(words) > MAXIMUM_WORDS:
                self._say(pointer, INVALID, f"it must have between 1 and {MAXIMUM_WORDS:,} entries")
            found[name] = words
        return found

    def _word_file(self, pointer: Pointer, name: str) -> list[str]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            self._say(
                pointer, INVALID, "a dictionary lies beside its file or below it; write a relative path"
            )
            return []
        try:
            path = self._document.path.parent / name
            data = read_bytes(path)
            self._parts.append((path, digest_of(data)))
            return data.decode("utf-8-sig").splitlines()
        except ContractError as fault:
            self._say(pointer, INVALID, fault.message)
        except UnicodeDecodeError:
            self._say(pointer, INVALID, "the dictionary's file is not UTF-8")
        return []

    def _columns(
        self, stated: Sequence[Mapping[str, Any]], names: Collection[str], words: Mapping[str, frozenset[str]]
    ) -> list[ColumnDetector]:
        found = []
        for number, entry in enumerate(stated):
            if self._refused >= _MAXIMUM_REFUSED:
                break
            pointer: Pointer = ("columns", number)
            try:
                detector = column_detector(entry, names, words, custom=True)
                speed = _slowest([rf"\A(?:{t.pattern})\z" for t in detector.tests if t.pattern])
            except DetectorFault as fault:
                self._say(pointer, fault.code, fault.reason)
                continue
            self._tried("columns", pointer, detector, speed, lambda value, d=detector: _passes_any(d, value))  # type: ignore[misc]
            found.append(detector)
        return found

    def _text(self, stated: Sequence[Mapping[str, Any]], names: Collection[str]) -> list[TextDetector]:
        found: dict[int, TextDetector] = {}
        speeds = {}
        for number, entry in enumerate(stated):
            if self._refused >= _MAXIMUM_REFUSED:
                break
            try:
                detector = text_detector(entry, names, fragments(), sieve="own")
                speeds[number] = _slowest([detector.expression])
                pattern_speed.require_rare(detector.expression)
            except DetectorFault as fault:
                self._say(("text", number), fault.code, fault.reason)
                continue
            found[number] = detector
        if found:
            from governance.detect.text.engine import TextEngine

            engine = TextEngine(tuple(found.values()))
            for place, (number, detector) in enumerate(found.items()):
                self._tried(
                    "text",
                    ("text", number),
                    detector,
                    speeds[number],
                    lambda text, place=place: _finds(engine, place, text),  # type: ignore[misc]
                )
        return list(found.values())

    def _tried(
        self,
        kind: str,
        pointer: Pointer,
        detector: ColumnDetector | TextDetector,
        speed: pattern_speed.Speed | None,
        matches: Callable[[str], bool],
    ) -> None:
        tried = tuple(
            Example(text, expected, bool(matches(text.strip() if kind == "columns" else text)))
            for text, expected in detector.examples
        )
        counts = {True: 0, False: 0}
        for example in tried:
            name = "match" if example.expected else "no_match"
            place = (*pointer, "examples", name, counts[example.expected])
            counts[example.expected] += 1
            if not example.holds:
                self._say(place, EXAMPLE, "it does not match" if example.expected else "it matches")
        self._entries.append(
            ExaminedEntry(
                self._document.line(pointer),
                kind,
                detector.classification,
                tried,
                None if speed is None else speed.slowest,
                "" if speed is None else speed.corpus,
            )
        )


def _slowest(patterns: Sequence[str]) -> pattern_speed.Speed | None:
    return min(map(pattern_speed.require_fast, patterns), key=lambda s: s.slowest, default=None)


def _passes_any(detector: ColumnDetector, value: str) -> bool:
    return any(passes(test, value) for test in detector.tests)


def passes(test: ValueTest, value: str) -> bool:
    """Whether one value passes a test: pattern, dictionary and validator, as far as they are given."""
    if test.pattern is not None and re2.fullmatch(test.pattern, value) is None:
        return False
    if test.words is not None and not dictionaries.listed(test.words, value):
        return False
    if (
        test.words is None
        and test.dictionary is not None
        and not dictionaries.contains(test.dictionary, value)
    ):
        return False
    return test.validator is None or named(test.validator)(value)


def _finds(engine: Any, place: int, text: str) -> bool:
    hits = engine.hits(pa.array([text.encode("utf-8", "replace")], pa.binary()).view(pa.string()))
    found = [place in candidates for candidates in hits.detectors]
    return any(found) and next(engine.found(place, hits.texts[0]), None) is not None
