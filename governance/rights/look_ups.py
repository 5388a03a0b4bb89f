"""What a report for one person is asked, by its kind: each is looked up in another way."""

from __future__ import annotations

from typing import Any

from governance.pipeline.workspace import Workspace
from governance.rights.access_answer import asked_of
from governance.rights.accounting_answer import accounting_of

ACCOUNTING = "hipaa-528-individual"


def look_up(
    workspace: Workspace, kind: str, domain: str, identifier: str, request: str | None = None
) -> dict[str, Any]:
    """The parameters of a report of that kind. Whoever calls leaves the trace.

    Raises:
        As :func:`asked_of` and :func:`accounting_of`.
    """
    if kind == ACCOUNTING:
        return accounting_of(workspace, domain, identifier, request=request).asked
    return asked_of(workspace, domain, identifier)
