"""The reports that authorities ask for, made each month, each with the bundle that proves it offline."""

from airflow.sdk import DAG

from governance.airflow import AuditReportOperator

with DAG("audit_reports", schedule="@monthly", catchup=False, tags=["governed", "audit"], doc_md=__doc__):
    for kind in ("gdpr-art30", "hipaa-528"):
        AuditReportOperator(task_id=kind, kind=kind, directory="reports/{{ ts_nodash }}")
