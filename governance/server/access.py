"""Who may ask: bearer tokens, scopes, namespaces, as FastAPI dependencies."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request

from governance.errors import AccessError
from governance.server.tokens import Caller

COOKIE = "governance_token"
"""Where the pages keep the token of a signed-in reader: HttpOnly, SameSite=Lax, this host only."""


def caller_of(request: Request) -> Caller:
    """The caller that the request's token names.

    Raises:
        AccessError: GOV-610 when there is no valid token.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(COOKIE, "")
    caller: Caller | None = request.app.state.served.tokens.caller(token.strip())
    if caller is None:
        raise AccessError(
            "GOV-610",
            "no valid token came with the request",
            "send Authorization: Bearer TOKEN; `governance token create --scopes read` makes one",
        )
    return caller


def allow(scope: str) -> Callable[[Request], Caller]:
    """A dependency: the caller, if its token has ``scope``.

    Raises:
        AccessError: GOV-610 without a valid token, GOV-611 without the scope.
    """

    def permitted(request: Request) -> Caller:
        caller = caller_of(request)
        if scope not in caller.scopes:
            raise AccessError(
                "GOV-611",
                f"the token has no scope {scope}",
                f"use a token with that scope: `governance token create --scopes {scope}`",
            )
        return caller

    return permitted
