"""`POST /api/v1/lineage`: an event is acknowledged when it is durable, never before."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from governance.lineage.naming import EVENT_MEDIA_TYPE
from governance.lineage.reading import read_event
from governance.log import NewEntry
from governance.server.access import allow
from governance.server.served import ServedStore
from governance.server.tokens import Caller


def router(served: ServedStore) -> APIRouter:
    """The ingest routes."""
    routes = APIRouter(prefix="/api/v1", tags=["ingest"])

    @routes.post("/lineage", status_code=201)
    async def ingest(request: Request, caller: Annotated[Caller, Depends(allow("ingest"))]) -> Response:
        body = await request.body()
        read_event(body)
        entry = NewEntry(body, EVENT_MEDIA_TYPE, caller.principal("ingest"))
        await asyncio.wrap_future(served.group.submit([entry]))
        return Response(status_code=201)

    return routes
