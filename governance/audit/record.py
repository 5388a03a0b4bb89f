"""The record: what every report has around its rows. Canonical JSON of it is the report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import governance
from governance.audit.cells import Basis, Cell, Column, Remark, Row, remark
from governance.audit.law import AS_OF
from governance.audit.portions.jobs import TaskEvent, tasks_by_job
from governance.audit.trail import ReadEntry, Trail
from governance.errors import AuditError
from governance.log.envelope import Envelope
from governance.log.note import Checkpoint
from governance.log.tree import leaf_hash
from governance.model.canonical import timestamp

FORMAT = "governance-report/1"

STATEMENTS = (
    "Self-attested: the checkpoint is signed by the operator's own key. No outside witness or timestamp "
    "vouches for it, so whoever holds that key could have rewritten the log before signing.",
    "The log shows that nothing in it was altered after the checkpoint was signed. It does not show that "
    "what was recorded was true, or that everything that happened was recorded.",
    "Nothing here says that no other copy of the data exists: copies made outside the governed pass leave "
    "no trace in the log.",
    "Encrypted and pseudonymised data may still be personal data.",
    "Declared cells repeat what people wrote in the policy or contract that a run pinned; no machine "
    "checked them against the world.",
)
"""What no report of ours can prove."""

Asked: TypeAlias = Mapping[str, str | list[str]]
"""What a report was asked beside the period, by parameter."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Period:
    """``start`` and ``end`` are RFC 3339 in UTC, both included; ``asked`` says somebody chose them."""

    start: str | None
    end: str | None
    law: str
    asked: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"from": self.start, "to": self.end, "law": self.law, "asked": self.asked}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a kind of report makes of a trail.

    ``examined`` counts what its rows were drawn from, ``supports`` are entries that a checker needs
    although no cell cites them, ``extra`` are members that only this kind has, ``whole`` further counts that only the
    whole log gives.
    """

    scope: Mapping[str, Any]
    period: Period
    columns: tuple[Column, ...]
    rows: list[Row]
    exceptions: list[Remark]
    unknowns: list[Remark]
    examined: Mapping[str, Any]
    statements: tuple[str, ...] = ()
    supports: frozenset[int] = frozenset()
    extra: Mapping[str, Any] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportKind:
    """A kind of report: its name on the command line, its title, the law, and how it is made.

    ``draft`` takes the trail and the period asked for, if any. ``template_version`` changes whenever
    the same log would give another record. ``parameters`` name what may be asked beside the period: ``draft``
    takes each by that name, and does without. ``personal``: it is for one subject, so it names no other person, and
    there is no bundle of it, whose entries would.
    """

    kind: str
    title: str
    law: str
    template_version: int
    takes_period: bool
    draft: Callable[..., Draft]
    present: Callable[[str, Any], list[Any]]
    parameters: frozenset[str] = frozenset()
    personal: bool = False


def make_record(
    kind: ReportKind,
    trail: Trail,
    checkpoint: Checkpoint,
    entry: Callable[[int], ReadEntry],
    period: tuple[str, str] | None = None,
    asked: Asked | None = None,
) -> dict[str, Any]:
    """The record of a trail under a checkpoint: no clock, no environment, nothing but the entries.

    Args:
        entry: gives back an entry that was read, to describe it where it is cited.
        asked: what the kind's ``parameters`` are, where somebody chose them.
    """
    draft = kind.draft(trail, period, **(asked or {}))
    exceptions = [*draft.exceptions, *_common_exceptions(trail)]
    unknowns = [*draft.unknowns, *_common_unknowns(trail), *_unknown_cells(draft)]
    cited = _cited(draft, exceptions, unknowns) | draft.supports | {0, checkpoint.size - 1}
    # Evidence of a stage is checked with the key that its run's opening introduced.
    cited |= {run.opened.index for run in trail.runs if not cited.isdisjoint(run.indexes())}
    return {
        "format": FORMAT,
        "report": {
            "kind": kind.kind,
            "title": kind.title,
            "template_version": kind.template_version,
            "law": kind.law,
            "law_as_of": AS_OF,
            "generator": {"name": "airflow-governance", "version": governance.__version__},
        },
        "scope": dict(draft.scope),
        "period": draft.period.to_json(),
        **({"asked": dict(asked)} if asked else {}),
        "as_of": {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "last_entry_received": trail.last_received,
            "checkpoint": checkpoint.note,
        },
        "verdict": _verdict(draft.rows, exceptions, unknowns),
        "population": {"examined": dict(draft.examined), "whole_log": {**_whole_log(trail), **draft.whole}},
        "exceptions": [r.to_json() for r in exceptions],
        "unknowns": [r.to_json() for r in unknowns],
        "columns": [c.to_json() for c in draft.columns],
        "rows": [row.to_json() for row in draft.rows],
        **draft.extra,
        "statements": [*STATEMENTS, *draft.statements],
        "entries": [_described(entry(index), named=not kind.personal) for index in sorted(cited)],
    }


def read_asked(kind: ReportKind, asked: Any) -> dict[str, str | list[str]]:
    """What was asked of a kind, without what is ``None``.

    Raises:
        AuditError: GOV-804 for what the kind does not take, or a value that is neither text nor a list of texts.
    """
    chosen = {name: value for name, value in dict(asked or {}).items() if value is not None}
    for name, value in chosen.items():
        if name not in kind.parameters:
            takes = ", ".join(sorted(kind.parameters)) or "nothing"
            raise AuditError("GOV-804", f"{kind.kind} takes no {name}", f"it takes {takes}")
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) and 0 < len(each) <= 512 and each.isprintable() for each in texts):
            raise AuditError(
                "GOV-804", f"{name} is not a line of text", "give it as it stands in the contract or the log"
            )
    return chosen


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence; the rest is counted."""
    every = sorted(set(names))
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """``1 run``, ``2 runs``, ``1,000 runs``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def read_period(text: str | tuple[str, str] | None) -> tuple[str, str] | None:
    """``2026-01-01/2026-06-30``: two days, both included, in UTC.

    Raises:
        AuditError: GOV-804.
    """
    if text is None:
        return None
    days = text.split("/") if isinstance(text, str) else list(text)
    if len(days) != 2 or not all(_DAY.fullmatch(day) for day in days) or days[0] > days[1]:
        raise AuditError(
            "GOV-804", "a period is not two days in order", "write it as 2026-01-01/2026-06-30 (UTC)"
        )
    return f"{days[0]}T00:00:00.000000Z", f"{days[1]}T23:59:59.999999Z"


def _cited(draft: Draft, exceptions: list[Remark], unknowns: list[Remark]) -> set[int]:
    cited = {index for row in draft.rows for cell in row.cells.values() for index in cell.cites}
    return cited | {index for r in (*exceptions, *unknowns) for index in r.cites}


def _described(entry: ReadEntry, *, named: bool) -> dict[str, Any]:
    """An entry; without the name of its sender unless ``named``, by its role alone."""
    envelope = Envelope.from_leaf(entry.leaf)
    return {
        "index": entry.index,
        "leaf_hash": leaf_hash(entry.leaf).hex(),
        "media_type": envelope.media_type,
        "principal": envelope.principal if named else envelope.principal.partition(":")[0],
        "received_at": envelope.received_at,
        "body": "redacted" if entry.body is None else "present",
    }


def _verdict(rows: list[Row], exceptions: list[Remark], unknowns: list[Remark]) -> dict[str, Any]:
    cells = Counter(cell.basis.value for row in rows for cell in row.cells.values())
    return {
        "rows": len(rows),
        "exceptions": len(exceptions),
        "unknowns": len(unknowns),
        "cells": {basis.value: cells[basis.value] for basis in Basis},
        "attestation": "self-attested",
    }


def _whole_log(trail: Trail) -> dict[str, Any]:
    states = Counter(run.state for run in trail.runs)
    return {
        "entries": trail.counts["entries"],
        "by_media_type": dict(sorted(trail.media_types.items())),
        "bodies_redacted": len(trail.redacted),
        "bodies_unreadable": len(trail.unparsable),
        "tasks": {
            "started": trail.counts["tasks_started"],
            "ended": trail.counts["tasks_ended"],
            "started_without_end": len(trail.unended),
            "failed": len(trail.failed),
        },
        "evidence_observed": dict(sorted(trail.evidence.items())),
        "evidence_declared_only": len(trail.declared),
        "runs": {
            "opened": len(trail.runs),
            **{s: states[s] for s in ("released", "quarantined", "abandoned", "intended", "unfinished")},
        },
        "disclosures": len(trail.disclosures),
        "consent_batches": len(trail.batches),
    }


def _common_exceptions(trail: Trail) -> Iterable[Remark]:
    if trail.genesis is None or trail.evidence_key is None:
        yield remark(
            "no-genesis",
            "The log does not begin with the genesis that names the evidence key: no evidence can be verified.",
            [0] if trail.size else [],
        )
    if trail.skewed:
        yield remark(
            "clock-skew",
            f"The time in {counted(len(trail.skewed), 'event')} is more than a day away from when the log "
            "received it. Entries are ordered by the log.",
            trail.skewed,
        )
    for job, tasks in tasks_by_job(trail.backwards):
        yield remark(
            "negative-duration",
            f"{job} ended before it began, by its own clock: {counted(len(tasks), 'time')}, first at {_instant(tasks[0])}. "
            "Entries are ordered by the log.",
            (task.index for task in tasks),
            basis=Basis.DECLARED,
        )
    if trail.repeated:
        yield remark(
            "evidence-repeated",
            f"Evidence that is in the log already was appended again: {counted(len(trail.repeated), 'time')}. "
            "The first counts.",
            (index for pair in trail.repeated for index in pair),
            count=len(trail.repeated),
        )


def _instant(task: TaskEvent) -> str:
    return timestamp(datetime.fromtimestamp(task.time or 0, UTC))


def _common_unknowns(trail: Trail) -> Iterable[Remark]:
    if trail.redacted:
        yield remark(
            "entry-redacted",
            f"What {counted(len(trail.redacted), 'redacted entry', 'redacted entries')} said. The "
            "envelopes verify, the bodies are gone.",
            trail.redacted,
            basis=Basis.UNKNOWN,
        )
    if trail.unparsable:
        yield remark(
            "entry-unreadable",
            f"The meaning of {counted(len(trail.unparsable), 'entry', 'entries')} whose body cannot be parsed.",
            trail.unparsable,
            basis=Basis.UNKNOWN,
        )
    for job, tasks in tasks_by_job(trail.unended):
        yield remark(
            "task-without-end",
            f"How {job} ended: {counted(len(tasks), 'start')} with no end reported.",
            (task.index for task in tasks),
            basis=Basis.UNKNOWN,
        )


def _unknown_cells(draft: Draft) -> Iterable[Remark]:
    for column in draft.columns:
        found: list[tuple[Row, Cell]] = [
            (row, row.cells[column.key])
            for row in draft.rows
            if column.key in row.cells and row.cells[column.key].basis is Basis.UNKNOWN
        ]
        for note in sorted({cell.note or "" for _, cell in found}):
            same = [(row, cell) for row, cell in found if (cell.note or "") == note]
            yield remark(
                f"unknown-{column.key}",
                f"{column.heading} of {listed(row.title for row, _ in same)}: {note}",
                (index for _, cell in same for index in cell.cites),
                basis=Basis.UNKNOWN,
                count=len(same),
            )
