"""Which days were reviewed: what signed sign-offs of activity reviews cover, and what no sign-off covers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from governance.audit.cells import Remark, remark
from governance.audit.declarations import part, words
from governance.audit.system_activity import Action
from governance.audit.trail import Trail

REVIEW = "hipaa-activity"
_DAY = timedelta(days=1)


def unreviewed(trail: Trail, asked: tuple[str, str] | None) -> Iterator[Remark]:
    """The days of the log before the period that no signed review covers; a rejected one covers none."""
    if asked is None or trail.first_received is None:
        return
    day, before = _day(trail.first_received), _day(asked[0])
    if day is None or before is None:
        return
    signed = [a for a in trail.activity.actions if a.kind == "report_signed_off" and a.signed]
    spans = sorted(span for action in signed if (span := _span(action)))
    for start, end in [*spans, (before, before)]:
        if day < min(start, before):
            last = min(start, before) - _DAY
            yield remark(
                "review-not-signed",
                f"No signed review of activity covers {day} to {last}.",
                [0, *(action.index for action in signed)],
                count=(last - day).days + 1,
            )
        day = max(day, end + _DAY)


def _span(action: Action) -> tuple[date, date] | None:
    """The days that a sign-off's report covers."""
    if words(part(action.said, "report"), "kind") != REVIEW or action.outcome == "rejected":
        return None
    period = part(action.said, "period")
    start, end = _day(words(period, "from")), _day(words(period, "to"))
    return (start, end) if start and end and start <= end else None


def _day(instant: str | None) -> date | None:
    try:
        return date.fromisoformat((instant or "")[:10])
    except ValueError:
        return None
