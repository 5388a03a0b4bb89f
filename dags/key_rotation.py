"""Keys are rotated each quarter: every key under a new epoch, the old epoch's key destroyed."""

from airflow.sdk import DAG

from governance.airflow import RotateKeysOperator

with DAG("key_rotation", schedule="0 3 1 */3 *", catchup=False, tags=["governed", "keys"], doc_md=__doc__):
    RotateKeysOperator(task_id="rotate")
