"""Signing in with a token, which then lies in a cookie that no script can read; and out."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request, Response

from governance.server.access import COOKIE
from governance.server.pages.frame import HEADERS, base_of, page, page_routes
from governance.server.served import ServedStore

_LOCAL = re.compile(r"(?!/)[^\\\x00-\x20:]*(\?[^\\\x00-\x1f]*)?")
_LARGEST = 10_000

Next = Annotated[str, Query(max_length=4_000)]


def router(served: ServedStore) -> APIRouter:
    """The routes; they need no token."""
    routes = page_routes()

    @routes.get("/sign-in")
    def form(request: Request, next: Next = "") -> Response:  # noqa: A002 - the parameter's name
        return page(request, "sign_in.html", None, title="Sign in", next=next, wrong=None)

    @routes.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        if int(request.headers.get("content-length") or _LARGEST + 1) > _LARGEST:
            return page(
                request, "sign_in.html", None, status=413, title="Sign in", next="", wrong="Too long."
            )
        said = await _form(request)
        token, target = said.get("token", "").strip(), said.get("next", "")
        served.tokens.follow(served.log, served.log.size())
        caller = served.tokens.caller(token)
        if caller is None or "read" not in caller.scopes:
            wrong = (
                "This token is unknown, revoked or expired." if caller is None else "This token may not read."
            )
            return page(request, "sign_in.html", None, status=401, title="Sign in", next=target, wrong=wrong)
        answer = _to(request, target if _LOCAL.fullmatch(target) else "")
        answer.set_cookie(
            COOKIE,
            token,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
            path=base_of(request).removesuffix("/pages") or "/",
        )
        return answer

    @routes.post("/sign-out")
    def sign_out(request: Request) -> Response:
        answer = _to(request, "sign-in")
        answer.delete_cookie(COOKIE, path=base_of(request).removesuffix("/pages") or "/")
        return answer

    return routes


def _to(request: Request, path: str) -> Response:
    return Response(None, 303, {**HEADERS, "location": f"{base_of(request)}/{path}"})


async def _form(request: Request) -> dict[str, str]:
    body = (await request.body())[:_LARGEST]
    return dict(parse_qsl(body.decode("utf-8", "replace")))
