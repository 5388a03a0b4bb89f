"""The erasure of subjects, as the log has it."""

from __future__ import annotations

TOMBSTONE = "application/vnd.governance.tombstone+json"
"""The media type of the entry that says subjects are erased; the subject vault must have carried each out."""

GROUNDS = {
    "no-longer-necessary": "GDPR Art. 17(1)(a)",
    "consent-withdrawn": "GDPR Art. 17(1)(b)",
    "objection": "GDPR Art. 17(1)(c)",
    "unlawful": "GDPR Art. 17(1)(d)",
    "legal-obligation": "GDPR Art. 17(1)(e)",
    "child": "GDPR Art. 17(1)(f)",
    "ccpa": "Cal. Civ. Code 1798.105",
    "retention-ended": "GDPR Art. 5(1)(e)",
}
"""Why a subject is erased, by the code that stands in the log."""
