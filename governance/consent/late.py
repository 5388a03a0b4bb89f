"""Which subjects may no longer go, though they could when the run opened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from governance.consent.snapshot import ConsentSnapshot
from governance.model.decision import Reason, Regime


def late_ordinals(
    before: ConsentSnapshot,
    after: Sequence[ConsentSnapshot],
    regimes: NDArray[np.uint8] | None,
    special_category: bool,
    size: int,
) -> NDArray[np.int64]:
    """Ordinals allowed ``before`` and denied in any of ``after``; under any one regime if none is given."""
    everyone = np.arange(size, dtype=np.int64)
    applicable = (
        [regimes]
        if regimes is not None
        else [
            np.full(size, one, dtype=np.uint8)
            for one in (Regime.NONE, Regime.GDPR, Regime.HIPAA, Regime.CCPA)
        ]
    )
    turned = np.zeros(size, dtype=bool)
    for bits in applicable:
        allowed = before.decide(everyone, bits, special_category) == Reason.ALLOWED
        for snapshot in after:
            turned |= allowed & (snapshot.decide(everyone, bits, special_category) != Reason.ALLOWED)
    return np.flatnonzero(turned).astype(np.int64)
