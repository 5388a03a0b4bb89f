"""The manifest of a run's version: what protect wrote, in the form that is signed and read back."""

from __future__ import annotations

from typing import Any

from governance.model.contract import LoadMode
from governance.model.dataset import Manifest, Segment, SegmentFile
from governance.model.evidence import Stage
from governance.pipeline.pointer import released_manifest
from governance.pipeline.step import RunContext
from governance.protect import build_manifest, sign_manifest


def draft_manifest(context: RunContext) -> Manifest:
    """The manifest as it stands after protect, not signed: what validate reads the version through."""
    facts = context.facts(Stage.PROTECT)
    return build_manifest(
        context.run,
        segments=[*_kept_segments(context), *_segments(facts)],
        columns=[c for c in facts["columns"] if not c["dropped"]],
        schema=facts["schema"],
        counts={k: facts[k] for k in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")},
        checkpoint=None,
    )


def signed_manifest(
    context: RunContext, *, consent_position: int, late_withdrawals: int
) -> tuple[Manifest, bytes]:
    """The manifest under the home's evidence key; embeds the checkpoint that covers the evidence."""
    facts = context.facts(Stage.PROTECT)
    evidence = {
        str(stage): context.log_index(stage)
        for stage in (Stage.OPEN, Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)
    }
    manifest = build_manifest(
        context.run,
        segments=[*_kept_segments(context), *_segments(facts)],
        columns=[c for c in facts["columns"] if not c["dropped"]],
        schema=facts["schema"],
        counts={k: facts[k] for k in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")},
        checkpoint=context.workspace.log.checkpoint().note,
        extra={
            "evidence": evidence,
            "consent_position_at_publish": consent_position,
            "late_withdrawals": late_withdrawals,
        },
    )
    return manifest, sign_manifest(manifest, context.workspace.keyring.evidence_signer)


def _kept_segments(context: RunContext) -> list[Segment]:
    """Segments of the previous version that an appended version shares."""
    if context.contract.mode is not LoadMode.APPEND or context.run.previous_version is None:
        return []
    return list(released_manifest(context.workspace, context.run.dataset).segments)


def _segments(facts: dict[str, Any]) -> list[Segment]:
    return [
        Segment(
            s["segment_id"],
            s["partition"],
            s["rows"],
            tuple(SegmentFile(f["path"], f["size"], f["digest"], f["role"]) for f in s["files"]),
            s["key_ids"],
        )
        for s in facts["segments"]
    ]
