"""What stages proved, in a sentence each: a page's rows of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.lineage.reading import mapping
from governance.server.marquez.asking import Asking, Row


def evidence(ask: Asking, condition: str, **bound: Any) -> list[Row]:
    """Evidence that the caller may see, in log order, each with ``said`` and its facts parsed.

    Args:
        ask: the question.
        condition: SQL over the table ``evidence``, of this package.
        bound: its parameters.
    """
    rows = ask.rows(
        f"FROM evidence WHERE ({condition}) AND log_index < $as_of AND {ask.visible('job_namespace')}"
        " ORDER BY log_index DESC LIMIT 1000",
        **bound,
    )
    # A DAG with more shows its newest, in the order of the log.
    rows.reverse()
    for row in rows:
        row["facts"] = mapping(ask.parsed(row["facts"]))
        row["context"] = mapping(ask.parsed(row["context"]))
        row["said"] = said(row["stage"], row["facts"])
        row["bad"] = _bad(row["stage"], row["facts"])
    return rows


def said(stage: str, facts: Mapping[str, Any]) -> str:
    """What a stage decided. Facts may be anybody's claim, so anything may be missing."""
    match stage:
        case "open":
            contract = mapping(facts.get("contract"))
            return f"contract {contract.get('dataset', '?')} {contract.get('version', '')}, source pinned"
        case "classify":
            columns = _list(facts.get("columns"))
            named = [c for c in columns if c.get("classification") not in (None, "none")]
            return f"{len(named)} of {len(columns)} columns hold personal or sensitive data"
        case "consent":
            return f"{_n(facts.get('allowed'))} of {_n(facts.get('rows'))} rows allowed, {_n(facts.get('denied'))} denied"
        case "protect":
            columns = _list(facts.get("columns"))
            masked = sum(c.get("masking") is True for c in columns)
            dropped = sum(c.get("dropped") is True for c in columns)
            return f"{masked} of {len(columns)} columns masked, {dropped} of them dropped"
        case "validate":
            held = [*_list(facts.get("results")), *_list(facts.get("checks"))]
            passed = sum(one.get("success") is True for one in held)
            return f"{passed} of {len(held)} expectations and checks hold"
        case "release":
            return f"{facts.get('state', '?')}: {_n(facts.get('rows'))} rows"
        case "approve":
            return f"approved by {facts.get('approver', '?')}"
        case "key_grant":
            task = mapping(facts.get("task"))
            where = f" to {task.get('dag_id', '?')}.{task.get('task_id', '?')}" if task else ""
            return f"key {facts.get('state', '?')}{where} for {facts.get('purpose') or 'no purpose'}"
        case "erasure":
            return f"erasure {facts.get('state', '?')}"
        case "disclose":
            recipient = mapping(facts.get("recipient"))
            who = recipient.get("title") or recipient.get("name") or "?"
            return f"{_n(facts.get('rows'))} rows to {who} for {facts.get('purpose', '?')}"
        case _:
            return ""


def _bad(stage: str, facts: Mapping[str, Any]) -> bool:
    if stage == "validate":
        held = [*_list(facts.get("results")), *_list(facts.get("checks"))]
        return any(one.get("success") is not True for one in held)
    if stage == "key_grant":
        return facts.get("state") == "refused"
    return stage == "release" and facts.get("state") not in ("intended", "released")


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [mapping(item) for item in value] if isinstance(value, list) else []


def _n(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"
