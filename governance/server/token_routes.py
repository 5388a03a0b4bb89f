"""`/api/v1/tokens`: tokens made, listed and revoked over HTTP, by administrators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from governance.errors import AccessError
from governance.model.principal import Scope
from governance.server.access import allow
from governance.server.answers import REFUSALS
from governance.server.served import ServedStore
from governance.server.tokens import Caller, create_token, issued_tokens, revoke_token


class NewToken(BaseModel):
    """What a token is to be for."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=63, description="Who will use it; stands in the log.")
    scopes: list[Scope] = Field(min_length=1, max_length=12)
    namespaces: list[Annotated[str, Field(min_length=1, max_length=500)]] | None = Field(
        None, max_length=100, description="Only these; a trailing * matches any rest."
    )
    expires_at: datetime | None = Field(None, description="When it ends; UTC where no zone is given.")


def administrator(request: Request) -> Caller:
    """A caller who may make tokens of any right, which one of some namespaces may not."""
    caller = allow("admin")(request)
    if caller.namespaces is not None:
        raise AccessError(
            "GOV-611",
            "the token sees some namespaces and a new one could see all",
            "use an admin token that was made without --namespace",
        )
    return caller


Administrator = Annotated[Caller, Depends(administrator)]


def router(served: ServedStore) -> APIRouter:
    """The routes about tokens. All need the scope `admin`."""
    routes = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], responses=REFUSALS)

    @routes.get("")
    def issued(_: Administrator) -> dict[str, Any]:
        """Every token ever made: its id, name, rights and end. Never the token."""
        return {"tokens": issued_tokens(served.log)}

    @routes.post("", status_code=201)
    def create(
        caller: Administrator, wanted: Annotated[NewToken, Body()], response: Response
    ) -> dict[str, str]:
        """Make a token. This answer is the only place where it is ever shown."""
        until = wanted.expires_at
        if until is not None:
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            if until <= served.clock():
                raise AccessError(
                    "GOV-613", "the token would end before it begins", "give a later expires_at"
                )
        token = create_token(
            served.log,
            name=wanted.name,
            scopes=wanted.scopes,
            namespaces=wanted.namespaces,
            expires_at=until,
            principal=caller.principal("admin"),
        )
        served.tokens.follow(served.log, served.log.size())
        response.headers["cache-control"] = "no-store"
        return {"id": token.split("_")[1], "token": token}

    @routes.delete(
        "/{token_id}", status_code=204, responses={404: {"description": "There is no such token."}}
    )
    def revoke(token_id: str, caller: Administrator) -> None:
        """End a token, at once here and within a second on every other server of this store."""
        if all(token["id"] != token_id for token in issued_tokens(served.log)):
            raise AccessError("GOV-612", "there is no such token", "take an id from GET /api/v1/tokens")
        revoke_token(served.log, token_id, caller.principal("admin"))
        served.tokens.follow(served.log, served.log.size())

    return routes
