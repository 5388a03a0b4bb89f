"""Approval: a person looked at what is about to be released, and is neither who wrote nor who started it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.errors import AccessError
from governance.model.canonical import timestamp
from governance.model.dataset import Manifest
from governance.model.evidence import Stage
from governance.pipeline.manifest import draft_manifest, own_part
from governance.pipeline.standing import may_join, present, settled
from governance.pipeline.step import RunContext, prove, reported, stage_record

_REASON_LENGTH = 2_000
_ALWAYS = (Stage.OPEN, Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)


@dataclass(frozen=True, slots=True)
class Request:
    """What an approver is asked: ``digest`` of the manifest as validated, and who may answer.

    Of a version that joins others it is the digest of the run's own part, where what it carries was released under the
    same contract, policy and purpose, and so approved then; where that is not settled, of all of it.
    ``sensitivity`` is the highest among the released columns, ``columns`` are those that reach the policy's
    threshold, with their sensitivity.
    """

    digest: str
    sensitivity: str
    columns: tuple[tuple[str, str], ...]
    approvers: tuple[str, ...]
    rows: int


def approval_request(context: RunContext, *, triggered_by: str | None) -> Request | None:
    """What has to be approved before this run may release; ``None`` when nothing has to.

    Args:
        triggered_by: the user who started the run, as the orchestrator knows it.

    Raises:
        AccessError: GOV-646 when approval is needed and nobody may give it.
        StorageError: GOV-741 when validate has not run.
    """
    policy = context.policy
    if policy.approval_from is None:
        return None
    levels = policy.sensitivities
    least = levels.index(policy.approval_from)
    facts = context.facts(Stage.PROTECT)
    released = [(c["column"], c["sensitivity"]) for c in facts["columns"] if not c["dropped"]]
    reaching = tuple((name, level) for name, level in released if levels.index(level) >= least)
    if not reaching:
        return None
    context.facts(Stage.VALIDATE)
    barred = {*context.contract.authors, *([triggered_by] if triggered_by else ())}
    approvers = tuple(name for name in policy.approvers if name not in barred)
    if not approvers:
        raise AccessError(
            "GOV-646",
            f"{context.run.dataset} holds {policy.approval_from} columns and nobody may approve its release",
            "add to the policy's approvers someone who is neither in the contract's team nor started the run",
        )
    return Request(
        digest=_shown(context).digest,
        sensitivity=max((level for _, level in reaching), key=levels.index),
        columns=reaching,
        approvers=approvers,
        rows=facts["rows_out"],
    )


def approve(
    context: RunContext,
    *,
    digest: str,
    approver: str,
    triggered_by: str | None,
    decided_at: datetime,
    reason: str,
    by_way_of: str,
) -> dict[str, Any]:
    """Record that a person approved the release of the manifest they were shown.

    Args:
        digest: of the manifest the request named.
        approver: the user's name, as the orchestrator authenticated it.
        triggered_by: the user who started the run.
        decided_at: when they answered, aware.
        reason: their words; no personal data of subjects.
        by_way_of: what authenticated the approver, e.g. ``airflow``.

    Raises:
        AccessError: GOV-646 when the approver may not approve this; GOV-647 when the version is not the one
            that was shown, or the reason is too long.
    """
    stage = Stage.APPROVE
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        request = approval_request(context, triggered_by=triggered_by)
        if request is None or approver not in request.approvers:
            raise AccessError(
                "GOV-646",
                f"{approver} may not approve the release of {context.run.dataset}",
                "ask one of the policy's approvers who is neither in the contract's team nor started the run",
            )
        _require_same(context, request.digest, digest)
        if len(reason) > _REASON_LENGTH:
            raise AccessError(
                "GOV-647", f"the reason has more than {_REASON_LENGTH:,} characters", "say it in fewer words"
            )
        facts = {
            "manifest_digest": digest,
            "approver": approver,
            "triggered_by": triggered_by,
            "authors": list(context.contract.authors),
            "decided_at": timestamp(decided_at),
            "reason": reason,
            "by_way_of": by_way_of,
            "sensitivity": request.sensitivity,
            "columns": [name for name, _ in request.columns],
        }
        record = stage_record(context, stage, facts)
        prove(context, stage, record)
        context.recorder.completed(stage, record.context, record)
    return facts


def evident(context: RunContext) -> tuple[Stage, ...]:
    """The stages whose evidence this release needs, approval among them where the policy asks for it.

    An approval is held against the policy and the version as they are now; its evidence in the log is the
    caller's to verify, like that of every stage.

    Raises:
        AccessError: GOV-646 when approval is needed and there is none, or not by one who may; GOV-647 when
            the version changed since, as it does when a withdrawal made protect write it anew.
    """
    said = context.facts(Stage.APPROVE) if context.has_run(Stage.APPROVE) else None
    request = approval_request(context, triggered_by=said["triggered_by"] if said else None)
    if request is None:
        return _ALWAYS
    if said is None or said["approver"] not in request.approvers:
        raise AccessError(
            "GOV-646",
            f"the release of {context.run.dataset} needs an approval that it does not have",
            f"have it approved in Airflow by one of: {', '.join(request.approvers)}",
        )
    _require_same(context, request.digest, said["manifest_digest"])
    return (*_ALWAYS, Stage.APPROVE)


def _shown(context: RunContext) -> Manifest:
    if may_join(context) and not context.facts(Stage.PROTECT).get("carried"):
        released = present(context)
        if released is None or settled(context, released):
            return own_part(context)
    return draft_manifest(context)


def _require_same(context: RunContext, present: str, shown: str) -> None:
    if present != shown:
        raise AccessError(
            "GOV-647",
            f"version {context.run.version} of {context.run.dataset} changed after it was shown for approval",
            "ask for approval again; in Airflow, clear the approve task and what follows",
        )
