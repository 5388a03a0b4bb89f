"""Events as they were received: `/events/lineage` in Marquez's shape, `/events` of every kind.

Bodies come from the log, not from the index: what is shown is what was sent. To a caller who does not see
all namespaces an event is shown without what lies in the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from governance.server.marquez.asking import Asking, Asks, Pages, Paging, Row, answer, naive
from governance.server.marquez.naming import named_routes
from governance.server.served import ServedStore


def _sent(value: Any) -> Any:
    """A time as browsers send it: empty where there is none, and ``+`` decoded to a space."""
    return (
        (value.strip().replace(" ", "+") if "T" in value else value) or None
        if isinstance(value, str)
        else value
    )


When = Annotated[datetime | None, Query(), BeforeValidator(_sent)]
Direction = Annotated[Literal["asc", "desc", "ASC", "DESC"], Query()]


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

    def events(
        ask: Asking, pages: Paging, where: str, before: datetime | None, after: datetime | None,
        direction: str, namespace: str | None = None,
    ) -> tuple[int, Iterable[Row]]:  # fmt: skip
        order = "ASC" if direction.lower() == "asc" else "DESC"
        total, rows = ask.page_of_facts(
            f"""
            SELECT log_index, event_time FROM events e
            WHERE log_index < $as_of AND {where} AND {_visible(ask)}
                AND ($before::TIMESTAMP IS NULL OR event_time < $before)
                AND ($after::TIMESTAMP IS NULL OR event_time >= $after)
            """,
            f"event_time {order} NULLS LAST, log_index {order}",
            pages,
            before=None if before is None else naive(before),
            after=None if after is None else naive(after),
            namespace=namespace,
        )
        bodies = (served.log.entry(row["log_index"]).body for row in rows)
        return total, (ask.parsed(body) for body in bodies if body is not None)

    @routes.get("/events/lineage")
    def lineage_events(
        ask: Asks,
        pages: Pages,
        before: When = None,
        after: When = None,
        sortDirection: Direction = "desc",  # noqa: N803 - the API's name
    ) -> Response:
        total, found = events(ask, pages, "kind = 'run'", before, after, sortDirection)
        return answer({"events": [_as_marquez(event) for event in found], "totalCount": total})

    @routes.get("/events")
    def all_events(
        ask: Asks,
        pages: Pages,
        before: When = None,
        after: When = None,
        sortDirection: Direction = "desc",  # noqa: N803
    ) -> Response:
        total, found = events(ask, pages, "true", before, after, sortDirection)
        return answer({"events": list(found), "totalCount": total})

    @routes.get("/events/{namespace}")
    def namespace_events(
        namespace: str,
        ask: Asks,
        pages: Pages,
        before: When = None,
        after: When = None,
        sortDirection: Direction = "desc",  # noqa: N803
    ) -> Response:
        of = f"(job_namespace = $namespace OR kind = 'dataset' AND {_about('namespace = $namespace')})"
        total, found = events(ask, pages, of, before, after, sortDirection, namespace)
        return answer({"events": list(found), "totalCount": total})

    return routes


def _about(condition: str) -> str:
    return f"EXISTS (SELECT 1 FROM run_io r WHERE r.log_index = e.log_index AND {condition})"


def _visible(ask: Asking) -> str:
    """An event is its job's, a DatasetEvent its dataset's."""
    if ask.caller.namespaces is None:
        return "true"
    return f"({ask.visible('job_namespace')} OR kind = 'dataset' AND {_about(ask.visible('r.namespace'))})"


def _as_marquez(event: Row) -> Row:
    """With the members that its UI reads without looking whether they are there."""
    for member in ("run", "job"):
        said = event.get(member)
        event[member] = {"facets": {}, **(said if isinstance(said, dict) else {})}
    return {"eventType": None, "inputs": [], "outputs": [], **event}
