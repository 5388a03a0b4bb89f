"""An erasure's first strength, at once: tombstone, vault link, suppression; and how far a request has come."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import AccessError
from governance.keys.vault.identifiers import distinct
from governance.model.canonical import parse, timestamp
from governance.model.erasure import GROUNDS, TOMBSTONE
from governance.model.evidence import Evidence, Recorder, Stage, StageRecord
from governance.pipeline.local import local_recorder
from governance.pipeline.tombstones import (
    ErasureRequest,
    carry_out_alone,
    erasing,
    keep_request,
    kept_request,
    tombstones,
)
from governance.pipeline.workspace import PIPELINE, Workspace
from governance.rights.facts import erasure_steps
from governance.rights.plan import ErasurePlan, now, plan_erasure
from governance.rights.searching import search_text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Approve = Callable[[ErasurePlan], bool]
"""Shown the plan as it is carried out; nothing happens unless it says yes."""


def request_erasure(
    workspace: Workspace,
    recorder: Recorder,
    *,
    request: str,
    domain: str,
    identifiers: pa.Array,
    ground: str,
    approve: Approve,
) -> ErasurePlan | None:
    """Erase subjects at once from all that is read through the framework, and begin the rest.

    From the return on: reads, disclosures and new passes leave their rows out, the vault leads nowhere
    from or to them, and their identifiers do not come back with a load. Their segments still hold rows until
    :func:`governance.rights.finish`. Called again with the same request and subjects, killed or not, it goes
    on where it was; then no plan is made and ``None`` is returned.

    Args:
        request: letters, digits, ``_`` and ``-``; it stands in the log, so no personal data.
        ground: a code of :data:`governance.model.erasure.GROUNDS`.

    Raises:
        AccessError: GOV-605 when the request's name is malformed or another request has it, or the plan was not
            approved.
        ProtectionError: GOV-304, GOV-307. StorageError: GOV-72x. LogError: GOV-50x.
    """
    if not _NAME.fullmatch(request):
        raise AccessError(
            "GOV-605",
            "a request's name is 1 to 64 letters, digits, _ and -",
            "give it the number under which the request is filed, without personal data",
        )
    home, keyring = workspace.settings.home, workspace.keyring
    with erasing(home):
        begun = kept_request(home, keyring, request)
        if begun is not None:
            _require_same(workspace, begun, domain, identifiers)
            begin(workspace, recorder, begun, steps_of(workspace, [request])[request])
            return None
        if request in {said["request"] for said in stated_tombstones(workspace)}:
            raise AccessError(
                "GOV-605",
                f"request {request} was carried out already",
                "give a new request a name of its own",
            )
        plan = plan_erasure(workspace, domain, identifiers)
        if not approve(plan):
            raise AccessError(
                "GOV-605",
                "the plan was not approved, or is another one than was approved: nothing was erased",
                "look at the plan again: `governance erase … --plan`",
            )
        kept = plan.request(request, ground, now(workspace), workspace.policy.erasure_days)
        if len(plan.ordinals):
            keep_request(home, keyring, kept)
            begin(workspace, recorder, kept, [])
            # Identifiers are at hand now, and are not kept for later.
            texts = [str(value) for value in distinct(identifiers)[1].to_pylist()]
            places = search_text(workspace, texts, (), ground=GROUNDS.get(ground, ground))
            found = sum(place["found"] > 0 for place in places)
            searched = {"state": "searched", "places": places, "found": found, "complete": False}
            record_step(workspace, recorder, [request], searched)
            workspace.log.checkpoint()
        else:
            # Nothing is known of them: that is the answer, and that it was asked is recorded.
            stated = {**kept.planned, "ground": ground, "requested_at": timestamp(kept.requested_at)}
            record_step(workspace, recorder, [request], {"state": "requested", **stated})
            workspace.log.checkpoint()
    return plan


def begin(
    workspace: Workspace,
    recorder: Recorder,
    request: ErasureRequest,
    before: Sequence[Mapping[str, Any]],
) -> None:
    """Tombstone, evidence, vault, evidence. Every step may be repeated; the caller holds the lock.

    Args:
        before: the steps that the log has of the request already.
    """
    tombstone = workspace.append_json(
        {
            "v": 1,
            "request": request.request,
            "domain": request.domain,
            "ground": request.ground,
            "subjects": request.subjects,
            "requested_at": timestamp(request.requested_at),
            "due_at": timestamp(request.due_at),
        },
        TOMBSTONE,
        PIPELINE,
    )
    stated = {
        "domain": request.domain,
        "tombstone": tombstone,
        "ground": request.ground,
        "requested_at": timestamp(request.requested_at),
        "due_at": timestamp(request.due_at),
        "subjects": len(request.ordinals),
    }
    states = {facts["state"] for facts in before}
    if "requested" not in states:
        facts = {**request.planned, **stated, "state": "requested"}
        record_step(workspace, recorder, [request.request], facts)
    carry_out_alone(workspace.log, workspace.keyring, workspace.vault, workspace.settings.home)
    if "suppressed" not in states:
        done = {"state": "suppressed", **stated, "held": int(request.held.sum())}
        record_step(workspace, recorder, [request.request], done)
    workspace.log.checkpoint()


def record_step(
    workspace: Workspace, recorder: Recorder, requests: list[str], facts: Mapping[str, Any]
) -> int:
    """Put a step of erasures into the log, signed by the evidence key; returns its index."""
    context = {"requests": requests, "policy_digest": workspace.policy.digest}
    record = StageRecord(Evidence(Stage.ERASURE, facts), context)
    index = recorder.record(record, workspace.keyring.evidence_signer)
    # A step is a run that ends; otherwise it would be shown as running for ever.
    recorder.completed(Stage.ERASURE, context, record)
    return index


def record_destruction(workspace: Workspace, request: str, before: Mapping[str, Any]) -> bool:
    """Put into the log that the provider has confirmed since what a step said was pending; whether it has."""
    epochs = set(before["destruction"]["epochs"])
    sure = {each.epoch for each in workspace.keyring.destructions if each.confirmed_at is not None}
    if not epochs <= sure:
        return False
    said = {name: before[name] for name in ("state", "doomed", "epoch", "keys", "refused", "caches")}
    confirmed = {"epochs": sorted(epochs), "confirmed": True, "pending": []}
    recorder = local_recorder(workspace, "erasure", request)
    record_step(workspace, recorder, [request], {**said, "destruction": confirmed})
    workspace.log.checkpoint()
    return True


def stated_tombstones(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """What the tombstones in the log say, with their ``log_index``; those without a body are left out."""
    for index in tombstones(workspace.log, workspace.settings.home):
        body = workspace.log.entry(index).body
        if body is not None:
            yield {**parse(body), "log_index": index}


def steps_of(workspace: Workspace, names: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """The facts of every step that the log has of some requests, from their first tombstone on."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    first = min((s["log_index"] for s in stated_tombstones(workspace) if s["request"] in found), default=None)
    if first is not None:
        for step in erasure_steps(workspace.log, start=first):
            for name in found.keys() & set(step.requests):
                found[name].append(step.facts)
    return found


def _require_same(workspace: Workspace, begun: ErasureRequest, domain: str, identifiers: pa.Array) -> None:
    marks = workspace.vault.suppression_marks(domain, distinct(identifiers)[1])
    own = {row.tobytes() for row in begun.marks}
    if begun.domain != domain or not own <= {row.tobytes() for row in np.atleast_2d(marks)}:
        raise AccessError(
            "GOV-605",
            f"request {begun.request} was begun for other subjects",
            "give this request a name of its own, or name the subjects of the one that was begun",
        )
