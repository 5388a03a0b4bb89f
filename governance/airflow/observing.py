"""Mode *observe* of a dataset: what would have been refused is stated in the log, and the DAG goes on without it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from governance.errors import (
    AccessError,
    ConsentError,
    ContractError,
    GovernanceError,
    ProtectionError,
    SourceError,
    ValidationError,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from governance.pipeline.workspace import Workspace

OBSERVED = "application/vnd.governance.observed+json"
"""The log's media type of what would have been refused."""

_REFUSALS = (AccessError, ConsentError, ContractError, ProtectionError, SourceError, ValidationError)


@contextlib.contextmanager
def observing(workspace: Workspace, dataset: str, stage: str, context: Context) -> Iterator[None]:
    """Around a stage: skip the task, and say why in the log, where the policy only observes its dataset.

    What is no refusal, such as a log that cannot be reached, fails the task as ever. A policy that does not
    load observes nothing.

    Raises:
        AirflowSkipException: in place of the refusal; the stages behind are skipped too, and nothing is released.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from governance.model.canonical import timestamp
    from governance.pipeline.workspace import PIPELINE

    try:
        yield
    except _REFUSALS as fault:
        if not _only_observed(workspace, dataset):
            raise
        refusal = {"code": fault.code, "message": fault.message, "remedy": fault.remedy}
        stated = {
            "dataset": dataset,
            "stage": stage,
            "run_id": context["run_id"],
            **refusal,
            "observed_at": timestamp(workspace.clock()),
        }
        workspace.append_json(stated, OBSERVED, PIPELINE)
        raise AirflowSkipException(f"observed, would have been refused: {fault}") from None


def _only_observed(workspace: Workspace, dataset: str) -> bool:
    try:
        return dataset in workspace.policy.observed
    except GovernanceError:
        return False
