"""Recording a pass that no orchestrator reports: it emits its own START, COMPLETE and FAIL."""

from __future__ import annotations

import secrets

from governance.lineage.events import ParentRun
from governance.lineage.naming import openlineage_run_id
from governance.lineage.recorder import OpenLineageRecorder
from governance.model.evidence import Stage
from governance.pipeline.workspace import PRODUCER, Workspace


def local_recorder(workspace: Workspace, job: str, run_id: str) -> OpenLineageRecorder:
    """A recorder for one command in this process.

    Args:
        job: what the command works on, a dataset's name; stages report as ``job.stage``.
        run_id: the command's run.
    """
    namespace = workspace.settings.namespace
    # A second try under the same run id is another OpenLineage run: terminal states stick.
    attempt = secrets.token_hex(4)

    def identifier(stage: str) -> str:
        return openlineage_run_id(
            namespace=namespace, dataset=job, run_id=run_id, map_index=-1, stage=stage, attempt=attempt
        )

    def stage_job(stage: Stage) -> str:
        return f"{job}.{stage}"

    return OpenLineageRecorder(
        workspace.log,
        producer=PRODUCER,
        namespace=namespace,
        job=stage_job,
        run_id=lambda stage: identifier(stage.value),
        parent=ParentRun(identifier("pass"), job),
        lifecycle=True,
        clock=workspace.clock,
    )
