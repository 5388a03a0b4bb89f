"""The ledger as seen at one instant and position, ready to decide rows by the million."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from governance.consent.law import Standing, decision
from governance.consent.timeline import STANDINGS
from governance.errors import ConsentError
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose

_REGIMES = 8


class ConsentSnapshot:
    """Decisions for one purpose and domain, as of an instant and a ledger position.

    Args:
        standings: per ordinal its place in :data:`governance.consent.timeline.STANDINGS`, uint8.
        backdated: per ordinal, whether a backdated record of this purpose is in view.
    """

    def __init__(self, purpose: Purpose, standings: NDArray[np.uint8], backdated: NDArray[np.bool_]) -> None:
        self.purpose = purpose
        self._standings = standings
        self._backdated = backdated

    @property
    def backdated(self) -> NDArray[np.bool_]:
        """Per ordinal, whether a backdated record of this purpose is in view, whatever its action."""
        return self._backdated

    def standing(self, ordinal: int) -> Standing:
        """What the ledger says of one subject."""
        return STANDINGS[int(self._standings[ordinal])]

    def decide(
        self, ordinals: NDArray[np.int64], regimes: NDArray[np.uint8], special_category: bool
    ) -> NDArray[np.uint8]:
        """A :class:`Reason` per row.

        Args:
            ordinals: int64, shape (n,); negative where the row has no subject.
            regimes: uint8, shape (n,): bits of :class:`Regime`; above 7 the jurisdiction is unknown.
            special_category: whether the rows hold special categories of data (GDPR Art. 9(1)).

        Raises:
            ConsentError: GOV-203 for ordinals beyond the population: their records were not looked up.
        """
        beyond = int(np.count_nonzero(ordinals >= len(self._standings)))
        if beyond:
            raise ConsentError(
                "GOV-203",
                f"{beyond} rows name subjects that were not in the population of this snapshot",
                "read the vault's population after resolving the rows' subjects, then take the snapshot",
            )
        reasons = np.full(len(ordinals), np.uint8(Reason.NO_SUBJECT))
        known = ordinals >= 0
        found = _table(self.purpose, special_category)[self._standings[ordinals[known]], regimes[known] & 7]
        reasons[known] = np.where(regimes[known] < _REGIMES, found, np.uint8(Reason.UNKNOWN_JURISDICTION))
        return reasons


@lru_cache(maxsize=256)
def _table(purpose: Purpose, special_category: bool) -> NDArray[np.uint8]:
    """The law for every standing and set of regimes, written out once: a release asks it of several snapshots."""
    return np.array(
        [
            [decision(s, Regime(r), purpose, special_category=special_category) for r in range(_REGIMES)]
            for s in STANDINGS
        ],
        dtype=np.uint8,
    )
