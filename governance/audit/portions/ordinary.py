"""Events that carry no evidence and report no failure, which nearly all do: read quickly, kept as a summary.

A compiled decoder takes what conforms; what it does not take, for whatever reason, is read one by one by
:func:`governance.lineage.reading.read_event`, which decides. The quick way only ever says what that would have said.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from governance.lineage.naming import PREFIX
from governance.log.envelope import Envelope

_OURS = PREFIX.encode("ascii")
_LONG = 1 << 20
"""A body of more bytes than this is read carefully: it may hold a number of more digits than Python takes."""


class _Run(msgspec.Struct, gc=False):
    runId: str  # noqa: N815  -- as the spec names it


class _Named(msgspec.Struct, gc=False):
    namespace: str
    name: str


class OrdinaryEvent(msgspec.Struct, gc=False):
    """The members of a RunEvent that the trail looks at."""

    run: _Run
    eventTime: str | None = None  # noqa: N815
    eventType: str | None = None  # noqa: N815
    job: _Named | None = None
    inputs: list[_Named] = []
    outputs: list[_Named] = []


_decode = msgspec.json.Decoder(OrdinaryEvent).decode
_QUIET = frozenset({"START", "RUNNING", "COMPLETE", "OTHER", None})


def read_ordinary(body: bytes) -> OrdinaryEvent | None:
    """The event, or ``None``: then it must be read carefully."""
    # From the end it is found, or not, in a third of the time.
    if body.rfind(_OURS) >= 0 or len(body) > _LONG:
        return None
    # An escape may hide a facet's name, or half a surrogate pair.
    if b"\\" in body and b"\\u" in body:
        return None
    try:
        if not body.isascii():
            body.decode()
        event = _decode(body)
    except (ValueError, RecursionError):
        return None
    return event if event.eventType in _QUIET else None


class Summary(msgspec.Struct, array_like=True, gc=False):
    """What ordinary events say together, each thing with the first entry that says it.

    ``tally``: day, sender, number. ``senders``: sender, entry, when. ``starts``: run, entry, number of the job in
    ``jobs``, event time in seconds since 1970. ``ended``: run, entry, event time. ``edges``: whether it is an output,
    dataset, job, entry.
    """

    entries: int = 0
    tally: dict[str, dict[str, int]] = {}
    senders: dict[str, tuple[int, str]] = {}
    jobs: list[str] = []
    starts: dict[str, tuple[int, int, float | None]] = {}
    ended: dict[str, tuple[int, float | None]] = {}
    edges: list[tuple[bool, str, str, str, str, int]] = []


class Summing:
    """Takes in ordinary events of a span of the log, in its order."""

    def __init__(self) -> None:
        self._entries = 0
        self._tally: dict[str, dict[str, int]] = {}
        self._senders: dict[str, tuple[int, str]] = {}
        self._jobs: dict[str, int] = {}
        self._starts: dict[str, tuple[int, int, float | None]] = {}
        self._ended: dict[str, tuple[int, float | None]] = {}
        self._edges: dict[tuple[Any, ...], int] = {}

    def take(self, index: int, envelope: Envelope, event: OrdinaryEvent) -> None:
        """Take in one."""
        self._entries += 1
        sender, received = envelope.principal, envelope.received_at
        day = self._tally.get(received[:10])
        if day is None:
            day = self._tally[received[:10]] = {}
        day[sender] = day.get(sender, 0) + 1
        # A start without its end, which nothing cites, would read as a task that never ended.
        if sender not in self._senders and event.eventType != "START":
            self._senders[sender] = index, received
        job = event.job if event.job is not None and event.job.namespace and event.job.name else None
        kind, run_id = event.eventType, event.run.runId
        if kind == "START" and run_id:
            if run_id not in self._starts:
                name = f"{job.namespace}.{job.name}" if job else UNNAMED
                number = self._jobs.setdefault(name, len(self._jobs))
                self._starts[run_id] = index, number, seconds(event.eventTime)
        elif kind == "COMPLETE" and run_id and run_id not in self._ended:
            self._ended[run_id] = index, seconds(event.eventTime)
        if job is None:
            return
        for written, datasets in ((False, event.inputs), (True, event.outputs)):
            for of in datasets:
                if of.namespace and of.name:
                    self._edges.setdefault((written, of.namespace, of.name, job.namespace, job.name), index)

    def summary(self) -> Summary:
        """What they say together."""
        edges = [(*edge, index) for edge, index in self._edges.items()]
        return Summary(
            self._entries,
            self._tally,
            self._senders,
            list(self._jobs),
            self._starts,
            self._ended,
            edges,
        )


def seconds(time: str | None) -> float | None:
    """An event time in seconds since 1970; one without a zone is UTC."""
    try:
        parsed = datetime.fromisoformat(time or "")
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


UNNAMED = "an unnamed job"
