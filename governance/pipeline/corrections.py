"""Which corrections of classifications a run obeys. The log is the truth; where they stand in it is remembered."""

from __future__ import annotations

import contextlib
from typing import Any

from governance.durable import replace_file
from governance.lineage.classifications.corrections import corrections_in
from governance.model.canonical import canonical, parse
from governance.model.correction import CORRECTION, Correction, read_correction
from governance.pipeline.workspace import Workspace

MEMORY = "corrections.json"
"""In the home: up to which log size corrections were looked for, and at which indexes there are any."""


def corrections_before(workspace: Workspace, position: int, *, remember: bool = True) -> list[Correction]:
    """The corrections in the log's first ``position`` entries, in log order.

    Looking at every envelope takes a second for some hundred thousand; only those since the last time are
    looked at. Every correction itself is read from the log, so that one that was redacted counts no more. Whoever
    can write the memory could hide one from a run; they hold the home's keys too, and the evidence names those
    that were obeyed. Without ``remember`` the memory is left as it is.

    Raises:
        LogError: GOV-501 when the store does not answer.
    """
    memory, log = workspace.settings.home / MEMORY, workspace.log
    known: dict[str, Any] | None = None
    with contextlib.suppress(OSError, ValueError):
        known = parse(memory.read_bytes())
    if not isinstance(known, dict) or known.get("origin") != log.origin or known["size"] > log.size():
        known = {"origin": log.origin, "size": 0, "indexes": []}
    if known["size"] < position:
        found = [each.index for each in corrections_in(log, position, start=known["size"])]
        known = {**known, "size": position, "indexes": [*known["indexes"], *found]}
        # Whoever may not write here looks again the next time.
        if remember:
            with contextlib.suppress(OSError):
                replace_file(memory, canonical(known))
    read = []
    for index in known["indexes"]:
        entry = log.entry(index) if index < position else None
        if entry is not None and entry.body is not None and entry.envelope.media_type == CORRECTION:
            read.append(read_correction(entry.body, entry.envelope.principal, index))
    return [correction for correction in read if correction is not None]
