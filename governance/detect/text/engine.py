"""Identifiers inside text: spans, and how many rows hold which.

Sieves, each on what the one before let through: classes of bytes and hashes of words over Arrow
buffers for all rows; for each group of detectors one ``re2.Set`` that names those a row may hold;
each such detector's own expression and validator. Nothing loops over rows that no sieve flagged.
Detectors are grouped because one automaton for all of them explodes on base64 and on prose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2
from numpy.typing import NDArray

from governance.detect.detectors import vocabulary
from governance.detect.detectors.registry import Detectors, DetectorsLike, TextDetector, builtin, resolve
from governance.detect.detectors.validators import Validator, named
from governance.detect.text import lexicon, sieves
from governance.detect.text.asking import WORTH_ARROW, Group, as_bool, options
from governance.detect.text.hits import Hits, flagged_texts, hits_of, numbered
from governance.detect.text.noticed import Noticed
from governance.detect.text.secrets import are_secrets
from governance.model.classification import HARMLESS

if TYPE_CHECKING:
    from governance.detect.learned.crf import CrfLike

_OWN = 128
_GROUPS = {
    ("shapes", "words"): sieves.DIGITS,
    ("marks",): sieves.MARKS,
    ("capitals",): sieves.CAPITALS,
    ("own",): _OWN,
}
_UNANCHORED = re2._Anchor.UNANCHORED
REPORTED_SCORE = 0.75
"""Detectors below it are too often wrong to say that a column contains what they name."""


@dataclass(frozen=True, slots=True)
class TextFinding:
    """A span ``[start, end)`` in characters of the text, with a score in [0, 1]."""

    start: int
    end: int
    classification: str
    score: float


class TextEngine:
    """The compiled detectors. Make one by :func:`engine`; it is immutable and safe to share."""

    def __init__(self, detectors: Sequence[TextDetector]) -> None:
        self.detectors = tuple(detectors)
        self.expressions = [re2.compile(d.expression.encode(), options()) for d in self.detectors]
        # The wrapper makes an object of each match and each search, which costs as much as searching.
        self._searches = [expression._regexp.Match for expression in self.expressions]
        self.groups: list[tuple[int, Group]] = []
        for names, flag in _GROUPS.items():
            members = [i for i, d in enumerate(self.detectors) if d.sieve in names]
            if members:
                # What a team's expressions do at ends of lines is theirs.
                group = Group(members, [self._uncaptured(i) for i in members], joinable=flag != _OWN)
                self.groups.append((flag, group))
        self.harmless = frozenset(i for i, d in enumerate(self.detectors) if d.classification == HARMLESS)
        """Detectors of what only looks like an identifier: their spans are covered and not reported."""
        own = [i for i, d in enumerate(self.detectors) if d.sieve == "own"]
        self.own = "|".join(self._uncaptured(i) for i in own)

    def _uncaptured(self, index: int) -> str:
        detector = self.detectors[index]
        return f"(?:{detector.before})(?:{detector.pattern})(?:{detector.after})"

    def sieved(self, texts: pa.Array) -> NDArray[np.uint8]:
        """For each row the sieves that let it through, shape (n,)."""
        flags = sieves.rows(texts)
        if self.own:
            flags[as_bool(pc.match_substring_regex(texts, self.own))] |= _OWN
        return flags

    def hits(self, texts: pa.Array, flags: NDArray[np.uint8] | None = None) -> Hits:
        """The flagged rows of a ``string`` or ``large_string`` array and the detectors that match each.

        ``flags``: what :meth:`sieved` says of the same texts.
        """
        flags = self.sieved(texts) if flags is None else flags
        rows = np.flatnonzero(flags)
        flagged = flagged_texts(texts, rows)
        flags = flags[rows]
        codes = np.zeros(len(rows), np.int64)
        combinations: list[tuple[int, ...]] = [()]
        for flag, group in self.groups:
            places = np.flatnonzero(flags & flag)
            some = flagged if len(places) == len(flagged) else [flagged[place] for place in places.tolist()]
            more, members = group.asked(some, lambda each, of=rows[places]: texts.take(pa.array(of[each])))  # type: ignore[misc]
            # Few combinations are met: a pair of numbers stands for each.
            both = codes[places] * len(members) + more
            met = np.flatnonzero(np.bincount(both))
            codes[places] = np.searchsorted(met, both) + len(combinations)
            combinations += [
                combinations[pair // len(members)] + members[pair % len(members)] for pair in met
            ]
        return hits_of(rows, flagged, codes, combinations, flags)

    def recalled(self, texts: pa.Array, noticed: Noticed) -> tuple[NDArray[np.uint8], Hits]:
        """What :meth:`sieved` and :meth:`hits` say of texts of which it was noticed."""
        flags = np.zeros(len(texts), np.uint8)
        flags[noticed.rows] = noticed.flags
        texts_of = flagged_texts(texts, noticed.rows)
        return flags, hits_of(noticed.rows, texts_of, *numbered(noticed.detectors), noticed.flags)

    def spans(self, text: bytes, candidates: Sequence[int], names: bool) -> list[tuple[int, int, str, float]]:
        """Spans in byte offsets with classification and score, none overlapping: the earlier detector wins."""
        taken: list[tuple[int, int, str, float]] = []
        covered = bytearray(len(text))

        def take(start: int, end: int, classification: str, score: float) -> None:
            if covered.find(1, start, end) < 0:
                covered[start:end] = b"\x01" * (end - start)
                if classification != HARMLESS:
                    taken.append((start, end, classification, score))

        for index in sorted(candidates):
            detector = self.detectors[index]
            for start, end in self.found(index, text):
                if detector.classification == "person_name":
                    end = _name_end(text, start, end)
                take(start, end, detector.classification, detector.score)
        if names:
            for start, end, kind in lexicon.byte_lookup(text):
                take(start, end, lexicon.CLASSIFICATIONS[kind], lexicon.SCORES[kind])
        return sorted(taken)

    def found(self, index: int, text: bytes, *, unchecked: bool = False) -> Iterator[tuple[int, int]]:
        """Byte spans of one detector; its validator is left out where ``unchecked``."""
        validator = self.detectors[index].validator
        check = None if validator is None or unchecked else named(validator)
        search, position = self._searches[index], 0
        while position <= len(text):
            spans = search(_UNANCHORED, text, position, len(text))
            if spans[0][0] < 0:
                return
            # Not to stand still behind an empty match.
            position = max(spans[0][1], position + 1)
            start, end = spans[2]
            if validator == "iban" and check is not None:
                end = _checked_end(text, start, end, check)
            elif check is not None and not check(text[start:end].decode("utf-8", "replace").strip()):
                continue
            if end > start:
                yield start, end

    def contained(self, texts: pa.Array) -> Counter[str]:
        """Rows by classification of a ``string`` array."""
        return self.counted(self.hits(texts))

    def counted(self, hits: Hits) -> Counter[str]:
        """Rows by classification."""
        rows: Counter[str] = Counter()
        persons = hits.persons.copy()
        for found, places in hits.alike():
            if not self.harmless.isdisjoint(found):
                for place in places:
                    named = self._beside_harmless(hits.texts[place], found)
                    rows.update(named)
                    persons[place] &= "person_name" not in named
                continue
            for classification, doubtful in self._decided(found).items():
                sure = self._confirmed(hits.texts, places, doubtful) if doubtful else places
                rows[classification] += len(sure)
                if classification == "person_name":
                    persons[sure] = False
        rows["person_name"] += sum(
            any(kind == lexicon.PERSON for _, _, kind in lexicon.byte_lookup(hits.texts[place]))
            for place in np.flatnonzero(persons).tolist()
        )
        return +rows

    def _beside_harmless(self, text: bytes, found: tuple[int, ...]) -> set[str]:
        """The classifications of a text that has more than what only looks like them."""
        covered = [span for index in self.harmless.intersection(found) for span in self.found(index, text)]
        return {
            detector.classification
            for index in found
            if (detector := self.detectors[index]).score >= REPORTED_SCORE and index not in self.harmless
            if any(
                all(end <= first or last <= start for first, last in covered)
                for start, end in self.found(index, text, unchecked=detector.redact_unchecked)
            )
        }

    def _decided(self, found: tuple[int, ...]) -> dict[str, list[int]]:
        """The classifications of matching detectors, each with those that have to be asked: none where one is sure."""
        decided: dict[str, list[int]] = {}
        for index in found:
            detector = self.detectors[index]
            if detector.score >= REPORTED_SCORE:
                asked = decided.setdefault(detector.classification, [index])
                if detector.redact_unchecked:
                    asked.clear()
                elif asked and index not in asked:
                    asked.append(index)
        return decided

    def _confirmed(self, texts: list[bytes], places: list[int], detectors: Sequence[int]) -> list[int]:
        """Those of ``places`` whose text one of the detectors holds, its validator asked."""
        sure: list[int] = []
        for index in detectors:
            detector, left = self.detectors[index], []
            check = named(str(detector.validator))
            holding: Sequence[bool] = [False] * len(places)
            if len(places) >= WORTH_ARROW:
                # Arrow takes the first span of all rows at once; a search from Python costs twenty times as much.
                column = pa.array([texts[place] for place in places], pa.large_binary())
                pattern = f"(?:{detector.before})(?P<first>{detector.pattern})(?:{detector.after})"
                spans = pc.extract_regex(column.view(pa.large_string()), pattern).field("first")
                spans = spans.cast(pa.large_binary())
                if detector.validator == "secret":
                    holding = are_secrets(spans).tolist()
                else:
                    spans = spans.dictionary_encode()
                    valid = [
                        check(each.decode("utf-8", "replace").strip())
                        for each in spans.dictionary.to_pylist()
                    ]
                    holding = [at is not None and valid[at] for at in spans.indices.to_pylist()]
            for place, holds in zip(places, holding, strict=True):
                if holds or next(self.found(index, texts[place]), None) is not None:
                    sure.append(place)
                else:
                    left.append(place)
            places = left
        return sure


def engine(detectors: Detectors | None = None) -> TextEngine:
    """The engine over the text detectors and the dictionaries; compiled once for each set of detectors."""
    return _engine(detectors or builtin())


@lru_cache(maxsize=4)
def _engine(detectors: Detectors) -> TextEngine:
    return TextEngine(detectors.text)


def _checked_end(text: bytes, start: int, end: int, check: Validator) -> int:
    """The end of the longest run of whole words from ``start`` that passes, or ``start``: IBANs stand in groups."""
    while end > start and not check(text[start:end].decode("utf-8", "replace")):
        end = max(text.rfind(b" ", start, end), start)
    return end


def _name_end(text: bytes, start: int, end: int) -> int:
    """Where a name ends that an expression took together with the capitalised words behind it."""
    at = text.find(b" ", start, end)
    while at >= 0:
        following = text.find(b" ", at + 1, end)
        word = text[at + 1 : following if following >= 0 else end]
        if word.decode("utf-8", "replace").lower().strip(".:,") in vocabulary.AFTER_NAMES:
            return at
        at = following
    return end


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
    texts: Sequence[str], detectors: DetectorsLike = None, *, ner: bool = False, crf: CrfLike = None
) -> list[list[TextFinding]]:
    """Find identifiers in texts; ``detectors`` are what is known, or the paths of a team's files.

    ``ner`` adds names by a pinned English model, ``crf`` what a model of your own notes finds, given by its file
    (``PATH@sha256:…`` pins it); see :mod:`governance.detect.learned`.

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
    if ner or crf is not None:
        from governance.detect.learned import supplemented

        return supplemented(texts, findings, ner=ner, crf=crf)
    return findings
