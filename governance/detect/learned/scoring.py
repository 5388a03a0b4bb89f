"""How well findings agree with labelled spans.

Strict counts a finding whose type and both ends are right, as the CoNLL-2003 shared task does; overlap one whose
type is right and that shares a character with a label not yet taken. Character recall is the share of labelled
characters that some finding covers, whatever its type: what redaction would remove.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.detect.learned.labelled import Span


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of one type. ``labelled``, ``found``: spans; ``strict``: both; ``overlap``: findings and labels that
    share characters, matched one to one."""

    labelled: int
    found: int
    strict: int
    overlap: int

    def f1(self, hits: int) -> float:
        """2 × hits / (labelled + found), or 0 where there is neither."""
        return 2 * hits / (self.labelled + self.found) if self.labelled + self.found else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Precision, recall and F1, rounded to three digits, and the counts."""
        return {
            "strict": round(self.f1(self.strict), 3),
            "overlap": round(self.f1(self.overlap), 3),
            "precision": round(self.strict / self.found, 3) if self.found else 0.0,
            "recall": round(self.strict / self.labelled, 3) if self.labelled else 0.0,
            "labelled": self.labelled,
            "found": self.found,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement over all types and by type, and character recall in [0, 1]."""

    texts: int
    overall: Agreement
    by_type: Mapping[str, Agreement] = field(default_factory=dict)
    character_recall: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``texts``, ``overall``, ``character_recall``, ``types``."""
        return {
            "texts": self.texts,
            "overall": self.overall.as_dict(),
            "character_recall": round(self.character_recall, 3),
            "types": {name: each.as_dict() for name, each in sorted(self.by_type.items())},
        }


def measure(labelled: Sequence[Iterable[Span]], found: Sequence[Iterable[Span]]) -> Scores:
    """Compare findings with labels, text by text; both of length n.

    Findings of a type that no text labels count only for character recall: the labels say nothing about them.
    """
    truth = [list(spans) for spans in labelled]
    types = {kind for spans in truth for _, _, kind in spans}
    counts = {name: Counter[str]() for name in ("labelled", "found", "strict", "overlap")}
    characters = covered = 0
    for gold, predictions in zip(truth, found, strict=True):
        every = list(predictions)
        characters += sum(end - start for start, end, _ in gold)
        covered += _covered(gold, every)
        kept = [span for span in every if span[2] in types]
        exact = set(gold) & set(kept)
        counts["labelled"].update(kind for _, _, kind in gold)
        counts["found"].update(kind for _, _, kind in kept)
        counts["strict"].update(kind for _, _, kind in exact)
        counts["overlap"].update(_overlapping(gold, kept))
    by_type = {
        name: Agreement(*(counts[count][name] for count in ("labelled", "found", "strict", "overlap")))
        for name in sorted(types)
    }
    overall = Agreement(*(counts[count].total() for count in ("labelled", "found", "strict", "overlap")))
    return Scores(len(truth), overall, by_type, covered / characters if characters else 0.0)


def _covered(gold: Sequence[Span], found: Sequence[Span]) -> int:
    taken = {at for start, end, _ in found for at in range(start, end)} if gold else set()
    return sum(at in taken for start, end, _ in gold for at in range(start, end))


def _overlapping(gold: Sequence[Span], found: Sequence[Span]) -> list[str]:
    open_labels, matched = list(gold), []
    for start, end, kind in found:
        hit = next((g for g in open_labels if g[2] == kind and g[0] < end and start < g[1]), None)
        if hit is not None:
            open_labels.remove(hit)
            matched.append(kind)
    return matched
