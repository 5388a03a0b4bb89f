"""The TaskGroup of a governed pass: open, classify, consent, protect, validate, approve, release."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, TaskGroup

from governance.airflow.approval import GovernedApprovalOperator
from governance.airflow.operators import GovernedStageOperator, OpenRunOperator

STAGES = ("classify", "consent", "protect", "validate", "release")


def dataset_asset(dataset: str) -> Asset:
    """The asset of a governed dataset. Only a release updates it."""
    return Asset(name=dataset, uri=f"gov://governance/{dataset}")


def governed_dataset(contract: str, *, purpose: str, source: Any, group_id: str | None = None) -> TaskGroup:
    """Govern one dataset: nothing is released unless every stage passed and its evidence is in the log.

    Args:
        contract: the contract's file in ``HOME/contracts``; ``NAME.odcs.yaml`` governs dataset ``NAME``.
        purpose: a purpose of the policy; may be a template such as ``{{ params.purpose }}``.
        source: what to read, a path in the home or absolute; may be a template, or what a ``@task.governed``
            returned.
        group_id: default: the dataset's name.

    Returns:
        the group; its last task updates the asset :func:`dataset_asset` names.
    """
    dataset = contract.split("/")[-1].split(".")[0]
    with TaskGroup(group_id or dataset, tooltip=f"Governed pass over {dataset} for {purpose}") as group:
        opened = OpenRunOperator(task_id="open", contract=contract, source=source, purpose=purpose)
        previous = opened
        for stage in STAGES[:-1]:
            step = GovernedStageOperator(task_id=stage, stage=stage, reference=opened.output)
            previous >> step
            previous = step
        approved = GovernedApprovalOperator(task_id="approve", reference=opened.output)
        release = GovernedStageOperator(
            task_id=STAGES[-1],
            stage=STAGES[-1],
            reference=opened.output,
            outlets=[dataset_asset(dataset)],
            # The approval is skipped where the policy asks for none; the release checks that itself.
            trigger_rule="none_failed",
        )
        previous >> approved >> release
    return group
