"""What the reports quote of the law: data with its date, because the law moves."""

from __future__ import annotations

from types import MappingProxyType

AS_OF = "2026-01-01"
"""The day on which the tables below were last checked."""

LAWFUL_BASES = MappingProxyType(
    {
        "consent": "Art. 6(1)(a)",
        "contract": "Art. 6(1)(b)",
        "legal_obligation": "Art. 6(1)(c)",
        "vital_interests": "Art. 6(1)(d)",
        "public_task": "Art. 6(1)(e)",
        "legitimate_interests": "Art. 6(1)(f)",
    }
)
"""GDPR Art. 6(1), by the policy's word for it."""

CONDITIONS = MappingProxyType(
    {
        "explicit_consent": "Art. 9(2)(a)",
        "employment": "Art. 9(2)(b)",
        "vital_interests": "Art. 9(2)(c)",
        "not_for_profit": "Art. 9(2)(d)",
        "made_public": "Art. 9(2)(e)",
        "legal_claims": "Art. 9(2)(f)",
        "substantial_public_interest": "Art. 9(2)(g)",
        "health_care": "Art. 9(2)(h)",
        "public_health": "Art. 9(2)(i)",
        "research": "Art. 9(2)(j)",
    }
)
"""GDPR Art. 9(2)."""

SAFEGUARDS = MappingProxyType(
    {
        "adequacy_decision": "Art. 45",
        "standard_contractual_clauses": "Art. 46(2)(c)",
        "binding_corporate_rules": "Art. 46(2)(b), 47",
        "code_of_conduct": "Art. 46(2)(e)",
        "certification": "Art. 46(2)(f)",
        "derogation": "Art. 49",
    }
)
"""GDPR Chapter V: the instruments of a transfer."""

_EEA = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK"

EEA = frozenset(_EEA.split())
"""Members of the European Economic Area (ISO 3166-1); every other country is a third country."""

LOOK_BACK_YEARS = 6
"""45 CFR 164.528(a)(3)."""

NOT_PHI = "not_phi"

EXCLUSIONS = MappingProxyType(
    {
        "treatment": ("164.528(a)(1)(i)", "to carry out treatment"),
        "payment": ("164.528(a)(1)(i)", "to carry out payment"),
        "operations": ("164.528(a)(1)(i)", "to carry out health care operations"),
        "individual": ("164.528(a)(1)(ii)", "to the individual"),
        "incidental": ("164.528(a)(1)(iii)", "incident to a permitted use or disclosure"),
        "authorization": ("164.528(a)(1)(iv)", "pursuant to an authorization"),
        "directory": ("164.528(a)(1)(v)", "for the facility's directory or to persons involved in care"),
        "national_security": ("164.528(a)(1)(vi)", "for national security or intelligence"),
        "correctional": ("164.528(a)(1)(vii)", "to correctional institutions or in custodial situations"),
        "limited_data_set": ("164.528(a)(1)(viii)", "as part of a limited data set"),
        NOT_PHI: ("160.103", "not protected health information of a covered entity"),
    }
)
"""What an accounting leaves out: ground, provision of 45 CFR and its words."""

PERMISSIONS = MappingProxyType(
    {
        "research_waiver": "45 CFR 164.512(i): research under a waiver of authorization",
        "public_health": "45 CFR 164.512(b): public health activities",
        "health_oversight": "45 CFR 164.512(d): health oversight activities",
    }
)
"""Grounds of disclosures that an accounting lists."""
