"""The lineage server's pages inside Airflow: asked for over HTTP, shown to who may read the audit log.

Airflow opens no store. This sub-application forwards GETs under its prefix to the pages of the server
that ``GOVERNANCE_SERVER`` names, with the token of ``GOVERNANCE_SERVER_TOKEN_FILE``, which never reaches the
browser. The prefix goes along, so that the pages' links stay inside Airflow.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Request, Response

from governance.config import lineage_server

PREFIX = "/governance"
_PASSED_ON = ("content-type", "content-security-policy", "cache-control", "etag", "x-content-type-options")
_ASKED_WITH = ("accept", "accept-language", "if-none-match")


def build_pages_app() -> FastAPI:
    """The sub-application; mount it at :data:`PREFIX`."""
    app = FastAPI(title="Governance", openapi_url=None)
    app.state.client = httpx.AsyncClient(timeout=httpx.Timeout(30, connect=5), follow_redirects=False)

    @app.get("/{path:path}", include_in_schema=False)
    async def page(request: Request, user: GetUserDep) -> Response:
        if not get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.AUDIT_LOG, user=user
        ):
            raise HTTPException(403, "Only users who may read the audit log of every DAG see lineage.")
        server = lineage_server()
        if server is None:
            return _unavailable("No lineage server is set: GOVERNANCE_SERVER names it.", 503)
        try:
            answer = await app.state.client.get(
                server.url + "/pages" + _path_as_sent(request),
                params=request.query_params,
                headers=_headers(request, server.token()),
            )
        except (httpx.HTTPError, OSError) as fault:
            return _unavailable(f"The lineage server cannot be asked: {type(fault).__name__}.", 502)
        if answer.status_code in (401, 403):
            return _unavailable("The lineage server refuses Airflow's token; it needs the scope read.", 502)
        kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        if location := answer.headers.get("location"):
            kept["location"] = location
        return Response(answer.content, answer.status_code, kept)

    return app


def _path_as_sent(request: Request) -> str:
    """What follows the prefix, still percent-encoded: names hold encoded slashes."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = bytes(raw).split(b"?", 1)[0].decode("ascii", "replace")
    return path[path.index(PREFIX) + len(PREFIX) :] if PREFIX in path else path


def _headers(request: Request, token: str) -> dict[str, str]:
    sent = {name: request.headers[name] for name in _ASKED_WITH if name in request.headers}
    root: Any = request.scope.get("root_path", "")
    prefix = root if str(root).endswith(PREFIX) else f"{root}{PREFIX}"
    return {**sent, "authorization": f"Bearer {token}", "x-forwarded-prefix": prefix}


def _unavailable(text: str, status: int) -> Response:
    return Response(text, status, {"content-type": "text/plain; charset=utf-8"})
