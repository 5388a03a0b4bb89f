"""A model is trained whenever the customers were released; it is recorded which version it was trained on."""

from airflow.sdk import DAG, task

from governance.airflow import dataset_asset

with DAG(
    "model_training",
    schedule=[dataset_asset("customer_profiles")],
    catchup=False,
    tags=["governed", "training"],
    doc_md=__doc__,
):
    # The reader leaves out who withdrew or was erased since the release; the read is logged.
    @task.governed(
        purpose="model_training", inputs=["customer_profiles"], outputs=["models/customers_by_country"]
    )
    def train(customer_profiles):
        import json
        import tempfile
        from pathlib import Path

        counted = customer_profiles.read_all().group_by("country").aggregate([([], "count_all")])
        model = Path(tempfile.mkdtemp()) / "customers_by_country.json"
        model.write_text(json.dumps(counted.to_pydict()))
        return model

    train()
