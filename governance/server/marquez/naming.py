"""Names within paths: a name may hold slashes, colons, spaces, and even look like a suffix.

ASGI servers decode the path before routing, so a dataset ``a/versions`` and the versions of a dataset ``a``
become one. These routes match the path as it was sent: one percent-encoded segment is one name (RFC 3986
§3.3). Paths in which slashes came unencoded are tried last, the longest suffix that fits first.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Scope

from governance.server.answers import REFUSALS


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

    def lenient(self) -> NamedRoute:
        """The same route for parameters that may hold unencoded slashes; not in the schema."""
        same = copy.copy(self)
        same.path = re.sub(r"\{(\w+)\}", r"{\1:path}", self.path)
        same.path_regex, same.path_format, same.param_convertors = compile_path(same.path)
        same.include_in_schema = False
        return same


def named_routes(prefix: str = "/api/v1") -> APIRouter:
    """Where an area registers its routes, whole: including a router in another analyses each route again."""
    return APIRouter(prefix=prefix, tags=["marquez"], route_class=NamedRoute, responses=REFUSALS)


def lenient(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """Each route with parameters again."""
    return [route.lenient() for route in routes if isinstance(route, NamedRoute) and "{" in route.path]
