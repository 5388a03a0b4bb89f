"""ISO/IEC TS 27560 consent records, as JSON-LD in the W3C Data Privacy Vocabulary or as plain JSON.

Keys are read by their last part, so ``dpv:hasPurpose`` and ``https://w3id.org/dpv#hasPurpose`` are the
same. Nothing is fetched: a context is not resolved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa

from governance.consent.actions import Action
from governance.model.canonical import instant, timestamp

STATES: Mapping[str, Action | None] = {
    **dict.fromkeys(("given", "ConsentGiven", "RenewedConsentGiven"), Action.GRANT),
    **dict.fromkeys(
        ("withdrawn", "ConsentWithdrawn", "revoked", "ConsentRevoked", "refused", "ConsentRefused",
         "invalidated", "ConsentInvalidated"),
        Action.WITHDRAW,
    ),
    **dict.fromkeys(("expired", "ConsentExpired"), Action.EXPIRE),
    **dict.fromkeys(("requested", "ConsentRequested", "ConsentRequestDeferred", "ConsentUnknown"), None),
}  # fmt: skip
"""What an event's state does in the ledger; ``None``: nothing."""

GUARDIANS = ("GuardianOfDataSubject", "ParentOfDataSubject", "ParentalResponsibilityHolder")

_FIELDS = ("record_id", "domain", "subject_id", "purpose", "action", "valid_from", "valid_to",
           "collected_at", "notice_version", "given_by")  # fmt: skip


class NotRecords(ValueError):
    """The document is JSON but not consent records. The message holds no value of it."""


def rows_of(document: Any, domain: str | None) -> pa.Table:
    """One row for each purpose and event of each record, in the columns of a consent file.

    Args:
        domain: of the subjects of records that do not state one.

    Raises:
        NotRecords: nothing in it is a consent record, or one lacks what a row needs.
    """
    rows = [
        row for number, record in enumerate(_records(document), 1) for row in _rows(record, number, domain)
    ]
    if not rows:
        raise NotRecords("there is no consent record with an event in it")
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in _FIELDS})


def _records(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, list):
        for entry in document:
            yield from _records(entry)
        return
    if not isinstance(document, dict):
        raise NotRecords("it is neither an object nor a list of objects")
    node = _node(document)
    if "graph" in node:
        yield from (n for n in map(_node, _many(node["graph"])) if "ConsentRecord" in _types(n))
    elif "ConsentRecord" in _types(node) or "ConsentReceipt" in _types(node) or "pii_processing" in node:
        yield node


def _rows(record: dict[str, Any], number: int, domain: str | None) -> Iterator[dict[str, str | None]]:
    head, processing = _node(record.get("record")), _node(record.get("pii_processing"))
    identifier = _text(record.get("hasIdentifier") or record.get("identifier") or head.get("record_id"))
    identifier = identifier or _text(record.get("id"))
    subject = _text(record.get("hasDataSubject") or head.get("pii_principal_id"))
    domain = _text(record.get("domain")) or domain
    purposes = [_purpose(p) for p in _many(record.get("hasPurpose") or processing.get("purposes"))]
    if not (identifier and subject and domain and purposes and all(purposes)):
        raise NotRecords(f"record {number} lacks its identifier, data subject, domain or purpose")
    notice = _text(record.get("hasNotice") or processing.get("privacy_notice"))
    events = [*_many(record.get("hasPart")), *_many(record.get("event")), *_many(record.get("events"))]
    for at, event in enumerate(map(_node, events), 1):
        states = [
            s
            for s in [*_types(event), _local(_text(event.get("state") or event.get("event_state"))) or ""]
            if s in STATES
        ]
        if len(states) != 1:
            raise NotRecords(f"event {at} of record {number} has no state that is known")
        action = STATES[states[0]]
        begins = _text(event.get("date") or event.get("event_time"))
        ends = _ends(begins, event, f"event {at} of record {number}") if action is Action.GRANT else None
        guardian = any(t in GUARDIANS for t in _types(_node(event.get("hasEntity"))))
        for which, purpose in enumerate(purposes, 1):
            if action is not None:
                yield {
                    "record_id": f"{identifier}#{which}.{at}",
                    "domain": domain,
                    "subject_id": subject,
                    "purpose": purpose,
                    "action": action.value,
                    "valid_from": begins,
                    "valid_to": ends,
                    "collected_at": begins,
                    "notice_version": notice,
                    "given_by": "guardian" if guardian else None,
                }


def _ends(begins: str | None, event: dict[str, Any], where: str) -> str | None:
    said = _text(event.get("hasDuration") or event.get("duration") or event.get("validity_duration"))
    if said in (None, "", "0"):
        return None
    try:
        return timestamp(instant(begins or "") + timedelta(seconds=int(said)))
    except (ValueError, OverflowError):
        raise NotRecords(f"{where}: the duration is not a number of seconds after an RFC 3339 time") from None


def _purpose(said: Any) -> str | None:
    node = _node(said)
    name = _text(
        node.get("hasIdentifier") or node.get("identifier") or node.get("purpose") or node.get("title")
    )
    return name or _local(_text(node.get("id")))


def _node(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        return {} if said is None else {"id": said}
    merged: dict[str, Any] = {}
    for key, value in said.items():
        name = _local(key.removeprefix("@")) or key
        # Two vocabularies have a hasPart; both hold events.
        merged[name] = [*_many(merged[name]), *_many(value)] if name in merged else value
    return merged


def _many(said: Any) -> list[Any]:
    return [] if said is None else said if isinstance(said, list) else [said]


def _types(node: Mapping[str, Any]) -> list[str]:
    return [_local(t) or "" for t in _many(node.get("type")) if isinstance(t, str)]


def _text(said: Any) -> str | None:
    values = _many(said)
    if len(values) != 1:
        return None
    value = values[0]
    if isinstance(value, dict):
        value = value.get("@value", value.get("@id"))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _local(name: str | None) -> str | None:
    if name is None:
        return None
    return name.rsplit("#", 1)[-1].rsplit("/", 1)[-1].rsplit(":", 1)[-1]
