"""The decision for one standing, written to be read beside the law.

This is the only place that says who may go. :mod:`governance.consent.snapshot` tabulates it once for
every standing there is and looks rows up.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose

OBJECTABLE = frozenset({"public_task", "legitimate_interests"})
"""Lawful bases an objection stops: GDPR Art. 21(1) with Art. 6(1)(e) and (f)."""

BASES = OBJECTABLE | {"consent", "contract", "legal_obligation", "vital_interests"}
"""GDPR Art. 6(1)."""

EXPLICIT_CONSENT = "explicit_consent"
"""GDPR Art. 9(2)(a)."""

EXCEPTIONS = frozenset(
    {
        "treatment", "payment", "operations", "research_waiver", "limited_data_set", "public_health",
        "health_oversight",
    }
)  # fmt: skip
"""Uses that need no authorization: 45 CFR 164.506(c), research under a waiver 164.512(i)(1)(i), limited data
sets under an agreement 164.514(e), public health activities 164.512(b), health oversight 164.512(d)."""


class Permission(IntEnum):
    """Where a consent or an authorization stands at an instant."""

    ACTIVE = 0
    NONE = 1
    NOT_YET_VALID = 2
    EXPIRED = 3
    WITHDRAWN = 4


class Standing(NamedTuple):
    """All that a decision knows of a subject, for one purpose at one instant and position."""

    consent: Permission
    authorization: Permission
    restricted: bool
    objected: bool
    opted_out: bool


_CONSENT = {
    Permission.NONE: Reason.NO_CONSENT,
    Permission.NOT_YET_VALID: Reason.CONSENT_NOT_YET_VALID,
    Permission.EXPIRED: Reason.CONSENT_EXPIRED,
    Permission.WITHDRAWN: Reason.CONSENT_WITHDRAWN,
}
_AUTHORIZATION = {
    Permission.NONE: Reason.NO_AUTHORIZATION,
    Permission.NOT_YET_VALID: Reason.AUTHORIZATION_NOT_YET_VALID,
    Permission.EXPIRED: Reason.AUTHORIZATION_EXPIRED,
    Permission.WITHDRAWN: Reason.AUTHORIZATION_REVOKED,
}


def decision(standing: Standing, applicable: Regime, purpose: Purpose, *, special_category: bool) -> Reason:
    """Whether a row may go under every applicable regime; the first reason against it, in this order.

    With no applicable regime the row is lawful: the contract names the purpose, and a run for a
    purpose that the contract does not name is refused before any row is read.
    """
    # GDPR Art. 18; 45 CFR 164.522(a). A restriction that was recorded is kept under every law.
    if standing.restricted:
        return Reason.RESTRICTED
    if Regime.GDPR in applicable and (reason := _gdpr(standing, purpose, special_category)):
        return reason
    if Regime.HIPAA in applicable and (reason := _hipaa(standing, purpose)):
        return reason
    # Cal. Civ. Code 1798.120.
    if Regime.CCPA in applicable and purpose.ccpa_opt_out and standing.opted_out:
        return Reason.OPTED_OUT
    return Reason.ALLOWED


def _gdpr(standing: Standing, purpose: Purpose, special_category: bool) -> Reason:
    if purpose.gdpr_basis in OBJECTABLE and standing.objected:
        return Reason.OBJECTED
    if purpose.gdpr_basis not in BASES:
        return Reason.NO_LAWFUL_BASIS
    if special_category and purpose.gdpr_condition is None:
        return Reason.NO_ART_9_CONDITION
    explicit = special_category and purpose.gdpr_condition == EXPLICIT_CONSENT
    if purpose.gdpr_basis == "consent" or explicit:
        # No falling back to another basis after a withdrawal (EDPB 05/2020, 122).
        return _CONSENT.get(standing.consent, Reason.ALLOWED)
    return Reason.ALLOWED


def _hipaa(standing: Standing, purpose: Purpose) -> Reason:
    if purpose.hipaa_ground in EXCEPTIONS:
        return Reason.ALLOWED
    if purpose.hipaa_ground == "authorization":
        return _AUTHORIZATION.get(standing.authorization, Reason.ALLOWED)
    return Reason.NO_LAWFUL_BASIS
