"""Audit reports: which kinds there are, making one, reading and saving it, comparing two, verifying a bundle."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from governance.audit.forms import dpv
from governance.errors import AccessError
from governance.server.asked import Auditor, Reason
from governance.server.audit.report_routes import changed, uploaded
from governance.server.audit.reporting import (
    SANDBOX,
    Reporting,
    Wanted,
    checked,
    headers_of,
    kinds,
    need_rights,
    reporting_of,
    take,
    tracing,
)
from governance.server.marquez.asking import Asks
from governance.server.pages.frame import HEADERS, SECURITY, Links, page, page_routes
from governance.server.served import ServedStore

Name = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Kind = Annotated[str, Query(max_length=60)]
_BOUNDARY = re.compile(r'multipart/form-data;.*boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?')
_FIELD = re.compile(rb'content-disposition: form-data; name="([a-z_]{1,40})"', re.IGNORECASE)

LABELS = {
    "dataset": "Dataset, by its name",
    "discovered": "When it was discovered, e.g. 2026-03-05T10:00:00Z",
    "key": "Segment key",
    "request": "Request, by its name in the log",
}
FORMS = (
    ("pdf", "PDF"),
    ("xlsx", "Excel"),
    ("csv", "CSV"),
    ("oscal", "OSCAL, for tools of auditors"),
    ("dpv", "DPV, for tools of privacy officers"),
)
LANGUAGES = (("en", "English"), ("de", "German"), ("fr", "French"), ("es", "Spanish"))


def router(_served: ServedStore) -> APIRouter:
    """The routes. All need the scope `audit`, those about one person `rights` too."""
    routes = page_routes()

    @routes.get("/reports")
    def listed(request: Request, ask: Asks, caller: Auditor) -> Response:
        reporting: Reporting | None = request.app.state.reporting
        return page(
            request,
            "reports.html",
            ask,
            title="Reports",
            kept=None if reporting is None else reporting.seen(caller),
            kinds=kinds(),
            rights="rights" in caller.scopes,
            inside=_inside(request),
        )

    @routes.get("/reports/new")
    def form(request: Request, ask: Asks, caller: Auditor, kind: Kind) -> Response:
        reporting_of(request)
        found = next((one for one in kinds() if one["kind"] == kind), None)
        if found is None:
            raise AccessError("GOV-612", "there is no such kind of report", "take one from the list")
        if found["for_one_subject"]:
            need_rights(caller)
        return page(
            request,
            "report_new.html",
            ask,
            title=f"Make: {found['title']}",
            kind=found,
            labels=LABELS,
            forms=[form for form in FORMS if form[0] != "dpv" or kind in dpv.KINDS],
            languages=LANGUAGES,
        )

    @routes.post("/reports")
    async def make(request: Request, caller: Auditor) -> Response:
        said = parse_qsl((await request.body()).decode("utf-8", "replace"))
        wanted, reason = _wanted(said)
        made = await run_in_threadpool(reporting_of(request).make, caller, wanted, reason, tracing(request))
        return Response(None, 303, {**HEADERS, "location": Links(request).report(made.name)})

    @routes.post("/reports/verify")
    async def verify(request: Request, ask: Asks, _: Auditor) -> Response:
        body = await uploaded(request)
        parts = _parts(request.headers.get("content-type", ""), body)
        key = parts.get("key", b"").decode("utf-8", "replace")[:300]
        older = parts.get("checkpoint", b"").decode("utf-8", "replace").replace("\r\n", "\n").strip("\n")
        verdict, pinned = await run_in_threadpool(
            checked, request, parts.get("bundle", b""), key, f"{older}\n" if older else None
        )
        return page(
            request,
            "report_verdict.html",
            ask,
            title="Verified" if verdict.ok else "Not verified",
            verdict=verdict,
            key=pinned,
            own=not key.strip(),
        )

    @routes.get("/reports/changes")
    def diff(
        request: Request,
        ask: Asks,
        caller: Auditor,
        one: Annotated[str, Query(pattern="^[0-9a-f]{32}$")],
        other: Annotated[str, Query(pattern="^[0-9a-f]{32}$")],
        reason: Reason = "",
    ) -> Response:
        reporting = reporting_of(request)
        found = [reporting.find(caller, name) for name in (one, other)]
        if found[0].personal and not reason.strip():
            return _why(request, ask, "Compare two reports", {"one": one, "other": other})
        return page(
            request,
            "report_changes.html",
            ask,
            title="What changed",
            one=found[0],
            other=found[1],
            changes=changed(request, caller, one, other, reason),
        )

    @routes.get("/reports/{name}")
    def show(request: Request, ask: Asks, caller: Auditor, name: Name, reason: Reason = "") -> Response:
        reporting = reporting_of(request)
        shelved = reporting.find(caller, name)
        if shelved.personal and not reason.strip():
            return _why(request, ask, shelved.title, {})
        same = [one for one in reporting.seen(caller) if one.kind == shelved.kind and one.name != name]
        answer = page(
            request,
            "report.html",
            ask,
            title=shelved.title,
            report=shelved,
            reason=reason,
            same=same,
            inside=_inside(request),
        )
        answer.headers["content-security-policy"] = f"{SECURITY}; frame-src 'self'"
        return answer

    @routes.get("/reports/{name}/{file}")
    def fetch(request: Request, caller: Auditor, name: Name, file: str, reason: Reason = "") -> Response:
        shelved = reporting_of(request).find(caller, name)
        data, headers = take(request, caller, shelved, file, reason), headers_of(shelved, file)
        if file.endswith(".html"):
            headers |= {"content-disposition": "inline", "content-security-policy": SANDBOX}
        return Response(data, headers=headers)

    return routes


def _inside(request: Request) -> bool:
    """Whether Airflow shows the page: it forwards what reads, and nothing that makes."""
    return "x-forwarded-prefix" in request.headers


def _why(request: Request, ask: Asks, title: str, kept: dict[str, str]) -> Response:
    return page(request, "report_why.html", ask, title=title, action=request.url.path, kept=kept)


def _wanted(said: list[tuple[str, str]]) -> tuple[Wanted, str]:
    """What a form asks for, and why; fields left empty are not asked.

    Raises:
        AccessError: GOV-613.
    """
    fields = {name: value.strip() for name, value in said if value.strip()}
    asked = {n.removeprefix("asked."): v for n, v in fields.items() if n.startswith("asked.")}
    size = fields.get("as_of", "")
    if size and not (size.isascii() and size.isdecimal() and len(size) < 19 and int(size)):
        raise AccessError("GOV-613", "as_of is no log size", "write a number, or leave it empty")
    wanted: dict[str, Any] = {name: fields.get(name) for name in ("period", "audience", "subject", "domain")}
    return (
        Wanted(
            kind=fields.get("kind", ""),
            as_of=int(size) if size else None,
            language=fields.get("language", "en"),
            forms=tuple(value for name, value in said if name == "forms"),
            asked=asked,
            **wanted,
        ),
        fields.get("reason", "")[:500],
    )


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """Fields of a form with a file (RFC 7578).

    Raises:
        AccessError: GOV-613 when it is none.
    """
    boundary = _BOUNDARY.fullmatch(content_type)
    fields: dict[str, bytes] = {}
    if boundary is not None:
        mark = b"\r\n--" + boundary[1].encode()
        for part in (b"\r\n" + body).split(mark, 8)[1:]:
            head, blank, value = part.partition(b"\r\n\r\n")
            named = _FIELD.search(head)
            if blank and named is not None:
                fields[named[1].decode()] = value
    if "bundle" not in fields:
        raise AccessError("GOV-613", "no bundle came with the form", "choose the ZIP file of a report")
    return fields
