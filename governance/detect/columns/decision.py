"""From the evidence of the columns of a table to their classifications, with the evidence in words.

The model (:mod:`governance.detect.columns.model`) gives probabilities; the type of a column decides where there is no value
to read (docs/adr/0005-detection.md). Below :data:`CERTAIN_ENOUGH` nothing is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from governance.detect.columns.evidence import STATISTICS, Outcome, ValueEvidence, read_values
from governance.detect.columns.features import LATENT, MEASURED, Claims, Name, read_name
from governance.detect.columns.model import Read, read_table
from governance.detect.columns.profile import ColumnProfile
from governance.detect.columns.team_rules import by_team
from governance.detect.detectors import validators
from governance.detect.detectors.registry import Detectors, builtin
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED, ColumnClassification, Contained

CERTAIN_ENOUGH, CERTAIN_WITHOUT_HEADER = 0.7, 0.5
"""A classification is named from this probability; below it, where harmless is unlikely too, the column is unclassified.
Less is asked where the header says nothing: such tables have more to miss, and nobody named their columns harmless."""
HEADER_ALONE = 0.7
"""Confidence in a header that names a classification where there is no value to check it by."""
HEADER_STATED = 0.7
"""Probability at least of a classification that the model knows from made-up columns only, where the header ends in its
name and the values do not contradict: a miss would be a special category passed as harmless."""
_AFTER_NAME = frozenset(
    {"hash", "value", "text", "field", "key", "list", "desc", "description", "status", "result", "results"}
)
_NEARLY_ALL = 0.9
_TOLD_RUNNER_UP = 0.1
_TOLD_NEIGHBOUR = 0.9
_MISSED_SHARE = 0.01
"""Share of values with identifiers from which a column of no class counts as free text."""
_FLAGS = frozenset(
    {
        "health_condition", "trade_union", "religion", "sexual_orientation", "political_opinion", "ethnicity", "genetic",
        "criminal_record",
    }
)  # fmt: skip
_BY_CHANCE = ("credit_card", "npi", "national_id", "phone")
_HIDDEN = frozenset(
    {
        "email", "ssn", "phone", "iban", "credit_card", "medical_record_number", "national_id", "secret", "person_name",
        "health_plan_id",
    }
)  # fmt: skip
_BINARY = ("biometric", "photo", "genetic", "secret")


@dataclass(frozen=True, slots=True)
class Found:
    """What one column is taken for, with how likely and why."""

    classification: str
    confidence: float
    evidence: tuple[str, ...]


def decide_table(
    profiles: Sequence[ColumnProfile],
    regions: Sequence[str] = validators.COMMON_REGIONS,
    detectors: Detectors | None = None,
) -> list[ColumnClassification]:
    """Classify the columns of one table from their headers, their values and one another.

    Args:
        profiles: what was read of the columns, in the order of the table.
        regions: numbering plans (ISO 3166) for national phone numbers.
        detectors: what is known; the default is what this package ships.
    """
    known = detectors or builtin()
    names = [read_name(profile.name, known.columns) for profile in profiles]
    values = [read_values(profile, known.columns, regions) for profile in profiles]
    read = read_table(names, values, known.columns)
    results = []
    for index, profile in enumerate(profiles):
        found = (
            _by_type(profile, names[index])
            or _by_team(names[index], values[index], known)
            or _without_values(values[index], names[index], read.claims[index])
            or _by_model(read, index, names, values[index], known)
        )
        if found.classification == HARMLESS:
            found = _hidden(profile, values[index]) or found
        results.append(_result(profile, found))
    return results


def decide(
    profile: ColumnProfile,
    regions: Sequence[str] = validators.COMMON_REGIONS,
    detectors: Detectors | None = None,
) -> ColumnClassification:
    """Classify a column as the only one of its table; see :func:`decide_table`."""
    return decide_table([profile], regions, detectors)[0]


def _by_type(profile: ColumnProfile, name: Name) -> Found | None:
    """Columns whose Arrow type decides: dates, flags, images and what cannot be read."""
    decisive = [] if name.header.negated else [m for m in name.header.matches if m.decisive]
    if profile.opaque or profile.kind == "other":
        return Found(UNCLASSIFIED, 0.0, ("its type cannot be read by the detectors",))
    if profile.kind == "date":
        for match in decisive:
            if match.detector.classification == "date_of_birth":
                return Found("date_of_birth", 0.99, (_says(match.phrase), "the column's type is a date"))
        return Found("date", 0.97, ("the column's type is a date or timestamp",))
    if profile.kind == "boolean":
        for match in decisive:
            if match.detector.classification in _FLAGS:
                return Found(
                    match.detector.classification, 0.85, (_says(match.phrase), "the values are flags")
                )
        return Found(HARMLESS, 0.95, ("the values are true or false",))
    if profile.kind == "binary":
        if profile.images:
            return Found("photo", 0.9, ("the values begin like image files",))
        for match in decisive:
            if match.detector.classification in _BINARY:
                return Found(
                    match.detector.classification, 0.85, (_says(match.phrase), "the values are binary")
                )
        return Found(UNCLASSIFIED, 0.0, ("the values are binary and no image",))
    return None


def _by_team(name: Name, values: ValueEvidence, known: Detectors) -> Found | None:
    said = by_team(name.header, values.outcomes, values.inside, values.distinct, known.columns)
    return None if said is None else Found(said.classification, said.confidence, said.evidence)


def _without_values(values: ValueEvidence, name: Name, claims: Claims) -> Found | None:
    if values.distinct:
        return None
    claim = max(
        (c for c in claims.by_name.values() if c.match is not None and c.match.decisive),
        key=lambda c: (c.match.end, c.match.words) if c.match else (0, 0),
        default=None,
    )
    if claim is None or claim.match is None or name.header.negated:
        return Found(UNCLASSIFIED, 0.0, ("there is no value and the header does not decide",))
    return Found(
        claim.match.detector.classification,
        HEADER_ALONE,
        (_says(claim.match.phrase), "there is no value to check"),
    )


def _by_model(
    read: Read, index: int, names: Sequence[Name], values: ValueEvidence, known: Detectors
) -> Found:
    probabilities = read.probabilities[index]
    merged: dict[str, float] = {}
    for name, probability in zip(read.candidates, probabilities.tolist(), strict=True):
        called = _called(name, known)
        merged[called] = merged.get(called, 0.0) + probability
    least = CERTAIN_ENOUGH if names[index].told else CERTAIN_WITHOUT_HEADER
    _let_header_state(merged, read.claims[index], names[index], known)
    if not names[index].told:
        _let_values_state(merged, read.claims[index], known)
    ranked = sorted(merged, key=lambda each: -merged[each])
    best = ranked[0]
    if best != HARMLESS and merged[best] < least:
        likely = [f"{_words(each)} ({merged[each]:.0%})" for each in ranked[:3]]
        return Found(UNCLASSIFIED, 0.0, ("the evidence does not decide between " + ", ".join(likely),))
    inner = max(
        (each for each in read.candidates if _called(each, known) == best),
        key=lambda each: probabilities[read.candidates.index(each)],
    )
    evidence = _why(inner, best, read, index, names, values)
    runner = next((each for each in ranked[1:] if merged[each] >= _TOLD_RUNNER_UP), None)
    if runner is not None:
        evidence = (*evidence, f"could also be {_words(runner)} ({merged[runner]:.0%})")
    return Found(best, merged[best], evidence)


def _let_header_state(merged: dict[str, float], claims: Claims, name: Name, known: Detectors) -> None:
    if name.header.negated or any(p >= CERTAIN_ENOUGH for each, p in merged.items() if each != HARMLESS):
        return
    for inner, claim in claims.by_name.items():
        match = claim.match
        if inner in MEASURED or match is None or not match.decisive or claim.contradicted:
            continue
        after = name.words[match.end :]
        if all(w in known.columns.qualifiers or w in _AFTER_NAME or w.isdecimal() for w in after):
            _state(merged, _called(inner, known))
            return


def _let_values_state(merged: dict[str, float], claims: Claims, known: Detectors) -> None:
    """Where no header says what a column is, nearly all values in the form of one class that no real column taught say it."""
    stated = [
        inner
        for inner, claim in claims.by_name.items()
        if inner != HARMLESS and claim.strength >= _NEARLY_ALL
    ]
    if len(stated) == 1 and stated[0] not in MEASURED and merged[_called(stated[0], known)] < HEADER_STATED:
        _state(merged, _called(stated[0], known))


def _state(merged: dict[str, float], called: str) -> None:
    rest = (1 - HEADER_STATED) / max(1e-9, 1 - merged[called])
    for each in merged:
        merged[each] = HEADER_STATED if each == called else merged[each] * rest


def _called(name: str, known: Detectors) -> str:
    return name if name in known.taxonomy else LATENT.get(name, name)


def _words(classification: str) -> str:
    return "harmless" if classification == HARMLESS else classification.replace("_", " ")


def _why(
    inner: str, best: str, read: Read, index: int, names: Sequence[Name], values: ValueEvidence
) -> tuple[str, ...]:
    """What header, values and neighbours say for ``best``, and what they say against it."""
    claims = read.claims[index]
    claim = claims.by_name.get(inner)
    evidence: list[str] = []
    header = names[index].header
    if claim is not None and claim.match is not None:
        evidence.append(_says(claim.match.phrase))
    elif header.negated:
        evidence.append(
            f'the header ends in "{header.negated}"'
            if header.negated == names[index].words[-1]
            else f'the header has "{header.negated}"'
        )
    elif not names[index].told:
        evidence.append("the header says nothing")
    if claim is not None and claim.outcome is not None and claim.outcome.passed and inner != HARMLESS:
        evidence.append(_described(claim.outcome, inner))
    elif claim is not None and claim.contradicted:
        evidence.append("the values do not agree with the header")
    evidence += _against(inner, claims)
    if best == HARMLESS and inner == HARMLESS:
        evidence.append(f"no detector agrees with {values.distinct:,} distinct values")
    elif not evidence or (len(evidence) == 1 and not names[index].told):
        evidence.append(f"header and values resemble columns of {_words(inner)}")
    near = _beside(read, index)
    if near and best != HARMLESS:
        evidence.append("beside " + ", ".join(near))
    return tuple(evidence)


def _against(inner: str, claims: Claims) -> list[str]:
    """Other classifications that the header names, and whether the values disagree."""
    told = []
    for name, claim in claims.by_name.items():
        if name in (inner, HARMLESS) or claim.match is None or not claim.match.decisive:
            continue
        why = "the values do not agree" if claim.contradicted else "the rest of the evidence does not"
        told.append(f"{_says(claim.match.phrase)} ({_words(name)}), {why}")
    return told[:2]


def _beside(read: Read, index: int) -> list[str]:
    near = []
    for at in (index - 1, index + 1):
        if 0 <= at < len(read.claims):
            strengths = read.claims[at].strengths
            top = int(strengths.argmax())
            if strengths[top] >= _TOLD_NEIGHBOUR and read.candidates[top] != HARMLESS:
                near.append(_words(read.candidates[top]))
    return list(dict.fromkeys(near))


def _says(phrase: str) -> str:
    return f'header says "{phrase}"'


def _percent(outcome: Outcome) -> str:
    share = 100 * outcome.share
    shown = f"{share:.1f}".rstrip("0").rstrip(".")
    return f"{shown}% of {outcome.checked:,} distinct values"


def _described(outcome: Outcome, name: str) -> str:
    test, called = outcome.test, _words(name)
    if test.validator in ("npi", "credit_card", "iban", "vin", "snomed"):
        return f"{_percent(outcome)} have the right check digits for {called}"
    if test.validator is not None:
        return f"{_percent(outcome)} are valid as {called}"
    if test.dictionary is not None:
        return f"{_percent(outcome)} are in the dictionary {test.dictionary.replace('_', ' ')}"
    return f"{_percent(outcome)} are written like {called}"


def _hidden(profile: ColumnProfile, values: ValueEvidence) -> Found | None:
    """Identifiers inside the values of a column that is of no class itself."""
    contains = dict(profile.contains)
    digits = values.statistics[STATISTICS.index("all digits")] if values.distinct else 0.0
    if digits > 0.5:
        # One number in ten has a right check digit by chance, and many have as many digits as a telephone.
        for name in _BY_CHANCE:
            profile.contains.pop(name, None)
            contains.pop(name, None)
    hidden = sum(rows for name, rows in contains.items() if name in _HIDDEN)
    if hidden and hidden >= max(2, _MISSED_SHARE * profile.values_read):
        return Found(FREE_TEXT, 0.7, ("identifiers stand in a column that is of no class itself",))
    return None


def _result(profile: ColumnProfile, found: Found) -> ColumnClassification:
    contains: tuple[Contained, ...] = ()
    evidence = found.evidence
    if found.classification in (FREE_TEXT, HARMLESS, UNCLASSIFIED) and profile.contains:
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
        classification=found.classification,
        confidence=round(min(found.confidence, 0.999), 3),
        evidence=evidence,
        values_read=profile.values_read,
        rows=profile.rows,
        miss_bound=bound,
        contains=contains,
    )
