"""The ingest routes as FastAPI and its OpenAPI document know them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from governance.server.answers import REFUSALS
from governance.server.ingest.ingest import Answer, Ingest

_EVENT = {
    "type": "object",
    "description": "An OpenLineage RunEvent, DatasetEvent or JobEvent (spec 2-0-2), told apart by its keys.",
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"type": "string", "format": "uri"},
        "run": {"type": "object"},
        "job": {"type": "object"},
        "dataset": {"type": "object"},
        "inputs": {"type": "array", "items": {"type": "object"}},
        "outputs": {"type": "array", "items": {"type": "object"}},
    },
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "It cannot be parsed; the reason is in `error`. Nothing was kept."},
    409: {"description": "The same body was redacted before and is refused."},
    413: {"description": "The body, as sent or gunzipped, is too large."},
    415: {"description": "The Content-Encoding is not supported."},
}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def router(ingest: Ingest) -> APIRouter:
    """`/lineage` and `/lineage/batch`. :class:`governance.server.app.LineageApp` answers before they are asked."""
    routes = APIRouter(prefix="/api/v1", tags=["ingest"], responses=REFUSALS)

    @routes.post(
        "/lineage",
        status_code=201,
        response_class=Response,
        openapi_extra=_body(_EVENT),
        responses={201: {"description": "It is durable."}, **_REFUSALS},
    )
    async def lineage(request: Request) -> Response:
        """Take one event. Needs the scope `ingest`, or `evidence` for events with governance_* facets."""
        return _response(await ingest.one(request.scope, request.receive))

    @routes.post(
        "/lineage/batch",
        status_code=204,
        response_class=Response,
        openapi_extra=_body({"type": "array", "items": _EVENT}),
        responses={
            204: {"description": "All are durable."},
            200: {"description": "Some are durable; `failed_events` names the others and why."},
            **_REFUSALS,
        },
    )
    async def batch(request: Request) -> Response:
        """Take a JSON array of events; each is kept in its own bytes."""
        return _response(await ingest.batch(request.scope, request.receive))

    return routes


def _response(answer: Answer | None) -> Response:
    status, headers, body = answer or (499, {}, b"")
    return Response(body, status, dict(headers), "application/json" if body else None)
