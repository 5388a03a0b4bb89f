"""Which reports that were made rest on what a page is about."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Request

from governance.audit.shelf import Shelved
from governance.server.audit.reporting import Reporting
from governance.server.marquez.asking import Asking, Row

_MOST = 10


def reported(request: Request, ask: Asking, rows: Iterable[Row] | None = None) -> list[Shelved] | None:
    """Reports that rest on any of these rows of evidence, or all, the newest first; None for who may not see any."""
    reporting: Reporting | None = request.app.state.reporting
    if reporting is None or "audit" not in ask.caller.scopes or ask.caller.namespaces is not None:
        return None
    shelved = None if rows is None else reporting.shelf.concerning(row["log_index"] for row in rows)
    return reporting.seen(ask.caller, shelved)[:_MOST]
