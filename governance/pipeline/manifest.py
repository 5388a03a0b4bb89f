"""The manifest of a run's version: what protect wrote, in the form that is signed and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance.model.contract import LoadMode
from governance.model.dataset import Manifest, Segment, SegmentFile
from governance.model.evidence import Stage
from governance.pipeline.pointer import current_pointer, released_manifest
from governance.pipeline.step import RunContext
from governance.protect import build_manifest, carried_segments, sign_manifest


def draft_manifest(context: RunContext) -> Manifest:
    """The manifest as it stands after protect, not signed: what validate reads the version through."""
    return _manifest(context, checkpoint=None, extra={})


def signed_manifest(
    context: RunContext, evident: Sequence[Stage], *, consent_position: int, late_withdrawals: int
) -> tuple[Manifest, bytes]:
    """The manifest under the home's evidence key; embeds the checkpoint that covers the evidence.

    ``evident`` are the stages whose evidence the release stands on.
    """
    manifest = _manifest(
        context,
        checkpoint=context.workspace.log.checkpoint().note,
        extra={
            "evidence": {str(stage): context.log_index(stage) for stage in evident},
            "consent_position_at_publish": consent_position,
            "late_withdrawals": late_withdrawals,
            "previous": _previous(context),
        },
    )
    return manifest, sign_manifest(manifest, context.workspace.keyring.evidence_signer)


def _manifest(context: RunContext, *, checkpoint: str | None, extra: Mapping[str, Any]) -> Manifest:
    facts = context.facts(Stage.PROTECT)
    written = segments_of(facts["segments"])
    previous = (
        released_manifest(context.workspace, context.run.dataset)
        if context.contract.mode is not LoadMode.FULL and context.run.previous_version
        else None
    )
    carried = carried_segments(previous, context.contract.mode, written)
    rewritten = {s["from"]: s for s in facts.get("carried", ())}
    kept = [s for s in carried if s.segment_id not in rewritten]
    return build_manifest(
        context.run,
        segments=[*kept, *segments_of([s for s in rewritten.values() if s["rows"]]), *written],
        columns=[c for c in facts["columns"] if not c["dropped"]],
        schema=facts["schema"],
        counts={k: facts[k] for k in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")},
        checkpoint=checkpoint,
        extra=extra,
    )


def _previous(context: RunContext) -> dict[str, str] | None:
    """The chain by which an earlier version is found, and cannot be exchanged."""
    pointer, _ = current_pointer(context.storage)
    if pointer is None:
        return None
    return {
        "version": pointer.version,
        "manifest_digest": pointer.manifest_digest,
        "manifest_path": pointer.manifest_path,
    }


def segments_of(stated: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """Segments as the evidence of protect states them."""
    return [
        Segment(
            s["segment_id"],
            s["partition"],
            s["rows"],
            tuple(SegmentFile(f["path"], f["size"], f["digest"], f["role"]) for f in s["files"]),
            s["key_ids"],
        )
        for s in stated
    ]
