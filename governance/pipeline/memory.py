"""What one process keeps from stage to stage of a pass, so that no stage does again what one before it did.

Bounded, and only what follows from the pinned source and the opened run. A stage that runs in a process of its
own has none of it and works it out: the results are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from governance.detect.noticed import NoticedTexts

MOST_ROWS = 1 << 25
"""Rows whose decisions are kept, five bytes each."""


@dataclass(slots=True)
class DecidedRows:
    """Reasons and subjects' ordinals of the source's batches, in order; complete or absent."""

    batches: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]] = field(default_factory=list)
    rows: int = 0

    def keep(self, reasons: npt.NDArray[np.uint8], ordinals: npt.NDArray[np.int64]) -> None:
        """Keep the next batch's."""
        self.rows += len(reasons)
        if self.rows <= MOST_ROWS:
            self.batches.append((reasons.astype(np.uint8), ordinals.astype(np.int32)))
        else:
            self.batches.clear()


@dataclass(slots=True)
class PassMemory:
    """One pass's."""

    texts: NoticedTexts = field(default_factory=NoticedTexts)
