"""The lineage server's pages inside Airflow: asked for over HTTP, shown to auditors.

Airflow opens no store. This sub-application forwards GETs under its prefix to the pages of the server
that ``GOVERNANCE_SERVER`` names, with the token of ``GOVERNANCE_SERVER_TOKEN_FILE``, which never reaches the
browser. The prefix goes along, so that the pages' links stay inside Airflow. It keeps nothing between requests,
so any of several API-server workers may answer.

Who asks must be allowed twice: Airflow lets them read the audit log, of the DAG that the page is about or, for
pages about more than one DAG, of all; and ``GOVERNANCE_AUDITORS`` names them or their role.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, unquote

import httpx
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, Request, Response

from governance.config import auditors, lineage_server
from governance.errors import SettingError

PREFIX = "/governance"
_OF_ONE_DAG = ("airflow", "airflow-task", "airflow-evidence")
_PASSED_ON = (
    *("content-type", "content-disposition", "content-security-policy", "cache-control", "etag"),
    *("location", "x-content-type-options", "referrer-policy"),
)
_ASKED_WITH = ("accept", "accept-language", "if-none-match")
_ALWAYS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'self'",
    "cache-control": "private, no-store",
    "x-content-type-options": "nosniff",
}


def build_pages_app() -> FastAPI:
    """The sub-application; mount it at :data:`PREFIX`."""
    app = FastAPI(title="Governance", openapi_url=None)
    app.state.client = httpx.AsyncClient(timeout=httpx.Timeout(30, connect=5), follow_redirects=False)

    @app.middleware("http")
    async def guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call(request)
        for name, value in _ALWAYS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.get("/{path:path}", include_in_schema=False)
    async def page(request: Request, user: GetUserDep) -> Response:
        path = _path_as_sent(request)
        try:
            refused = _refusal(user, path)
            server = lineage_server()
        except SettingError as fault:
            return _plain(f"Governance is not set up: {fault.code}.", 503)
        if refused:
            return _plain(refused, 403)
        if server is None:
            return _plain("No lineage server is set: GOVERNANCE_SERVER names it.", 503)
        try:
            answer = await app.state.client.get(
                server.url + "/pages" + path,
                params=request.query_params,
                headers=_headers(request, server.token(), user),
            )
        except (httpx.HTTPError, OSError) as fault:
            return _plain(f"The lineage server cannot be asked: {type(fault).__name__}.", 502)
        if answer.status_code in (401, 403):
            return _plain(
                "The lineage server refuses Airflow's token; it needs the scope read, for reports audit too.",
                502,
            )
        kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)

    return app


def _refusal(user: Any, path: str) -> str | None:
    """Why a user does not see a page; None for those who do."""
    if not is_auditor(user):
        return "Only auditors see governance; GOVERNANCE_AUDITORS names them."
    area, _, rest = path.lstrip("/").partition("/")
    dag_id = unquote(rest.partition("/")[0])
    one = area in _OF_ONE_DAG and dag_id and "/" not in dag_id
    details = DagDetails(id=dag_id) if one else None
    may = area == "static" or get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.AUDIT_LOG, details=details, user=user
    )
    whose = "this DAG" if details else "every DAG"
    return None if may else f"Only users who may read the audit log of {whose} see this."


def is_auditor(user: Any) -> bool:
    """Whether ``GOVERNANCE_AUDITORS`` names this user or one of the user's roles.

    Auth managers keep a user's roles as a name (``role``) or as objects with names (``roles``).
    """
    roles = [getattr(user, "role", None), *(getattr(user, "roles", None) or ())]
    names = {str(getattr(role, "name", role)).casefold() for role in roles if role}
    return not auditors().isdisjoint({("user", user.get_name()), *(("role", name) for name in names)})


def _path_as_sent(request: Request) -> str:
    """What follows the mount, still percent-encoded: names hold encoded slashes.

    A proxy in front of Airflow may have taken the base URL's path away, or left it.
    """
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = bytes(raw).split(b"?", 1)[0].decode("ascii", "replace")
    for mounted in (_mount(request), PREFIX):
        if path == mounted or path.startswith(f"{mounted}/"):
            return path[len(mounted) :] or "/"
    return path


def _mount(request: Request) -> str:
    root = str(request.scope.get("root_path", ""))
    return root if root.endswith(PREFIX) else f"{root}{PREFIX}"


def _headers(request: Request, token: str, user: Any) -> dict[str, str]:
    sent = {name: request.headers[name] for name in _ASKED_WITH if name in request.headers}
    own = {"authorization": f"Bearer {token}", "x-forwarded-prefix": _mount(request)}
    # What leaves a trace there is asked in Airflow's name: this says for whom.
    return {**sent, **own, "x-governance-user": quote(str(user.get_name()), safe=" @")[:200]}


def _plain(text: str, status: int) -> Response:
    return Response(text, status, {"content-type": "text/plain; charset=utf-8"})
