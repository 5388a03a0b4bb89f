"""What a version of some partitions, or of added rows, stands on: the version released when it is made.

Runs that write other partitions, mapped tasks among them, may release between a run's opening and its release.
Their segments are carried then, not lost; two runs that write one partition are in each other's way, and the later
is refused. Segments that another run released under the same contract, policy and purpose were decided and read
back by that run: they are read again only where somebody may have withdrawn or been erased since, or a rule is
about the whole version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from governance.errors import StorageError
from governance.model.canonical import instant
from governance.model.contract import LoadMode, RuleScope
from governance.model.dataset import Manifest
from governance.pipeline.notes import keep_note, read_note
from governance.pipeline.pointer import Released, current_pointer, linked_manifest, released_manifest
from governance.pipeline.step import RunContext, RunReference
from governance.pipeline.workspace import Workspace
from governance.protect.outputs import QUARANTINE
from governance.storage import Storage
from governance.validate import by_part

_OPENED_ON = "opened-on.json"
DECIDED_ON = "decided-on.json"
"""On what a version stood when each row it carries was decided."""
VALIDATED_ON = "validated-on.json"
"""On what it stood when it was read back."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A ledger position and an instant at which nobody in what is carried is denied."""

    position: int
    at: datetime


def keep_opened_on(
    workspace: Workspace, storage: Storage, reference: RunReference, pointer: Released | None
) -> None:
    """Remember what was released when a run opened."""
    keep_note(workspace, storage, reference, _OPENED_ON, pointer.link if pointer else {})


def keep_stood_on(
    context: RunContext, what: str, released: Manifest | None, rewritten: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Remember on which version this one stood when something was done to it, and what of it was ``rewritten``."""
    keep_note(context.workspace, context.storage, context.reference, what, _stood(released, rewritten))


def stood_on(
    context: RunContext, what: str, released: Manifest | None, rewritten: Sequence[Mapping[str, Any]] = ()
) -> bool:
    """Whether it was done as the version stands on ``released``."""
    return read_note(context, what) == _stood(released, rewritten)


def _stood(released: Manifest | None, rewritten: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "manifest_digest": released.digest if released else None,
        "rewritten": [segment["segment_id"] for segment in rewritten],
    }


def present(context: RunContext) -> Manifest | None:
    """The released version on which this one stands as it is made; ``None`` where nothing was released."""
    pointer, _ = current_pointer(context.storage)
    return released_manifest(context.workspace, context.run.dataset) if pointer else None


def may_join(context: RunContext) -> bool:
    """Whether the version may stand on another than its run opened on; a replay of quarantine may not: it is taken
    in at most once."""
    return (
        context.contract.mode is not LoadMode.FULL
        and context.run.source.kind != QUARANTINE
        and read_note(context, _OPENED_ON) is not None
    )


def require_own_partitions(
    context: RunContext, released: Manifest | None, written: set[tuple[tuple[str, str], ...]]
) -> None:
    """Nobody else may have released a partition that this run writes since it opened.

    Args:
        written: the partitions, each as sorted pairs of column and value.

    Raises:
        StorageError: GOV-721.
    """
    if context.contract.mode is not LoadMode.REPLACE_PARTITION or released is None:
        return
    of_written = [s for s in released.segments if tuple(sorted(s.partition.items())) in written]
    if not of_written:
        return
    link = read_note(context, _OPENED_ON)
    opened = (
        linked_manifest(context.workspace, context.storage, context.run.dataset, link).segments
        if link
        else ()
    )
    known = {segment.segment_id for segment in opened}
    for segment in of_written:
        if segment.segment_id not in known:
            where = ", ".join(f"{name}={value}" for name, value in sorted(segment.partition.items()))
            raise StorageError(
                "GOV-721",
                f"partition {where or '(none)'} of {context.run.dataset} was released by another run since this one opened",
                "start a new run on top of the present version; in Airflow, clear the run's tasks from open on",
            )


def judged_apart(context: RunContext) -> bool:
    """Whether what the contract's rules say of two parts of a version holds for both together."""
    return by_part(r for r in context.contract.rules if r.scope is RuleScope.PROTECTED)


def settled(context: RunContext, released: Manifest) -> Settled | None:
    """When and up to which record nobody in a released version was denied, told without a look at its rows.

    Its own run decided each of them, under the same contract, policy and purpose, and since then nobody's decision
    turned, by the ledger and by the clock, and nobody was erased. ``None``: its rows have to be looked at.
    """
    run, was, workspace = context.run, released.body["run"], context.workspace
    same = all(
        was[name] == getattr(run, name)
        for name in ("purpose", "contract_digest", "policy_digest", "tombstones")
    )
    decided = released.body.get("carried_decided_at")
    if not same or decided is None or workspace.vault.tombstones != run.tombstones:
        return None
    published: int = released.body["consent_position_at_publish"]
    position, now = workspace.ledger.position, workspace.clock()
    # The version's own rows were allowed when its run opened, the carried ones when it stood on them.
    moments = {was["opened_at"], decided}
    for domain, moment in product(context.contract.subject.every_domain, moments):
        turned = workspace.ledger.late(
            context.policy.purposes[run.purpose],
            domain,
            now,
            published,
            max(published, position),
            workspace.vault.internal(domain),
            opened_at=instant(moment),
            special_category=context.contract.special_category,
        )
        if len(turned):
            return None
    return Settled(position, now)
