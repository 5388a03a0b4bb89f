"""Reads OpenLineage events as they arrive (spec 2-0-2): tolerant of what is odd, never guessing.

What can be parsed is kept and its faults are named; only what cannot be parsed is refused. Kinds are
told by keys, as the spec's ``oneOf`` does: an event with a run is a RunEvent whatever else it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

from governance.errors import LogError
from governance.lineage.naming import PREFIX
from governance.lineage.signatures import evidence_keys, without_duplicates

RUN, JOB, DATASET = "run", "job", "dataset"
EVENT_TYPES = frozenset({"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"})
_OURS = PREFIX.encode("ascii")


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """A parsed event. ``time`` is aware or ``None``; ``faults`` name what does not conform."""

    body: Mapping[str, Any]
    kind: str
    time: datetime | None
    faults: tuple[str, ...]

    @property
    def run_id(self) -> str | None:
        return text(mapping(self.body.get("run")).get("runId"))

    @property
    def job(self) -> tuple[str, str] | None:
        return named(self.body.get("job"))

    @property
    def event_type(self) -> str | None:
        value = self.body.get("eventType")
        return value if isinstance(value, str) and value in EVENT_TYPES else None

    def datasets(self, member: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Namespace, name and body of each named dataset in ``inputs``, ``outputs`` or ``dataset``."""
        value = self.body.get(member)
        for dataset in value if isinstance(value, list) else [value]:
            if name := named(dataset):
                yield *name, mapping(dataset)


def read_event(body: bytes) -> ReadEvent:
    """Parse one event.

    Raises:
        LogError: GOV-508, it is not UTF-8, not JSON (RFC 8259), not an object, or neither about a run
            nor a job nor a dataset. An event with evidence must not repeat a member.
    """
    try:
        strict = without_duplicates if _OURS in body else None
        event = json.loads(body, object_pairs_hook=strict, parse_constant=_refuse_constant)
        if b"\\u" in body:
            if strict is None and _carries_evidence(event):
                json.loads(body, object_pairs_hook=without_duplicates)
            json.dumps(event, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise unparsable("it holds half a surrogate pair") from None
    except UnicodeDecodeError:
        raise unparsable("it is not UTF-8") from None
    except RecursionError:
        raise unparsable("it is nested too deeply") from None
    except ValueError:
        raise unparsable("it is not JSON, or repeats a member") from None
    if not isinstance(event, dict):
        raise unparsable("it is not an object")
    kind = next((k for k in (RUN, DATASET, JOB) if isinstance(event.get(k), dict)), None)
    if kind is None:
        raise unparsable("it is about neither a run nor a job nor a dataset")
    time, fault = _time(event.get("eventTime"))
    return ReadEvent(event, kind, time, tuple(_faults(event, kind, fault)))


def _carries_evidence(event: Any) -> bool:
    """Whether a facet of ours stands in it, also when its name was written with escapes."""
    return isinstance(event, dict) and bool(evidence_keys(event))


def text(value: Any) -> str | None:
    """The value if it is a string that is not empty."""
    return value if isinstance(value, str) and value else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def named(value: Any) -> tuple[str, str] | None:
    """Namespace and name of a job or dataset that has both."""
    namespace, name = text(mapping(value).get("namespace")), text(mapping(value).get("name"))
    return (namespace, name) if namespace and name else None


def instant_of(value: Any) -> datetime | None:
    """An ISO 8601 instant as aware UTC; one without a time zone counts as UTC."""
    return _time(value)[0]


def _time(value: Any) -> tuple[datetime | None, str | None]:
    if not isinstance(value, str):
        return None, "eventTime is missing"
    try:
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC), "eventTime has no time zone"
        return parsed.astimezone(UTC), None
    except (ValueError, OverflowError):
        return None, "eventTime is not an ISO 8601 instant"


def _faults(event: Mapping[str, Any], kind: str, time_fault: str | None) -> Iterator[str]:
    if time_fault:
        yield time_fault
    for member in ("producer", "schemaURL"):
        if text(event.get(member)) is None:
            yield f"{member} is missing"
    if kind == RUN:
        yield from _run_faults(event)
    if kind != DATASET and named(event.get("job")) is None:
        yield "job has no namespace or no name"
    if kind == DATASET and named(event.get("dataset")) is None:
        yield "dataset has no namespace or no name"
    for member in ("inputs", "outputs"):
        datasets = event.get(member)
        if datasets is not None and not isinstance(datasets, list):
            yield f"{member} is not an array"
        elif datasets and any(named(dataset) is None for dataset in datasets):
            yield f"{member} has a dataset without a namespace or a name"


def _run_faults(event: Mapping[str, Any]) -> Iterator[str]:
    run_id = text(event["run"].get("runId"))
    if run_id is None:
        yield "run has no runId"
    else:
        try:
            UUID(run_id)
        except ValueError:
            yield "runId is not a UUID"
    state = event.get("eventType")
    if state is not None and not (isinstance(state, str) and state in EVENT_TYPES):
        yield "eventType is unknown"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def unparsable(why: str) -> LogError:
    """GOV-508, with the reason."""
    return LogError(
        "GOV-508",
        f"an event cannot be parsed: {why}",
        "send one OpenLineage event (spec 2-0-2) as a JSON object in UTF-8",
    )
