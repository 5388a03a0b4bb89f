"""Governed pipelines in Airflow. The only room that imports Airflow, and only when asked.

``governed_dataset`` is the TaskGroup of a governed pass; see ``dags/`` for whole files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governance.airflow.approval import GovernedApprovalOperator
    from governance.airflow.deadlines import statutory_deadline
    from governance.airflow.group import dataset_asset, governed_dataset
    from governance.airflow.operators import DiscloseOperator, GovernedStageOperator, OpenRunOperator
    from governance.airflow.rights import (
        ConsentSyncOperator,
        EraseOperator,
        ErasureApprovalOperator,
        FinishErasuresOperator,
        PlanErasureOperator,
    )
    from governance.airflow.transformation import GovernedTaskOperator, model_asset
    from governance.airflow.upkeep import AuditReportOperator, LogRetentionOperator, RotateKeysOperator

__all__ = [
    "AuditReportOperator",
    "ConsentSyncOperator",
    "DiscloseOperator",
    "EraseOperator",
    "ErasureApprovalOperator",
    "FinishErasuresOperator",
    "GovernedApprovalOperator",
    "GovernedStageOperator",
    "GovernedTaskOperator",
    "LogRetentionOperator",
    "OpenRunOperator",
    "PlanErasureOperator",
    "RotateKeysOperator",
    "dataset_asset",
    "governed_dataset",
    "model_asset",
    "statutory_deadline",
]

_HOMES = {
    "governed_dataset": "group",
    "dataset_asset": "group",
    "OpenRunOperator": "operators",
    "GovernedStageOperator": "operators",
    "DiscloseOperator": "operators",
    "GovernedApprovalOperator": "approval",
    "statutory_deadline": "deadlines",
    "ConsentSyncOperator": "rights",
    "PlanErasureOperator": "rights",
    "ErasureApprovalOperator": "rights",
    "EraseOperator": "rights",
    "FinishErasuresOperator": "rights",
    "GovernedTaskOperator": "transformation",
    "model_asset": "transformation",
    "RotateKeysOperator": "upkeep",
    "LogRetentionOperator": "upkeep",
    "AuditReportOperator": "upkeep",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"governance.airflow.{_HOMES[name]}"), name)
