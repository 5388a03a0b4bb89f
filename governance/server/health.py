"""`/healthz`: whether the store takes and answers; the only thing to see without a token."""

from __future__ import annotations

from fastapi import APIRouter, Response

from governance.server.answers import REFUSALS
from governance.server.served import ServedStore


def router(served: ServedStore) -> APIRouter:
    """`/healthz`."""
    routes = APIRouter(tags=["operation"], responses=REFUSALS)

    @routes.get("/healthz", responses={503: {"description": "The store does not answer."}})
    def healthz(response: Response) -> dict[str, str]:
        """``ok``, or the code of what is wrong with the store; ``index`` while it is built after a start."""
        fault = served.fault
        if fault is None:
            return {"status": "ok"} | ({"index": "catching up"} if served.building else {})
        response.status_code = 503
        return {"status": fault}

    return routes
