"""Consent records come in every night, as the consent platform exported them."""

from airflow.sdk import DAG

from governance.airflow import ConsentSyncOperator

with DAG("consent_sync", schedule="@daily", catchup=False, tags=["governed", "consent"], doc_md=__doc__):
    # Records that came before are recognised, so the export may be whole or only what is new.
    ConsentSyncOperator(task_id="sync", source="input/consent_ledger.parquet", retries=2)
