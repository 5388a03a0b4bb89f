"""A subset of the newest release leaves for a research partner: sealed to its key, kept in the accounting."""

from airflow.sdk import DAG, Asset

from governance.airflow import DiscloseOperator, dataset_asset

with DAG(
    "research_disclosure",
    schedule=[dataset_asset("clinical_encounters")],
    catchup=False,
    tags=["governed", "disclosure"],
    doc_md=__doc__,
):
    DiscloseOperator(
        task_id="disclose",
        dataset="clinical_encounters",
        recipient="northlake-research",
        purpose="research",
        description="Encounters with diagnosis codes, for outcomes research",
        directory="disclosures/{{ ts_nodash }}",
        columns=["patient_pseudonym", "sex", "age", "state", "diagnosis_code"],
        outlets=[Asset("disclosures")],
    )
