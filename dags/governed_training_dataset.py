"""Clinical encounters and customer profiles become governed training datasets."""

from airflow.sdk import DAG, Param

from governance.airflow import governed_dataset

with DAG(
    "governed_training_dataset",
    schedule=None,
    tags=["governed", "training"],
    doc_md=__doc__,
    params={
        "purpose": Param("model_training", enum=["model_training"], title="Purpose (GDPR Art. 5(1)(b))"),
        "encounters": Param(
            "input/clinical_encounters", type="string", title="Clinical encounters (Parquet)"
        ),
        "customers": Param("input/customers.csv", type="string", title="Customers (CSV)"),
    },
):
    for contract, source in (("clinical_encounters", "encounters"), ("customer_profiles", "customers")):
        governed_dataset(
            f"{contract}.odcs.yaml", purpose="{{ params.purpose }}", source=f"{{{{ params.{source} }}}}"
        )
