"""The log: how large, what is signed, how to verify it; and one entry of it."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from governance.log.note import split_note
from governance.server.marquez.asking import Asking, Asks, unknown
from governance.server.pages.frame import page, page_routes
from governance.server.served import ServedStore

Place = Annotated[int, Query(ge=0, le=2**62)]


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = page_routes()
    log = served.log

    @routes.get("/log")
    def status(request: Request, ask: Asks) -> Response:
        latest, size = log.latest(), log.size()
        signatures = split_note(latest.note)[1] if latest else ()
        return page(
            request,
            "log.html",
            ask,
            title="Log",
            origin=log.origin,
            size=size,
            indexed=served.index.size,
            checkpoint=latest,
            root=latest.root.hex() if latest else None,
            signers=[signature.name for signature in signatures],
            unsigned=size - (latest.size if latest else 0),
            kinds=ask.rows(
                "SELECT media_type, count(*) AS n, max(log_index) AS last FROM entries"
                " WHERE log_index < $as_of GROUP BY ALL ORDER BY n DESC, media_type LIMIT 50"
            )
            if ask.caller.namespaces is None
            else [],
        )

    @routes.get("/entry")
    def entry(request: Request, ask: Asks, index: Place) -> Response:
        if index >= ask.as_of or not _seen(ask, index):
            raise unknown("entry")
        found = log.entry(index)
        audits = "audit" in ask.caller.scopes and ask.caller.namespaces is None
        return page(
            request,
            "entry.html",
            ask,
            title=f"Entry {index}",
            index=index,
            envelope=found.envelope,
            leaf=base64.b64encode(found.leaf).decode(),
            kept=found.body is not None,
            events=ask.rows(
                "SELECT run_id, job_namespace, job_name, event_type, event_time, faults FROM events"
                f" WHERE log_index = $index AND {ask.visible('job_namespace')}",
                index=index,
            ),
            signed=(latest := log.latest()) is not None and index < latest.size,
            audits=audits,
            api=_api(request),
        )

    return routes


def _seen(ask: Asking, index: int) -> bool:
    """Who sees some namespaces only sees the envelopes of events of those."""
    if ask.caller.namespaces is None:
        return True
    sql = f"FROM events WHERE log_index = $index AND {ask.visible('job_namespace')}"
    return bool(ask.rows(sql, index=index))


def _api(request: Request) -> Any:
    """Where the API is; None behind Airflow, which forwards pages only."""
    if "x-forwarded-prefix" in request.headers:
        return None
    return str(request.scope.get("root_path", "")) + "/api/v1/audit/log/entries"
