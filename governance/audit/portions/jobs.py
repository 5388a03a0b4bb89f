"""Jobs as events report them: which started and never ended, which failed, what they read and wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from governance.audit.declarations import part, words
from governance.audit.portions.ordinary import UNNAMED, Summary, seconds
from governance.lineage.reading import ReadEvent

Node: TypeAlias = tuple[str, str]
"""A namespace and a name, of a job or of a dataset."""

_CODE = re.compile(r"GOV-[0-9]{3}\b")


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A START or FAIL of some job. ``code`` is ours, if the pipeline itself gave one; ``time`` is the producer's."""

    index: int
    job: str
    code: str | None = None
    time: float | None = None


@dataclass(slots=True)
class Jobs:
    """``reads`` are the jobs that read a dataset, ``writes`` the datasets that a job wrote, each with the first
    entry that says so."""

    reads: dict[Node, dict[Node, int]] = field(default_factory=dict)
    writes: dict[Node, dict[Node, int]] = field(default_factory=dict)
    failed: list[TaskEvent] = field(default_factory=list)
    _starts: dict[str, TaskEvent] = field(default_factory=dict)
    _ended: dict[str, tuple[int, float | None]] = field(default_factory=dict)

    @property
    def started(self) -> int:
        """How many runs began."""
        return len(self._starts)

    @property
    def ended(self) -> int:
        """How many runs came to an end."""
        return len(self._ended)

    def unended(self) -> list[TaskEvent]:
        """The starts of which no end was reported, in order of the log."""
        open_ = (task for run_id, task in self._starts.items() if run_id not in self._ended)
        return sorted(open_, key=lambda task: task.index)

    def backwards(self) -> list[TaskEvent]:
        """The ends whose own time is before that of their start, in order of the log."""
        found = []
        for run_id, (index, time) in self._ended.items():
            start = self._starts.get(run_id)
            if start is not None and time is not None and start.time is not None and time < start.time:
                found.append(TaskEvent(index, start.job, time=time))
        return sorted(found, key=lambda task: task.index)

    def take(self, index: int, event: ReadEvent, principal: str) -> None:
        """Take in one event."""
        job, run_id, kind = event.job, event.run_id, event.event_type
        if run_id is not None and kind == "START":
            self._start(run_id, index, ".".join(job) if job else UNNAMED, _time(event))
        elif run_id is not None and kind in ("COMPLETE", "FAIL", "ABORT"):
            self._end(run_id, index, _time(event))
            if kind != "COMPLETE":
                name = ".".join(job) if job else UNNAMED
                self.failed.append(TaskEvent(index, name, _code(event, principal)))
        if job is not None:
            for namespace, name, _ in event.datasets("inputs"):
                _first(self.reads.setdefault((namespace, name), {}), job, index)
            for namespace, name, _ in event.datasets("outputs"):
                _first(self.writes.setdefault(job, {}), (namespace, name), index)

    def add(self, summary: Summary) -> None:
        """Take in ordinary events in sum."""
        for run_id, (index, number, time) in summary.starts.items():
            self._start(run_id, index, summary.jobs[number], time)
        for run_id, (index, time) in summary.ended.items():
            self._end(run_id, index, time)
        for written, *names, index in summary.edges:
            dataset, job = (names[0], names[1]), (names[2], names[3])
            if written:
                _first(self.writes.setdefault(job, {}), dataset, index)
            else:
                _first(self.reads.setdefault(dataset, {}), job, index)

    def _start(self, run_id: str, index: int, job: str, time: float | None) -> None:
        known = self._starts.get(run_id)
        if known is None or index < known.index:
            self._starts[run_id] = TaskEvent(index, job, time=time)

    def _end(self, run_id: str, index: int, time: float | None) -> None:
        known = self._ended.get(run_id)
        if known is None or index < known[0]:
            self._ended[run_id] = index, time


def tasks_by_job(tasks: Iterable[TaskEvent]) -> Iterator[tuple[str, list[TaskEvent]]]:
    """Tasks grouped by job, in order of the job's name."""
    grouped: dict[str, list[TaskEvent]] = {}
    for task in tasks:
        grouped.setdefault(task.job, []).append(task)
    yield from sorted(grouped.items())


def _first(known: dict[Node, int], of: Node, index: int) -> None:
    # A summary comes after entries that stand behind what it sums up.
    if index < known.setdefault(of, index):
        known[of] = index


def _time(event: ReadEvent) -> float | None:
    return seconds(words(event.body, "eventTime"))


def _code(event: ReadEvent, principal: str) -> str | None:
    # Other producers' messages may quote data; ours begins with its code, and only that is taken.
    said = words(part(event.body, "run", "facets", "errorMessage"), "message")
    found = _CODE.match(said) if said and principal.startswith("evidence:") else None
    return found[0] if found else None
