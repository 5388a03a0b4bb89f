"""What each kind of action is called, who it names, and what it was about, in a line without a person's data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from governance.audit.declarations import items, part, words
from governance.audit.system_activity import Action

_NOBODY = frozenset({"admin:cli", "evidence:pipeline", "evidence:broker", "rights:cli"})
"""Senders that stand for a program whoever used it."""


@dataclass(frozen=True, slots=True)
class ActionKind:
    """``actor`` and ``reason`` are the members that say who and why; ``person``: people do it, at hours of theirs.

    ``about`` says of an action what it was done to.
    """

    title: str
    about: Callable[[Mapping[str, Any]], str | None]
    actor: str | None = None
    reason: str | None = None
    person: bool = False


def _text(said: Mapping[str, Any], *names: str) -> str | None:
    found = [words(said, name) for name in names]
    return " ".join(each for each in found if each) or None


def _version(said: Mapping[str, Any]) -> str | None:
    dataset, purpose = words(said, "dataset"), words(said, "purpose")
    return f"{dataset} for {purpose}" if dataset and purpose else dataset or purpose


def _read(said: Mapping[str, Any]) -> str | None:
    opened = ", ".join(str(column) for column in items(said, "detokenized"))
    return f"{_version(said)}, tokens opened in {opened}" if opened else _version(said)


def _keys(said: Mapping[str, Any]) -> str | None:
    about, operation = _version(said), words(said, "operation")
    return f"{about} ({operation})" if about and operation else about or operation


def _disclosure(said: Mapping[str, Any]) -> str | None:
    return f"{_version(said)} to {words(part(said, 'recipient'), 'name')}"


def _looked_up(said: Mapping[str, Any]) -> str | None:
    what = part(said, "what")
    # A pseudonym that was asked for stands in the entry; it has no place in a report.
    return _text(what, "kind", "report", "domain")


def _requests(said: Mapping[str, Any]) -> str | None:
    return ", ".join(str(name) for name in items(said, "requests")) or _text(said, "request")


def _step(said: Mapping[str, Any]) -> str | None:
    return _text(said, "request", "step")


def _token(said: Mapping[str, Any]) -> str | None:
    scopes = ", ".join(str(scope) for scope in items(said, "scopes"))
    name = words(said, "name") or words(said, "id")
    return f"{name} ({scopes})" if name and scopes else name


def _column(said: Mapping[str, Any]) -> str | None:
    to = words(said, "to") or "nothing"
    return f"{words(part(said, 'dataset'), 'name')}.{words(said, 'column')} to {to}"


def _report(said: Mapping[str, Any]) -> str | None:
    period = part(said, "period")
    days = f"{str(period.get('from'))[:10]} to {str(period.get('to'))[:10]}"
    return f"{words(part(said, 'report'), 'kind')}, {days}"


def _entry(said: Mapping[str, Any]) -> str | None:
    return f"entry {said['index']}" if isinstance(said.get("index"), int) else None


def _nothing(_: Mapping[str, Any]) -> str | None:
    return None


KINDS: Mapping[str, ActionKind] = MappingProxyType(
    {
        "subject_or_body_looked_up": ActionKind(
            "Subjects, bodies of entries and reports looked up", _looked_up, "caller", "reason", person=True
        ),
        "version_read": ActionKind("Released versions read", _read),
        "keys_asked_for": ActionKind("Keys asked of the key broker", _keys, "workload", "reason"),
        "disclosure": ActionKind("Disclosures", _disclosure),
        "release": ActionKind("Releases", _version),
        "release_approved": ActionKind("Releases approved", _version, "approver", "reason", person=True),
        "erasure_step": ActionKind("Steps of erasures", _requests),
        "erasure_approved": ActionKind("Erasures approved", _nothing, "approver", person=True),
        "subject_suppressed": ActionKind("Subjects suppressed", _requests),
        "tombstone_replayed": ActionKind("Tombstones replayed after a restore", _requests),
        "subject_readmitted": ActionKind(
            "Erased subjects readmitted", lambda s: _text(s, "request"), "by", "reason", person=True
        ),
        "request_step": ActionKind("Steps of subjects' requests", _step, "by", "reason", person=True),
        "classification_corrected": ActionKind(
            "Classifications corrected", _column, "by", "because", person=True
        ),
        "policy_recorded": ActionKind("Policies recorded", _nothing),
        "contract_recorded": ActionKind("Contracts recorded", _nothing),
        "consent_imported": ActionKind("Consent imported", _nothing),
        "token_made": ActionKind("Tokens made", _token, person=True),
        "token_revoked": ActionKind("Tokens revoked", _token, person=True),
        "keys_managed": ActionKind(
            "Keys rotated, moved or destroyed", lambda s: _text(s, "action"), person=True
        ),
        "entry_redacted": ActionKind("Entries redacted", _entry, reason="ground", person=True),
        "report_signed_off": ActionKind("Reports signed off", _report, "reviewer"),
        "refusal_observed_only": ActionKind(
            "Refusals that were observed and not enforced", lambda s: _text(s, "dataset", "stage")
        ),
        "rows_landed": ActionKind("Rows landed by tasks", _version),
        "quarantine_expired": ActionKind("Quarantined rows removed", lambda s: _text(s, "dataset")),
        "pointer_restored": ActionKind("Pointers restored", lambda s: _text(s, "dataset")),
        "model_trained": ActionKind("Models trained", lambda s: _text(s, "model")),
        "membership_expired": ActionKind("Membership of old disclosures destroyed", _nothing),
        "clock_ran_out": ActionKind("Statutory clocks that ran out", lambda s: _text(s, "clock")),
        "storage_listed": ActionKind("Storage held against the log", _nothing),
        "log_archived": ActionKind("Bodies archived", _nothing),
        "log_pruned": ActionKind("Bodies pruned", _nothing),
        "log_timestamped": ActionKind("Log timestamped", _nothing),
        "log_key_rotated": ActionKind("Log's key rotated", _nothing),
        "claimed_evidence": ActionKind("Evidence claimed and not proven", lambda s: _text(s, "claimed")),
        "task": ActionKind("Tasks that failed", lambda s: _text(s, "job")),
        "other_entry": ActionKind("Entries of other kinds", _nothing),
    }
)
"""Every kind of action, in the order of a review: access first, upkeep of the log last."""


def actor_of(action: Action) -> str | None:
    """Who did it: whom the entry names, else its sender where that is somebody's token; ``None`` if nobody is named."""
    kind = KINDS[action.kind]
    if kind.actor is not None and (named := words(action.said, kind.actor)):
        return named
    if action.kind == "keys_asked_for":
        identity = part(action.said, "identity")
        return words(identity, "subject") or words(identity, "token_id")
    return None if action.principal in _NOBODY else action.principal.partition(":")[2]
