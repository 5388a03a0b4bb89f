"""Reports for who asks the service: which kinds there are, who may see which, and what of that stands in the log.

Making a report and taking a file that holds bodies of the log leave a trace with a reason, as reading a body does. What
is for one person needs the scope ``rights`` too, and every view of it leaves a trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request

from governance.errors import AccessError, LogError
from governance.server.asked import leave_trace
from governance.server.served import ServedStore
from governance.server.tokens import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governance.audit import Verdict
    from governance.audit.record import ReportKind
    from governance.audit.shelf import Shelved
    from governance.pipeline.workspace import Workspace

_AHEAD_S = 10.0
LOOKED_UP = frozenset({"subject", "versions", "unsure", "disclosures"})
"""Parameters that nobody types: a look-up of the person gives them."""

TYPES: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zip": "application/zip",
}
_CHECKING = threading.Semaphore(2)
SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""The policy of a report's own page: it shows itself and can do nothing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A report that somebody asks for; ``subject`` and ``domain`` only for a kind that is for one person."""

    kind: str
    as_of: int | None = None
    period: str | None = None
    audience: str | None = None
    language: str = "en"
    forms: tuple[str, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    domain: str | None = None


class Reporting:
    """The reports of a served home.

    Args:
        served: the store they are made of.
        workspace: looks people up and signs bundles.
        folder: where they are kept.
    """

    def __init__(self, served: ServedStore, workspace: Workspace, folder: Path) -> None:
        from governance.audit.shelf import Shelf

        self._served = served
        self._workspace = workspace
        self.shelf = Shelf(folder)
        self._making = threading.Semaphore(1)
        served.beside(self._read_ahead, _AHEAD_S)

    def _read_ahead(self, wait: Callable[[float], bool]) -> None:
        from governance.audit.portions.kept_portions import KeptPortions
        from governance.audit.portions.log_reading import read_ahead

        checkpoint, workspace = self._served.checkpoint, self._workspace
        if checkpoint is not None:
            signer = workspace.keyring.evidence_signer
            kept = KeptPortions(workspace.readings, checkpoint.origin, signer)
            read_ahead(self._served.log, checkpoint.size, kept, wait)

    @property
    def key(self) -> str:
        """The log's public key, as this home has it."""
        return self._workspace.vkey

    def make(self, caller: Caller, wanted: Wanted, reason: str, told: Callable[..., int]) -> Shelved:
        """Make a report and keep it.

        Args:
            told: leaves the trace.

        Raises:
            AccessError: GOV-611 for what is for one person without the scope ``rights``, GOV-613 without a reason.
            AuditError: GOV-804 for what the kind does not take. LogError: GOV-510 while another is being made.
            ConsentError: GOV-203 for a person the vault does not know. SettingError: GOV-902.
        """
        kind = _checked(wanted)
        asked: dict[str, Any] = dict(wanted.asked)
        with _in_turn(self._making, "another report is being made"):
            if kind.personal:
                need_rights(caller)
                asked |= self._looked_up(kind, wanted)
            about = {"pseudonym": asked["subject"]} if "subject" in asked else {}
            told(caller, {"kind": "report-made", "report": wanted.kind, **about}, reason)
            return self.shelf.put(
                self._workspace,
                wanted.kind,
                by=caller.principal("audit"),
                at=self._served.clock(),
                as_of=wanted.as_of,
                period=wanted.period,
                asked=asked,
                forms=wanted.forms,
                language=wanted.language,
                audience=wanted.audience,
            )

    def _looked_up(self, kind: ReportKind, wanted: Wanted) -> dict[str, Any]:
        from governance.rights.look_ups import look_up

        if not wanted.subject or not wanted.domain:
            raise AccessError("GOV-613", f"{kind.kind} is for one person", "state `subject` and `domain`")
        request = wanted.asked.get("request")
        found = look_up(
            self._workspace,
            kind.kind,
            wanted.domain,
            wanted.subject,
            request if isinstance(request, str) else None,
        )
        return {name: value for name, value in found.items() if name in kind.parameters}

    def seen(self, caller: Caller, shelved: Iterable[Shelved] | None = None) -> list[Shelved]:
        """What a caller may see of these, or of all that are kept, the newest first."""
        rights = "rights" in caller.scopes
        return [
            one for one in (self.shelf.listed() if shelved is None else shelved) if rights or not one.personal
        ]

    def find(self, caller: Caller, name: str) -> Shelved:
        """A report.

        Raises:
            AccessError: GOV-612 when there is none, GOV-611 for one that is for one person without ``rights``.
        """
        found = self.shelf.find(name)
        if found is None:
            raise _unknown("report")
        if found.personal:
            need_rights(caller)
        return found


def checked(
    request: Request, bundle: bytes, key: str, older: str | None = None
) -> tuple[Verdict, str | None]:
    """Check a bundle that somebody brought, under ``key`` or else this service's own; and the key it was.

    Raises:
        AuditError: GOV-801 when it is none. LogError: GOV-506 for the key, GOV-510 while others are checked.
    """
    from governance.audit import verify_bundle

    reporting: Reporting | None = request.app.state.reporting
    pinned = key.strip() or (None if reporting is None else reporting.key)
    with _in_turn(_CHECKING, "other bundles are being checked"):
        return verify_bundle(bundle, pinned, older_checkpoint=older), pinned


def reporting_of(request: Request) -> Reporting:
    """The service's reports.

    Raises:
        AccessError: GOV-612 where a store is served without a home.
    """
    found: Reporting | None = request.app.state.reporting
    if found is None:
        raise AccessError(
            "GOV-612",
            "this service makes and keeps no reports",
            "serve a governance home: `governance serve --home`",
        )
    return found


def tracing(request: Request) -> Callable[[Caller, Mapping[str, Any], str], int]:
    """Leaves traces of one request. Airflow, which asks in its own name, says for whom it does."""
    served: ServedStore = request.app.state.served
    user = request.headers.get("x-governance-user", "")

    def told(caller: Caller, what: Mapping[str, Any], reason: str) -> int:
        asked_for = {"said_to_be_for": user[:200]} if user and user.isprintable() else {}
        return leave_trace(served, caller, {**what, **asked_for}, reason)

    return told


def take(request: Request, caller: Caller, shelved: Shelved, file: str, reason: str) -> bytes:
    """A file of a report, with the trace that it needs.

    Raises:
        AccessError: GOV-612 when there is none, GOV-613 when a reason is needed and none is stated.
    """
    from governance.audit.shelf import HOLD_BODIES

    if file not in shelved.files:
        raise _unknown("file")
    if shelved.personal or file.endswith(HOLD_BODIES):
        about = {"report": shelved.kind, "name": shelved.name, "file": file}
        tracing(request)(caller, {"kind": "report", **about}, reason)
    return shelved.read(file)


def headers_of(shelved: Shelved, file: str) -> dict[str, str]:
    """What goes along with a file."""
    return {
        "content-type": TYPES.get(file.rpartition(".")[2], "application/octet-stream"),
        "content-disposition": f'attachment; filename="{saved_as(shelved, file)}"',
        "content-security-policy": SANDBOX,
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-store",
    }


def saved_as(shelved: Shelved, file: str) -> str:
    """The name under which a file is saved."""
    whom = "" if shelved.audience == "internal" else f"-{shelved.audience}"
    return f"{shelved.kind}{whom}-{shelved.size}{file.removeprefix('report')}"


def kinds() -> list[dict[str, Any]]:
    """Every kind of report, with what may be asked of it."""
    from governance.audit import REPORTS
    from governance.audit.audience import AUDIENCES

    return [
        {
            "kind": kind.kind,
            "title": kind.title,
            "law": kind.law,
            "period": kind.takes_period,
            "parameters": sorted(kind.parameters - LOOKED_UP),
            "for_one_subject": kind.personal,
            "audiences": [name for name in AUDIENCES if (name == "subject") == kind.personal],
        }
        for kind in REPORTS.values()
    ]


def described(shelved: Shelved) -> dict[str, Any]:
    """A kept report as JSON."""
    names = ("name", "kind", "title", "size", "made_at", "made_by", "audience", "verdict", "asked", "period")
    return {name: getattr(shelved, name) for name in names} | {
        "for_one_subject": shelved.personal,
        "files": shelved.files,
    }


def need_rights(caller: Caller) -> None:
    """Refuse who does not act for data subjects.

    Raises:
        AccessError: GOV-611.
    """
    if "rights" not in caller.scopes:
        raise AccessError(
            "GOV-611",
            "this is for one person, and the token has no scope rights",
            "use a token with the scopes audit and rights",
        )


def _unknown(what: str) -> AccessError:
    return AccessError("GOV-612", f"there is no such {what}", "take it from the list of reports")


def _checked(wanted: Wanted) -> ReportKind:
    """The kind, once it is known that it takes what is asked: what is refused leaves no trace."""
    from governance.audit.audience import audience_of
    from governance.audit.forms import form
    from governance.audit.languages import words
    from governance.audit.record import read_asked, read_period
    from governance.audit.registry import report_kind

    kind = report_kind(wanted.kind)
    if looked_up := LOOKED_UP & set(wanted.asked):
        raise AccessError(
            "GOV-613", f"{min(looked_up)} is found by a look-up", "state `subject` and `domain` instead"
        )
    read_asked(kind, wanted.asked)
    read_period(wanted.period)
    audience_of(wanted.kind, wanted.audience, personal=kind.personal)
    words(wanted.language)
    for name in wanted.forms:
        form(name)
    if (wanted.subject or wanted.domain) and not kind.personal:
        raise AccessError("GOV-613", f"{kind.kind} is for nobody in particular", "leave the person out")
    return kind


def _in_turn(turn: threading.Semaphore, what: str) -> AbstractContextManager[None]:
    @contextmanager
    def taken() -> Iterator[None]:
        if not turn.acquire(timeout=1.0):
            raise LogError("GOV-510", what, "Ask again in a few seconds.")
        try:
            yield
        finally:
            turn.release()

    return taken()
