"""Support conversations become a governed prompt set, whenever the training datasets were released."""

from airflow.sdk import DAG, Param

from governance.airflow import dataset_asset, governed_dataset

with DAG(
    "governed_inference_dataset",
    schedule=[dataset_asset("clinical_encounters"), dataset_asset("customer_profiles")],
    tags=["governed", "inference"],
    doc_md=__doc__,
    params={
        "purpose": Param(
            "support_inference", enum=["support_inference"], title="Purpose (GDPR Art. 5(1)(b))"
        ),
        "conversations": Param(
            "input/support_conversations.jsonl.gz", type="string", title="Conversations (JSON Lines)"
        ),
    },
):
    governed_dataset(
        "support_prompts.odcs.yaml",
        purpose="{{ params.purpose }}",
        source="{{ params.conversations }}",
    )
