"""Recording a pass that no orchestrator reports: it emits its own START, COMPLETE and FAIL."""

from __future__ import annotations

from governance.lineage import OpenLineageRecorder
from governance.pipeline.workspace import Workspace


def local_recorder(workspace: Workspace, run_id: str) -> OpenLineageRecorder:
    """A recorder for one run in this process."""
    return OpenLineageRecorder.local(
        workspace.log, namespace=workspace.settings.namespace, run_id=run_id, clock=workspace.clock
    )
