"""The register of data subjects' requests, as the front page shows it: what is open, and until when by which law."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from governance.errors import SettingError
from governance.model.canonical import parse
from governance.model.clocks import statutory_clock
from governance.model.request import SubjectRequest, take_step
from governance.model.statements import REQUEST
from governance.server.marquez.asking import Asking, Row
from governance.server.served import ServedStore

_STEPS = f"""
    SELECT log_index FROM entries
    WHERE media_type = '{REQUEST}' AND log_index < $as_of AND NOT redacted AND NOT archived ORDER BY log_index
"""


class Register:
    """Requests folded from their steps; what was folded is kept, as long as no step left the log."""

    def __init__(self, served: ServedStore) -> None:
        self._served = served
        self._folding = threading.Lock()
        self._read: list[int] = []
        self._found: dict[str, SubjectRequest] = {}

    def undecided(self, ask: Asking, now: datetime) -> list[Row] | None:
        """Requests without a decision, the most urgent first; ``None`` for who sees only some namespaces.

        A request is filed under a name and says nothing of who asks. One whose law has no such clock any more goes
        first: nobody knows when it is due.
        """
        if ask.caller.namespaces is not None:
            return None
        steps = [row["log_index"] for row in ask.rows(_STEPS)]
        if not ask.present:
            return _open(self._folded({}, steps), now)
        with self._folding:
            if self._read != steps[: len(self._read)]:
                self._read, self._found = [], {}
            self._folded(self._found, steps[len(self._read) :])
            self._read = steps
            return _open(self._found, now)

    def _folded(self, found: dict[str, SubjectRequest], steps: list[int]) -> dict[str, SubjectRequest]:
        for index in steps:
            body = self._served.log.entry(index).body
            if body is not None:
                take_step(found, {**parse(body), "log_index": index})
        return found


def _open(found: dict[str, SubjectRequest], now: datetime) -> list[Row]:
    rows = [_row(request, now) for request in found.values() if request.decision is None]
    return sorted(rows, key=lambda row: (bool(row["law"]), row["due"] is None, row["due"] or now))


def _row(request: SubjectRequest, now: datetime) -> Row:
    row: dict[str, Any] = {
        "request": request.name,
        "kind": request.kind,
        "regime": request.regime,
        "received": request.received_at,
        "identity": request.identity,
        "extended": request.extended is not None,
        "log_index": request.steps[0]["log_index"],
    }
    try:
        clock = statutory_clock(request.regime, request.kind)
    except SettingError:
        return {**row, "law": None, "due": None, "overdue": True, "confirm_by": None, "unconfirmed": False}
    confirm_by = None if request.confirmed_at else clock.confirm_by(request.received_at)
    return {
        **row,
        "law": clock.law,
        "due": request.due_at(),
        "overdue": request.overdue(now),
        "confirm_by": confirm_by,
        "unconfirmed": confirm_by is not None and confirm_by < now,
    }
