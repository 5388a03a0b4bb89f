"""The kinds of reports. A new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from governance.audit import (
    ai_act_datasheet,
    ai_act_log,
    ai_act_training_summary,
    breach,
    ccpa_requests,
    compliance,
    consent_evidence,
    deidentification,
    dpia,
    gdpr_art15,
    gdpr_art17,
    gdpr_art30,
    gdpr_art30_2,
    hipaa_502b,
    hipaa_528,
    hipaa_528_individual,
    hipaa_activity,
    transfers,
)
from governance.audit.record import ReportKind
from governance.errors import AuditError

REPORTS: Mapping[str, ReportKind] = MappingProxyType(
    {
        report.kind: report
        for report in (
            ai_act_datasheet.REPORT,
            ai_act_log.REPORT,
            ai_act_training_summary.REPORT,
            breach.REPORT,
            ccpa_requests.REPORT,
            compliance.REPORT,
            consent_evidence.REPORT,
            deidentification.REPORT,
            dpia.REPORT,
            gdpr_art15.REPORT,
            gdpr_art17.REPORT,
            gdpr_art30.REPORT,
            gdpr_art30_2.REPORT,
            hipaa_502b.REPORT,
            hipaa_528.REPORT,
            hipaa_528_individual.REPORT,
            hipaa_activity.REPORT,
            transfers.REPORT,
        )
    }
)
"""Every kind by its name."""


def report_kind(name: str) -> ReportKind:
    """The kind of that name.

    Raises:
        AuditError: GOV-804.
    """
    if name not in REPORTS:
        raise AuditError(
            "GOV-804", f"there is no report {name!r}", f"choose from {', '.join(sorted(REPORTS))}"
        )
    return REPORTS[name]
