"""`/api/v1/audit/reports`: reports made, listed, fetched, compared and verified over HTTP."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Scope

from governance.errors import AccessError
from governance.server.answers import REFUSALS
from governance.server.asked import Auditor, Reason
from governance.server.audit.reporting import (
    Wanted,
    checked,
    described,
    headers_of,
    kinds,
    reporting_of,
    take,
    tracing,
)
from governance.server.ingest.request_body import Disconnected

PREFIX = "/api/v1/audit/reports"
PAGES = "/pages/reports"
_UPLOADS = ("/verify",)
_LARGEST = 64 << 10

Name = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="As the list of reports has it.")]
Key = Annotated[str, Query(max_length=300, description="The log's public key; default: this service's own.")]
Text = Annotated[str, Field(min_length=1, max_length=500)]
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such report or file, or this service serves no home."}
}
_ZIP = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_LARGE: dict[int | str, dict[str, Any]] = {413: {"description": "Larger than is read."}}


class NewReport(BaseModel):
    """A report that is wanted; what may be asked of a kind is at ``kinds``."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(max_length=60)
    reason: str = Field(max_length=500, description="Why; it stands in the log, with your name.")
    as_of: int | None = Field(None, ge=1, le=2**62, description="A log size. Default: now.")
    period: str | None = Field(None, max_length=40, description="Two days: 2026-01-01/2026-06-30.")
    audience: str | None = Field(None, max_length=40)
    language: str = Field("en", max_length=5)
    forms: list[Annotated[str, Field(max_length=20)]] = Field([], max_length=10)
    asked: dict[Text, Text] = Field({}, max_length=10)
    subject: Text | None = Field(None, description="For kinds that are for one person: the identifier.")
    domain: Text | None = Field(None, description="Whose identifier it is.")


def uploads(scope: Scope) -> bool:
    """Whether a request brings a bundle or the like, which is read by :func:`uploaded`."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith((PREFIX, PAGES)) and path.endswith(_UPLOADS)


def too_large(scope: Scope) -> bool:
    """Whether a request for a report brings more than is read, or does not say how much; uploads are read apart."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if not path.startswith((PREFIX, PAGES)) or uploads(scope):
        return False
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return len(lengths) != 1 or not lengths[0].isdigit() or int(lengths[0]) > _LARGEST


async def uploaded(request: Request) -> bytes:
    """What somebody sends, as large as the server reads and not larger.

    Raises:
        AccessError: GOV-613, GOV-614, GOV-615. LogError: GOV-510 when too much is being read.
    """
    try:
        body: bytes = await request.app.state.reader.read(request.scope["headers"], request.receive)
    except Disconnected:
        raise AccessError("GOV-613", "the request ended too early", "send it again") from None
    return body


def router() -> APIRouter:
    """The routes. All need the scope `audit`, those about one person `rights` too."""
    routes = APIRouter(prefix=PREFIX, tags=["reports"], responses=REFUSALS)

    @routes.get("/kinds")
    def every_kind(_: Auditor) -> dict[str, Any]:
        """Every kind of report: what it answers to, what may be asked of it, whom it may be for."""
        return {"kinds": kinds()}

    @routes.get("", responses={**_UNKNOWN})
    def kept(request: Request, caller: Auditor) -> dict[str, Any]:
        """Reports that were made, the newest first. Those for one person are shown to the scope `rights`."""
        return {"reports": [described(one) for one in reporting_of(request).seen(caller)]}

    @routes.post(
        "",
        status_code=201,
        responses={**_UNKNOWN, **_LARGE, 501: {"description": "A form's library is not installed."}},
    )
    def make(request: Request, caller: Auditor, wanted: Annotated[NewReport, Body()]) -> dict[str, Any]:
        """Make a report with its bundle and keep it. That you did, and why, becomes an entry of the log."""
        said = wanted.model_dump(exclude={"reason"}) | {"forms": tuple(wanted.forms)}
        made = reporting_of(request).make(caller, Wanted(**said), wanted.reason, tracing(request))
        return described(made)

    @routes.post(
        "/verify",
        openapi_extra=_ZIP,
        responses={**_LARGE, 415: {"description": "Another encoding than gzip."}},
    )
    async def verify(request: Request, _: Auditor, key: Key = "") -> dict[str, Any]:
        """Check a bundle: whether it holds under the key, what was checked, and what cannot be known."""
        verdict, pinned = await run_in_threadpool(checked, request, await uploaded(request), key)
        return verdict.to_json() | {"key": pinned}

    @routes.get("/{name}", responses={**_UNKNOWN})
    def one(request: Request, caller: Auditor, name: Name) -> dict[str, Any]:
        """What is kept of a report: when it was made, as of which log size, its counts and its files."""
        return described(reporting_of(request).find(caller, name))

    @routes.get("/{name}/changes/{other}", responses={**_UNKNOWN})
    def diff(
        request: Request, caller: Auditor, name: Name, other: Name, reason: Reason = ""
    ) -> dict[str, Any]:
        """What changed from one report to another of its kind, in words."""
        return {"changes": changed(request, caller, name, other, reason)}

    @routes.get(
        "/{name}/files/{file}",
        response_class=Response,
        responses={**_UNKNOWN, 200: {"content": {"application/octet-stream": {}}}},
    )
    def fetch(
        request: Request,
        caller: Auditor,
        name: Name,
        file: Annotated[str, Path(max_length=100)],
        reason: Reason = "",
    ) -> Response:
        """A file of a report. The bundle, the PDF it is attached to, and what is for one person need a reason."""
        shelved = reporting_of(request).find(caller, name)
        return Response(take(request, caller, shelved, file, reason), headers=headers_of(shelved, file))

    return routes


def changed(request: Request, caller: Auditor, name: str, other: str, reason: str) -> list[str]:
    """What changed between two kept reports.

    Raises:
        AccessError: GOV-611, GOV-612, GOV-613. AuditError: GOV-804 when they are of two kinds.
    """
    from governance.audit.reading import changes
    from governance.audit.shelf import RECORD_FILE

    reporting = reporting_of(request)
    found = [reporting.find(caller, each) for each in (name, other)]
    records = [json.loads(take(request, caller, each, RECORD_FILE, reason)) for each in found]
    return list(changes(*records))
