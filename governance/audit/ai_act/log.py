"""Log extract of an AI system for a period: EU AI Act Art. 12, 19 and 26(6).

One row is an event about the training data and the training; what a deployed model answers is logged where it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from governance.audit import plain
from governance.audit.ai_act.datasheet import system_exceptions, system_unknowns
from governance.audit.ai_act.events import MONITORING, OPERATION, RISK, Event, events
from governance.audit.ai_act.lineage import supports, systems
from governance.audit.blocks import Text, spoken, utc
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, observed, remark
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.portions.spans import kept, looked_back, out_of_reach, within
from governance.audit.record import Draft, Period, ReportKind
from governance.audit.run_remarks import run_exceptions
from governance.audit.trail import Trail
from governance.lineage.reading import instant_of
from governance.model.retention import Period as Span

KEPT = Span(months=6)
"""Art. 19(1) and 26(6)."""

COLUMNS = (
    Column("at", "When", "Art. 12(1)"),
    Column("what", "What happened", "Art. 12(1)"),
    Column("about", "To which model or data", "Art. 12(2)"),
    Column("outcome", "How it went", "Art. 12(2)"),
    Column("serves", "What it is recorded for", "Art. 12(2)(a)-(c)"),
    Column("people", "Persons involved", "Art. 12(3)(d), 14"),
    Column("kept", "How long the log is kept", "Art. 19(1), 26(6)"),
)


def draft(trail: Trail, asked: tuple[str, str] | None, dataset: str | None = None) -> Draft:
    """The events of the last six months, or of the period asked.

    ``dataset``: a training set, or ``models/NAME``. Without it routine steps of all systems are counted only.
    """
    period = looked_back(trail, asked, KEPT, "Art. 19(1), 26(6): logs are kept for at least six months")
    found = systems(trail, dataset)
    every = events(trail, found)
    inside = [e for e in every if _inside(e, period)]
    shown = [e for e in inside if dataset is not None or not e.routine]
    span, enough = kept(trail, KEPT)
    counts = Counter(serving for e in inside for serving in e.serves)
    datasets = sorted({used.dataset for system in found for used in system.used})
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": datasets,
            "contains": "Every event that evidence, training tasks and governed reads put into the log about the system's "
            "training data and its training, received in the period. Keys and reads are counted by day"
            + (
                "."
                if dataset is not None
                else "; where no system is asked for, what went as it should is counted, not listed."
            ),
        },
        period=period,
        columns=COLUMNS,
        rows=[
            *(_row(e) for e in shown),
            *([Row("retention", "How long this log is kept", {"kept": span})] if found else []),
        ],
        exceptions=[
            *(r for system in found for r in system_exceptions(trail, system)),
            *_amiss(trail, every, inside, datasets),
            *_kept_too_short(span, enough),
        ],
        unknowns=[
            *out_of_reach(trail, period, "Events"),
            *(r for system in found for r in system_unknowns(trail, system, dataset)),
        ],
        examined={
            "systems": len(found),
            "events": len(every),
            "in_period": len(inside),
            "listed": len(shown),
            "outside_period": len(every) - len(inside),
            "risk_or_modification": counts[RISK],
            "post_market_monitoring": counts[MONITORING],
            "operation": counts[OPERATION],
        },
        statements=(
            "The log records what was done with data and when a model was trained. What a deployed system was asked and "
            "answered is not in it, nor are its users.",
            "Order and time are those of the log; what a producer's own clock said is shown beside it.",
        ),
        supports=frozenset(
            (
                *newest_support(trail),
                *supports(trail, found),
                *(i for e in every for i in (e.index, *e.cites)),
                *(task.index for task in trail.failed),
            )
        ),
    )


def _inside(e: Event, period: Period) -> bool:
    at = instant_of(e.received_at)
    return at is None or within(at, period)


def _row(e: Event) -> Row:
    cites = e.cites or (e.index,)

    def cell(value: object, note: str | None = None) -> Cell:
        return observed(value, cites, note) if e.signed else declared(value, cites, note)

    stated = {"received": e.received_at, "stated": e.stated_at}
    about = {name: value for name, value in e.about.items() if value is not None}
    outcome = {name: value for name, value in e.outcome.items() if value is not None}
    people = {name: value for name, value in (e.people or {}).items() if value is not None}
    named = " ".join(str(about[n]) for n in ("model", "dataset", "version") if n in about)
    return Row(
        f"entry {e.index}",
        f"{e.received_at[:16].replace('T', ' ')} UTC, {e.what}: {named}",
        {
            "at": cell(stated, None if e.signed else "a task wrote it, and no run key signed it"),
            "what": cell(e.what),
            "about": cell(about),
            "outcome": cell(outcome, None if outcome else "nothing more is stated"),
            "serves": cell(list(e.serves)),
            **({"people": cell(people)} if people else {}),
        },
    )


def _amiss(trail: Trail, every: list[Event], inside: list[Event], datasets: list[str]) -> Iterable[Remark]:
    """What is amiss with the runs of the extract, and tasks named after its datasets that failed."""
    own, named = {e.index for e in inside}, {e.index for e in every}
    for found in run_exceptions(trail):
        if found.code == "task-failed":
            failed = [
                t for t in trail.failed if t.index in found.cites and set(t.job.split(".")) & set(datasets)
            ]
            if failed and len(failed) == len(found.cites):
                yield found
        elif not own.isdisjoint(found.cites) and not named.isdisjoint(found.cites):
            yield found


def _kept_too_short(span: Cell, enough: bool | None) -> Iterable[Remark]:
    if enough is False:
        yield remark(
            "kept-too-short",
            f"The policy lets bodies of the log be pruned before {KEPT} has passed (Art. 19(1), 26(6)).",
            span.cites,
            basis=Basis.DECLARED,
            count=1,
        )


def present(key: str, value: Any) -> list[Any]:
    """A line a cell: the extract is a table of many rows."""
    if key == "at" and isinstance(value, Mapping):
        received, stated = utc(value.get("received")), value.get("stated")
        differs = stated is not None and utc(stated)[:16] != received[:16]
        return [Text(received), *([Text(f"stated {utc(stated)}")] if differs else [])]
    if key == "about" and isinstance(value, Mapping):
        named = [f"{n} {value[n]}" if n == "model" else str(value[n]) for n in _NAMES if n in value]
        return [Text(" ".join(named) + (f" for {value['purpose']}" if "purpose" in value else ""))]
    if key in ("outcome", "people") and isinstance(value, Mapping):
        return [Text("; ".join(f"{spoken(n)}: {plain.shown(v)}" for n, v in sorted(value.items())))]
    return plain.present(key, value)


_NAMES = ("model", "dataset", "version")


REPORT = ReportKind(
    kind="ai-act-log",
    title="Log extract of an AI system",
    law="Regulation (EU) 2024/1689 (AI Act), Articles 12, 19 and 26(6)",
    template_version=1,
    takes_period=True,
    draft=draft,
    present=present,
    parameters=frozenset({"dataset"}),
)
