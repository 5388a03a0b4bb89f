"""What Airflow's provider manager is told. Imported by every Airflow process: no imports here."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's name and description."""
    return {
        "package-name": "airflow-governance",
        "name": "Governance",
        "description": "Governed AI training and inference datasets",
        "versions": ["0.1.0"],
        "task-decorators": [
            {"name": "governed", "class-name": "governance.airflow.transformation.governed_task"}
        ],
    }
