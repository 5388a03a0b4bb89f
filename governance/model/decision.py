"""Row decisions about consent."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Regime(IntFlag):
    """The laws that apply to a row; every one of them must allow."""

    NONE = 0
    GDPR = 1
    HIPAA = 2
    CCPA = 4


class Reason(IntEnum):
    """Why a row may or may not go. ``ALLOWED`` is the only pass."""

    ALLOWED = 0
    NO_SUBJECT = 1
    UNKNOWN_JURISDICTION = 2
    NO_CONSENT = 3
    CONSENT_NOT_YET_VALID = 4
    CONSENT_EXPIRED = 5
    CONSENT_WITHDRAWN = 6
    RESTRICTED = 7
    OBJECTED = 8
    NO_ART_9_CONDITION = 9
    NO_LAWFUL_BASIS = 10
    NO_AUTHORIZATION = 11
    AUTHORIZATION_NOT_YET_VALID = 12
    AUTHORIZATION_EXPIRED = 13
    AUTHORIZATION_REVOKED = 14
    OPTED_OUT = 15
    ERASED = 16

    @property
    def label(self) -> str:
        return self.name.lower()
