"""Old bodies of the log move into archives; those that outlived every period of the policy are deleted."""

from airflow.sdk import DAG

from governance.airflow import LogRetentionOperator

with DAG("log_retention", schedule="@weekly", catchup=False, tags=["governed", "log"], doc_md=__doc__):
    # Who decided stands in the log for good: name an office, not a person.
    LogRetentionOperator(task_id="retain", older_than="P90D", authoriser="rights:records-office")
