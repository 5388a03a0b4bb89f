"""The ASGI application: routes, and errors as JSON with their GOV code."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from governance import __version__
from governance.errors import GovernanceError
from governance.server import ingest
from governance.server.served import ServedStore

_ROUTERS = (ingest.router,)
_STATUS = {
    "GOV-501": 503,
    "GOV-504": 404,
    "GOV-505": 409,
    "GOV-508": 400,
    "GOV-510": 503,
    "GOV-610": 401,
    "GOV-611": 403,
    "GOV-612": 404,
    "GOV-613": 400,
}
_log = logging.getLogger(__name__)


def build_app(served: ServedStore) -> FastAPI:
    """The application over an opened store, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        served.close()

    app = FastAPI(title="governance lineage store", version=__version__, lifespan=lifespan)
    app.state.served = served
    for router in _ROUTERS:
        app.include_router(router(served))
    app.add_exception_handler(GovernanceError, _refused)
    app.add_exception_handler(Exception, _failed)
    return app


def _refused(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, GovernanceError)  # noqa: S101 - narrows the handler's type
    status = _STATUS.get(fault.code, 500)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status)
    body = {"error": {"code": fault.code, "message": fault.message, "remedy": fault.remedy}}
    return JSONResponse(body, status, headers)


def _failed(_request: Request, fault: Exception) -> JSONResponse:
    # The text of an unexpected fault may quote data: neither log nor answer holds it.
    _log.error("unexpected %s", type(fault).__name__)
    error = {
        "code": "GOV-999",
        "message": "an unexpected fault",
        "remedy": "report it with the time it happened",
    }
    return JSONResponse({"error": error}, 500)
