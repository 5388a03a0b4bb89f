"""Quarantine: what was not released, and why. Its segments stay sealed; no pointer names them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from governance.errors import GovernanceError, ValidationError
from governance.model.canonical import canonical, instant, parse, timestamp
from governance.model.contract import LoadMode
from governance.model.evidence import Stage
from governance.pipeline.pinned import quarantine_uri, set_aside
from governance.pipeline.pointer import released_chain, released_contract
from governance.pipeline.step import RunContext, stage_record
from governance.pipeline.workspace import PIPELINE, Workspace
from governance.protect.outputs import QUARANTINE

EXPIRED = "application/vnd.governance.quarantine-expiry+json"
"""The log's media type of what was removed from quarantine."""


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


@dataclass(frozen=True, slots=True)
class SetAside:
    """Rows that a released version's run held back. ``state`` is ``waiting``, ``expired``, ``replayed``,
    ``superseded`` by a later load that brings all rows anew, or ``gone``: erased or removed.

    ``by_rule`` counts rows by the rule they fail; one that fails two counts in both.
    """

    dataset: str
    version: str
    run_id: str
    purpose: str
    set_aside_at: datetime
    expires_at: datetime
    rows: int
    by_rule: Mapping[str, int]
    state: str
    replayed_in: str | None
    folder: str | None

    def to_json(self) -> dict[str, Any]:
        times = {"set_aside_at": timestamp(self.set_aside_at), "expires_at": timestamp(self.expires_at)}
        return {**asdict(self), **times}


def quarantined(workspace: Workspace, dataset: str) -> list[SetAside]:
    """What the runs of a dataset's released versions set aside, newest first.

    What a run set aside that released nothing is left out: its whole source is read again. Raises as
    :func:`released_chain`.
    """
    storage = workspace.dataset_storage(dataset)
    found, replays, loaded = [], dict[str, str](), False
    for manifest in released_chain(workspace, dataset):
        run = manifest.body["run"]
        replay = run["source"]["kind"] == QUARANTINE
        rows = manifest.body["counts"]["rows_quarantined"]
        if rows:
            folder = set_aside(storage, manifest.version, run["attempt"])
            again = replays.get(quarantine_uri(dataset, manifest.version))
            at = instant(run["opened_at"])
            expires = at + timedelta(days=workspace.policy.quarantine_days)
            if again is not None:
                state = "replayed"
            elif folder is None:
                state = "gone"
            elif loaded and released_contract(workspace, manifest).mode is not LoadMode.APPEND:
                state = "superseded"
            else:
                state = "expired" if expires <= workspace.clock() else "waiting"
            entry = workspace.log.entry(manifest.body["evidence"][Stage.PROTECT])
            facets = parse(entry.body)["run"]["facets"] if entry.body is not None else {}
            by_rule = (
                facets.get(f"governance_{Stage.PROTECT}", {}).get("facts", {}).get("quarantined_by_rule", {})
            )
            found.append(
                SetAside(
                    dataset,
                    manifest.version,
                    run["run_id"],
                    run["purpose"],
                    at,
                    expires,
                    rows,
                    by_rule,
                    state,
                    again,
                    folder,
                )
            )
        if replay:
            replays[run["source"]["uri"]] = manifest.version
        loaded = loaded or not replay
    return found


def replayable(workspace: Workspace, dataset: str, version: str) -> SetAside:
    """The rows that the run of ``version`` set aside, if they may be read again.

    Raises:
        ValidationError: GOV-406 saying why not.
    """
    aside = next((a for a in quarantined(workspace, dataset) if a.version == version), None)
    if aside is not None and aside.state == "waiting":
        return aside
    why = {
        None: "set no rows aside",
        "replayed": f"set rows aside that version {aside.replayed_in if aside else ''} has taken in already",
        "gone": "set rows aside that were erased or removed since",
        "superseded": "set rows aside that a later load brought anew from its source",
        "expired": "set rows aside longer ago than the policy keeps them",
    }[aside.state if aside else None]
    raise ValidationError(
        "GOV-406",
        f"the run of version {version} of {dataset} {why}",
        "`governance quarantine list` shows what may be replayed",
    )


def expire(workspace: Workspace, datasets: Iterable[str]) -> list[SetAside]:
    """Remove what waits no longer, and destroy its keys in one rotation of the epoch.

    That is what expired, and what a replay or a later load left behind. Said in the log first. Killed before the
    keys died, the same call finishes it: the files go last.

    Raises:
        ProtectionError: GOV-309 when the key provider does not answer; nothing was removed then.
    """
    done = [
        aside
        for dataset in datasets
        for aside in quarantined(workspace, dataset)
        if aside.state in ("expired", "superseded", "replayed") and aside.folder is not None
    ]
    if not done:
        return []
    said = [{"dataset": a.dataset, "version": a.version, "rows": a.rows, "state": a.state} for a in done]
    workspace.append_json({"removed": said, "at": timestamp(workspace.clock())}, EXPIRED, PIPELINE)
    workspace.keyring.destroy_segment_keys([str(a.folder).removeprefix(f"{QUARANTINE}/") for a in done])
    for aside in done:
        workspace.dataset_storage(aside.dataset).remove_tree(str(aside.folder))
    return done
