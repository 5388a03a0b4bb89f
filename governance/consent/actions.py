"""The vocabulary of the ledger: what a record does, and to which kind of standing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import pyarrow as pa

BACKDATED_AFTER = timedelta(hours=24)
"""A record whose validity starts more than this before it was collected is backdated."""

EVERY_PURPOSE = "*"
"""Stands in ``purpose`` for all of them. Never for a grant or authorization: consent is specific
(GDPR Art. 4(11)), an authorization describes its purpose (45 CFR 164.508(c)(1)(iv))."""


class Action(StrEnum):
    GRANT = "grant"
    WITHDRAW = "withdraw"
    AUTHORIZE = "authorize"
    REVOKE = "revoke"
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    RESTRICT = "restrict"
    UNRESTRICT = "unrestrict"
    OBJECT = "object"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class Kind:
    """A standing that one action opens and another closes.

    ``permits`` tells whether being open is what lets rows go (consent) or what stops them (opt-out).
    """

    name: str
    opens: Action
    closes: Action | None
    permits: bool


CONSENT = Kind("consent", Action.GRANT, Action.WITHDRAW, permits=True)
AUTHORIZATION = Kind("authorization", Action.AUTHORIZE, Action.REVOKE, permits=True)
OPT_OUT = Kind("opt_out", Action.OPT_OUT, Action.OPT_IN, permits=False)
RESTRICTION = Kind("restriction", Action.RESTRICT, Action.UNRESTRICT, permits=False)
OBJECTION = Kind("objection", Action.OBJECT, None, permits=False)

KINDS = (CONSENT, AUTHORIZATION, OPT_OUT, RESTRICTION, OBJECTION)

CLOSING = (*(kind.closes.value for kind in KINDS if kind.closes), Action.EXPIRE.value)
"""``expire`` says that the event came on which a consent or an authorization ends (45 CFR 164.508(c)(1)(v))."""

PERMITTING = (
    *(kind.opens.value for kind in KINDS if kind.permits),
    *(kind.closes.value for kind in KINDS if kind.closes and not kind.permits),
)
"""Actions that can only widen what is lawful. Backdated, they count from their recorded time."""

STAMP = pa.timestamp("us", tz="UTC")
PSEUDONYM = pa.binary(16)

SEGMENT = pa.schema(
    [
        pa.field("record", PSEUDONYM, nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("subject", PSEUDONYM, nullable=False),
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("valid_from", STAMP, nullable=False),
        pa.field("valid_to", STAMP),
        pa.field("collected_at", STAMP, nullable=False),
        pa.field("backdated", pa.bool_(), nullable=False),
        pa.field("notice_version", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("given_by", pa.string()),
        pa.field("defect", pa.string()),
    ]
)
"""The columns of a segment. ``record`` is the salted digest of the record's id, ``subject`` the
internal pseudonym; nothing in it names a person. ``given_by`` is null for the subject. A record with a
``defect`` (:mod:`governance.consent.validity`) permits nothing."""
