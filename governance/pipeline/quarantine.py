"""Quarantine: what was not released, and why. Its segments stay sealed; no pointer names them."""

from __future__ import annotations

import contextlib

from governance.errors import GovernanceError
from governance.model.canonical import canonical
from governance.model.evidence import Stage
from governance.pipeline.step import RunContext, stage_record


def quarantine_folder(context: RunContext) -> str:
    """Where the reasons lie that held back a run's version."""
    return f"quarantine/{context.run.version}.{context.run.attempt}"


def quarantine_version(context: RunContext, fault: GovernanceError) -> None:
    """Set a version aside with its reason. The previous version stays released."""
    reasons = [{"code": fault.code, "message": fault.message}]
    facts = {
        "state": "quarantined",
        "manifest_digest": None,
        "manifest_path": None,
        "previous_version": context.run.previous_version,
        "consent_position": context.run.consent_position,
        "late_withdrawals": 0,
        "checkpoint": None,
        "rows": 0,
        "reasons": reasons,
        "recovered": False,
    }
    context.storage.write(
        f"{quarantine_folder(context)}/reasons.json",
        canonical({"run": context.run.to_json(), "reasons": reasons}),
    )
    signer = context.workspace.keyring.run_signer(context.run.version, context.run.attempt)
    # A store that is down is itself a reason to quarantine; the folder then tells what the log cannot.
    with contextlib.suppress(GovernanceError):
        context.recorder.record(stage_record(context, Stage.RELEASE, facts), signer)
