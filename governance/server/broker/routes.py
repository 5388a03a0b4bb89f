"""`/api/v1/keys`: the key broker over HTTP. Bodies and answers hold key material only as HPKE made it unreadable."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Scope

from governance.errors import AccessError
from governance.model.key_grant import Claim, Operation, TaskTry
from governance.server.answers import REFUSALS
from governance.server.broker.rules import Asker, Wanted
from governance.server.token_routes import Administrator

if TYPE_CHECKING:
    from governance.server.broker.broker import Broker

PREFIX = "/api/v1/keys"
LARGEST = 24 << 20
"""Bytes of one request: a manifest of some ten thousand segments, in base64."""

_MOST = 256
_DIGEST = "^sha256:[0-9a-f]{64}$"
_NAME = "^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$"
_Key = Annotated[str, Field(pattern=r"^seg\.[A-Za-z0-9_-]{1,128}\.[A-Za-z0-9_-]{1,128}$")]
_Label = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
_Shown = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,250}$")]
_REFUSED: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    403: {"description": "Refused; the refusal is in the log, `error` says why."},
    404: {"description": "This server holds no keys, or there is no such grant."},
    410: {"description": "The key was destroyed, or never was."},
    413: {"description": "The body is too large, or its length is not stated."},
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Task(_Strict):
    """The Airflow try that asks."""

    dag_id: _Shown
    run_id: _Shown
    task_id: _Shown
    map_index: int = Field(ge=-1, le=2**31)
    try_number: int = Field(ge=0, le=2**31)


class Asked(_Strict):
    """What a grant is asked for."""

    operation: Operation
    dataset: str = Field(pattern="^[a-z][a-z0-9_]{0,62}$")
    purpose: str = Field(pattern="^[a-z][a-z0-9_]{0,126}$")
    contract_digest: str = Field(pattern=_DIGEST)
    policy_digest: str = Field(pattern=_DIGEST)
    version: str = Field(pattern="^v[0-9a-f]{24}$")
    attempt: str = Field(pattern="^[0-9a-f]{8,64}$")
    recipient: str | None = Field(None, pattern="^[a-z][a-z0-9-]{0,126}$")
    public_key: str = Field(
        pattern="^[A-Za-z0-9+/]{43}=$",
        description="X25519, made for this grant; what is released is sealed to it.",
    )
    task: Task | None = Field(None, description="Confirmed with Airflow where a bearer token asks.")


class NewKey(_Strict):
    """A segment's key that is to be made; again it is the same."""

    segment_id: str = Field(pattern=_NAME)
    sensitivity: str = Field(pattern=_NAME)


class Keys(_Strict):
    """Keys and derived secrets that the grant has to do with."""

    create: list[NewKey] = Field(default=[], max_length=_MOST)
    keys: list[_Key] = Field(default=[], max_length=_MOST)
    labels: list[_Label] = Field(default=[], max_length=_MOST)
    run_key: bool = False


class Signed(_Strict):
    """What is to be signed, in base64."""

    data: str = Field(max_length=LARGEST)


def _present(request: Request) -> Broker:
    broker: Broker | None = request.app.state.broker
    if broker is None:
        raise AccessError(
            "GOV-612",
            "this server is no key broker",
            "ask the one that was started with `governance serve --broker FILE`",
        )
    return broker


def _asking(request: Request) -> Asker:
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    return _present(request).asker(token.strip() if scheme.lower() == "bearer" else "")


Caller = Annotated[Asker, Depends(_asking)]
if TYPE_CHECKING:
    Brokered: TypeAlias = Broker
else:
    # Its module loads what a server that is no broker does without.
    Brokered = Annotated[Any, Depends(_present)]
Grant = Annotated[str, Path(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


def too_large(scope: Scope) -> bool:
    """Whether a request to the broker says that it brings more than is read, or does not say how much."""
    if not scope["path"].removeprefix(scope.get("root_path", "")).startswith(PREFIX):
        return False
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return len(lengths) != 1 or not lengths[0].isdigit() or int(lengths[0]) > LARGEST


def router() -> APIRouter:
    """The routes of the broker; a server that is none answers 404."""
    routes = APIRouter(prefix=PREFIX, tags=["keys"], responses=_REFUSED)

    @routes.get("")
    def public(broker: Brokered, _: Caller) -> dict[str, str]:
        """The public keys that verify evidence and checkpoints."""
        return broker.public_keys()

    @routes.post("/checkpoint")
    def checkpoint(broker: Brokered, _: Caller) -> dict[str, str]:
        """A signed checkpoint over the log as it is now."""
        return {"checkpoint": broker.checkpoint()}

    @routes.post("/grants", status_code=201)
    def grant(broker: Brokered, caller: Caller, asked: Annotated[Asked, Body()]) -> dict[str, Any]:
        """Ask for a grant: one operation on one version of a dataset, for one purpose."""
        said = asked.model_dump(exclude={"public_key", "task"})
        task = None if asked.task is None else TaskTry(**asked.task.model_dump())
        return broker.grant(caller, Claim(**said), asked.public_key, task)

    @routes.post("/grants/{grant_id}/keys")
    def release(
        broker: Brokered, caller: Caller, grant_id: Grant, wanted: Annotated[Keys, Body()], response: Response
    ) -> dict[str, str]:
        """Ask for keys under a grant. They come sealed to the grant's public key and signed."""
        response.headers["cache-control"] = "no-store"
        return broker.release(
            caller,
            grant_id,
            Wanted(
                create=tuple((new.segment_id, new.sensitivity) for new in wanted.create),
                keys=tuple(wanted.keys),
                labels=tuple(wanted.labels),
                run_key=wanted.run_key,
            ),
        )

    @routes.post("/grants/{grant_id}/signatures")
    def sign(
        broker: Brokered, caller: Caller, grant_id: Grant, signed: Annotated[Signed, Body()]
    ) -> dict[str, str]:
        """Have an opening, a manifest or a disclosure signed by the evidence key."""
        try:
            data = base64.b64decode(signed.data, validate=True)
        except (binascii.Error, ValueError):
            raise AccessError(
                "GOV-613", "what is to be signed is not base64", "send the bytes in base64"
            ) from None
        return broker.sign(caller, grant_id, data)

    @routes.get("/grants")
    def live(broker: Brokered, _: Administrator) -> dict[str, Any]:
        """The grants that live now. Needs the scope `admin`."""
        return {"grants": broker.live()}

    @routes.delete("/grants/{grant_id}", status_code=204)
    def revoke(broker: Brokered, grant_id: Grant, caller: Administrator) -> None:
        """End a grant, at once on every server of this store. Needs the scope `admin`."""
        broker.revoke(grant_id, caller.principal("admin"))

    return routes
