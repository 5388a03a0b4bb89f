"""What a detector found in a column."""

from __future__ import annotations

from dataclasses import dataclass

HARMLESS = "none"
"""A column that was read and holds nothing the taxonomy knows."""

UNCLASSIFIED = "unclassified"
"""A column no detector can name. Never a pass: the policy decides."""

FREE_TEXT = "free_text"
"""Prose. What it contains is listed in :attr:`ColumnClassification.contains`."""


@dataclass(frozen=True, slots=True)
class Contained:
    """Identifiers of one classification inside a free-text column."""

    classification: str
    rows: int


@dataclass(frozen=True, slots=True)
class ColumnClassification:
    """The finding for one column.

    ``confidence`` is a probability in [0, 1]. ``evidence`` is in words and holds no value of the
    column. ``miss_bound`` is ``None`` after a full scan; after a sample it is the prevalence that
    would have been missed with probability 5% at most.
    """

    column: str
    classification: str
    confidence: float
    evidence: tuple[str, ...]
    values_read: int
    rows: int
    miss_bound: float | None = None
    contains: tuple[Contained, ...] = ()
