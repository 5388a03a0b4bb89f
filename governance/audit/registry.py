"""The kinds of reports. A new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from governance.audit import compliance
from governance.audit.ai_act import datasheet as ai_act_datasheet
from governance.audit.ai_act import log as ai_act_log
from governance.audit.ai_act import training_summary as ai_act_training_summary
from governance.audit.breach import assessment as breach
from governance.audit.ccpa import requests as ccpa_requests
from governance.audit.gdpr import art15 as gdpr_art15
from governance.audit.gdpr import art17 as gdpr_art17
from governance.audit.gdpr import art30 as gdpr_art30
from governance.audit.gdpr import art30_2 as gdpr_art30_2
from governance.audit.gdpr import consent_evidence, dpia, transfers
from governance.audit.hipaa import accounting as hipaa_528
from governance.audit.hipaa import accounting_individual as hipaa_528_individual
from governance.audit.hipaa import activity_review as hipaa_activity
from governance.audit.hipaa import deidentification
from governance.audit.hipaa import necessary as hipaa_502b
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
