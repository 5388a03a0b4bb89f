"""The governed pass in one process: the same steps that Airflow runs as tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.contracts import load_contract
from governance.model.evidence import Recorder, Stage
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.open import open_run
from governance.pipeline.protect import protect
from governance.pipeline.release import recover, release
from governance.pipeline.step import Progress, RunReference, resume, silent
from governance.pipeline.validate import validate
from governance.pipeline.workspace import Workspace

STEPS = {
    Stage.CLASSIFY: classify,
    Stage.CONSENT: consent,
    Stage.PROTECT: protect,
    Stage.VALIDATE: validate,
    Stage.RELEASE: release,
}


@dataclass(frozen=True, slots=True)
class PassResult:
    """A released version and the facts of each stage."""

    reference: RunReference
    facts: dict[Stage, dict[str, Any]]


def run_pass(
    workspace: Workspace,
    recorder: Recorder,
    *,
    contract_path: Path,
    source: str,
    purpose: str,
    run_id: str,
    progress: Progress = silent,
) -> PassResult:
    """Open, classify, consent, protect, validate, release. Raises what the steps raise."""
    reference = open_pass(
        workspace, recorder, contract_path=contract_path, source=source, purpose=purpose, run_id=run_id
    )
    context = resume(workspace, reference, recorder, progress)
    return PassResult(reference, {stage: step(context) for stage, step in STEPS.items()})


def open_pass(
    workspace: Workspace,
    recorder: Recorder,
    *,
    contract_path: Path,
    source: str,
    purpose: str,
    run_id: str,
    map_index: int = -1,
) -> RunReference:
    """Finish a release that was killed half-way, then open a run. Raises what :func:`open_run` raises."""
    recover(workspace, recorder, load_contract(contract_path).dataset)
    return open_run(
        workspace,
        recorder,
        contract_path=contract_path,
        source=source,
        purpose=purpose,
        run_id=run_id,
        map_index=map_index,
    )
