"""What Airflow's provider manager is told. Imported by every Airflow process: no imports here."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's name, decorator, connections with their forms, and settings."""
    return {
        "package-name": "airflow-governance",
        "name": "Governance",
        "description": "Governed AI training and inference datasets",
        "versions": ["0.1.0"],
        "task-decorators": [
            {"name": "governed", "class-name": "governance.airflow.transformation.governed_task"}
        ],
        "connection-types": [_STORE, _KMS],
        "config": {
            "governance": {"description": "Governed datasets: where things are.", "options": _options()}
        },
    }


_STORE = {
    "connection-type": "governance_store",
    "hook-class-name": "governance.airflow.connections.StoreHook",
    "hook-name": "Governance lineage store",
    "ui-field-behaviour": {
        "hidden-fields": ["extra"],
        "relabeling": {"host": "Directory, or host of PostgreSQL", "schema": "Database"},
        "placeholders": {"host": "/srv/governance/store", "schema": "governance", "port": "5432"},
    },
}

_KMS = {
    "connection-type": "governance_kms",
    "hook-class-name": "governance.airflow.connections.KmsHook",
    "hook-name": "Governance keys",
    "conn-fields": {
        "token_file": {
            "label": "File with the workload's token for a broker",
            "schema": {"type": ["string", "null"]},
        },
        "passphrase_file": {
            "label": "File with the passphrase of a file: key",
            "schema": {"type": ["string", "null"]},
        },
    },
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login", "password", "port", "extra"],
        "relabeling": {"host": "URI of the key, or of the key broker"},
        "placeholders": {"host": "aws-kms:eu-central-1/governance, or broker+https://keys:5000"},
    },
}


def _option(description: str, example: str, *, sensitive: bool = False) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": "",
        **({"sensitive": True} if sensitive else {}),
    }


def _options() -> dict[str, Any]:
    """Each is the ``GOVERNANCE_*`` variable of its name, which wins where it is set."""
    return {
        "home": _option(
            "Directory of keys, vault, consent ledger and datasets.",
            "/srv/governance",
        ),
        "store": _option(
            "Lineage store: a directory or postgresql://…; HOME/store when empty. Or name store_conn_id.",
            "/srv/governance/store",
            sensitive=True,
        ),
        "store_conn_id": _option(
            "Connection of type governance_store that says where the lineage store is.",
            "governance_store",
        ),
        "kek": _option(
            "Key-encryption key by URI; a file lies on another disk than the home. Or name kms_conn_id.",
            "aws-kms:eu-central-1/governance",
        ),
        "keys": _option(
            "Key broker in place of a key-encryption key; then workers hold no key.",
            "broker+https://keys:5000",
        ),
        "kms_conn_id": _option(
            "Connection of type governance_kms that names the key-encryption key or the broker.",
            "governance_kms",
        ),
        "keys_token_file": _option(
            "File with the workload's token for the key broker, read at each request.",
            "/var/run/secrets/governance/token",
        ),
        "passphrase_file": _option(
            "File with the passphrase of a file: key that asks for one.",
            "/run/secrets/kek-passphrase",
        ),
        "policy": _option(
            "Governance policy file; HOME/policy.yaml when empty.",
            "/etc/governance/policy.yaml",
        ),
        "datasets": _option(
            "Where dataset versions live, a directory or s3://BUCKET/PREFIX; HOME/datasets when empty.",
            "s3://lake/governed",
        ),
        "namespace": _option(
            "OpenLineage namespace of jobs run outside Airflow; governance when empty.",
            "production",
        ),
        "server": _option(
            "URL of the lineage server whose pages Airflow shows.",
            "https://lineage:5000",
        ),
        "server_token_file": _option(
            "File with the token, scope read, that Airflow shows them with.",
            "/run/secrets/lineage-token",
        ),
        "auditors": _option(
            "Who of those who may read audit logs sees the governance pages; role:admin when empty.",
            "role:admin,user:ines",
        ),
        "spark_master": _option(
            "Spark master of passes on Spark; local[*] when empty.",
            "k8s://https://cluster:6443",
        ),
        "spark_from": _option(
            "Bytes of source from which a contract's engine: auto takes Spark; 4 GiB when empty.",
            "4294967296",
        ),
    }
