"""Findings of rules and of models, made one list without overlaps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence

from governance.detect.text.engine import TextFinding

NAMED = frozenset({
    "person_name", "given_name", "family_name", "organization", "city", "country", "jurisdiction", "ethnicity",
    "religion", "political_opinion",
})  # fmt: skip
"""What a model tells as well as a rule does. Everything else has a form or a check digit, and its rule wins."""

AGREED = 0.4
"""Added to the score of a finding that another one of the same kind stands inside of."""

_PARTS = {"person_name": ("given_name", "family_name"), "date": ("date_of_birth",)}
_PERSON = frozenset({"person_name", "given_name", "family_name"})
_PLACE = frozenset({"city", "country", "jurisdiction"})


def merged(
    rules: Sequence[TextFinding], model: Iterable[TextFinding], decisive: Collection[str] = ()
) -> list[TextFinding]:
    """One text's findings, in order of position and without overlaps.

    A rule's finding with a form (e-mail, card, address, …) stays, and whatever overlaps it goes. Of names, places,
    organisations, dates and ages the longest wins, then the most probable; one that rule and model both see gains
    :data:`AGREED`.

    Args:
        rules: what the rules found, without overlaps.
        model: what a model found.
        decisive: classifications that the model was trained on for these very texts: of these, and of the parts of
            those that have any, only its findings count, and they win over every rule's.
    """
    found = list(model)
    final = {*decisive, *(part for whole in decisive for part in _PARTS.get(whole, ()))}
    candidates = [(_rank(f, model=False, decisive=final), f) for f in rules if f.classification not in final]
    candidates += [
        (_rank(f, model=True, decisive=decisive), f if f.classification in decisive else _agreed(f, rules))
        for f in found
    ]
    candidates.sort(key=lambda c: (c[0], c[1].start - c[1].end, -c[1].score, c[1].start))
    starts: list[int] = []
    kept: list[TextFinding] = []
    for _, finding in candidates:
        at = bisect_left(starts, finding.start)
        if at and kept[at - 1].end > finding.start:
            continue
        if at < len(kept) and kept[at].start < finding.end:
            continue
        starts.insert(at, finding.start)
        kept.insert(at, finding)
    return kept


def _rank(finding: TextFinding, *, model: bool, decisive: Collection[str]) -> int:
    if finding.classification in decisive and model:
        return 0
    return 1 if not model and finding.classification not in NAMED else 2


def _agreed(finding: TextFinding, rules: Sequence[TextFinding]) -> TextFinding:
    kind = next((k for k in (_PERSON, _PLACE) if finding.classification in k), {finding.classification})
    if any(r.classification in kind and r.start < finding.end and finding.start < r.end for r in rules):
        return TextFinding(
            finding.start,
            finding.end,
            finding.classification,
            max(finding.score, min(finding.score + AGREED, 0.95)),
        )
    return finding
