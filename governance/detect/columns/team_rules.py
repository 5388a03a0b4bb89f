"""A team's own column detectors decide by what they state: no trained model has seen their columns.

The numbers are those of the rules' table in docs/adr/0005-detection.md; they are ranks, not calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from governance.detect.columns.headers import HeaderEvidence
from governance.detect.detectors.detector import ColumnDetector, ValueTest
from governance.detect.detectors.registry import ColumnRegistry

_IN_RANGE = 0.95
_SUPPORTED = 0.5


class TestOutcome(Protocol):
    """Shares in [0, 1]: of the distinct values that passed ``test``, and of the rows these stand in."""

    @property
    def test(self) -> ValueTest: ...
    @property
    def share(self) -> float: ...
    @property
    def rows(self) -> float: ...


@dataclass(frozen=True, slots=True)
class TeamVerdict:
    """What a team's detector says of a column, with its evidence in words."""

    classification: str
    confidence: float
    evidence: tuple[str, ...]


def by_team(
    header: HeaderEvidence,
    outcomes: Sequence[Sequence[TestOutcome]],
    inside: Sequence[float | None],
    distinct: int,
    registry: ColumnRegistry,
) -> TeamVerdict | None:
    """The surest verdict of the team's detectors, or ``None`` where they say nothing or there is no value.

    Args:
        outcomes: for each detector of the registry, in its order, its tests on the column's values.
        inside: for each, the share of values within its range, ``None`` where it has none.
        distinct: distinct values that were read.
    """
    verdicts = [
        verdict
        for number, detector in enumerate(registry.detectors)
        if detector.custom and distinct and (inside[number] is None or (inside[number] or 0.0) >= _IN_RANGE)
        if (verdict := _verdict(detector, header, outcomes[number], distinct)) is not None
    ]
    return max(verdicts, key=lambda verdict: verdict.confidence, default=None)


def _verdict(
    detector: ColumnDetector, header: HeaderEvidence, outcomes: Sequence[TestOutcome], distinct: int
) -> TeamVerdict | None:
    matches = [m for m in header.matches if m.detector is detector and header.negated is None]
    decisive = next((m for m in matches if m.decisive), None)
    best = max(outcomes, key=lambda o: o.share, default=None)
    share = best.share if best is not None else 0.0
    said = tuple(f'header says "{m.phrase}"' for m in matches[:1])
    name = detector.classification.replace("_", " ")
    shown = (f"{share:.1%} of {distinct:,} distinct values pass the test for {name}",) if share else ()
    reached = 0.0
    if decisive is not None:
        demanding = [o for o in outcomes if o.test.agree is not None]
        agreeing = [o for o in demanding if o.share >= min(o.test.agree or 0.0, _or_one(o.test.alone))]
        if demanding and not agreeing:
            return None
        reached = 0.9 + 0.09 * share
    for outcome in outcomes:
        alone = outcome.test.alone
        if alone is None:
            continue
        if outcome.share >= alone and outcome.rows >= 0.5 * alone and distinct >= outcome.test.minimum:
            reached = max(reached, 0.6 + 0.35 * outcome.share)
        if matches and outcome.share >= _SUPPORTED:
            reached = max(reached, 0.6 + 0.3 * outcome.share)
    return TeamVerdict(detector.classification, min(reached, 0.99), (*said, *shown)) if reached else None


def _or_one(share: float | None) -> float:
    return 1.0 if share is None else share
