"""The governed pass in one process: the same steps that Airflow runs as tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from governance.contracts import load_contract
from governance.model.evidence import Recorder, Stage
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.memory import PassMemory
from governance.pipeline.open import open_run
from governance.pipeline.pinned import quarantine_uri
from governance.pipeline.protect import protect
from governance.pipeline.quarantine import replayable
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
    context = replace(resume(workspace, reference, recorder, progress), memory=PassMemory())
    return PassResult(reference, {stage: step(context) for stage, step in STEPS.items()})


def replay(
    workspace: Workspace,
    recorder: Recorder,
    *,
    contract_path: Path,
    version: str,
    purpose: str | None = None,
    progress: Progress = silent,
) -> PassResult:
    """Take the rows that the run of ``version`` set aside through a new pass, and add what passes to the release.

    Consent is decided anew, now; the contract may be a newer one. Rows that fail again wait under the new version.
    They are taken in at most once: a second replay is refused, one beside it loses the release. Until
    `governance quarantine expire` they stay sealed where they were.

    Args:
        purpose: the first run's when absent.

    Raises:
        ValidationError: GOV-406 when they may not be replayed. What :func:`run_pass` raises.
    """
    dataset = load_contract(contract_path).dataset
    recover(workspace, recorder, dataset)
    aside = replayable(workspace, dataset, version)
    return run_pass(
        workspace,
        recorder,
        contract_path=contract_path,
        source=quarantine_uri(dataset, version),
        purpose=purpose or aside.purpose,
        run_id=f"replay-{version}",
        progress=progress,
    )


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
    contract = load_contract(contract_path)
    recover(workspace, recorder, contract.dataset)
    return open_run(
        workspace,
        recorder,
        contract_path=contract_path,
        source=source,
        purpose=purpose,
        run_id=run_id,
        map_index=map_index,
        validated=contract.digest,
    )
