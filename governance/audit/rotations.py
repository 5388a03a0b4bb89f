"""The key rotations that a bundle carries: how a key pinned before them leads to the bundle's key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from governance.audit.bundle import KEY, ROTATIONS
from governance.audit.checking.container import Failed
from governance.errors import GovernanceError
from governance.log.note import Checkpoint, VerifierKey, read_checkpoint
from governance.log.rotation import Handover, Term, follow
from governance.log.tree import verify_consistency
from governance.model.canonical import canonical


def read_rotations(files: Mapping[str, bytes]) -> list[Handover]:
    """The handovers of a bundle. Raises :class:`Failed` when the file is not as bundles have it."""
    if ROTATIONS not in files:
        return []
    try:
        said = json.loads(files[ROTATIONS])
        if not isinstance(said, list) or not said or canonical(said) != files[ROTATIONS]:
            raise ValueError
        return [Handover.from_json(members) for members in said]
    except (ValueError, TypeError, RecursionError, GovernanceError):
        raise Failed(ROTATIONS, "is not of the form bundles have") from None


def terms_of(named: str, pinned: str, carried: Sequence[Handover]) -> list[Term]:
    """The log's keys up to the bundle's, which ``key.txt`` names, if the pinned one is among them.

    Raises:
        Failed: it is not, or a rotation does not hold.
    """
    try:
        key = VerifierKey.parse(named)
        terms = follow(key, carried)
    except GovernanceError as fault:
        raise Failed(KEY, fault.message) from None
    if terms[-1].key != key:
        raise Failed(KEY, "names a key that was retired when the bundle was made")
    if VerifierKey.parse(pinned) not in [term.key for term in terms]:
        raise Failed(
            KEY,
            "names another key than the one pinned. If the log's key was rotated since, ask for a bundle made"
            " now, or pin the key of that time: `governance log verify --json` lists the log's keys",
        )
    return terms


def check_rotations(
    carried: Sequence[Handover], checkpoint: Checkpoint, consistency: Mapping[int, list[bytes]]
) -> None:
    """Check that the bundle's tree extends the tree of each handover. Raises :class:`Failed`."""
    for handover in carried:
        older = read_checkpoint(handover.note)
        proof = consistency.get(older.size, [])
        try:
            verify_consistency(older.size, checkpoint.size, proof, older.root, checkpoint.root)
        except GovernanceError as fault:
            raise Failed(ROTATIONS, fault.message) from None
