"""Identifiers inside text: spans, and how many rows hold which.

Sieves, each on what the one before let through: literals and small RE2 expressions over Arrow
buffers for all rows; for each group of detectors one ``re2.Set`` that names those a row may hold;
each such detector's own expression and validator. Nothing loops over rows that no mask flagged.
Detectors are grouped because one automaton for all of them explodes on base64 and on prose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2
from numpy.typing import NDArray

from governance.detect import lexicon
from governance.detect.registry import Detectors, DetectorsLike, TextDetector, builtin, resolve
from governance.detect.validators import named

_MEMORY = 256 << 20
_CAPITALS = (
    r"[\p{L}\p{N},;:(/&–-]\s\p{Lu}[\p{L}.'’]|\b(?:Dr|Mr|Mrs|Ms|Prof|St|Sr|Sra|M)\.\s?\p{Lu}|(?:^|[^\p{L}])\p{Lu}\. ?\p{Lu}"
    r"|(?:straße|strasse|str\.|gasse|allee|platz|weg|Straße|Weg|Allee|Platz) ?[0-9]|[0-9],? \p{Lu}"
    r"|(?i:box|postfach|rue|calle|avenida) \S"
)
_SHAPES = (
    r"[0-9][^0-9]{0,3}[0-9][^0-9]{0,3}[0-9]|9[0-9][ -]?[\p{L}]|[0-9][ -](?i:y|jahre|ans|años)|(?:[0-9A-Fa-f]{2}[:-]){5}"
    r"|(?:[0-9A-Fa-f]{1,4}:){3}|[A-Za-z0-9+/_-]{20}|[A-Za-z0-9]\.(?:com|org|net|edu|gov|io|info|biz|app|dev)"
)
_LEXICON = "lexicon"

REPORTED_SCORE = 0.75
"""Detectors below it are too often wrong to say that a column contains what they name."""


@dataclass(frozen=True, slots=True)
class TextFinding:
    """A span ``[start, end)`` in characters of the text, with a score in [0, 1]."""

    start: int
    end: int
    classification: str
    score: float


@dataclass(frozen=True, slots=True)
class Hits:
    """The flagged rows of an array. ``rows``: row numbers, shape (f,); ``detectors``: for each of these rows the
    indexes of detectors it may hold; ``lexicon``: whether a dictionary word stands in it."""

    rows: NDArray[np.int64]
    texts: list[bytes]
    detectors: list[list[int]]
    lexicon: list[bool]


def options() -> Any:
    """RE2 options with room for the automata of whole groups, and silent."""
    stated = re2.Options()
    stated.max_mem = _MEMORY
    stated.log_errors = False
    return stated


def _set(expressions: Sequence[str]) -> Any:
    compiled = re2.Set.SearchSet(options())
    for expression in expressions:
        compiled.Add(expression)
    compiled.Compile()
    return compiled


class TextEngine:
    """The compiled detectors. Make one by :func:`engine`; it is immutable and safe to share."""

    def __init__(self, detectors: Sequence[TextDetector]) -> None:
        self.detectors = tuple(detectors)
        self.expressions = [re2.compile(d.expression.encode(), options()) for d in self.detectors]
        # One alternation runs five times as fast as a search for each.
        self._literals = "|".join(
            re2.escape(gate) for gate in sorted({d.gate for d in self.detectors if d.gate})
        )
        self._groups: dict[str, tuple[Any, list[int]]] = {}
        for sieve in ("shapes", "words", "capitals", "own"):
            members = [i for i, d in enumerate(self.detectors) if d.sieve == sieve]
            self._groups[sieve] = (_set([self._uncaptured(i) for i in members]), members)
        self._words = "|".join(self._uncaptured(i) for i in self._groups["words"][1])
        self.own = "|".join(self._uncaptured(i) for i in self._groups["own"][1])
        self._lexicon = _set(lexicon.tries())

    def _uncaptured(self, index: int) -> str:
        detector = self.detectors[index]
        return f"(?:{detector.before})(?:{detector.pattern})(?:{detector.after})"

    def masks(self, texts: pa.Array) -> dict[str, NDArray[np.bool_]]:
        """For each sieve the rows it lets through, shape (n,); null is False. Takes ``string`` or ``large_string``."""
        shapes = _as_bool(pc.match_substring_regex(texts, _SHAPES))
        if self._literals:
            shapes = shapes | _as_bool(pc.match_substring_regex(texts, self._literals))
        capitals = _as_bool(pc.match_substring_regex(texts, _CAPITALS))
        words = _as_bool(pc.match_substring_regex(texts, self._words))
        masks = {"shapes": shapes, "words": words, "capitals": capitals}
        if self.own:
            masks["own"] = _as_bool(pc.match_substring_regex(texts, self.own))
        return masks

    def hits(self, texts: pa.Array) -> Hits:
        """The flagged rows of a ``string`` array and the detectors each may hold."""
        masks = self.masks(texts)
        rows = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
        flagged = texts.take(pa.array(rows)).cast(_binary(texts.type)).to_pylist()
        found: list[list[int]] = [[] for _ in flagged]
        words: list[bool] = [False] * len(flagged)
        for sieve, (matcher, members) in self._groups.items():
            if sieve not in masks:
                continue
            match = matcher.Match
            for place in np.flatnonzero(masks[sieve][rows]).tolist():
                for hit in match(flagged[place]) or ():
                    found[place].append(members[hit])
        match = self._lexicon.Match
        for place in np.flatnonzero(masks["capitals"][rows]).tolist():
            words[place] = bool(match(flagged[place]))
        return Hits(rows, flagged, found, words)

    def spans(self, text: bytes, candidates: Sequence[int], names: bool) -> list[tuple[int, int, str, float]]:
        """Spans in byte offsets with classification and score, none overlapping: the earlier detector wins."""
        taken: list[tuple[int, int, str, float]] = []
        for index in sorted(candidates):
            detector = self.detectors[index]
            for start, end in self.found(index, text):
                if all(end <= s or e <= start for s, e, _, _ in taken):
                    taken.append((start, end, detector.classification, detector.score))
        if names:
            for start, end, kind in byte_lookup(text):
                if all(end <= s or e <= start for s, e, _, _ in taken):
                    taken.append((start, end, lexicon.CLASSIFICATIONS[kind], lexicon.SCORES[kind]))
        return sorted(taken)

    def found(self, index: int, text: bytes, *, unchecked: bool = False) -> Iterator[tuple[int, int]]:
        """Byte spans of one detector; its validator is left out where ``unchecked``."""
        validator = self.detectors[index].validator
        check = None if validator is None or unchecked else named(validator)
        for match in self.expressions[index].finditer(text):
            start, end = match.span(2)
            if check is None or check(text[start:end].decode("utf-8", "replace").strip()):
                yield start, end

    def contained(self, texts: pa.Array) -> Counter[str]:
        """Rows by classification of a ``string`` array."""
        rows: Counter[str] = Counter()
        hits = self.hits(texts)
        for text, candidates, names in zip(hits.texts, hits.detectors, hits.lexicon, strict=True):
            found = self._classifications(text, candidates)
            if (
                names
                and "person_name" not in found
                and any(k == lexicon.PERSON for _, _, k in byte_lookup(text))
            ):
                found.add("person_name")
            rows.update(found)
        return rows

    def _classifications(self, text: bytes, candidates: Sequence[int]) -> set[str]:
        found: set[str] = set()
        for index in candidates:
            detector = self.detectors[index]
            if detector.score < REPORTED_SCORE or detector.classification in found:
                continue
            if detector.redact_unchecked or next(self.found(index, text), None) is not None:
                found.add(detector.classification)
        return found


def engine(detectors: Detectors | None = None) -> TextEngine:
    """The engine over the text detectors and the dictionaries; compiled once for each set of detectors."""
    return _engine(detectors or builtin())


@lru_cache(maxsize=4)
def _engine(detectors: Detectors) -> TextEngine:
    return TextEngine(detectors.text)


def byte_lookup(data: bytes) -> Iterator[tuple[int, int, str]]:
    """:func:`governance.detect.lexicon.lookup` over UTF-8, with byte offsets."""
    text = data.decode("utf-8", "replace")
    if len(text) == len(data):
        yield from lexicon.lookup(text)
        return
    # A replaced byte becomes three, so offsets are taken from the text, and only where it round-trips.
    widths = np.fromiter((len(c.encode()) for c in text), np.int64, len(text))
    offsets = np.concatenate(([0], np.cumsum(widths)))
    if int(offsets[-1]) == len(data):
        for start, end, kind in lexicon.lookup(text):
            yield int(offsets[start]), int(offsets[end]), kind


def _as_bool(mask: pa.Array) -> NDArray[np.bool_]:
    filled: NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return filled


def _binary(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()


def _character_offsets(data: bytes) -> NDArray[np.int64] | None:
    if data.isascii():
        return None
    starts = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    return np.concatenate(([0], np.cumsum(starts)))


def _grouped(lengths: Sequence[int], limit: int = 256 << 20) -> Iterator[slice]:
    start, size = 0, 0
    for place, length in enumerate(lengths):
        if size + length > limit and place > start:
            yield slice(start, place)
            start, size = place, 0
        size += length
    yield slice(start, len(lengths))


def classify_text(
    texts: Sequence[str], detectors: DetectorsLike = None, *, ner: bool = False
) -> list[list[TextFinding]]:
    """Find identifiers in texts; ``detectors`` are what is known, or the paths of a team's files.

    ``ner`` adds names by a pinned English model; see :mod:`governance.detect.learned`.

    Returns, for each text, its findings in order of position and without overlaps. Offsets count
    characters as Python does. Lone surrogates are read as unknown characters.
    """
    matcher = engine(resolve(detectors))
    findings: list[list[TextFinding]] = [[] for _ in texts]
    encoded = [text.encode("utf-8", "replace") for text in texts]
    for part in _grouped([len(data) for data in encoded]):
        array = pa.array(encoded[part], pa.binary()).view(pa.string())
        hits = matcher.hits(array)
        for row, data, candidates, names in zip(
            hits.rows.tolist(), hits.texts, hits.detectors, hits.lexicon, strict=True
        ):
            offsets = _character_offsets(data)
            for start, end, classification, score in matcher.spans(data, candidates, names):
                if offsets is not None:
                    start, end = int(offsets[start]), int(offsets[end])
                findings[part.start + row].append(TextFinding(start, end, classification, score))
    if ner:
        from governance.detect.learned import supplemented

        return supplemented(texts, findings, ner=ner)
    return findings
