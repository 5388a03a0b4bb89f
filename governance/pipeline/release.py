"""Release: all or nothing, and never before the evidence is durably in the log.

Order: evidence proven → consent checked again → manifest signed → ``release-intended`` in a signed
checkpoint → compare-and-swap of the pointer → ``released``. Killed before the swap, the previous version
stays; killed after it, the next opening finds the pointer moved and records the release as recovered.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from governance.errors import AccessError, ConsentError, GovernanceError, LogError, StorageError
from governance.lineage import Observed, as_sent, verify_evidence
from governance.log import verify_entry
from governance.model.canonical import canonical, parse
from governance.model.dataset import Manifest
from governance.model.decision import Reason
from governance.model.evidence import DatasetLineage, Recorder, Stage
from governance.model.key_grant import Claim, Operation
from governance.pipeline.approval import evident
from governance.pipeline.classify import require_declared
from governance.pipeline.consent import ConsentDecision, ReleasedSubjects
from governance.pipeline.joining import TURNS, join
from governance.pipeline.loose import remove_loose
from governance.pipeline.manifest import draft_manifest, moved_meanwhile, signed_manifest
from governance.pipeline.membership import index_members
from governance.pipeline.notes import keep_note, read_note
from governance.pipeline.people import withdrawn_since
from governance.pipeline.pointer import (
    POINTER,
    Released,
    contract_path,
    current_pointer,
    released_manifest,
    said_released,
)
from governance.pipeline.protect import DATASETS, protect
from governance.pipeline.quarantine import quarantine_folder, quarantine_version
from governance.pipeline.standing import Settled, may_join
from governance.pipeline.step import (
    RunContext,
    RunReference,
    event_context,
    reported,
    resume,
    stage_record,
)
from governance.pipeline.validate import require_sound, validate
from governance.pipeline.workspace import Workspace
from governance.protect import open_version


def release(context: RunContext) -> dict[str, Any]:
    """Publish the validated version. A retry of an attempt that was released changes nothing.

    Raises:
        ContractError, ValidationError: GOV-107, GOV-110, GOV-402 … GOV-405 when a step was refused and
            the run went on all the same.
        AccessError: GOV-646, GOV-647 when it needs an approval and has none that fits; GOV-649 when the policy
            only observes the dataset.
        LogError: GOV-507 when a stage's evidence is missing, unsigned or not under a checkpoint.
        ConsentError: GOV-204 when withdrawals kept coming; the version is quarantined.
        StorageError: GOV-721 when another release came first, GOV-741 when protect or validate is
            older than what it stands on.
    """
    stage = Stage.RELEASE
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        facts = _already_released(context)
        if facts is None:
            path = f"versions/{context.run.version}/{context.run.attempt}.manifest.json"
            try:
                _require_enforced(context)
                for _ in range(TURNS):
                    carried = join(context)
                    _require_evidence(context)
                    facts = _published(context, path, carried)
                    if facts is not None:
                        break
            except GovernanceError as fault:
                # What was published is not set aside, nor what was only asked for too early.
                if fault.code not in _TOO_EARLY and not _moved(context, path):
                    quarantine_version(context, fault)
                raise
            if facts is None:
                # Others went first each time: its next try goes on, so it is not set aside.
                raise moved_meanwhile(context.run.dataset)
        record = stage_record(context, stage, facts, outputs=(_released_dataset(context, facts),))
        context.recorder.completed(stage, record.context, record)
    return facts


def _published(context: RunContext, path: str, carried: Settled | datetime | None) -> dict[str, Any] | None:
    """Publish the version as it stands; ``None`` where another release came first and it may stand on that one."""
    position, late, tombstones = _consent_again(context)
    if isinstance(carried, Settled) and carried.position != position:
        # Records came in between: whoever they are about may be in what is carried.
        return None
    if late:
        _require_evidence(context)
    try:
        manifest, envelope = signed_manifest(
            context,
            evident(context),
            consent_position=position,
            late_withdrawals=late,
            carried_decided_at=carried.at if isinstance(carried, Settled) else carried,
        )
        context.storage.write(
            contract_path(manifest),
            context.storage.read(f"{context.reference.folder}/contract.odcs.yaml"),
        )
        context.storage.write(path, envelope)
        return publish(context, manifest, path, position, late, tombstones)
    except StorageError as fault:
        if fault.code != "GOV-721" or not may_join(context):
            raise
        return None


def _require_enforced(context: RunContext) -> None:
    if context.run.dataset in context.policy.observed:
        raise AccessError(
            "GOV-649",
            f"the policy only observes {context.run.dataset}: nothing of it is certified",
            f"have the policy's owner write `mode: enforce` for {context.run.dataset} in `assets`",
        )


def recover(workspace: Workspace, recorder: Recorder, dataset: str) -> bool:
    """Finish a release that was killed between moving the pointer and saying so.

    Returns:
        Whether it had to be said now.

    Raises:
        StorageError: GOV-722 when the log does not confirm the pointer: nothing is signed over it.
    """
    storage = workspace.dataset_storage(dataset)
    storage.sweep()
    pointer, _ = current_pointer(storage)
    if pointer is None or storage.exists(_marker(pointer.manifest_path)):
        return False
    manifest = released_manifest(workspace, dataset)
    reference = RunReference(dataset, manifest.version, manifest.body["run"]["attempt"])
    context = resume_released(workspace, recorder, reference)
    if said := said_released(workspace.log, pointer, dataset):
        _mark_released(context, pointer, manifest, *said)
        return False
    intended = workspace.log.entry(pointer.intended_index)
    facts = parse(intended.body or b"{}")["run"]["facets"]["governance_release"]["facts"]
    _say_released(context, pointer, manifest, {**facts, "state": "released", "recovered": True})
    return True


def resume_released(workspace: Workspace, recorder: Recorder, reference: RunReference) -> RunContext:
    """The context of a finished run, whatever the policy says today."""
    storage = workspace.dataset_storage(reference.dataset)
    run = parse(storage.read(f"{reference.folder}/run.json"))
    if run["policy_digest"] == workspace.policy.digest:
        return resume(workspace, reference, recorder)
    from governance.contracts import load_contract
    from governance.model.run import OpenedRun

    workspace.claim(Claim.of_run(Operation.SEAL, run))
    pinned = f"{reference.folder}/contract.odcs.yaml"
    contract = load_contract(pinned, data=storage.read(pinned))
    return RunContext(
        workspace, recorder, storage, contract, workspace.policy, OpenedRun.from_json(run), reference
    )


def _already_released(context: RunContext) -> dict[str, Any] | None:
    """The facts of an earlier try of this attempt that published, finished now if it was killed."""
    path = f"versions/{context.run.version}/{context.run.attempt}.manifest.json"
    if not context.storage.exists(_marker(path)):
        if not _moved(context, path):
            return None
        recover(context.workspace, context.recorder, context.run.dataset)
    facts: dict[str, Any] = parse(context.storage.read(_marker(path)))["facts"]
    return facts


def _moved(context: RunContext, manifest_path: str) -> bool:
    pointer, _ = current_pointer(context.storage)
    return pointer is not None and pointer.manifest_path == manifest_path


def _consent_again(context: RunContext) -> tuple[int, int, int]:
    """Rewrite without subjects who withdrew or were erased since the opening; as of which position, how many
    withdrew, as of how many tombstones."""
    ledger, vault = context.workspace.ledger, context.workspace.vault
    checked, withdrawn = _checked_before(context)
    for _ in range(context.policy.late_withdrawal_rewrites + 1):
        position, tombstones = ledger.position, vault.tombstones
        if (position, tombstones) == checked:
            return position, withdrawn, tombstones
        late = withdrawn_since(context, position)
        if len(late) > withdrawn or (tombstones != checked[1] and _holds_erased(context)):
            if context.contract.on_late_withdrawal == "quarantine":
                break
            withdrawn = len(late)
            # Both decide again, so that subjects who were erased meanwhile go too.
            protect(context, late=late)
            validate(context, late=late)
            _keep_checked(context, position, tombstones, withdrawn)
        checked = position, tombstones
    else:
        if (ledger.position, vault.tombstones) == checked:
            return checked[0], withdrawn, checked[1]
    rows = _rows_denied(context, withdrawn_since(context, ledger.position))
    raise ConsentError(
        "GOV-204",
        f"{rows:,} rows of {context.run.dataset} are of subjects who withdrew or were erased while the run went on",
        "start a new run: it opens at the ledger's present position",
    )


def _checked_before(context: RunContext) -> tuple[tuple[int, int], int]:
    """Up to where an earlier try of this release checked, where the version it wrote anew is still the one."""
    said = read_note(context, _CHECKED)
    if said is not None and said["validated"] == context.log_index(Stage.VALIDATE):
        return (said["position"], said["tombstones"]), said["withdrawn"]
    return (context.run.consent_position, context.run.tombstones), 0


def _keep_checked(context: RunContext, position: int, tombstones: int, withdrawn: int) -> None:
    # Written anew once more it would be another version than the one that is approved next.
    said = {
        "position": position,
        "tombstones": tombstones,
        "withdrawn": withdrawn,
        "validated": context.log_index(Stage.VALIDATE),
    }
    keep_note(context.workspace, context.storage, context.reference, _CHECKED, said)


def _holds_erased(context: RunContext) -> bool:
    """Whether a row of the version is of a subject that was erased since it was written."""
    return _rows_denied(context, None, erased=True) > 0


def _rows_denied(context: RunContext, late: np.ndarray | None, *, erased: bool = False) -> int:
    """How many rows of the version may not go any more, ``late`` being who withdrew; or of the erased alone."""
    manifest = draft_manifest(context)
    subjects = ReleasedSubjects([ConsentDecision.of_run(context, late=late)], context.workspace.vault)
    batches = open_version(
        context.storage, manifest, context.workspace.keyring.segment_key, columns=subjects.columns
    )
    rows = 0
    for batch in batches:
        reasons, ordinals = subjects.decide(batch)
        gone = (reasons == Reason.ERASED) | (ordinals.reshape(batch.num_rows, -1)[:, 0] < 0)
        rows += int((gone if erased else gone | (reasons != Reason.ALLOWED)).sum())
    return rows


_CHECKED = "consent-again.json"
_TOO_EARLY = ("GOV-646", "GOV-647", "GOV-649", "GOV-741")
_STANDS_ON = {
    Stage.PROTECT: (Stage.CLASSIFY, Stage.CONSENT),
    Stage.VALIDATE: (Stage.PROTECT,),
    Stage.APPROVE: (Stage.VALIDATE,),
}


def _require_evidence(context: RunContext) -> None:
    """Every stage passed, in order; its evidence is in the log, signed for this attempt, under a checkpoint."""
    require_declared(context, context.facts(Stage.CLASSIFY)["columns"])
    indexes = {stage: context.log_index(stage) for stage in evident(context)}
    for stage, earlier in _STANDS_ON.items():
        if stage is Stage.APPROVE and may_join(context):
            # Beside another release it was read back once more, as it was approved; protect's output is what it cites.
            earlier = (Stage.PROTECT,)
        if stale := [e for e in earlier if stage in indexes and indexes[e] > indexes[stage]]:
            raise StorageError(
                "GOV-741",
                f"{stage} of version {context.run.version} is older than {', '.join(stale)}, which ran again since",
                f"run {stage} again; in Airflow, clear it with its downstream tasks",
            )
    require_sound(context, context.facts(Stage.VALIDATE))
    log = context.workspace.log
    checkpoint = log.checkpoint()
    for stage, index in indexes.items():
        entry = log.entry(index)
        observed = verify_evidence(
            entry,
            evidence_public_key=context.workspace.evidence_public_key,
            run_public_key=context.run.run_public_key,
        )
        proven = (
            isinstance(observed, Observed)
            and observed.stage is stage
            and observed.context == as_sent(event_context(context.run))
            and observed.facts == as_sent(context.facts(stage))
        )
        if not proven:
            raise LogError(
                "GOV-507",
                f"log entry {index} does not prove {stage} for version {context.run.version}",
                f"run the pass again from {stage}; if this repeats, `governance log verify` finds what was altered",
            )
        verify_entry(entry.leaf, log.prove(index, checkpoint), checkpoint)


def publish(
    context: RunContext, manifest: Manifest, path: str, position: int, late: int, tombstones: int
) -> dict[str, Any]:
    """Say in the log that the version is about to be released, move the pointer, say that it was.

    Args:
        path: where the signed manifest lies, relative to the dataset root.
        position: the ledger position at which consent was checked last.
        late: how many subjects withdrew since the opening.
        tombstones: how many erasures the vault had carried out when the version was looked through for them.

    Raises:
        StorageError: GOV-721 when another release came first.
        ConsentError: GOV-204 when there was an erasure since.
    """
    workspace, storage = context.workspace, context.storage
    pointer, seen = current_pointer(storage)
    stands_on = pointer.link if pointer else None
    present = pointer.version if pointer else None
    if stands_on != manifest.body["previous"] or (
        present != context.run.previous_version and not may_join(context)
    ):
        raise moved_meanwhile(context.run.dataset)
    index_members(context, manifest)
    checkpoint = workspace.log.checkpoint()
    facts: dict[str, Any] = {
        "state": "intended",
        "manifest_digest": manifest.digest,
        "manifest_path": path,
        "previous_version": present,
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
    if workspace.vault.tombstones != tombstones:
        raise ConsentError(
            "GOV-204",
            f"subjects were erased while {context.run.dataset} was being published",
            "start a new run: it opens without them",
        )
    moved = Released(context.run.version, manifest.digest, path, intended)
    storage.swap_pointer(POINTER, seen, moved.to_bytes())
    released = {**facts, "state": "released"}
    _say_released(context, moved, manifest, released)
    return released


def _say_released(context: RunContext, pointer: Released, manifest: Manifest, facts: dict[str, Any]) -> None:
    signer = context.workspace.keyring.run_signer(context.run.version, context.run.attempt)
    index = context.recorder.record(stage_record(context, Stage.RELEASE, facts), signer)
    context.workspace.log.checkpoint()
    _mark_released(context, pointer, manifest, index, facts)


def _mark_released(
    context: RunContext, pointer: Released, manifest: Manifest, index: int, facts: dict[str, Any]
) -> None:
    # An earlier try may have failed, by a store that was down, or have been killed while it sealed rows.
    context.storage.remove_tree(quarantine_folder(context))
    remove_loose(context, manifest)
    context.storage.write(_marker(pointer.manifest_path), canonical({"facts": facts, "log_index": index}))


def _marker(manifest_path: str) -> str:
    return manifest_path.replace(".manifest.json", ".released.json")


def _released_dataset(context: RunContext, facts: dict[str, Any]) -> DatasetLineage:
    return DatasetLineage(DATASETS, context.run.dataset, version=context.run.version, rows=facts["rows"])
