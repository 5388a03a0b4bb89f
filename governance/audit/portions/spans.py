"""Spans of time that laws look back over, and how far the log reaches and is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from governance.audit.cells import Basis, Cell, Remark, declared, remark, unknown
from governance.audit.declarations import part, words
from governance.audit.newest import newest_policy
from governance.audit.record import Period
from governance.audit.trail import Trail
from governance.lineage.reading import instant_of
from governance.model.canonical import timestamp
from governance.model.retention import Period as Span


def looked_back(trail: Trail, asked: tuple[str, str] | None, span: Span, law: str) -> Period:
    """The period asked for, or ``span`` before the trail's end."""
    if asked is not None:
        return Period(*asked, law, asked=True)
    end = instant_of(trail.last_received)
    start = timestamp(span.before(end)) if end is not None else None
    return Period(start, trail.last_received, law)


def within(at: datetime, period: Period) -> bool:
    """Whether an instant lies in a period; of one that nobody asked for, the end is open: clocks run ahead."""
    start, end = instant_of(period.start), instant_of(period.end)
    return (start is None or start <= at) and (end is None or not period.asked or at <= end)


def out_of_reach(trail: Trail, period: Period, what: str) -> Iterable[Remark]:
    """The parts of a period that the log does not reach."""
    begins, ends = trail.first_received, trail.last_received
    if begins is not None and period.start is not None and period.start < begins:
        yield remark(
            "before-the-log",
            f"{what} from {period.start[:10]} to {begins[:10]}: the log begins on {begins[:10]}. Other records must "
            "answer for the time before.",
            [0],
            basis=Basis.UNKNOWN,
            count=1,
        )
    if ends is not None and period.end is not None and period.end > ends:
        yield remark(
            "after-the-checkpoint",
            f"{what} from {ends[:10]} to {period.end[:10]}: the checkpoint does not reach them.",
            [trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )


def kept(trail: Trail, least: Span) -> tuple[Cell, bool | None]:
    """How long the newest pinned policy keeps bodies of the log, and whether that is at least a span.

    A body may be pruned once every regime's ``atLeast`` has passed; without a retention nothing may be.
    """
    policy = newest_policy(trail)
    if policy is None:
        return unknown("no run pinned a policy, so nothing says how long the log is kept"), None
    regimes = {name: part(said) for name, said in part(policy.root, "retention").items()}
    if not regimes:
        limitless = {"bodies_kept": "without limit: the policy sets no retention, so nothing may be pruned"}
        return declared(limitless, [policy.index]), True
    now = instant_of(trail.last_received)
    spans = []
    for said in regimes.values():
        try:
            spans.append(Span.parse(words(said, "atLeast") or ""))
        except ValueError:
            continue
    value: dict[str, Any] = {
        "at_least": {name: words(said, "atLeast") for name, said in sorted(regimes.items())},
        "at_most": {name: words(said, "atMost") for name, said in sorted(regimes.items())},
        "asked_for": str(least),
    }
    if now is None:
        return unknown("the log's last entry has no time", [policy.index]), None
    enough = any(span.before(now) <= least.before(now) for span in spans)
    note = None if enough else f"bodies may be pruned before {least} has passed"
    return declared(value, [policy.index], note), enough
