"""Identifiers inside text: spans, and how many rows hold which.

Three sieves, each on what the one before let through: literals and one RE2 alternation over Arrow
buffers for all rows; one ``re2.Set`` that says which detectors a row may hold; each such detector's
own expression and validator. Nothing loops over rows that no mask flagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2
from numpy.typing import NDArray

from governance.detect.registry import TextDetector, text_detectors
from governance.detect.validators import VALIDATORS

_MEMORY = 256 << 20
_CAPITALS = (
    r"[\p{L}\p{N},;:(/&–-]\s\p{Lu}[\p{L}.'’]|\b(?:Dr|Mr|Mrs|Ms|Prof|St|Sr|Sra)\.\s?\p{Lu}|(?:^|[^\p{L}])\p{Lu}\. ?\p{Lu}"
    r"|(?:straße|strasse|str\.|gasse|allee|platz|weg|Straße|Weg|Allee|Platz) ?[0-9]|[0-9],? \p{Lu}|(?i:box|postfach|rue|calle|avenida) \S"
)
"""Rows that may hold a name, a place or an address: a capital inside a sentence, or a street word."""

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
    """Which detectors flagged rows may hold. ``rows``: row numbers, shape (f,); ``detectors``: one list each."""

    rows: NDArray[np.int64]
    texts: list[bytes]
    detectors: list[list[int]]


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options


class TextEngine:
    """The compiled detectors. Make one by :func:`engine`; it is immutable and safe to share."""

    def __init__(self, detectors: Sequence[TextDetector]) -> None:
        self.detectors = tuple(detectors)
        options = _options(_MEMORY)
        self.expressions = [re2.compile(d.expression.encode(), options) for d in self.detectors]
        self._literals = sorted({d.gate for d in self.detectors if d.gate})
        masked = [d for d in self.detectors if not d.gate and not d.capitals]
        self._mask = "|".join(f"(?:{d.before})(?:{d.pattern})" for d in masked)
        self._set = re2.Set.SearchSet(options)
        for detector in self.detectors:
            self._set.Add(f"(?:{detector.before})(?:{detector.pattern})(?:{detector.after})")
        self._set.Compile()

    def mask(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Rows that may hold a span, shape (n,); null is False. Takes ``string`` or ``large_string``."""
        flagged = np.zeros(len(texts), dtype=np.bool_)
        for literal in self._literals:
            flagged |= _as_bool(pc.match_substring(texts, literal))
        for expression in (self._mask, _CAPITALS):
            rest = np.flatnonzero(~flagged)
            part = texts if len(rest) == len(texts) else texts.take(pa.array(rest))
            flagged[rest] = _as_bool(pc.match_substring_regex(part, expression))
        return flagged

    def hits(self, texts: pa.Array) -> Hits:
        """The flagged rows of a ``string`` array and the detectors each may hold."""
        rows = np.flatnonzero(self.mask(texts))
        flagged = texts.take(pa.array(rows)).cast(_binary(texts.type)).to_pylist()
        match = self._set.Match
        return Hits(rows, flagged, [match(text) for text in flagged])

    def spans(self, text: bytes, candidates: Sequence[int]) -> list[tuple[int, int, TextDetector]]:
        """Validated spans in byte offsets, none overlapping: the earlier detector wins, then the longer span."""
        taken: list[tuple[int, int, TextDetector]] = []
        for index in sorted(candidates):
            for start, end in self.found(index, text):
                if all(end <= s or e <= start for s, e, _ in taken):
                    taken.append((start, end, self.detectors[index]))
        return sorted(taken, key=lambda span: span[0])

    def found(self, index: int, text: bytes, *, unchecked: bool = False) -> Iterator[tuple[int, int]]:
        """Byte spans of one detector; its validator is left out where ``unchecked``."""
        validator = self.detectors[index].validator
        check = None if validator is None or unchecked else VALIDATORS[validator]
        for match in self.expressions[index].finditer(text):
            start, end = match.span(2)
            if check is None or check(text[start:end].decode("utf-8", "replace").strip()):
                yield start, end

    def contained(self, texts: pa.Array) -> Counter[str]:
        """Rows by classification of a ``string`` array."""
        rows: Counter[str] = Counter()
        hits = self.hits(texts)
        for text, candidates in zip(hits.texts, hits.detectors, strict=True):
            rows.update(self._classifications(text, candidates))
        return rows

    def _classifications(self, text: bytes, candidates: Sequence[int]) -> set[str]:
        found: set[str] = set()
        for index in candidates:
            detector = self.detectors[index]
            if detector.score < REPORTED_SCORE or detector.classification in found:
                continue
            if detector.validator is None or next(self.found(index, text), None) is not None:
                found.add(detector.classification)
        return found


@cache
def engine() -> TextEngine:
    """The engine over ``text_detectors.yaml``."""
    return TextEngine(text_detectors())


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


def classify_text(texts: Sequence[str]) -> list[list[TextFinding]]:
    """Find identifiers in texts.

    Returns, for each text, its findings in order of position and without overlaps. Offsets count
    characters as Python does. Lone surrogates are read as unknown characters.
    """
    findings: list[list[TextFinding]] = [[] for _ in texts]
    encoded = [text.encode("utf-8", "replace") for text in texts]
    for part in _grouped([len(data) for data in encoded]):
        array = pa.array(encoded[part], pa.binary()).view(pa.string())
        hits = engine().hits(array)
        for row, data, candidates in zip(hits.rows.tolist(), hits.texts, hits.detectors, strict=True):
            offsets = _character_offsets(data)
            for start, end, detector in engine().spans(data, candidates):
                if offsets is not None:
                    start, end = int(offsets[start]), int(offsets[end])
                findings[part.start + row].append(TextFinding(start, end, detector.classification, detector.score))
    return findings
