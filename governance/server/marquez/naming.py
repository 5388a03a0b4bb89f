"""Names within paths: a name may hold slashes, colons, spaces, and even look like a suffix.

ASGI servers decode the path before routing, so a dataset ``a/versions`` and the versions of a dataset ``a``
become one. These routes match the path as it was sent: one percent-encoded segment is one name (RFC 3986
§3.3). Paths in which slashes came unencoded are tried last, the longest suffix that fits first.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope


class NamedRoute(APIRoute):
    """A route whose parameters are percent-encoded segments of the path as sent."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the undecoded path, then decode each parameter."""
        if scope["type"] != "http":
            return super().matches(scope)
        raw = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        match, child = super().matches({**scope, "path": raw.decode("latin-1")})
        if match is not Match.NONE:
            child["path_params"] = {name: unquote(value) for name, value in child["path_params"].items()}
        return match, child


def add_lenient(routes: APIRouter) -> None:
    """Add each route again, last, with parameters that may hold unencoded slashes."""
    for route in list(routes.routes):
        if isinstance(route, APIRoute) and "{" in route.path:
            routes.add_api_route(
                re.sub(r"\{(\w+)\}", r"{\1:path}", route.path.removeprefix(routes.prefix)),
                route.endpoint,
                methods=list(route.methods),
                status_code=route.status_code,
                include_in_schema=False,
            )
