"""What all pages share: links below one base, headers, templates, and errors that a person can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from governance.errors import AccessError, GovernanceError
from governance.server.access import COOKIE
from governance.server.answers import REFUSALS, STATUS
from governance.server.marquez.asking import Asking, unknown

HERE = Path(__file__).parent
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SECURITY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "private, no-store",
}


def base_of(request: Request) -> str:
    """The path under which the pages are reached: Airflow's where it forwards, else the server's own."""
    forwarded = request.headers.get("x-forwarded-prefix", "")
    if len(forwarded) <= 500 and _PREFIX.fullmatch(forwarded):
        return forwarded
    return str(request.scope.get("root_path", "")) + "/pages"


class Links:
    """Links of one answer. They keep the log size that was asked for."""

    def __init__(self, request: Request) -> None:
        self.base = base_of(request)
        self._as_of = request.query_params.get("as_of")

    def __call__(self, path: str, **query: Any) -> str:
        """The link to a page; parameters that are None are left out."""
        asked = {name: value for name, value in query.items() if value not in (None, "")}
        if self._as_of is not None and self._as_of.isdecimal() and not path.startswith("static/"):
            asked.setdefault("as_of", self._as_of)
        return f"{self.base}/{path}" + (f"?{urlencode(asked, doseq=True)}" if asked else "")

    def dataset(self, namespace: str, name: str) -> str:
        """The link to a dataset."""
        return self("dataset", namespace=namespace, name=name)

    def job(self, namespace: str, name: str) -> str:
        """The link to a job."""
        return self("job", namespace=namespace, name=name)

    def airflow(self, dag_id: str, run_id: str | None = None) -> str:
        """The link to what an operator sees beside a DAG, or one run of it."""
        path = f"airflow/{quote(dag_id, safe='')}"
        return self(path if run_id is None else f"{path}/{quote(run_id, safe='')}")

    def report(self, name: str, file: str | None = None) -> str:
        """The link to a report that was made, or to one of its files."""
        return self(f"reports/{name}" if file is None else f"reports/{name}/{file}")

    def export(self, dag_id: str, run_id: str) -> str:
        """The link to the evidence of one run of a DAG, as a file."""
        return self(f"airflow-evidence/{quote(dag_id, safe='')}/{quote(run_id, safe='')}")


def when(value: datetime | str | None) -> str:
    """A naive UTC time, to the second."""
    if value is None:
        return "–"
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else str(value)


def took(begun: datetime | None, ended: datetime | None) -> str:
    """How long something took."""
    if begun is None or ended is None or ended < begun:
        return "–"
    seconds = (ended - begun).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def short(text: str, most: int = 48) -> str:
    """A long name with its middle left out; beginnings and ends tell names apart."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2 - 1]}…{text[-(most - most // 2) :]}"


def pretty(value: Any) -> str:
    """JSON for a reader."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(when=when, short=short, pretty=pretty)
    environment.globals.update(took=took)
    return environment


def render(template: str, **data: Any) -> str:
    """One template, filled in."""
    return _templates().get_template(template).render(**data)


def page(
    request: Request, template: str, ask: Asking | None, *, status: int = 200, **data: Any
) -> HTMLResponse:
    """One page, with the log size that it was answered at."""
    text = render(
        template,
        link=Links(request),
        as_of=ask.as_of if ask else None,
        past=ask is not None and not ask.present,
        caller=ask.caller if ask else None,
        here=request.url.path.rsplit("/pages", 1)[-1],
        may_sign_out=COOKIE in request.cookies,
        **data,
    )  # fmt: skip
    return HTMLResponse(text, status, dict(HEADERS))


def STATIC(name: str) -> Response:  # noqa: N802 - a route, not called
    """A style sheet or script; public."""
    path = HERE / "static" / name
    if path.suffix not in _TYPES or not re.fullmatch(r"[a-z_]+\.[a-z]+", name) or not path.is_file():
        raise unknown("file")
    headers = dict(HEADERS) | {"cache-control": "public, max-age=300"}
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers=headers)


class PageRoute(APIRoute):
    """A route whose refusals are pages: sign in, not there, cannot be understood; all say who may frame them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with refusals answered."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                answer = await handle(request)
            except GovernanceError as fault:
                answer = _refused(request, fault)
            except RequestValidationError as fault:
                where = ", ".join(".".join(map(str, error["loc"][1:])) for error in fault.errors()[:5])
                told = AccessError("GOV-613", f"this cannot be understood: {where}", "follow a link instead")
                answer = _refused(request, told)
            policy = answer.headers.get("content-security-policy", SECURITY)
            answer.headers["content-security-policy"] = f"{policy}; {request.app.state.frame_ancestors}"
            return answer

        return handled


def page_routes() -> APIRouter:
    """Where an area registers its pages, below ``/pages``."""
    return APIRouter(prefix="/pages", include_in_schema=False, route_class=PageRoute, responses=REFUSALS)


def _refused(request: Request, fault: GovernanceError) -> Response:
    status = STATUS.get(fault.code, 500)
    if status == 401 and "authorization" not in request.headers and request.method == "GET":
        path = request.url.path.rsplit("/pages", 1)[-1].lstrip("/")
        asked = f"{path}?{request.url.query}" if request.url.query else path
        target = f"{base_of(request)}/sign-in?{urlencode({'next': asked})}"
        return Response(None, 303, {**HEADERS, "location": target})
    return page(request, "refused.html", None, status=status, fault=fault, title="Not shown")
