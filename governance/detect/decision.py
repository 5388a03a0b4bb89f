"""From the evidence of one column to its classification.

Rules with fixed weights; each rule is one line of the table in docs/adr/0005-detection.md. A trained
model can take the place of :func:`decide`: it gets the same profile and header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from governance.detect import dictionaries, validators
from governance.detect.headers import HeaderEvidence, HeaderMatch, read_header
from governance.detect.profile import ColumnProfile
from governance.detect.registry import ColumnDetector, Detectors, ValueTest, builtin
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED, ColumnClassification, Contained

CHECKED_VALUES = 1_000
"""Distinct values a validator is run on; patterns and dictionaries see the whole sample."""
_FIRST_LOOK = 64
THRESHOLD = 0.6
_MISSED_SHARE = 0.01
"""Share of values with identifiers from which a column of no class counts as free text."""
_IN_RANGE = 0.95
_SUPPORTED_SHARE = 0.5
_NOT_LAST = 0.05
"""Taken from a verdict whose phrase is not the last of the header: the last word names the thing, the ones before qualify it."""
_FLAGS = frozenset(
    {
        "health_condition",
        "trade_union",
        "religion",
        "sexual_orientation",
        "political_opinion",
        "ethnicity",
        "genetic",
    }
)
_CHECKSUM_ONLY = ("credit_card", "npi", "national_id")
_HIDDEN = frozenset(
    {
        "email",
        "ssn",
        "phone",
        "iban",
        "credit_card",
        "medical_record_number",
        "national_id",
        "secret",
        "person_name",
        "health_plan_id",
    }
)


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
class Verdict:
    """A classification proposed by one detector with its confidence and evidence in words."""

    detector: ColumnDetector
    confidence: float
    evidence: tuple[str, ...]
    match: HeaderMatch | None


class Values:
    """The distinct sample of a column, with what was already computed on it."""

    def __init__(self, profile: ColumnProfile, regions: Sequence[str]) -> None:
        self.numeric = profile.kind in ("integer", "number")
        self.texts = profile.distinct()
        self._counts, self._total = profile.sample, profile.sample.total()
        self._array = pa.array([t.encode("utf-8", "replace") for t in self.texts], pa.binary()).view(
            pa.string()
        )
        self._checks: Mapping[str, validators.Validator] = {
            **validators.VALIDATORS,
            "phone": partial(validators.phone, regions=tuple(regions)),
        }

    def outcome(self, test: ValueTest, *, needed: float) -> Outcome:
        """Run a test; given up after a first look when it cannot reach half of ``needed``."""
        passing, checked = self._by_pattern(test), len(self.texts)
        for check in self._checks_of(test):
            if len(passing) < 0.5 * needed * checked:
                return Outcome(test, 0, checked, 0.0)
            passing, checked = _checked(check, passing, checked, needed)
        rows = sum(self._counts[text] for text in passing) / max(1.0, self._total * checked / len(self.texts))
        return Outcome(test, len(passing), checked, min(rows, 1.0))

    def _checks_of(self, test: ValueTest) -> Iterator[validators.Validator]:
        if test.words is not None:
            yield partial(dictionaries.listed, test.words)
        elif test.dictionary is not None:
            yield partial(dictionaries.contains, test.dictionary)
        if test.validator is not None:
            yield self._checks.get(test.validator) or validators.named(test.validator)

    def _by_pattern(self, test: ValueTest) -> list[str]:
        if test.pattern is None:
            return self.texts
        mask = pc.match_substring_regex(self._array, rf"\A(?:{test.pattern})\z").to_numpy(
            zero_copy_only=False
        )
        return [text for text, passed in zip(self.texts, mask, strict=True) if passed]


def _checked(
    check: validators.Validator, passing: list[str], checked: int, needed: float
) -> tuple[list[str], int]:
    """What passes of at most :data:`CHECKED_VALUES`, and of how many of the sample these speak."""
    kept = passing[:CHECKED_VALUES]
    if len(kept) < len(passing):
        checked = round(checked * len(kept) / len(passing))
    first = [t for t in kept[:_FIRST_LOOK] if check(t)]
    if len(kept) > _FIRST_LOOK and len(first) < 0.5 * needed * _FIRST_LOOK:
        return first, max(1, round(checked * _FIRST_LOOK / len(kept)))
    return first + [t for t in kept[_FIRST_LOOK:] if check(t)], checked


def _percent(outcome: Outcome) -> str:
    share = 100 * outcome.share
    shown = f"{share:.1f}".rstrip("0").rstrip(".")
    return f"{shown}% of {outcome.checked:,} distinct values"


def _described(detector: ColumnDetector, outcome: Outcome) -> str:
    test, name = outcome.test, detector.classification.replace("_", " ")
    if test.validator in ("npi", "credit_card", "iban", "vin", "snomed"):
        return f"{_percent(outcome)} have the right check digits for {name}"
    if test.validator is not None:
        return f"{_percent(outcome)} are valid as {name}"
    if test.dictionary is not None:
        return f"{_percent(outcome)} are in the dictionary {test.dictionary.replace('_', ' ')}"
    return f"{_percent(outcome)} are written like {name}"


def _match_for(detector: ColumnDetector, header: HeaderEvidence) -> HeaderMatch | None:
    matches = [m for m in header.matches if m.detector is detector]
    if header.negated is not None:
        matches = []
    return max(matches, key=lambda m: (m.decisive, m.words, m.end), default=None)


def _judge(
    detector: ColumnDetector, header: HeaderEvidence, profile: ColumnProfile, values: Values
) -> Verdict | None:
    match = _match_for(detector, header)
    says = () if match is None else (f'header says "{match.phrase}"',)
    tests = [
        t
        for t in detector.tests
        if (t.numbers or not values.numeric) and (match is not None or t.alone is not None)
    ]
    if match is None and not tests:
        return None
    if not values.texts:
        if match is None or not match.decisive:
            return None
        return Verdict(detector, 0.7, (*says, "there is no value to check"), match)
    if detector.range and values.numeric and not _within(detector.range, profile):
        return None
    outcomes = []
    for test in tests:
        alone = 1.0 if test.alone is None else test.alone
        outcomes.append(
            values.outcome(test, needed=alone if match is None else min(alone, test.agree or 0.0))
        )
    best = max(outcomes, key=lambda o: o.share, default=None)
    if match is None or not match.decisive:
        return _by_values(detector, match, outcomes, says, values)
    demanding = [t for t in detector.tests if t.agree is not None]
    agreeing = [o for o in outcomes if o.share >= min(_or(o.test.agree, 2.0), _or(o.test.alone, 2.0))]
    if demanding and not agreeing:
        return None
    if detector.reason and best is not None:
        return Verdict(detector, 0.99, (*says, f"{_percent(best)} are {detector.reason}"), match)
    shown = max(agreeing, key=lambda o: o.share, default=best)
    if shown is None or (shown.share < 0.05 and not agreeing):
        return Verdict(detector, 0.9, says, match)
    return Verdict(detector, 0.9 + 0.09 * shown.share, (*says, _described(detector, shown)), match)


def _by_values(
    detector: ColumnDetector,
    match: HeaderMatch | None,
    outcomes: Sequence[Outcome],
    says: tuple[str, ...],
    values: Values,
) -> Verdict | None:
    confidence, shown = 0.0, None
    for outcome in outcomes:
        test, share, reached = outcome.test, outcome.share, 0.0
        if (
            test.alone is not None
            and share >= test.alone
            and outcome.rows >= 0.5 * test.alone
            and len(values.texts) >= test.minimum
        ):
            reached = min(0.6 + 0.35 * share, 0.89 if detector.classification == FREE_TEXT else 1.0)
        if match is not None and test.alone is not None and share >= _SUPPORTED_SHARE:
            reached = max(reached, 0.6 + 0.3 * share)
        if reached > confidence:
            confidence, shown = reached, outcome
    if shown is None:
        return None
    if detector.classification == HARMLESS and match is None:
        return None
    return Verdict(detector, confidence, (*says, _described(detector, shown)), match)


def _or(stated: float | None, otherwise: float) -> float:
    return otherwise if stated is None else stated


def _within(limits: tuple[float, float], profile: ColumnProfile) -> bool:
    """Whether nearly all values lie in the range; a few impossible ones are dirt, not another meaning."""
    inside = sum(n for text, n in profile.sample.items() if limits[0] <= float(text) <= limits[1])
    return inside >= _IN_RANGE * profile.sample.total()


def _typed(profile: ColumnProfile, header: HeaderEvidence) -> tuple[str, float, tuple[str, ...]] | None:
    """Columns whose Arrow type decides: dates, flags, images and what cannot be read."""
    decisive = [m for m in header.matches if m.decisive]
    if profile.opaque or profile.kind == "other":
        return UNCLASSIFIED, 0.0, ("its type cannot be read by the detectors",)
    if profile.kind == "date":
        for match in decisive:
            if match.detector.classification == "date_of_birth":
                return "date_of_birth", 0.99, (f'header says "{match.phrase}"', "the column's type is a date")
        return "date", 0.97, ("the column's type is a date or timestamp",)
    if profile.kind == "boolean":
        for match in decisive:
            if match.detector.classification in _FLAGS:
                return (
                    match.detector.classification,
                    0.85,
                    (f'header says "{match.phrase}"', "the values are flags"),
                )
        return HARMLESS, 0.95, ("the values are true or false",)
    if profile.kind == "binary":
        if profile.images:
            return "photo", 0.9, ("the values begin like image files",)
        for match in decisive:
            if match.detector.classification in ("biometric", "photo", "genetic", "secret"):
                return (
                    match.detector.classification,
                    0.85,
                    (f'header says "{match.phrase}"', "the values are binary"),
                )
        return UNCLASSIFIED, 0.0, ("the values are binary and no image",)
    return None


def decide(
    profile: ColumnProfile,
    regions: Sequence[str] = validators.COMMON_REGIONS,
    detectors: Detectors | None = None,
) -> ColumnClassification:
    """Classify a column from its header and its values.

    Args:
        profile: what was read of the column.
        regions: numbering plans (ISO 3166) for national phone numbers.
        detectors: what is known; the default is what this package ships.
    """
    known = (detectors or builtin()).columns
    header = read_header(profile.name.rsplit(".", 1)[-1], known)
    if not header.matches and "." in profile.name:
        header = read_header(profile.name, known)
    typed = _typed(profile, header)
    if typed is not None:
        return _result(profile, *typed)
    values = Values(profile, regions)
    verdicts = [v for d in known.detectors if (v := _judge(d, header, profile, values)) is not None]
    last = max((v.match.end for v in verdicts if v.match and v.match.decisive), default=0)
    best = max(verdicts, key=lambda v: _rank(v, last), default=None)
    if best is not None and best.confidence >= THRESHOLD:
        return _result(profile, best.detector.classification, best.confidence, best.evidence)
    if not values.texts:
        return _result(profile, UNCLASSIFIED, 0.0, ("there is no value and the header does not decide",))
    if sum(text.isdecimal() for text in values.texts) > 0.5 * len(values.texts):
        # One number in ten has a right check digit by chance.
        for name in _CHECKSUM_ONLY:
            profile.contains.pop(name, None)
    hidden = sum(n for name, n in profile.contains.items() if name in _HIDDEN)
    if hidden and hidden >= max(2, _MISSED_SHARE * profile.values_read):
        return _result(profile, FREE_TEXT, 0.7, ("identifiers stand in a column that is of no class itself",))
    note = f'; the header ends in "{header.negated}"' if header.negated else ""
    return _result(
        profile,
        HARMLESS,
        0.9 if len(values.texts) >= 20 else 0.75,
        (f"no detector agrees with {len(values.texts):,} distinct values{note}",),
    )


def _rank(verdict: Verdict, last: int) -> tuple[float, int]:
    match = verdict.match
    qualifies = match is not None and match.end < last
    return round(verdict.confidence - (_NOT_LAST if qualifies else 0.0), 2), match.words if match else 0


def _result(
    profile: ColumnProfile, classification: str, confidence: float, evidence: tuple[str, ...]
) -> ColumnClassification:
    contains: tuple[Contained, ...] = ()
    if classification in (FREE_TEXT, HARMLESS) and profile.contains:
        contains = tuple(
            Contained(name, rows)
            for name, rows in sorted(profile.contains.items(), key=lambda item: (-item[1], item[0]))
        )
        listed = ", ".join(f"{c.classification} in {c.rows:,}" for c in contains[:6])
        evidence = (*evidence, f"of {profile.values_read:,} values read, {listed}")
    bound = None
    if 0 < profile.values_read < profile.values:
        bound = 1 - 0.05 ** (1 / profile.values_read)
        evidence = (*evidence, f"settled after {profile.values_read:,} of {profile.values:,} values")
    return ColumnClassification(
        column=profile.name,
        classification=classification,
        confidence=round(min(confidence, 0.99), 3),
        evidence=evidence,
        values_read=profile.values_read,
        rows=profile.rows,
        miss_bound=bound,
        contains=contains,
    )
