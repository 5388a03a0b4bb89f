"""A version without erased subjects: affected segments written again, published like any other release."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import GovernanceError, ValidationError
from governance.log import CONTRACT, POLICY, NewEntry
from governance.model.canonical import canonical, digest
from governance.model.dataset import Manifest, Segment, SourceFile, SourceSnapshot
from governance.model.evidence import DatasetLineage, Evidence, Recorder, Stage, StageRecord
from governance.model.run import OpenedRun, version_id
from governance.pipeline.local import local_recorder
from governance.pipeline.membership import subject_columns
from governance.pipeline.open import DATASETS, opened_facts
from governance.pipeline.pointer import contract_path, current_pointer
from governance.pipeline.release import publish
from governance.pipeline.step import RunContext, RunReference, event_context, reported, stage_record
from governance.pipeline.workspace import PIPELINE, Workspace
from governance.protect import build_manifest, sign_manifest
from governance.protect.outputs import QUARANTINE
from governance.protect.resegment import Mask, rewrite_segment, rows_matching
from governance.protect.segment import SEGMENTS, SegmentWriter
from governance.rights.erasing import record_step
from governance.rights.holdings import Holding, Wanted, sealed_batches

KIND = "governed_version"
"""The kind of source of a version that was made from an earlier one."""


def rewrite_holding(
    workspace: Workspace, recorder: Recorder, holding: Holding, wanted: Wanted, requests: list[str]
) -> dict[str, Any]:
    """Write a dataset's affected segments again and release the version that stands on them.

    Everything has a name that follows from what it replaces, so a repetition after a crash writes over what
    was left half-done. What was said in the log before the release is returned: for each released and
    quarantined segment what replaces it, and which segments are ``doomed`` now.

    Raises:
        StorageError: GOV-721 when another release came in between: look again, and repeat.
        ValidationError: GOV-405, GOV-403 when a subject is still found in what was written.
    """
    facts: dict[str, Any] = {"state": "rewritten", "dataset": holding.dataset}
    facts["quarantine"] = [
        _without(workspace, holding, wanted, aside) for aside in sorted(holding.quarantine)
    ]
    facts["doomed"] = sorted({*holding.current, *holding.earlier, *holding.quarantine})
    if holding.manifest is not None and holding.current:
        _release(workspace, recorder, holding, holding.manifest, wanted, requests, facts)
    else:
        record_step(workspace, recorder, requests, facts)
    return facts


def _release(
    workspace: Workspace,
    recorder: Recorder,
    holding: Holding,
    manifest: Manifest,
    wanted: Wanted,
    requests: list[str],
    facts: dict[str, Any],
) -> None:
    context = _opened(workspace, holding, manifest, requests)
    storage, keys, run = context.storage, workspace.keyring, context.run
    people = subject_columns(manifest)

    def of_subjects(batch: pa.RecordBatch) -> Mask:
        named = [wanted.places(batch[name]) >= 0 for name in people]
        return np.asarray(np.any(named, axis=0), bool)

    replaced: dict[str, Segment | None] = {}
    pieces: list[dict[str, Any]] = []
    try:
        for segment in holding.segments():
            name = f"{run.version}-{_short(segment.segment_id)}"
            storage.remove_tree(f"{SEGMENTS}/{name}")
            new, dropped = rewrite_segment(storage, keys, manifest, segment, of_subjects, segment_id=name)
            replaced[segment.segment_id] = new
            pieces.append(
                {
                    "from": segment.segment_id,
                    "to": new.segment_id if new else None,
                    "rows": new.rows if new else 0,
                    "dropped": dropped,
                    "bytes_read": _size(segment),
                    "bytes_written": _size(new) if new else 0,
                }
            )
        draft = _manifest(context, manifest, replaced, None, {})
        for segment in filter(None, replaced.values()):
            if rows_matching(storage, keys, draft, segment, people, of_subjects):
                raise ValidationError(
                    "GOV-403",
                    f"segment {segment.segment_id} of {run.dataset} still holds rows of an erased subject",
                    "this is a fault of the software: report it; nothing was kept",
                )
        facts |= {
            "version": run.version,
            "previous_version": manifest.version,
            "segments": pieces,
            "rows": draft.body["rows"],
            "verified": True,
        }
        proof = record_step(workspace, recorder, requests, facts)
        pointer, _ = current_pointer(storage)
        extra = {
            "evidence": {str(Stage.ERASURE): proof},
            "consent_position_at_publish": manifest.body["consent_position"],
            "late_withdrawals": 0,
            "previous": pointer.link if pointer else None,
            "erasure": {"requests": requests, "replaced": pieces},
        }
        signed = _manifest(context, manifest, replaced, workspace.log.checkpoint().note, extra)
        path = f"versions/{run.version}/{run.attempt}.manifest.json"
        storage.write(contract_path(signed), storage.read(contract_path(manifest)))
        storage.write(path, sign_manifest(signed, keys.evidence_signer))
        with reported(context.recorder, Stage.RELEASE, event_context(run)):
            released = publish(context, signed, path, manifest.body["consent_position"], 0, run.tombstones)
            output = DatasetLineage(DATASETS, run.dataset, version=run.version, rows=released["rows"])
            record = stage_record(context, Stage.RELEASE, released, outputs=(output,))
            context.recorder.completed(Stage.RELEASE, record.context, record)
    except GovernanceError:
        if current_pointer(storage)[0] is None or current_pointer(storage)[0].version != run.version:  # type: ignore[union-attr]
            for segment in filter(None, replaced.values()):
                storage.remove_tree(f"{SEGMENTS}/{segment.segment_id}")
        raise


def _opened(workspace: Workspace, holding: Holding, manifest: Manifest, requests: list[str]) -> RunContext:
    """Open the run that makes the version, so that its evidence, and a recovery, go the usual way."""
    storage, policy, contract = workspace.dataset_storage(holding.dataset), workspace.policy, holding.contract
    written = storage.read(contract_path(manifest))
    pointer, _ = current_pointer(storage)
    where = pointer.manifest_path if pointer else ""
    file = SourceFile(where, len(storage.read(where)), manifest.digest)
    source = SourceSnapshot(KIND, f"gov://{holding.dataset}/{manifest.version}", (file,), manifest.digest)
    run_id = f"erasure-{digest(canonical(sorted(requests)))[7:23]}"
    version = version_id(
        dataset=holding.dataset,
        run_id=run_id,
        map_index=-1,
        source_digest=manifest.digest,
        contract_digest=contract.digest,
        policy_digest=policy.digest,
        consent_position=manifest.body["consent_position"],
    )
    attempt = secrets.token_hex(4)
    run = OpenedRun(
        dataset=holding.dataset,
        kind=manifest.body["kind"],
        run_id=run_id,
        map_index=-1,
        attempt=attempt,
        purpose=manifest.body["run"]["purpose"],
        opened_at=workspace.clock(),
        source=source,
        contract_digest=contract.digest,
        policy_digest=policy.digest,
        consent_position=manifest.body["consent_position"],
        version=version,
        previous_version=manifest.version,
        run_public_key=base64.b64encode(workspace.keyring.run_signer(version, attempt).public_key).decode(),
        corrections_position=manifest.body["run"].get("corrections_position", 0),
        tombstones=workspace.vault.tombstones,
    )
    reference = RunReference(run.dataset, version, attempt)
    storage.write(f"{reference.folder}/contract.odcs.yaml", written)
    storage.write(f"{reference.folder}/run.json", canonical(run.to_json()))
    recorder = local_recorder(workspace, run.dataset, run_id)
    contract_index = workspace.log.append([NewEntry(written, CONTRACT, PIPELINE)])[0]
    policy_index = workspace.append_file(workspace.settings.policy, POLICY)
    with reported(recorder, Stage.OPEN, event_context(run)):
        record = StageRecord(
            Evidence(Stage.OPEN, opened_facts(run, contract, contract_index, policy_index)),
            event_context(run),
            inputs=(DatasetLineage(DATASETS, run.dataset, version=manifest.version),),
        )
        recorder.record(record, workspace.keyring.evidence_signer)
        recorder.completed(Stage.OPEN, record.context, record)
    return RunContext(workspace, recorder, storage, contract, policy, run, reference)


def _manifest(
    context: RunContext,
    before: Manifest,
    replaced: dict[str, Segment | None],
    checkpoint: str | None,
    extra: dict[str, Any],
) -> Manifest:
    kept = [replaced.get(segment.segment_id, segment) for segment in before.segments]
    segments = [segment for segment in kept if segment is not None]
    left = sum(segment.rows for segment in segments)
    rows = before.body["rows"]
    return build_manifest(
        context.run,
        segments=segments,
        schema=before.body["schema"],
        columns=before.body["columns"],
        counts={"rows_in": rows, "rows_denied": rows - left, "rows_quarantined": 0, "rows_out": left},
        checkpoint=checkpoint,
        extra=extra,
    )


def _without(workspace: Workspace, holding: Holding, wanted: Wanted, aside: str) -> dict[str, Any]:
    """Write a quarantine segment again without the subjects; of what cannot be read nothing is kept."""
    storage, marks = workspace.dataset_storage(holding.dataset), workspace.vault.suppression_marks
    name = f"{aside.rpartition('-')[0] or aside}-{_short(aside)}"
    folder = f"{QUARANTINE}/{name}"
    storage.remove_tree(folder)
    writer: SegmentWriter | None = None
    dropped = 0
    try:
        for batch in sealed_batches(storage, workspace, f"{QUARANTINE}/{aside}"):
            gone = np.zeros(batch.num_rows, bool)
            for column in holding.further.keys() & {
                *batch.schema.names,
                holding.contract.subject.source_name,
            }:
                gone |= wanted.named(batch[column], marks, holding.further[column]) >= 0
            dropped += int(gone.sum())
            if writer is None:
                levels = dict.fromkeys(batch.schema.names, QUARANTINE)
                writer = SegmentWriter(storage, name, batch.schema, levels, workspace.keyring, folder=folder)
            writer.write(batch.filter(pa.array(~gone)))
    except (GovernanceError, KeyError, OSError, pa.ArrowException):
        if writer is not None:
            writer.abort()
        return {"from": aside, "rows": 0, "dropped": dropped}
    rows = writer.close().rows if writer is not None else 0
    return {"from": aside, "to": name if rows else None, "rows": rows, "dropped": dropped}


def _size(segment: Segment) -> int:
    return sum(file.size for file in segment.files)


def _short(text: str) -> str:
    return digest(text.encode())[7:23]
