"""Who may ask: bearer tokens, scopes, namespaces, as FastAPI dependencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.security.utils import get_authorization_scheme_param

from governance.errors import AccessError
from governance.server.tokens import Caller

if TYPE_CHECKING:
    from governance.server.served import ServedStore

COOKIE = "governance_token"
"""Where the pages keep the token of a signed-in reader: HttpOnly, SameSite=Lax, this host only."""


def caller_of(request: Request) -> Caller:
    """The caller that the request's token names.

    Raises:
        AccessError: GOV-610 when there is no valid token.
    """
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer":
        token = request.cookies.get(COOKIE, "")
    return _known(request.app.state.served, token)


def bearer(served: ServedStore, headers: Iterable[tuple[bytes, bytes]], scopes: Iterable[str]) -> Caller:
    """The caller that raw ASGI headers name, if its token has one of ``scopes``.

    Raises:
        AccessError: GOV-610 without a valid token, GOV-611 without such a scope.
    """
    token = ""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            token = value[7:].decode("latin-1")
    caller = _known(served, token)
    if not caller.scopes.isdisjoint(scopes):
        return caller
    raise _lacks(" or ".join(scopes))


def allow(scope: str) -> Callable[[Request], Caller]:
    """A dependency: the caller, if its token has ``scope``.

    Raises:
        AccessError: GOV-610 without a valid token, GOV-611 without the scope.
    """

    def permitted(request: Request) -> Caller:
        caller = caller_of(request)
        if scope not in caller.scopes:
            raise _lacks(scope)
        return caller

    return permitted


def _known(served: ServedStore, token: str) -> Caller:
    caller = served.tokens.caller(token.strip())
    if caller is None:
        raise AccessError(
            "GOV-610",
            "no valid token came with the request",
            "send Authorization: Bearer TOKEN; `governance token create --scopes read` makes one",
        )
    return caller


def _lacks(scope: str) -> AccessError:
    return AccessError(
        "GOV-611",
        f"the token has no scope {scope}",
        "use a token with that scope; `governance token create --scopes …` makes one",
    )
