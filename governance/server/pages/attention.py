"""What waits for somebody: refusals, versions nobody released yet, and clocks that run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from governance.lineage.reading import mapping
from governance.server.marquez.asking import Asking, Row
from governance.server.pages.proved import evidence

_MOST = 20
_DECIDED = "basis = 'observed' AND stage IN ('validate', 'approve', 'release', 'key_grant')"


def attention(ask: Asking, now: datetime) -> Row:
    """Among the newest thousand decisions: ``exceptions`` and ``waiting``; of all erasures: ``clocks``.

    Only evidence whose signature holds counts: nobody else's claim calls for attention, or takes it away.
    """
    decided = evidence(ask, _DECIDED)
    return {
        "exceptions": [row for row in reversed(decided) if row["bad"]][:_MOST],
        "waiting": _waiting(decided)[:_MOST],
        "clocks": _clocks(evidence(ask, "basis = 'observed' AND stage = 'erasure'"), now)[:_MOST],
    }


def _waiting(decided: Iterable[Row]) -> list[Row]:
    """Versions that passed validation and have neither been approved nor released nor held back since."""
    last: dict[tuple[Any, ...], Row] = {}
    for row in decided:
        if row["stage"] != "key_grant":
            last[row["dataset"], row["version"], row["attempt"]] = row
    waiting = [row for row in last.values() if row["stage"] == "validate" and not row["bad"]]
    return sorted(waiting, key=lambda row: -row["log_index"])


def _clocks(rows: Iterable[Row], now: datetime) -> list[Row]:
    """Requests for erasure that are not done, the most urgent first."""
    asked: dict[str, Row] = {}
    for row in rows:
        facts, requests = row["facts"], mapping(row["context"]).get("requests")
        for request in map(str, requests if isinstance(requests, list) else []):
            if facts.get("state") == "requested" and (due := _instant(facts.get("due_at"))):
                if facts.get("subjects", 0):
                    overdue = due < now.astimezone(UTC)
                    asked[request] = {"request": request, "due": due, "overdue": overdue, **_cited(row)}
            elif facts.get("state") == "searched" and facts.get("complete") is True:
                asked.pop(request, None)
    return sorted(asked.values(), key=lambda one: one["due"])


def _cited(row: Row) -> Row:
    return {"log_index": row["log_index"], "dag_run": row["governed_run_id"]}


def _instant(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None
