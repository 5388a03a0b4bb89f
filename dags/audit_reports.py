"""Reports by calendar and by event, each with the bundle that proves it offline, kept where the service's pages show them.

Every kind that is for nobody in particular is made each month; who may be asked about one person is not Airflow's to know.
"""

from airflow.sdk import DAG, Asset, task

from governance.airflow import AuditReportOperator

# What else is due at once: a certificate after an erasure, accounting and register after a disclosure.
ON_EVENT = {"erasures": ["gdpr-art17"], "disclosures": ["hipaa-528", "transfers"]}

with DAG("audit_reports", schedule="@monthly", catchup=False, tags=["governed", "audit"], doc_md=__doc__):

    @task
    def kinds():
        from governance.audit import REPORTS

        return sorted(kind for kind, report in REPORTS.items() if not report.personal)

    # One after the other: each reads the log, and the first leaves to the next what it read.
    AuditReportOperator.partial(task_id="report", max_active_tis_per_dagrun=1).expand(kind=kinds())

for event, due in ON_EVENT.items():
    with DAG(
        f"reports_after_{event}",
        schedule=[Asset(event)],
        catchup=False,
        tags=["governed", "audit"],
        doc_md=__doc__,
    ):
        for kind in due:
            AuditReportOperator(task_id=kind, kind=kind)
