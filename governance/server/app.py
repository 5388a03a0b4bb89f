"""The ASGI application: routes, and errors as JSON with their GOV code."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from governance import __version__
from governance.errors import AccessError, GovernanceError
from governance.server import (
    classification_routes,
    health,
    marquez,
    metrics,
    pages,
    tlog_routes,
    token_routes,
)
from governance.server.access import allow
from governance.server.answers import REFUSALS, UNEXPECTED, named_fault, refusal, unexpected
from governance.server.audit import audit_routes, evidence_routes, report_routes
from governance.server.broker import routes as broker_routes
from governance.server.graph import routes as graph_routes
from governance.server.ingest import routes as ingest_routes
from governance.server.ingest.ingest import Answer, Ingest
from governance.server.ingest.request_body import BodyReader
from governance.server.served import ServedStore

if TYPE_CHECKING:
    from governance.server.audit.reporting import Reporting
    from governance.server.broker.broker import Broker

_log = logging.getLogger(__name__)


_TOO_LARGE = AccessError(
    "GOV-614",
    "the request's body is too large, or of unstated length",
    "send Content-Length and ask for less",
)


_LARGEST = 1 << 20
"""What FastAPI reads of a body, which it does at once and as a whole. Events and uploads are read apart."""

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


def _too_large(scope: Scope) -> bool:
    """Whether a body is longer than is read, or comes in chunks of which nobody knows how many."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if scope["method"] == "POST" and path.startswith(broker_routes.PREFIX):
        return broker_routes.too_large(scope)
    if report_routes.uploads(scope):
        return False
    if scope["method"] == "POST" and report_routes.too_large(scope):
        return True
    headers = list(scope["headers"])
    lengths = [value for name, value in headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    stated = not chunked and (not lengths or (len(lengths) == 1 and lengths[0].isdigit()))
    return not stated or int(lengths[0] if lengths else 0) > _LARGEST


class LineageApp(FastAPI):
    """FastAPI, except that events go past its routing: one costs less to store than to route."""

    def __init__(self, served: ServedStore, reader: BodyReader, **options: Any) -> None:
        super().__init__(**options)
        self.state.served = served
        self.ingest = Ingest(served, reader)
        self._takers: dict[str, Callable[..., Awaitable[Answer | None]]] = {
            "/api/v1/lineage": self.ingest.one,
            "/api/v1/lineage/batch": self.ingest.batch,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or the lifespan."""
        if scope["type"] == "http" and scope["method"] not in _BODILESS:
            take = self._takers.get(scope["path"].removeprefix(scope.get("root_path", "")))
            if take is not None and scope["method"] == "POST":
                await _send(await _guarded(take, scope, receive), send)
                return
            if _too_large(scope):
                await _send(refusal(_TOO_LARGE), send)
                return
        try:
            await super().__call__(scope, receive, send)
        except Exception as fault:
            # It was answered; Starlette raises it again for a server that would print it, text and all.
            _log.error("unexpected %s", named_fault(fault))


def build_app(
    served: ServedStore,
    *,
    reader: BodyReader | None = None,
    root_path: str = "",
    frame_ancestors: Sequence[str] = (),
    broker: Broker | None = None,
    reporting: Reporting | None = None,
) -> FastAPI:
    """The application over an opened store, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        served.close()

    reader = reader or BodyReader()
    app = LineageApp(
        served,
        reader,
        title="governance lineage store",
        version=__version__,
        lifespan=lifespan,
        responses=REFUSALS,
        root_path=root_path,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.broker = broker
    app.state.reporting = reporting
    app.state.reader = reader
    app.state.frame_ancestors = " ".join(["frame-ancestors 'self'", *frame_ancestors])
    # Not include_router: it would analyse each route once more, half the time that a start takes.
    app.router.routes += [
        *ingest_routes.router(app.ingest).routes,
        *metrics.router(served, app.ingest.counts).routes,
        *health.router(served).routes,
        *graph_routes.router(served).routes,
        *marquez.routes(served),
        *audit_routes.router(served).routes,
        *report_routes.router().routes,
        *classification_routes.router(served).routes,
        *evidence_routes.router(served).routes,
        *tlog_routes.router(served).routes,
        *token_routes.router(served).routes,
        *broker_routes.router().routes,
        *pages.routes(served),
    ]

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(allow("read"))])
    def openapi() -> JSONResponse:
        servers = {"servers": [{"url": root_path}]} if root_path else {}
        return JSONResponse(app.openapi() | servers)

    app.add_exception_handler(GovernanceError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return app


async def _guarded(
    take: Callable[..., Awaitable[Answer | None]], scope: Scope, receive: Receive
) -> Answer | None:
    try:
        return await take(scope, receive)
    except Exception as fault:
        _log.error("unexpected %s", named_fault(fault))
        return unexpected()


async def _send(answer: Answer | None, send: Send) -> None:
    if answer is None:
        return
    status, headers, body = answer
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if body:
        raw.append((b"content-type", b"application/json"))
    if status != 204:
        raw.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _refused(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, GovernanceError)  # noqa: S101 - narrows the handler's type
    status, headers, body = refusal(fault)
    return Response(body, status, headers, "application/json")


def _malformed(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)  # noqa: S101 - narrows the handler's type
    # Where and what, never the value: it may be a token, or somebody's name.
    where = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in fault.errors()[:5])
    error = {
        "code": "GOV-613",
        "message": f"the request is malformed: {where}",
        "remedy": "see /openapi.json",
    }
    return JSONResponse({"error": error}, 422)


def _http(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)  # noqa: S101 - narrows the handler's type
    code = "GOV-617" if fault.status_code == 405 else "GOV-612"
    error = {"code": code, "message": str(fault.detail), "remedy": "see /openapi.json for what there is"}
    return JSONResponse({"error": error}, fault.status_code, fault.headers)


def _failed(_request: Request, _fault: Exception) -> JSONResponse:
    return JSONResponse({"error": UNEXPECTED}, 500)
