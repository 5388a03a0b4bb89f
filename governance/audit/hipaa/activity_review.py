"""Information system activity review: 45 CFR 164.312(b), 164.308(a)(1)(ii)(D).

One row is what one person, workload or program did of one kind in the period. The population is every entry that the
log received in it; what is out of the ordinary comes first, and what no entry records is said. That a review took
place is no part of it: whoever reviews signs it off (:mod:`governance.audit.sign_off`), and the next review shows that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from governance.audit.cells import Cell, Column, Remark, Row, observed, remark, unknown
from governance.audit.declarations import words
from governance.audit.hipaa.activity_kinds import KINDS, actor_of
from governance.audit.hipaa.activity_remarks import action_exceptions, not_recorded, out_of_hours
from governance.audit.hipaa.reviews import unreviewed
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.period_edges import period_edges
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted
from governance.audit.system_activity import Action
from governance.audit.trail import Trail

COLUMNS = (
    Column("who", "Who", "45 CFR 164.312(a)(2)(i), (d)"),
    Column("outcomes", "How it ended", "45 CFR 164.312(b)"),
    Column("times", "How often and when", "45 CFR 164.312(b)"),
    Column("about", "On what", "45 CFR 164.312(b)"),
    Column("reasons", "Reasons stated", "45 CFR 164.308(a)(1)(ii)(D)"),
)

MOST = 20
"""Lines of a cell; the rest is counted. The entries hold them all."""


def draft(trail: Trail, asked: tuple[str, str] | None) -> Draft:
    """The activity of the period asked, or of the whole log."""
    start, end = asked or (None, None)
    found = list(trail.activity.between(start, end))
    groups = _groups(found)
    period = Period(
        start or trail.first_received,
        end or trail.last_received,
        "45 CFR 164.308(a)(1)(ii)(D): records are reviewed regularly",
        asked=asked is not None,
    )
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({d for action in found if (d := words(action.said, "dataset"))}),
            "contains": "The lineage store and its log, the governed pass, the key broker, the vault's look-ups and the "
            "register of requests, as far as they make entries. Every entry received in the period is counted; those of "
            "lineage and of the stages within a run by number alone.",
        },
        period=period,
        columns=COLUMNS,
        rows=[_row(*key, actions) for key, actions in groups.items()],
        exceptions=[
            *action_exceptions(found),
            *out_of_hours(trail, found),
            *_first_seen(trail, found, asked),
            *unreviewed(trail, asked),
        ],
        unknowns=[*period_edges(trail, asked, "Activity"), *not_recorded(trail)],
        examined={
            "actions": len(found),
            "by_kind": dict(sorted(Counter(action.kind for action in found).items())),
            "by_outcome": dict(sorted(Counter(action.outcome for action in found).items())),
        },
        statements=(
            "That this report was made is no review. A review is signed off by whoever made it; the sign-off is an entry "
            "of the log, and the next review lists it.",
            "A name within an entry is what its sender says; the sender itself was let in by the log.",
        ),
        supports=frozenset(
            (
                *newest_support(trail),
                *(action.index for action in found),
                *(index for index, _ in trail.activity.first.values()),
                *(action.index for action in _firsts(trail, found)),
                *(a.index for a in trail.activity.actions if a.kind == "report_signed_off"),
            )
        ),
        whole=_population(trail, start, end),
    )


def _groups(found: Iterable[Action]) -> dict[tuple[str, str], list[Action]]:
    """Actions by (kind, who), in the order of :data:`KINDS`."""
    groups: dict[tuple[str, str], list[Action]] = {}
    for action in found:
        groups.setdefault((action.kind, actor_of(action) or action.principal), []).append(action)
    order = list(KINDS)
    return {key: groups[key] for key in sorted(groups, key=lambda key: (order.index(key[0]), key[1]))}


def _row(kind: str, who: str, actions: list[Action]) -> Row:
    cites = [action.index for action in actions]
    received = sorted(action.received_at for action in actions)
    cells = {
        "who": _who(actions),
        "outcomes": observed(dict(sorted(Counter(a.outcome for a in actions).items())), cites),
        "times": observed({"entries": len(actions), "from": received[0], "to": received[-1]}, cites),
    }
    if told := Counter(said for action in actions if (said := KINDS[kind].about(action.said))):
        cells["about"] = observed(_lines(told, "what"), cites)
    if (member := KINDS[kind].reason) is not None:
        cells["reasons"] = _reasons(member, actions)
    return Row(f"{kind} {who}", f"{KINDS[kind].title}: {who}", cells)


def _who(actions: list[Action]) -> Cell:
    cites = [action.index for action in actions]
    named = actor_of(actions[0])
    senders = sorted({action.principal for action in actions})
    if named is None:
        return unknown(f"entries of {senders[0]} name the program, not who used it", cites)
    signed = all(action.signed for action in actions)
    note = None if signed or f":{named}" in senders[0] else "named by the sender of the entry"
    return observed({"name": named, "sender": senders}, cites, note)


def _reasons(member: str, actions: list[Action]) -> Cell:
    told = Counter(said for action in actions if (said := words(action.said, member)))
    missing = len(actions) - told.total()
    note = f"{counted(missing, 'entry states', 'entries state')} none" if missing else None
    return observed(_lines(told, "reason"), [action.index for action in actions], note)


def _lines(told: Counter[str], name: str) -> list[dict[str, str | int]]:
    ordered = sorted(told.items(), key=lambda pair: (-pair[1], pair[0]))
    lines: list[dict[str, str | int]] = [{name: said, "times": number} for said, number in ordered[:MOST]]
    if rest := ordered[MOST:]:
        lines.append({name: f"{len(rest)} others", "times": sum(number for _, number in rest)})
    return lines


def _firsts(trail: Trail, found: list[Action]) -> Iterator[Action]:
    """The first action ever of each who acted in the period by a name."""
    wanted = {actor for action in found if (actor := actor_of(action))}
    for action in trail.activity.actions:
        if (actor := actor_of(action)) in wanted:
            wanted.discard(actor)
            yield action


def _first_seen(trail: Trail, found: list[Action], asked: tuple[str, str] | None) -> Iterator[Remark]:
    """Who was never seen before the period; of the log's beginning everybody is new, and nobody is told."""
    if asked is None or trail.first_received is None or asked[0] <= trail.first_received:
        return
    names = {
        sender: index for sender, (index, at) in trail.activity.first.items() if asked[0] <= at <= asked[1]
    }
    for action in _firsts(trail, found):
        name = actor_of(action)
        if name and asked[0] <= action.received_at and not any(s.endswith(f":{name}") for s in names):
            names[name] = action.index
    for name, index in sorted(names.items(), key=lambda pair: pair[1]):
        yield remark("first-seen", f"{name} was never seen before the period.", [index])


def _population(trail: Trail, start: str | None, end: str | None) -> dict[str, int | dict[str, int]]:
    senders: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for (sender, kind, outcome), number in trail.activity.counted(start, end):
        senders[sender] += number
        kinds[kind] += number
        outcomes[outcome] += number
    return {
        "entries_in_period": senders.total(),
        "in_period_by_sender": dict(sorted(senders.items())),
        "in_period_by_kind": dict(sorted(kinds.items())),
        "in_period_by_outcome": dict(sorted(outcomes.items())),
    }


REPORT = ReportKind(
    kind="hipaa-activity",
    title="Information system activity review",
    law="45 CFR 164.312(b), 164.308(a)(1)(ii)(D) (HIPAA Security Rule)",
    template_version=1,
    takes_period=True,
    draft=draft,
    present=present,
)
