"""Events as producers send them."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]


def run(number: int) -> str:
    return f"0198c0de-0000-7000-8000-{number:012d}"


def dataset(name: str, namespace: str = "db", **facets: Any) -> Event:
    return {"namespace": namespace, "name": name, "facets": facets}


def event(
    kind: str = "COMPLETE",
    *,
    at: str = "2026-11-24T08:00:00Z",
    number: int = 1,
    job: str = "load",
    namespace: str = "jobs",
    job_facets: Event | None = None,
    run_facets: Event | None = None,
    inputs: list[Event] | None = None,
    outputs: list[Event] | None = None,
) -> Event:
    return {
        "eventType": kind,
        "eventTime": at,
        "run": {"runId": run(number), "facets": run_facets or {}},
        "job": {"namespace": namespace, "name": job, "facets": job_facets or {}},
        "inputs": inputs or [],
        "outputs": outputs or [],
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }
