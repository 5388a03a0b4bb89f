"""How coarse each quasi-identifier must be, so that few enough rows are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from governance.errors import ProtectionError
from governance.model.anonymity import Anonymity
from governance.protect.anonymity.frequencies import Classes, Frequencies
from governance.protect.anonymity.measures import Kept, kept


@dataclass(frozen=True, slots=True)
class Recoding:
    """A level a quasi-identifier, its classes and which of them are released."""

    levels: tuple[int, ...]
    classes: Classes
    stays: Kept
    rows: int

    @property
    def suppressed(self) -> int:
        """Rows that are left out."""
        return self.rows - int(self.classes.rows[self.stays].sum())


def recoding(counted: Frequencies, asked: Anonymity) -> Recoding:
    """Full-domain recoding: upwards until the contract is met, then back where it still is.

    Each step up takes the column that has the most values left (Sweeney's Datafly); the steps back try
    the columns one level down, in the contract's order, until none can go. No single column can be
    finer at the end; that no other combination is finer altogether is not searched, it would
    take a look at every node of the lattice.

    Raises:
        ProtectionError: GOV-317 when even the coarsest does not meet it.
    """
    levels = list(counted.floor)
    while (found := _at(counted, asked, levels)) is None:
        open_ = [p for p, quasi in enumerate(counted.quasi) if levels[p] < quasi.top]
        if not open_:
            raise ProtectionError(
                "GOV-317",
                "the rows cannot be made as anonymous as the contract asks, however coarse they become",
                "ask for less (`k`, `l`, `t`), allow more `maxSuppression`, or bring more subjects",
            )
        chosen = max(open_, key=lambda p: counted.distinct(p, levels[p]))
        levels[chosen] += 1
    return _back(counted, asked, found)


def _back(counted: Frequencies, asked: Anonymity, found: Recoding) -> Recoding:
    for place in range(len(found.levels)):
        while found.levels[place] > counted.floor[place]:
            finer = list(found.levels)
            finer[place] -= 1
            tried = _at(counted, asked, finer)
            if tried is None:
                break
            found = tried
    return found


def _at(counted: Frequencies, asked: Anonymity, levels: Sequence[int]) -> Recoding | None:
    classes = counted.classes(levels)
    found = Recoding(tuple(levels), classes, kept(classes, asked), counted.rows)
    return found if found.suppressed <= asked.max_suppression * counted.rows else None
