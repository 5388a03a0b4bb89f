"""What the values of one column say, for every detector: the tests' outcomes, statistics and shapes.

Nothing here looks at the column's name; :mod:`governance.detect.columns.features` joins both.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import re2
from numpy.typing import NDArray

from governance.detect.columns.profile import ColumnProfile
from governance.detect.detectors import dictionaries, validators
from governance.detect.detectors.registry import ColumnRegistry, ValueTest

READ_VALUES = 512
"""Distinct values the tests read, drawn from the whole stream by a hash."""
CHECKED_VALUES = 256
"""Distinct values a validator or a dictionary is asked about."""
_LOOKS = ((0, 16), (16, 64), (64, CHECKED_VALUES))
_AUTOMATON_BYTES = 256 << 20
_COUNTED = 256
"""Distinct values whose characters are counted."""
_SHOWN_CHARACTERS = 120
SHAPE_BUCKETS = 256
WORD_BUCKETS = 1_024

_RUNS = (
    (re.compile(r"[0-9]+"), "9"),
    (re.compile(r"[A-ZÀ-Þ]{2,}"), "B"),
    (re.compile(r"[a-zß-ÿ]+"), "a"),
    (re.compile(r"\s+"), " "),
)
_LETTERS = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]*)?")
_DIGITS = (3, 4, 5, 6, 7, 8, 9, 10, 11)
_UNASSIGNED = frozenset(
    {
        "099", "213", "269", "343", "345", "348", "353", "419", "428", "429", "517", "518", "519", "529", "533", "536", "552",
        "568", "578", "579", "589", "621", "632", "642", "643", "659", "663", "682", "694", "695", "696", "697", "698", "699",
        "702", "709", "715", "732", "742", "771", "817", "818", "819", "839", "848", "849", "854", "858", "861", "862", "866",
        "867", "868", "869", "876", "886", "887", "888", "892", "896", "899", "909", "929", "987",
    }
)  # fmt: skip
"""Three digits above 004 with which no ZIP code starts (USPS Publication 65)."""
_ZIP = re.compile(r"([0-9]{3})[0-9]{2}(?:-?[0-9]{4})?(?:\.0)?")
_SIGNS = "@/:,.-_(#'%&$*="


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of ``checked`` distinct values passed a test, and ``rows``: in what share of the rows they stand."""

    test: ValueTest
    passed: int
    checked: int
    rows: float

    @property
    def share(self) -> float:
        """Share that passed, in [0, 1]."""
        return self.passed / self.checked if self.checked else 0.0


@dataclass(frozen=True, slots=True)
class ValueEvidence:
    """What the values of a column say.

    ``outcomes`` has for each detector of the registry, in its order, the tests that fit the column's kind;
    ``inside`` the share of the rows within the detector's range, ``None`` where there is none to hold.
    ``statistics`` has length ``len(STATISTICS)``. ``shapes`` and ``words`` are (bucket, share of the values)
    of hashed shapes and words: from a bucket no value can be read back. ``contains``: share of the values
    read in which identifiers of a classification stand.
    """

    kind: str
    distinct: int
    outcomes: tuple[tuple[Outcome, ...], ...]
    inside: tuple[float | None, ...]
    statistics: NDArray[np.float32]
    shapes: Mapping[int, float]
    words: Mapping[int, float]
    contains: Mapping[str, float]


class Values:
    """At most :data:`READ_VALUES` of the distinct sample, with which pattern each of them matches."""

    def __init__(self, profile: ColumnProfile, registry: ColumnRegistry, regions: Sequence[str]) -> None:
        self.numeric = profile.kind in ("integer", "number")
        self.texts = profile.distinct()[:READ_VALUES]
        self.counts = profile.sample
        self._total = sum(profile.sample[text] for text in self.texts)
        self._checks: Mapping[str, validators.Validator] = {
            "phone": partial(validators.phone, regions=tuple(regions))
        }
        self._passing = _matching(self.texts, registry)

    def outcome(self, test: ValueTest, *, needed: float) -> Outcome:
        """Run a test; given up after a first look when it cannot reach half of ``needed``."""
        checked = len(self.texts)
        passing = self.texts if test.pattern is None else self._passing.get(test.pattern, [])
        for check in self._checks_of(test):
            if len(passing) < 0.5 * needed * checked:
                return Outcome(test, 0, checked, 0.0)
            passing, checked = _checked(check, passing, checked, needed)
        rows = sum(self.counts[text] for text in passing) / max(1.0, self._total * checked / len(self.texts))
        return Outcome(test, len(passing), checked, min(rows, 1.0))

    def _checks_of(self, test: ValueTest) -> Iterator[validators.Validator]:
        if test.words is not None:
            yield partial(dictionaries.listed, test.words)
        elif test.dictionary is not None:
            yield partial(dictionaries.contains, test.dictionary)
        if test.validator is not None:
            yield self._checks.get(test.validator) or validators.named(test.validator)


@lru_cache(maxsize=8)
def _patterns(registry: ColumnRegistry) -> tuple[tuple[str, ...], Any]:
    """The patterns of all tests as one automaton: asked one by one they cost two hundred times as much."""
    patterns = tuple(dict.fromkeys(t.pattern for d in registry.detectors for t in d.tests if t.pattern))
    options = re2.Options()
    options.max_mem = _AUTOMATON_BYTES
    options.log_errors = False
    together = re2.Set.FullMatchSet(options)
    for pattern in patterns:
        together.Add(pattern)
    together.Compile()
    return patterns, together


def _matching(texts: Sequence[str], registry: ColumnRegistry) -> dict[str, list[str]]:
    patterns, together = _patterns(registry)
    found: dict[str, list[str]] = {}
    for text in texts:
        for index in together.Match(text.encode("utf-8", "replace")) or ():
            found.setdefault(patterns[index], []).append(text)
    return found


def _checked(
    check: validators.Validator, passing: list[str], checked: int, needed: float
) -> tuple[list[str], int]:
    """What passes of at most :data:`CHECKED_VALUES`, and of how many of the values these speak."""
    kept = passing[:CHECKED_VALUES]
    if len(kept) < len(passing):
        checked = round(checked * len(kept) / len(passing))
    passed: list[str] = []
    for start, end in _LOOKS:
        passed += [text for text in kept[start:end] if check(text)]
        if len(kept) > end and len(passed) < 0.5 * needed * end:
            return passed, max(1, round(checked * end / len(kept)))
    return passed, checked


def read_values(profile: ColumnProfile, registry: ColumnRegistry, regions: Sequence[str]) -> ValueEvidence:
    """Every detector's tests over the distinct sample, with the statistics of the column."""
    values = Values(profile, registry, regions)
    outcomes = []
    for detector in registry.detectors:
        outcomes.append(
            tuple(
                values.outcome(test, needed=_least(test))
                for test in detector.tests
                if values.texts and (test.numbers or not values.numeric)
            )
        )
    shapes, words = _hashed(values.texts)
    read = max(1, profile.values_read)
    return ValueEvidence(
        kind=profile.kind,
        distinct=len(values.texts),
        outcomes=tuple(outcomes),
        inside=tuple(_inside(d.range, profile) if values.numeric else None for d in registry.detectors),
        statistics=_statistics(profile, values.texts),
        shapes=shapes,
        words=words,
        contains={name: rows / read for name, rows in profile.contains.items()},
    )


def _least(test: ValueTest) -> float:
    """The share from which a test says anything."""
    return min(1.0 if test.alone is None else test.alone, 1.0 if test.agree is None else test.agree)


def _inside(limits: tuple[float, float] | None, profile: ColumnProfile) -> float | None:
    total = profile.sample.total()
    if limits is None or not total:
        return None
    within = sum(n for text, n in profile.sample.items() if limits[0] <= float(text) <= limits[1])
    return within / total


def bucket(text: str, buckets: int) -> int:
    """A stable hash of a text."""
    return zlib.crc32(text.encode("utf-8", "replace")) % buckets


def shape(value: str) -> str:
    """A value with runs of digits as 9, of capitals as B, of small letters as a: ``Ba 9`` of ``MN1b 22``."""
    text = value[:_SHOWN_CHARACTERS]
    for run, sign in _RUNS:
        text = run.sub(sign, text)
    return text[:24]


def _hashed(texts: Sequence[str]) -> tuple[dict[int, float], dict[int, float]]:
    shapes: dict[int, float] = {}
    words: dict[int, float] = {}
    some = texts[:_COUNTED]
    for text in some:
        key = bucket(shape(text), SHAPE_BUCKETS)
        shapes[key] = shapes.get(key, 0.0) + 1.0
        for word in set(_LETTERS.findall(dictionaries.fold(text[:_SHOWN_CHARACTERS]))[:8]):
            key = bucket(word, WORD_BUCKETS)
            words[key] = words.get(key, 0.0) + 1.0
    number = max(1, len(some))
    return {k: n / number for k, n in shapes.items()}, {k: n / number for k, n in words.items()}


_KINDS = ("text", "integer", "number")
STATISTICS = (
    *(f"kind:{kind}" for kind in _KINDS),
    "distinct (log)", "distinct of sampled", "rows (log)", "null share", "constant", "two values",
    "length mean (log)", "length deviation (log)", "shortest (log)", "longest (log)", "one length",
    "digits", "letters", "capitals of letters", "beyond ASCII", "words", "one word", "all digits", "digits and letters",
    "all capitals", "capitalised", "all lower", "shapes of distinct",
    *(f"with {sign}" for sign in _SIGNS),
    "one letter", "two letters", "three letters", "two words", "three words", "starts with a digit", "ends with a digit",
    "most frequent value", "first character alike", "first three alike", "opens with 0",
    *(f"{many} digits" for many in _DIGITS), "assigned US ZIP codes",
    "numbers", "year", "0 to 120", "degrees", "with decimals", "least number", "greatest number", "median number",
    "lower tenth", "upper tenth", "multiples of 5", "next to one another",
)  # fmt: skip


def _log(number: float) -> float:
    return float(np.sign(number) * np.log1p(abs(number)) / 5)


def _statistics(profile: ColumnProfile, texts: Sequence[str]) -> NDArray[np.float32]:
    some = [text[:400] for text in texts[:_COUNTED]]
    sampled = profile.sample.total()
    row: list[float] = [float(profile.kind == kind) for kind in _KINDS]
    row += [
        _log(len(texts)), len(texts) / max(1, sampled), _log(profile.rows),
        1 - profile.values / max(1, profile.rows), float(len(texts) == 1), float(len(texts) == 2),
    ]  # fmt: skip
    if not some:
        return np.array(row + [0.0] * (len(STATISTICS) - len(row)), np.float32)
    lengths = np.array([len(text) for text in some], float)
    row += [
        _log(lengths.mean()), _log(lengths.std()), _log(lengths.min()), _log(lengths.max()),
        float(lengths.min() == lengths.max()),
    ]  # fmt: skip
    total = lengths.sum()
    digits = [sum(c.isdecimal() for c in text) for text in some]
    letters = [sum(c.isalpha() for c in text) for text in some]
    capitals = [sum(c.isupper() for c in text) for text in some]
    spaces = [text.count(" ") for text in some]
    many = len(some)
    row += [
        sum(digits) / total, sum(letters) / total, sum(capitals) / max(1, sum(letters)),
        sum(not text.isascii() for text in some) / many,
        _log(sum(spaces) / many), sum(n == 0 for n in spaces) / many,
        sum(d == len(t) for d, t in zip(digits, some, strict=True)) / many,
        sum(d > 0 and a > 0 for d, a in zip(digits, letters, strict=True)) / many,
        sum(c == a > 0 for c, a in zip(capitals, letters, strict=True)) / many,
        sum(t[:1].isupper() and c < a for t, c, a in zip(some, capitals, letters, strict=True)) / many,
        sum(c == 0 < a for c, a in zip(capitals, letters, strict=True)) / many,
        len({shape(text) for text in some}) / many,
    ]  # fmt: skip
    row += [sum(sign in text for text in some) / many for sign in _SIGNS]
    row += _openings(some, spaces, letters, profile)
    numbers = np.sort([float(text) for text in some if _NUMBER.fullmatch(text)])
    row += [len(numbers) / many]
    if len(numbers):
        whole = numbers == np.floor(numbers)
        row += [
            float(np.mean(whole & (numbers >= 1900) & (numbers <= 2100))) * len(numbers) / many,
            float(np.mean(whole & (numbers >= 0) & (numbers <= 120))) * len(numbers) / many,
            float(np.mean(~whole & (np.abs(numbers) <= 180))) * len(numbers) / many,
            float(np.mean(~whole)), _log(numbers[0]), _log(numbers[-1]), _log(float(np.median(numbers))),
            _log(numbers[len(numbers) // 10]), _log(numbers[-1 - len(numbers) // 10]), float(np.mean(numbers % 5 == 0)),
            float(np.mean(np.diff(numbers) == 1)) if len(numbers) > 1 else 0.0,
        ]  # fmt: skip
    return np.array(row + [0.0] * (len(STATISTICS) - len(row)), np.float32)


def _openings(
    some: Sequence[str], spaces: Sequence[int], letters: Sequence[int], profile: ColumnProfile
) -> list[float]:
    """Codes and their openings: ZIP codes of a town, telephones of an area and keys of a year start alike."""
    many = len(some)
    short = Counter(len(text) for text, n in zip(some, letters, strict=True) if n == len(text))
    lengths = Counter(len(text) for text in (t.removesuffix(".0") for t in some) if text.isdecimal())
    zips = [found for text in some if (found := _ZIP.fullmatch(text))]
    return [
        short[1] / many, short[2] / many, short[3] / many,
        sum(n == 1 for n in spaces) / many, sum(n == 2 for n in spaces) / many,
        sum(text[:1].isdecimal() for text in some) / many, sum(text[-1:].isdecimal() for text in some) / many,
        max(profile.sample.values(), default=0) / max(1, profile.sample.total()),
        max(Counter(text[:1] for text in some).values()) / many, max(Counter(text[:3] for text in some).values()) / many,
        sum(text.startswith("0") for text in some) / many,
        *(lengths[n] / many for n in _DIGITS),
        sum(found[1] > "004" and found[1] not in _UNASSIGNED for found in zips) / many,
    ]  # fmt: skip
