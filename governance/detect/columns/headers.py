"""Column names as evidence: whole words in several languages, never substrings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from governance.detect.detectors.dictionaries import fold
from governance.detect.detectors.registry import ColumnDetector, ColumnRegistry, column_registry

_CAMEL = re.compile(
    r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zà-ÿ])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_SEPARATOR = re.compile(r"[\W_]+")
_NUMERO = re.compile(r"\b[nN] ?[°º]")
"""The sign for *number* of French, Spanish, Italian and Portuguese, which folding takes apart."""
_SHORT_ENDINGS = frozenset({"id", "nr", "nm", "cd", "no", "ip"})
_STATISTICS = frozenset(
    {"mean", "median", "avg", "average", "percent", "percentage", "pct", "stddev", "ratio"}
)
MAXIMUM_HEADER = 200


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A phrase of a detector found in a column name. ``words`` is how many words it spans."""

    detector: ColumnDetector
    phrase: str
    decisive: bool
    words: int
    end: int


@dataclass(frozen=True, slots=True)
class HeaderEvidence:
    """What a column name says. ``negated`` names a last word such as ``count``, or is ``None``."""

    matches: tuple[HeaderMatch, ...]
    negated: str | None


@lru_cache(maxsize=8)
def _vocabulary(registry: ColumnRegistry) -> frozenset[str]:
    words = set(registry.qualifiers) | set(registry.negating)
    for detector in registry.detectors:
        for phrase in (*detector.decisive, *detector.supporting):
            words.update(phrase.split())
    return frozenset(word for word in words if len(word) >= 3 or word in _SHORT_ENDINGS)


def _segments(token: str, known: frozenset[str]) -> list[str]:
    """Split a run-together token into known words, only if they cover all of it."""
    best: list[list[str] | None] = [[]] + [None] * len(token)
    for end in range(1, len(token) + 1):
        for start in range(max(0, end - 16), end):
            head, piece = best[start], token[start:end]
            short_end = piece in _SHORT_ENDINGS and end == len(token) and start > 2
            if head is not None and piece in known and (len(piece) >= 3 or short_end):
                current = best[end]
                if current is None or len(head) + 1 < len(current):
                    best[end] = [*head, piece]
    return best[len(token)] or [token]


def words(header: str, registry: ColumnRegistry | None = None) -> list[str]:
    """The words of a column name: split on ``_``, punctuation, camel case and digits, then folded.

    A token that is not a known word is split further only where known words cover it whole, so
    ``mailingzipcode`` gives three words and ``acid`` stays one.
    """
    known = _vocabulary(registry or column_registry())
    spaced = _CAMEL.sub(" ", _NUMERO.sub("no ", header[:MAXIMUM_HEADER]))
    found: list[str] = []
    for token in _SEPARATOR.sub(" ", fold(spaced)).split():
        if token in known or len(token) < 5 or not token.isalpha():
            found.append(token)
        else:
            found.extend(_segments(token, known))
    return found


@lru_cache(maxsize=8)
def _phrases(registry: ColumnRegistry) -> dict[tuple[str, ...], list[tuple[ColumnDetector, bool]]]:
    table: dict[tuple[str, ...], list[tuple[ColumnDetector, bool]]] = {}
    for detector in registry.detectors:
        for decisive, phrases in ((True, detector.decisive), (False, detector.supporting)):
            for phrase in phrases:
                table.setdefault(tuple(phrase.split()), []).append((detector, decisive))
    return table


def read_header(header: str, registry: ColumnRegistry | None = None) -> HeaderEvidence:
    """Match a column name against every detector's phrases; a phrase inside a longer one is dropped."""
    registry = registry or column_registry()
    tokens = words(header, registry)
    table = _phrases(registry)
    hits: list[tuple[int, int, tuple[str, ...]]] = []
    for start in range(len(tokens)):
        for end in range(start + 1, min(len(tokens), start + 6) + 1):
            if tuple(tokens[start:end]) in table:
                hits.append((start, end, tuple(tokens[start:end])))
    outer = [
        (s, e, p)
        for s, e, p in hits
        if not any(s2 <= s and e <= e2 and (e2 - s2) > (e - s) for s2, e2, _ in hits)
    ]
    matches = tuple(
        HeaderMatch(detector, " ".join(phrase), decisive, end - start, end)
        for start, end, phrase in outer
        for detector, decisive in table[phrase]
    )
    return HeaderEvidence(matches, _negation(tokens, outer, registry.negating))


def _negation(
    tokens: list[str], hits: list[tuple[int, int, tuple[str, ...]]], negating: frozenset[str]
) -> str | None:
    for token in tokens:
        if token in _STATISTICS and len(tokens) > 1:
            return token
    last = len(tokens) - 1
    if last < 1 or any(end == last + 1 and end - start > 1 for start, end, _ in hits):
        return None
    if tokens[last] in negating or (tokens[last] == "s" and tokens[last - 1] in negating):
        return tokens[last]
    return (
        tokens[0]
        if tokens[0] in ("is", "has", "count", "number", "num", "total", "avg", "n", "pct", "percent")
        else None
    )
