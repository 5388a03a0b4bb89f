"""The manifest of a run's version: what protect wrote, in the form that is signed and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from governance.errors import StorageError
from governance.model.canonical import timestamp
from governance.model.contract import LoadMode
from governance.model.dataset import Manifest, Segment, SegmentFile
from governance.model.evidence import Stage
from governance.pipeline.pointer import current_pointer
from governance.pipeline.standing import present
from governance.pipeline.step import RunContext
from governance.protect import build_manifest, carried_segments, sign_manifest


def draft_manifest(context: RunContext, released: Manifest | None = None) -> Manifest:
    """The manifest as it stands after protect, not signed: what validate reads the version through.

    ``released`` is what it stands on, where that was read already.
    """
    return _manifest(context, released or _stands_on(context), checkpoint=None, extra={})


def own_part(context: RunContext) -> Manifest:
    """The draft of what the run itself wrote, without what its version carries: the same, whatever it stands on."""
    return _manifest(context, None, checkpoint=None, extra={})


def signed_manifest(
    context: RunContext,
    evident: Sequence[Stage],
    *,
    consent_position: int,
    late_withdrawals: int,
    carried_decided_at: datetime | None = None,
) -> tuple[Manifest, bytes]:
    """The manifest under the home's evidence key; embeds the checkpoint that covers the evidence.

    ``evident`` are the stages whose evidence the release stands on; ``carried_decided_at`` is an instant at which
    nobody in the carried segments was denied.

    Raises:
        StorageError: GOV-721 when another release came while it was made.
    """
    released, previous = _stands_on(context), _previous(context)
    if released is not None and (previous or {}).get("manifest_digest") != released.digest:
        raise moved_meanwhile(context.run.dataset)
    decided = {"carried_decided_at": timestamp(carried_decided_at)} if carried_decided_at else {}
    manifest = _manifest(
        context,
        released,
        checkpoint=context.workspace.log.checkpoint().note,
        extra={
            "evidence": {str(stage): context.log_index(stage) for stage in evident},
            "consent_position_at_publish": consent_position,
            "late_withdrawals": late_withdrawals,
            "previous": previous,
            **decided,
        },
    )
    return manifest, sign_manifest(manifest, context.workspace.keyring.evidence_signer)


def moved_meanwhile(dataset: str) -> StorageError:
    """GOV-721: the version does not stand on the one that is released now."""
    return StorageError(
        "GOV-721",
        f"{dataset} was released by another run since this one opened",
        "start a new run on top of the present version",
    )


def _stands_on(context: RunContext) -> Manifest | None:
    return None if context.contract.mode is LoadMode.FULL else present(context)


def _manifest(
    context: RunContext, previous: Manifest | None, *, checkpoint: str | None, extra: Mapping[str, Any]
) -> Manifest:
    facts = context.facts(Stage.PROTECT)
    written = segments_of(facts["segments"])
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
