"""Counts over the last day or week, as Marquez's dashboard draws them: `/stats`."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from governance.server.marquez.asking import Asking, Asks, Row, answer, instant, malformed, naive
from governance.server.marquez.naming import named_routes
from governance.server.served import ServedStore

Period = Annotated[
    Literal["DAY", "WEEK"], Query(), BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)
]
Timezone = Annotated[str, Query(max_length=100)]

_EVENTS = ("fail", "start", "complete", "abort")


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes("/api/v1/stats")

    @routes.get("/lineage-events")
    def lineage_events(ask: Asks, period: Period, timezone: Timezone = "UTC") -> Response:
        bounds = intervals(served.clock(), period, timezone)
        counts = ", ".join(
            f"count(*) FILTER (event_type = '{event.upper()}') AS {event}" for event in _EVENTS
        )
        rows = ask.rows(
            f"""
            SELECT b.i, {counts} FROM {_BOUNDS} b JOIN events e ON e.event_time >= b.begin AND e.event_time < b.until
            WHERE e.kind = 'run' AND e.log_index < $as_of AND {ask.visible("e.job_namespace")}
                AND e.event_time >= $first AND e.event_time < $last
            GROUP BY b.i
            """,
            **_bound(bounds),
        )
        by_interval = {row["i"]: row for row in rows}
        none = dict.fromkeys(_EVENTS, 0)
        return answer(
            [
                _interval(begin, until) | {event: by_interval.get(i, none)[event] for event in _EVENTS}
                for i, (begin, until) in enumerate(bounds)
            ]
        )

    def totals(ask: Asking, period: str, timezone: str, created: str) -> Response:
        bounds = intervals(served.clock(), period, timezone)
        rows = ask.entities(
            f"""
            WITH created AS ({created})
            SELECT b.i, count(*) AS count FROM {_BOUNDS} b JOIN created ON created_at < b.until GROUP BY b.i
            """,
            **_bound(bounds),
        )
        counts = {row["i"]: row["count"] for row in rows}
        return answer([_interval(*b) | {"count": counts.get(i, 0)} for i, b in enumerate(bounds)])

    @routes.get("/jobs")
    def jobs(ask: Asks, period: Period, timezone: Timezone = "UTC") -> Response:
        return totals(ask, period, timezone, f"SELECT created_at FROM {ask.jobs} WHERE {ask.visible()}")

    @routes.get("/datasets")
    def datasets(ask: Asks, period: Period, timezone: Timezone = "UTC") -> Response:
        return totals(ask, period, timezone, f"SELECT created_at FROM {ask.datasets} WHERE {ask.visible()}")

    @routes.get("/sources")
    def sources(ask: Asks, period: Period, timezone: Timezone = "UTC") -> Response:
        first = (
            f"SELECT min(created_at) AS created_at FROM {ask.datasets} WHERE {ask.visible()} GROUP BY source"
        )
        return totals(ask, period, timezone, first)

    return routes


_BOUNDS = """(
    SELECT unnest(range(len($begins))) AS i, unnest($begins::TIMESTAMP[]) AS begin, unnest($untils::TIMESTAMP[]) AS until
)"""


def intervals(now: datetime, period: str, timezone: str) -> list[tuple[datetime, datetime]]:
    """The hours of the last day or the local days of the last week up to now: naive UTC, end excluded.

    Raises:
        AccessError: GOV-613 when the time zone is unknown.
    """
    try:
        zone = ZoneInfo(timezone.replace(" ", "+"))  # browsers send Etc/GMT+5 unencoded
    except (ValueError, OSError, KeyError):
        raise malformed(
            "the time zone is unknown", "name one of the IANA database, such as Europe/Berlin"
        ) from None
    local = now.astimezone(zone)
    if period == "DAY":
        hour = naive(local.replace(minute=0, second=0, microsecond=0))
        starts = [hour - timedelta(hours=h) for h in range(23, -2, -1)]
    else:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        # Wall-clock days: where clocks change, one is 23 or 25 hours long.
        starts = [naive(midnight + timedelta(days=d)) for d in range(-6, 2)]
    return list(pairwise(starts))


def _bound(bounds: list[tuple[datetime, datetime]]) -> dict[str, Any]:
    begins, untils = (list(side) for side in zip(*bounds, strict=True))
    return {"begins": begins, "untils": untils, "first": begins[0], "last": untils[-1]}


def _interval(begin: datetime, until: datetime) -> Row:
    return {"startInterval": instant(begin), "endInterval": instant(until)}
