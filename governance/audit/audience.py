"""Who a bundle is for: which entries it shows whole, and which only as proved to be there.

What a body may hold is told from its envelope alone, so that whoever has the envelope can check the rule. What no
rule knows may name people. An audience narrows what proves a report, never the report: its rows are the same for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from governance.errors import AuditError
from governance.log.log import (
    CONSENT_BATCH,
    CONTRACT,
    GENESIS,
    KEY_ROTATION,
    OPENLINEAGE_EVENT,
    POLICY,
    TIMESTAMP,
)
from governance.model.statements import LANDING, TRAINED


class Contents(StrEnum):
    """What a body may hold."""

    KEYS = "keys"
    DECLARATIONS = "declarations"
    EVIDENCE = "evidence"
    EVENTS = "events"
    PEOPLE = "people"


WHY: Mapping[Contents, str] = MappingProxyType(
    {
        Contents.KEYS: "the public keys of the log",
        Contents.DECLARATIONS: "policies and contracts: names of staff and of every recipient",
        Contents.EVIDENCE: "evidence of stages and of consent: sources, runs and other disclosures",
        Contents.EVENTS: "events of other producers, which may quote anything",
        Contents.PEOPLE: "requests, tombstones, approvals, look-ups and tokens, which may name people",
    }
)
"""Why the bodies of a kind are withheld: what they may hold."""

_CONTENTS: Mapping[str, Contents] = MappingProxyType(
    {
        GENESIS: Contents.KEYS,
        CONTRACT: Contents.DECLARATIONS,
        POLICY: Contents.DECLARATIONS,
        CONSENT_BATCH: Contents.EVIDENCE,
        KEY_ROTATION: Contents.EVIDENCE,
        LANDING: Contents.EVIDENCE,
        TIMESTAMP: Contents.EVIDENCE,
        TRAINED: Contents.EVIDENCE,
        OPENLINEAGE_EVENT: Contents.EVENTS,
    }
)


@dataclass(frozen=True, slots=True)
class Audience:
    """``gives``: whose bodies it sees. ``senders``: whether envelopes, which name who sent them, are shown too."""

    name: str
    title: str
    gives: frozenset[Contents]
    senders: bool


AUDIENCES: Mapping[str, Audience] = MappingProxyType(
    {
        audience.name: audience
        for audience in (
            Audience("internal", "the organisation itself", frozenset(Contents), True),
            Audience("auditor", "an outside auditor", frozenset(Contents) - {Contents.PEOPLE}, True),
            Audience("regulator", "a supervisory authority", frozenset(Contents) - {Contents.EVENTS}, True),
            Audience("partner", "a recipient or a customer", frozenset({Contents.KEYS}), False),
            Audience("subject", "the person whom the report is about", frozenset({Contents.KEYS}), False),
        )
    }
)
"""Every audience by its name."""

WHOLE, SUBJECT = AUDIENCES["internal"], AUDIENCES["subject"]


def contents(media_type: str, principal: str) -> Contents:
    """What the body of an entry may hold; ``principal`` may be the role alone."""
    if media_type == OPENLINEAGE_EVENT and principal.partition(":")[0] == "evidence":
        return Contents.EVIDENCE
    return _CONTENTS.get(media_type, Contents.PEOPLE)


def audience_of(kind: str, name: str | None, *, personal: bool) -> Audience:
    """The audience of a report: for one person's report that person, else, unless said, the organisation itself.

    Raises:
        AuditError: GOV-804 for an unknown audience, or one that the kind is not for.
    """
    audience = AUDIENCES.get(name or ("subject" if personal else "internal"))
    if audience is None:
        raise AuditError("GOV-804", f"there is no audience {name!r}", f"choose from {', '.join(AUDIENCES)}")
    if personal != (audience is SUBJECT):
        raise AuditError(
            "GOV-804",
            f"{kind} is for one subject, and a bundle for others would show who that is"
            if personal
            else f"{kind} is about more than one subject, and none of them may see the others",
            "leave the audience out" if personal else "choose another audience",
        )
    return audience


def shown_to(record: Mapping[str, Any], audience: Audience) -> dict[str, Any]:
    """A record as an audience is given it: entries it may not see are marked, senders are roles where it sees none.

    The organisation's own is left as it is.
    """
    if audience is WHOLE:
        return dict(record)
    entries, withheld = [], Counter[Contents]()
    for entry in record["entries"]:
        held = contents(entry["media_type"], entry["principal"])
        told = dict(entry)
        if entry["body"] == "present" and held not in audience.gives:
            told["body"] = "withheld"
            withheld[held] += 1
        if not audience.senders:
            told["principal"] = entry["principal"].partition(":")[0]
        entries.append(told)
    counts = {held.value: withheld[held] for held in Contents if withheld[held]}
    stated = {
        "name": audience.name,
        "title": audience.title,
        "senders": "named" if audience.senders else "by role",
        "bodies": len(entries),
        "withheld": sum(counts.values()),
        "by_contents": counts,
    }
    statements = [*record["statements"], _statement(stated)]
    return {**record, "audience": stated, "statements": statements, "entries": entries}


def hides(audience: Audience, entry: Mapping[str, Any]) -> bool:
    """Whether an entry, as a record describes it, is carried by its leaf's hash alone."""
    return not audience.senders and contents(entry["media_type"], entry["principal"]) not in audience.gives


def _statement(stated: Mapping[str, Any]) -> str:
    why = "; ".join(f"{count:,} {WHY[Contents(held)]}" for held, count in stated["by_contents"].items())
    withheld = f"{stated['withheld']:,} of {stated['bodies']:,} bodies are withheld ({why})" if why else ""
    return (
        f"Made for {stated['title']} (audience {stated['name']}): {withheld or 'no body is withheld'}. A withheld "
        "entry is proved to be under the checkpoint; that it says what the report says rests on the operator's "
        "signature."
    )
