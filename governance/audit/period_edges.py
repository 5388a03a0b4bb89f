"""The part of a period that the log does not reach."""

from __future__ import annotations

from collections.abc import Iterator

from governance.audit.cells import Basis, Remark, remark
from governance.audit.trail import Trail


def period_edges(trail: Trail, asked: tuple[str, str] | None, what: str) -> Iterator[Remark]:
    """Unknowns for what lies before the log and after the checkpoint; ``what`` begins the sentence."""
    begins, ends = trail.first_received, trail.last_received
    if asked is None or begins is None or ends is None:
        return
    if asked[0] < begins:
        yield remark(
            "before-the-log",
            f"{what} from {asked[0][:10]} to {min(begins, asked[1])[:10]}: the log begins on {begins[:10]}.",
            [0],
            basis=Basis.UNKNOWN,
            count=1,
        )
    if asked[1] > ends:
        yield remark(
            "after-the-checkpoint",
            f"{what} from {max(ends, asked[0])[:10]} to {asked[1][:10]}: the checkpoint does not reach it.",
            [trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )
