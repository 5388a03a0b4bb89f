"""Where a person is: versions, runs, recipients, models; and what a withdrawal would set in motion."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from governance.errors import AccessError
from governance.keys.vault.identifiers import distinct
from governance.lineage import Index
from governance.model.canonical import parse, timestamp
from governance.model.statements import TRAINED
from governance.pipeline.workspace import Workspace
from governance.rights.membership import (
    HELD,
    UNKNOWN,
    DatasetMembership,
    datasets_of,
    disclosures_holding,
    find_members,
)
from governance.rights.plan import derived_from

ACCESS = "application/vnd.governance.access+json"


@dataclass(frozen=True, slots=True)
class SubjectLineage:
    """``facts`` name versions, runs, recipients and what was made of them, never a subject. ``log_index`` is
    the entry that says it was asked."""

    facts: dict[str, Any]
    log_index: int


def where_is(
    workspace: Workspace, domain: str, identifiers: pa.Array, *, reason: str, asker: str
) -> SubjectLineage:
    """Which versions, runs, recipients and models hold any of the subjects.

    That it is asked, by whom and why, stands in the log before the answer does; of whom does not.

    Args:
        identifiers: of one person, as the sources have them; they are not kept.
        asker: who asks, as the system knows them.

    Raises:
        AccessError: GOV-613 without a reason. LogError: GOV-50x when the question cannot be logged.
        StorageError: GOV-722. ProtectionError: GOV-304, GOV-307.
    """
    log_index = _leave_trace(workspace, domain, reason, asker)
    vault = workspace.vault
    _, unique = distinct(identifiers)
    ordinals = vault.resolve(domain, unique, create=False)
    erased = int(vault.suppressed(domain, unique).sum())
    internal = vault.internal(domain)[ordinals[ordinals >= 0]]
    found: dict[str, DatasetMembership] = {}
    if len(internal):
        found = {
            dataset: find_members(workspace, dataset, manifests, internal)
            for dataset, _, manifests in datasets_of(workspace, domain)
        }
    disclosed = disclosures_holding(workspace, internal) if len(internal) else {}
    versions = [row for each in found.values() for row in each.versions if row["state"] in (HELD, UNKNOWN)]
    touched = {each: found[each] for each in dict.fromkeys(row["dataset"] for row in versions)}
    index = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)
    try:
        recipients = _recipients(index, found, disclosed)
        derived = derived_from(index, workspace.settings.namespace, touched)
    finally:
        index.close()
    models = _models(workspace, found)
    facts = {
        "domain": domain,
        "subjects": len(internal),
        "unknown": len(unique) - len(internal) - erased,
        "erased_before": erased,
        "datasets": len(found),
        "versions": versions,
        "not_held": sum(s not in (HELD, UNKNOWN) for each in found.values() for s in each.states.values()),
        "segments": sum(each.segments for each in found.values()),
        "unindexed": sum(each.unindexed for each in found.values()),
        "recipients": recipients,
        "models": models,
        "derived": derived,
    }
    return SubjectLineage({**facts, "tasks": _tasks(facts)}, log_index)


def _recipients(
    index: Index, found: Mapping[str, DatasetMembership], disclosed: Mapping[str, bool]
) -> list[dict[str, Any]]:
    """Disclosures that hold the subjects, or may: where no membership is kept, the version answers for it."""
    told = []
    for row in index.evidence(stage="disclose"):
        dataset = found.get(str(row["dataset"]))
        if row["basis"] != "observed" or dataset is None:
            continue
        facts = row["facts"]
        known = disclosed.get(facts["disclosure_id"])
        state = dataset.states.get(str(row["version"]), UNKNOWN)
        if known or (known is None and state in (HELD, UNKNOWN)):
            told.append(
                {
                    "recipient": facts["recipient"]["name"],
                    "disclosure_id": facts["disclosure_id"],
                    "disclosed_at": facts["disclosed_at"],
                    "purpose": facts["purpose"],
                    "dataset": row["dataset"],
                    "version": row["version"],
                    "state": HELD if known else UNKNOWN,
                    "log_index": int(row["log_index"]),
                }
            )
    return told


def _models(workspace: Workspace, found: Mapping[str, DatasetMembership]) -> list[dict[str, Any]]:
    """Models that were trained on versions that hold the subjects, or may."""
    models = []
    for entry in workspace.log.entries():
        if entry.envelope.media_type != TRAINED or entry.body is None:
            continue
        said = parse(entry.body)
        for given in said["inputs"]:
            dataset = found.get(str(given.get("dataset")))
            state = dataset.states.get(str(given.get("version")), UNKNOWN) if dataset else None
            if state in (HELD, UNKNOWN):
                models.append(
                    {
                        "model": said["model"],
                        "digest": said["digest"],
                        "purpose": said["purpose"],
                        "dataset": given["dataset"],
                        "version": given["version"],
                        "state": state,
                        "log_index": entry.index,
                    }
                )
    return models


def _tasks(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a withdrawal or an erasure leaves to do, for whom, in the order of doing it."""
    tasks: list[dict[str, str]] = []
    held = list(dict.fromkeys(row["dataset"] for row in facts["versions"]))
    if facts["versions"]:
        tasks.append(
            {
                "who": "here",
                "task": "record the withdrawal: reads and disclosures leave the rows out from then on",
                "of": ", ".join(held),
                "command": "governance consent import FILE",
            }
        )
        tasks.append(
            {
                "who": "here",
                "task": "where they ask for erasure, rewrite the segments and destroy the keys",
                "of": ", ".join(held),
                "command": "governance erase - --domain D --request R --reason consent-withdrawn --finish",
            }
        )
    for recipient, which in _grouped(facts["recipients"], "recipient", "disclosure_id").items():
        tasks.append(
            {
                "who": recipient,
                "task": "tell the recipient (GDPR Art. 19)",
                "of": ", ".join(which),
                "command": "governance erase … --notices DIR",
            }
        )
    for model in _grouped(facts["models"], "model", "version"):
        task = "retrain without them, or state why not"
        tasks.append({"who": "owner of the model", "task": task, "of": model, "command": ""})
    tasks += [
        {"who": "owner", "task": "make it again from the next version", "of": row["name"], "command": ""}
        for row in facts["derived"]
    ]
    if facts["unindexed"]:
        tasks.append(
            {
                "who": "here",
                "task": "index segments that could not be asked, and ask again",
                "of": str(facts["unindexed"]),
                "command": "governance subject index",
            }
        )
    return tasks


def _grouped(rows: list[dict[str, Any]], by: str, what: str) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for row in rows:
        grouped.setdefault(row[by], []).append(row[what])
    return grouped


def _leave_trace(workspace: Workspace, domain: str, reason: str, asker: str) -> int:
    if not reason.strip() or not reason.isprintable():
        raise AccessError(
            "GOV-613", "the question states no reason", "add --reason: why you ask; it stands in the log"
        )
    return workspace.append_json(
        {
            "v": 1,
            "id": str(uuid.uuid4()),
            "at": timestamp(workspace.clock()),
            "caller": asker,
            "token_id": None,
            "what": {"kind": "subject lineage", "domain": domain},
            "reason": reason.strip(),
        },
        ACCESS,
    )
