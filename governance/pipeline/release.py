"""Release: all or nothing, and never before the evidence is durably in the log.

Order: evidence proven → consent checked again → manifest signed → ``release-intended`` in a signed
checkpoint → compare-and-swap of the pointer → ``released``. Killed before the swap, the previous version
stays; killed after it, the next opening finds the pointer moved and records the release as recovered.
"""

from __future__ import annotations

from typing import Any

from governance.errors import ConsentError, GovernanceError, LogError, StorageError
from governance.lineage import as_sent, verify_evidence
from governance.log import verify_entry
from governance.model.canonical import canonical, parse
from governance.model.dataset import Manifest
from governance.model.evidence import DatasetLineage, Recorder, Stage
from governance.pipeline.manifest import EVIDENT, signed_manifest
from governance.pipeline.pointer import POINTER, Released, contract_path, current_pointer
from governance.pipeline.protect import DATASETS, protect
from governance.pipeline.quarantine import quarantine_version
from governance.pipeline.step import RunContext, RunReference, reported, resume, stage_record
from governance.pipeline.validate import validate
from governance.pipeline.workspace import Workspace


def release(context: RunContext) -> dict[str, Any]:
    """Publish the validated version.

    Raises:
        LogError: GOV-507 when a stage's evidence is missing, unsigned or not under a checkpoint.
        ConsentError: GOV-204 when withdrawals kept coming; the version is quarantined.
        StorageError: GOV-721 when another release came first.
    """
    stage = Stage.RELEASE
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        if done := _already_released(context):
            return done
        try:
            position, late = _consent_again(context)
            _require_evidence(context)
            manifest, envelope = signed_manifest(context, consent_position=position, late_withdrawals=late)
        except GovernanceError as fault:
            quarantine_version(context, fault)
            raise
        path = f"versions/{context.run.version}/{context.run.attempt}.manifest.json"
        context.storage.write(
            contract_path(manifest), context.storage.read(f"{context.reference.folder}/contract.odcs.yaml")
        )
        context.storage.write(path, envelope)
        facts = _publish(context, manifest, path, position, late)
        record = stage_record(context, stage, facts, outputs=(_released_dataset(context, manifest),))
        context.recorder.completed(stage, record.context, record)
    return facts


def recover(workspace: Workspace, recorder: Recorder, dataset: str) -> bool:
    """Finish a release that was killed between moving the pointer and saying so."""
    storage = workspace.dataset_storage(dataset)
    pointer, _ = current_pointer(storage)
    if pointer is None or storage.exists(_marker(pointer)):
        return False
    folder, attempt = pointer.manifest_path.rsplit("/", 1)
    reference = RunReference(
        dataset, folder.removeprefix("versions/"), attempt.removesuffix(".manifest.json")
    )
    intended = workspace.log.entry(pointer.intended_index)
    facts = parse(intended.body or b"{}")["run"]["facets"]["governance_release"]["facts"]
    context = resume_released(workspace, recorder, reference)
    _say_released(context, pointer, {**facts, "state": "released", "recovered": True})
    return True


def resume_released(workspace: Workspace, recorder: Recorder, reference: RunReference) -> RunContext:
    """The context of a finished run, whatever the policy says today."""
    storage = workspace.dataset_storage(reference.dataset)
    run = parse(storage.read(f"{reference.folder}/run.json"))
    if run["policy_digest"] == workspace.policy.digest:
        return resume(workspace, reference, recorder)
    from governance.contracts import load_contract
    from governance.model.run import OpenedRun

    contract = load_contract(storage.path(f"{reference.folder}/contract.odcs.yaml"))
    return RunContext(
        workspace, recorder, storage, contract, workspace.policy, OpenedRun.from_json(run), reference
    )


def _already_released(context: RunContext) -> dict[str, Any] | None:
    """A retry after a success must not publish twice."""
    pointer, _ = current_pointer(context.storage)
    path = f"versions/{context.run.version}/{context.run.attempt}.manifest.json"
    if pointer and pointer.manifest_path == path and context.storage.exists(_marker(pointer)):
        facts: dict[str, Any] = parse(context.storage.read(_marker(pointer)))["facts"]
        return facts
    return None


def _consent_again(context: RunContext) -> tuple[int, int]:
    """Rewrite without subjects who withdrew since the opening; returns (position, how many)."""
    ledger, vault = context.workspace.ledger, context.workspace.vault
    domain = context.contract.subject.domain
    checked, withdrawn = context.run.consent_position, 0
    for _ in range(context.policy.late_withdrawal_rewrites + 1):
        position = ledger.position
        if position == checked:
            return position, withdrawn
        late = ledger.late(
            context.policy.purposes[context.run.purpose],
            domain,
            context.workspace.clock(),
            context.run.consent_position,
            position,
            vault.internal(domain),
            opened_at=context.run.opened_at,
            special_category=context.contract.special_category,
        )
        if len(late) > withdrawn:
            if context.contract.on_late_withdrawal == "quarantine":
                break
            withdrawn = len(late)
            protect(context, late=late)
            validate(context, late=late)
        checked = position
    else:
        position = ledger.position
        if position == checked:
            return position, withdrawn
    raise ConsentError(
        "GOV-204",
        f"consent of subjects in {context.run.dataset} was withdrawn while the run went on",
        "start a new run: it opens at the ledger's present position",
    )


def _require_evidence(context: RunContext) -> None:
    """Every stage's evidence is in the log, signed for this attempt, and under a signed checkpoint."""
    log = context.workspace.log
    indexes = {stage: context.log_index(stage) for stage in EVIDENT}
    checkpoint = log.checkpoint()
    for stage, index in indexes.items():
        entry = log.entry(index)
        event = parse(entry.body or b"{}")
        facet = event.get("run", {}).get("facets", {}).get(f"governance_{stage}", {})
        said = facet.get("context", {})
        same_run = (said.get("version"), said.get("attempt")) == (context.run.version, context.run.attempt)
        observed = verify_evidence(
            entry,
            evidence_public_key=context.workspace.evidence_public_key,
            run_public_key=context.run.run_public_key,
        )
        same_facts = facet.get("facts") == as_sent(context.facts(stage))
        if not (same_run and observed and same_facts):
            raise LogError(
                "GOV-507",
                f"log entry {index} does not prove {stage} for version {context.run.version}",
                f"run the pass again from {stage}; if this repeats, `governance log verify` finds what was altered",
            )
        verify_entry(entry.leaf, log.prove(index, checkpoint), checkpoint)


def _publish(context: RunContext, manifest: Manifest, path: str, position: int, late: int) -> dict[str, Any]:
    workspace, storage = context.workspace, context.storage
    pointer, seen = current_pointer(storage)
    if (pointer.version if pointer else None) != context.run.previous_version:
        fault = StorageError(
            "GOV-721",
            f"{context.run.dataset} was released by another run since this one opened",
            "start a new run on top of the present version",
        )
        quarantine_version(context, fault)
        raise fault
    checkpoint = workspace.log.checkpoint()
    facts: dict[str, Any] = {
        "state": "intended",
        "manifest_digest": manifest.digest,
        "manifest_path": path,
        "previous_version": context.run.previous_version,
        "consent_position": position,
        "late_withdrawals": late,
        "checkpoint": {"size": checkpoint.size, "root": checkpoint.root.hex()},
        "rows": manifest.body["counts"]["rows_out"],
        "reasons": [],
        "recovered": False,
    }
    signer = workspace.keyring.run_signer(context.run.version, context.run.attempt)
    intended = context.recorder.record(stage_record(context, Stage.RELEASE, facts), signer)
    # Not an acknowledgement only: the intent must stand under a checkpoint the signer signed.
    signed = workspace.log.checkpoint()
    verify_entry(workspace.log.entry(intended).leaf, workspace.log.prove(intended, signed), signed)
    moved = Released(context.run.version, manifest.digest, path, intended)
    try:
        storage.swap_pointer(POINTER, seen, moved.to_bytes())
    except StorageError as fault:
        quarantine_version(context, fault)
        raise
    released = {**facts, "state": "released"}
    _say_released(context, moved, released)
    return released


def _say_released(context: RunContext, pointer: Released, facts: dict[str, Any]) -> None:
    signer = context.workspace.keyring.run_signer(context.run.version, context.run.attempt)
    index = context.recorder.record(stage_record(context, Stage.RELEASE, facts), signer)
    context.workspace.log.checkpoint()
    context.storage.write(_marker(pointer), canonical({"facts": facts, "log_index": index}))


def _marker(pointer: Released) -> str:
    return pointer.manifest_path.replace(".manifest.json", ".released.json")


def _released_dataset(context: RunContext, manifest: Manifest) -> DatasetLineage:
    return DatasetLineage(
        DATASETS,
        context.run.dataset,
        version=context.run.version,
        rows=manifest.body["counts"]["rows_out"],
    )
