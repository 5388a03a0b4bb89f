"""What a contract asks of its released rows together: k-anonymity, l-diversity, t-closeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class QuasiIdentifier:
    """A released column that others may know of a person, and how it may be coarsened.

    ``kind`` is ``none``, ``ranges`` (``steps``: widths, each a multiple of the one before),
    ``prefixes`` (numbers of characters, falling), ``dates`` (of ``month``, ``quarter``, ``year``,
    ``decade``, in this order) or ``tree`` (``tree``: value → its ancestors, nearest first, as many for
    each value). Level 0 leaves a value as it is, level *j* takes step *j*, the last empties the column.
    """

    column: str
    kind: str = "none"
    steps: tuple[Any, ...] = ()
    tree: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def top(self) -> int:
        """The last level, at which the column is null."""
        return 1 + (len(next(iter(self.tree.values()))) if self.tree else len(self.steps))


@dataclass(frozen=True, slots=True)
class SensitiveColumn:
    """A released column whose value must not follow from the quasi-identifiers.

    ``ordered`` takes the earth mover's distance over the order of its values, otherwise all of them are
    equally far apart (Li, Li, Venkatasubramanian 2007).
    """

    column: str
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Anonymity:
    """Every class of rows that agree on all quasi-identifiers has at least ``k`` subjects and, in each
    sensitive column, at least ``l_distinct`` values, an entropy of at least ``log(l_entropy)`` and a
    distribution within ``t`` of the whole table's. At most ``max_suppression`` of the rows may be left
    out for it, in [0, 1)."""

    quasi_identifiers: tuple[QuasiIdentifier, ...]
    k: int
    sensitive: tuple[SensitiveColumn, ...] = ()
    l_distinct: int | None = None
    l_entropy: float | None = None
    t: float | None = None
    max_suppression: float = 0.0
