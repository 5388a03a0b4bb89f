"""Segments that a version shares with the one before it: rewritten where someone in them is denied now."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import ContractError
from governance.model.contract import LoadMode
from governance.model.dataset import Segment
from governance.model.decision import Reason
from governance.pipeline.consent import ConsentDecision, ReleasedSubjects
from governance.pipeline.manifest import segments_of
from governance.pipeline.membership import subject_columns
from governance.pipeline.standing import DECIDED_ON, keep_stood_on, may_join, present, settled
from governance.pipeline.step import RunContext
from governance.protect import carried_segments
from governance.protect.resegment import Mask, rewrite_segment, rows_matching


def rewrite_carried(
    context: RunContext, written: Sequence[Mapping[str, Any]], late: np.ndarray | None
) -> list[dict[str, Any]]:
    """Write the carried segments with denied subjects again without them.

    Args:
        written: the segments of this load, as evidence states them.
        late: as :func:`governance.pipeline.protect.protect`.

    Returns:
        What evidence states: each new segment, what it stands ``from`` and how many rows were ``dropped``; a
        segment of which no row is left has no files.

    Raises:
        StorageError: GOV-723. ProtectionError: GOV-303. ContractError: GOV-102 when the carried segments name
        people in other columns than the contract does. Nothing half-written remains.
    """
    if context.contract.mode is LoadMode.FULL:
        return []
    previous = present(context)
    keep_stood_on(context, DECIDED_ON, None)
    if previous is None or (late is None and may_join(context) and settled(context, previous)):
        return []
    carried = carried_segments(previous, context.contract.mode, segments_of(written))
    subjects = ReleasedSubjects([ConsentDecision.of_run(context, late=late)], context.workspace.vault)
    if carried and set(subject_columns(previous)) != set(subjects.people):
        raise ContractError(
            "GOV-102",
            f"version {previous.version} of {context.run.dataset} names people in {', '.join(subject_columns(previous))}, "
            f"the contract in {', '.join(subjects.people)}: who is in its segments could not be told any more",
            "load the dataset in full once, with `loadMode: full`",
        )

    def denied(batch: pa.RecordBatch) -> Mask:
        return np.asarray(subjects.decide(batch)[0] != Reason.ALLOWED, bool)

    storage, keys = context.storage, context.workspace.keyring
    made: list[dict[str, Any]] = []
    try:
        for segment in carried:
            if not rows_matching(storage, keys, previous, segment, subjects.columns, denied):
                continue
            name = f"{context.run.version}-{secrets.token_hex(8)}"
            new, dropped = rewrite_segment(storage, keys, previous, segment, denied, segment_id=name)
            left = new or Segment(name, segment.partition, 0, (), {})
            made.append({**stated_segment(left), "from": segment.segment_id, "dropped": dropped})
    except BaseException:
        for stated in made:
            storage.remove_tree(f"segments/{stated['segment_id']}")
        raise
    # Counts only once the evidence names what was rewritten: a try may be killed before.
    keep_stood_on(context, DECIDED_ON, previous, made)
    return made


def stated_segment(segment: Segment) -> dict[str, Any]:
    """A segment as evidence states it."""
    return {
        "segment_id": segment.segment_id,
        "partition": dict(segment.partition),
        "rows": segment.rows,
        "files": [
            {"path": f.path, "size": f.size, "digest": f.digest, "role": f.role} for f in segment.files
        ],
        "key_ids": dict(segment.key_ids),
    }
