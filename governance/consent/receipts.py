"""Consent receipts: what a person gave and took back, and which dataset versions stand on it.

ISO/IEC TS 27560:2023 as JSON-LD in the W3C Data Privacy Vocabulary. The importer reads what is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from governance.consent.actions import Action
from governance.consent.explain import Explanation
from governance.model.canonical import canonical, digest, timestamp
from governance.model.decision import Reason
from governance.model.policy import Purpose

_CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "governance": "urn:governance:consent#",
}
_STATES = {
    Action.GRANT: "dpv:ConsentGiven",
    Action.WITHDRAW: "dpv:ConsentWithdrawn",
    Action.EXPIRE: "dpv:ConsentExpired",
}
_BASES = {
    "consent": "dpv:Consent",
    "contract": "dpv:Contract",
    "legal_obligation": "dpv:LegalObligation",
    "vital_interests": "dpv:VitalInterest",
    "public_task": "dpv:PublicInterest",
    "legitimate_interests": "dpv:LegitimateInterest",
}


@dataclass(frozen=True, slots=True)
class CoveredVersion:
    """A released version that holds rows of the subject; ``manifest`` is its manifest's digest."""

    dataset: str
    version: str
    manifest: str
    consent_position: int
    opened_at: datetime


def receipt(
    explanation: Explanation,
    *,
    subject: str,
    domain: str,
    purpose: Purpose,
    controller: str,
    position: int,
    issued_at: datetime,
    covered: Sequence[CoveredVersion],
) -> dict[str, Any]:
    """The receipt of one subject and purpose; ``governance:digest`` is over all the rest (RFC 8785).

    It names the subject, because it is for the subject: it is handed out and not kept.
    """
    events = [
        {
            "@type": [_STATES[Action(line.action)], "dpv:ExplicitlyExpressedConsent"],
            "dct:date": timestamp(line.valid_from),
            **(
                {"dpv:hasDuration": (line.valid_to - line.valid_from) // timedelta(seconds=1)}
                if line.valid_to
                else {}
            ),
            **({"dpv:hasNotice": line.notice_version} if line.notice_version else {}),
            **({"dpv:hasEntity": {"@type": "dpv:GuardianOfDataSubject"}} if line.given_by else {}),
            "governance:recorded": {
                "position": line.position,
                "log_index": line.log_index,
                "at": timestamp(line.recorded_at),
                "backdated": line.backdated,
                "counts": line.defect is None,
            },
        }
        for line in explanation.records
        if line.action in _STATES
    ]
    allowed = explanation.reasons["gdpr"] is Reason.ALLOWED
    body: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": ["dpv:ConsentRecord", "dpv:ConsentReceipt"],
        "governance:schema": "ISO/IEC TS 27560:2023",
        "governance:domain": domain,
        "dpv:hasDataSubject": subject,
        "dpv:hasDataController": controller,
        "dpv:hasPurpose": {
            "@type": "dpv:Purpose",
            "dct:identifier": purpose.name,
            "dct:description": purpose.description,
            "dpv:hasLegalBasis": {"@id": _BASES.get(purpose.gdpr_basis or "", "dpv:LegalBasis")},
        },
        "dpv:hasPart": events,
        "governance:standing": {
            "consent": explanation.standing.consent.name.lower(),
            "allowed": allowed,
            "as_of": timestamp(issued_at),
            "position": position,
        },
        "governance:covers": [
            {
                "dataset": one.dataset,
                "version": one.version,
                "manifest": one.manifest,
                "consent_position": one.consent_position,
                "decided_as_of": timestamp(one.opened_at),
            }
            for one in covered
        ],
        "dct:issued": timestamp(issued_at),
    }
    body["dpv:hasIdentifier"] = digest(canonical(body)).removeprefix("sha256:")[:32]
    return {**body, "governance:digest": digest(canonical(body))}
