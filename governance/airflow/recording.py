"""Evidence of a task: on the task's own OpenLineage run, which Airflow's provider starts and ends."""

from __future__ import annotations

from typing import Any

from governance.lineage.events import ParentRun
from governance.lineage.recorder import OpenLineageRecorder
from governance.model.evidence import Signer, Stage, StageRecord
from governance.pipeline.workspace import PRODUCER, Workspace


class TaskRecorder(OpenLineageRecorder):
    """Remembers the last record, so that the provider's COMPLETE names the same datasets."""

    last: StageRecord | None = None

    def record(self, record: StageRecord, signer: Signer) -> int:
        self.last = record
        return super().record(record, signer)


def task_recorder(workspace: Workspace, task_instance: Any) -> TaskRecorder:
    """A recorder bound to a task instance's OpenLineage identity."""
    from airflow.providers.openlineage.plugins import macros

    namespace = macros.lineage_job_namespace()
    job = macros.lineage_job_name(task_instance)
    run_id = macros.lineage_run_id(task_instance)
    parent = ParentRun(macros.lineage_root_run_id(task_instance), task_instance.dag_id)

    def job_of(_stage: Stage) -> str:
        return str(job)

    def run_of(_stage: Stage) -> str:
        return str(run_id)

    return TaskRecorder(
        workspace.log,
        producer=PRODUCER,
        namespace=namespace,
        job=job_of,
        run_id=run_of,
        parent=parent,
        lifecycle=False,
        clock=workspace.clock,
    )
