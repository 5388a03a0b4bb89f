"""What is out of the ordinary in the activity of a period, and what no entry records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from governance.audit.cells import Basis, Remark, remark
from governance.audit.declarations import items, part, words
from governance.audit.hipaa.activity_kinds import KINDS, actor_of
from governance.audit.newest import newest_policy
from governance.audit.record import counted, listed
from governance.audit.system_activity import DONE, Action
from governance.audit.trail import Trail
from governance.lineage.reading import instant_of

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_HOUR = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")

NOT_RECORDED = (
    "Requests that the server refused for want of a token or a right, and pages and lineage that were only looked at: the "
    "server makes no entry of them. Its own access log, where one is kept, has them.",
    "Log-ins and log-offs at Airflow, the database, the key service and the operating system: their own logs have them.",
    "Reads of files by whoever holds their keys, other than by a governed read.",
)


def action_exceptions(found: list[Action]) -> Iterator[Remark]:
    """Refusals, evidence that is not proven, look-ups without a reason, failures, rules that were only observed."""
    for who, same in _by_who(a for a in found if a.kind == "keys_asked_for" and a.outcome == "refused"):
        told = Counter(words(action.said, "reason") or "no reason" for action in same)
        why = ", ".join(f"{reason} ({number})" for reason, number in sorted(told.items()))
        yield remark(
            "keys-refused",
            f"The key broker refused keys to {who} {counted(len(same), 'time')}: {why}.",
            (action.index for action in same),
        )
    for who, same in _by_who(a for a in found if a.kind == "claimed_evidence"):
        yield remark(
            "evidence-not-proven",
            f"{counted(len(same), 'event')} of {who} claimed to be evidence, and the signature or the sender does not "
            "bear it out.",
            (action.index for action in same),
            basis=Basis.DECLARED,
        )
    looked_up = (a for a in found if (a.kind, a.outcome) == ("subject_or_body_looked_up", DONE))
    bare = (a for a in looked_up if not (words(a.said, "reason") or "").strip())
    for who, same in _by_who(bare):
        yield remark(
            "reason-missing",
            f"{who} looked up subjects or bodies {counted(len(same), 'time')} and stated no reason.",
            (action.index for action in same),
        )
    for who, same in _by_who(a for a in found if a.kind == "refusal_observed_only"):
        named = listed(words(action.said, "dataset") or "a dataset" for action in same)
        yield remark(
            "refusal-not-enforced",
            f"{counted(len(same), 'refusal')} of {named} were observed and not enforced, by {who}.",
            (action.index for action in same),
        )
    failed: dict[str, list[Action]] = {}
    for action in found:
        if action.kind == "task":
            failed.setdefault(words(action.said, "job") or "an unnamed job", []).append(action)
    for job, same in sorted(failed.items()):
        yield remark(
            "task-failed",
            f"{job} failed: {counted(len(same), 'time')}.",
            (action.index for action in same),
            basis=Basis.DECLARED,
        )


def out_of_hours(trail: Trail, found: list[Action]) -> Iterator[Remark]:
    """What people did outside the hours that the policy of the newest run declares, in UTC."""
    hours = review_hours(trail)
    if hours is None:
        return
    days, begins, ends = hours
    late = [a for a in found if KINDS[a.kind].person and not _within(a.received_at, days, begins, ends)]
    policy = newest_policy(trail)
    cite = [policy.index] if policy else []
    for who, same in _by_who(late):
        yield remark(
            "out-of-hours",
            f"{who} acted {counted(len(same), 'time')} outside {begins} to {ends} UTC on {', '.join(days)}: "
            f"{listed(KINDS[action.kind].title.lower() for action in same)}.",
            (*(action.index for action in same), *cite),
            count=len(same),
        )


def not_recorded(trail: Trail) -> Iterator[Remark]:
    """What no entry says, whatever the period."""
    for what in NOT_RECORDED:
        yield remark("not-recorded", what, [trail.size - 1], basis=Basis.UNKNOWN, count=1)
    if review_hours(trail) is None:
        policy = newest_policy(trail)
        yield remark(
            "hours-not-declared",
            "Whether anybody acted out of hours: the policy declares no reviewHours.",
            [policy.index if policy else trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )


def review_hours(trail: Trail) -> tuple[list[str], str, str] | None:
    """The days and the hours, ``HH:MM`` in UTC, that the policy of the newest run declares."""
    policy = newest_policy(trail)
    said = part(policy.root, "reviewHours") if policy else {}
    days = [day for day in DAYS if day in items(said, "days")]
    begins, ends = words(said, "from") or "", words(said, "to") or ""
    if not days or not _HOUR.fullmatch(begins) or not _HOUR.fullmatch(ends) or begins >= ends:
        return None
    return days, begins, ends


def _within(received_at: str, days: list[str], begins: str, ends: str) -> bool:
    moment: datetime | None = instant_of(received_at)
    return moment is not None and DAYS[moment.weekday()] in days and begins <= received_at[11:16] < ends


def _by_who(actions: Iterable[Action]) -> list[tuple[str, list[Action]]]:
    grouped: dict[str, list[Action]] = {}
    for action in actions:
        grouped.setdefault(actor_of(action) or action.principal, []).append(action)
    return sorted(grouped.items())
