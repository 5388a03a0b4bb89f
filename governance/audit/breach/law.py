"""Clocks of a breach, as data: what is due to whom, from when, and after how long."""

from __future__ import annotations

from datetime import timedelta

CLOCKS: tuple[tuple[str, str, str, timedelta | None], ...] = (
    (
        "GDPR Art. 33(1)",
        "the supervisory authority, unless a risk is unlikely",
        "72 hours after becoming aware",
        timedelta(hours=72),
    ),
    ("GDPR Art. 33(2)", "the controller, from a processor", "without undue delay", None),
    ("GDPR Art. 34(1)", "the subjects, where the risk is high", "without undue delay", None),
    (
        "45 CFR 164.404(b)",
        "each individual",
        "without unreasonable delay, at most 60 calendar days after discovery",
        timedelta(days=60),
    ),
    (
        "45 CFR 164.406",
        "the media, for more than 500 residents of a State",
        "at most 60 calendar days after discovery",
        timedelta(days=60),
    ),
    (
        "45 CFR 164.408(b)",
        "the Secretary, for 500 individuals or more",
        "with the notice to individuals, at most 60 calendar days after discovery",
        timedelta(days=60),
    ),
    (
        "45 CFR 164.408(c)",
        "the Secretary, for fewer than 500",
        "at most 60 days after the end of the calendar year of discovery",
        None,
    ),
    (
        "45 CFR 164.410(b)",
        "the covered entity, from a business associate",
        "at most 60 calendar days after discovery",
        timedelta(days=60),
    ),
)
"""Provision, who is told, by when in words, and the time from discovery where it is a fixed one."""
