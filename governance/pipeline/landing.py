"""Rows that a task made: sealed below the output's root until a run of the output dataset has taken them in.

A landing is stated by a leaf of the log, with the digest of its files and the purpose its inputs were read
for; a run opens it by that leaf. Its folder lies among quarantined ones, so an erasure finds and rewrites it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from governance.errors import AccessError, ContractError, SourceError
from governance.model.canonical import canonical, digest, parse, timestamp
from governance.model.dataset import SourceFile, SourceSnapshot
from governance.model.statements import LANDING
from governance.pipeline.workspace import PIPELINE, Workspace
from governance.protect.outputs import QUARANTINE
from governance.protect.segment import SegmentWriter

LANDED = "landed"
"""Rows that name subjects by identifiers, as a source outside does."""

DERIVED = "derived"
"""Rows made from governed inputs: their subjects stand under the released pseudonyms."""


def land(
    workspace: Workspace,
    dataset: str,
    rows: pa.RecordBatchReader,
    *,
    purpose: str,
    inputs: Sequence[Mapping[str, str]],
) -> str:
    """Seal rows for a run of ``dataset``; return the source that the run is opened with.

    Landings that no run took in within the policy's ``quarantine_days`` are removed on the way.

    Args:
        inputs: ``dataset``, ``version`` and ``manifest_digest`` of every governed version the rows come from.

    Raises:
        SourceError: GOV-704 for no rows. ContractError: GOV-109 for a column that cannot be sealed.
        ProtectionError: GOV-30x; GOV-310 where a broker keeps the keys. LogError: GOV-50x, and nothing stays.
    """
    storage = workspace.dataset_storage(dataset)
    _sweep(workspace, dataset)
    kind = DERIVED if inputs else LANDED
    name = f"{kind}-{int(workspace.clock().timestamp()):010x}-{secrets.token_hex(8)}"
    names = rows.schema.names
    writer = SegmentWriter(
        storage, name, rows.schema, dict.fromkeys(names, QUARANTINE), workspace.keyring,
        folder=f"{QUARANTINE}/{name}",
    )  # fmt: skip
    try:
        for batch in rows:
            writer.write(batch)
        segment = writer.close()
        if not segment.rows:
            raise SourceError(
                "GOV-704",
                f"the task gave no rows for {dataset}",
                "look at its inputs: were all rows withheld?",
            )
        files = tuple(SourceFile(f.path, f.size, f.digest) for f in segment.files if f.role == "data")
        body = {
            "dataset": dataset,
            "name": name,
            "kind": kind,
            "purpose": purpose,
            "inputs": [dict(each) for each in inputs],
            "rows": segment.rows,
            "columns": names,
            "digest": _digest(kind, files),
            "landed_at": timestamp(workspace.clock()),
        }
        index = workspace.append_json(body, LANDING, PIPELINE)
    except BaseException:
        writer.abort()
        raise
    return f"{kind}:{dataset}/{name}/{index}"


def gather(workspace: Workspace, dataset: str, uris: Sequence[str]) -> str:
    """One landing of several, such as the instances of a mapped task made; the source a run is opened with.

    Raises:
        SourceError: GOV-704 when there are none, or one is no landing for this dataset.
        ContractError: GOV-648 when they do not have the same columns, in one order.
    """
    each = [_stated(workspace, dataset, uri) for uri in dict.fromkeys(uris)]
    if len({(said["kind"], said["purpose"], tuple(said["columns"])) for _, said in each}) != 1:
        raise ContractError(
            "GOV-648",
            f"{len(each)} landings for {dataset} were not made alike: they differ in columns or purpose"
            if each
            else f"no task instance landed rows for {dataset}",
            "have every instance of the mapped task return the same columns in one order",
        )
    if len(each) == 1:
        return next(iter(uris))
    first = each[0][1]
    name = f"{first['kind']}-{int(workspace.clock().timestamp()):010x}-{secrets.token_hex(8)}"
    body = {
        **{key: first[key] for key in ("dataset", "kind", "purpose", "columns")},
        "name": name,
        "inputs": list({canonical(one): one for _, said in each for one in said["inputs"]}.values()),
        "rows": sum(said["rows"] for _, said in each),
        "parts": [index for index, _ in each],
        "digest": digest(canonical([said["digest"] for _, said in each])),
        "landed_at": timestamp(workspace.clock()),
    }
    return f"{first['kind']}:{dataset}/{name}/{workspace.append_json(body, LANDING, PIPELINE)}"


def folders_of(
    workspace: Workspace, dataset: str, uri: str, purpose: str | None
) -> tuple[str, str, list[tuple[str, str]]]:
    """The kind and the digest of a landing as the log states it, and the folders it lies in with a digest each.

    Raises:
        SourceError: GOV-704 when the log states no such landing for this dataset.
        AccessError: GOV-602 when it was made for another purpose.
    """
    _, said = _stated(workspace, dataset, uri)
    if purpose is not None and said["purpose"] != purpose:
        raise AccessError(
            "GOV-602",
            f"the rows for {dataset} were made for {said['purpose']!r}, not for {purpose!r}",
            "use one purpose in @task.governed and governed_dataset",
        )
    each = [parse(workspace.log.entry(index).body or b"{}") for index in said.get("parts", ())] or [said]
    folders = [(f"{QUARANTINE}/{one['name']}", str(one["digest"])) for one in each]
    return str(said["kind"]), str(said["digest"]), folders


def _stated(workspace: Workspace, dataset: str, uri: str) -> tuple[int, dict[str, Any]]:
    """The index and the body of the leaf that a source names."""
    kind, _, rest = uri.partition(":")
    parts = rest.split("/")
    said: dict[str, Any] = {}
    if len(parts) == 3 and parts[2].isdecimal() and int(parts[2]) < workspace.log.size():
        entry = workspace.log.entry(int(parts[2]))
        if (entry.envelope.media_type, entry.envelope.principal) == (LANDING, PIPELINE) and entry.body:
            said = parse(entry.body)
    if [said.get(name) for name in ("kind", "dataset", "name")] != [kind, dataset, *parts[1:2]]:
        raise SourceError(
            "GOV-704",
            f"the log states no such landing for {dataset}",
            "hand the output of the @task.governed task to governed_dataset(source=…)",
        )
    return int(parts[2]), said


def require_stated(kind: str, files: tuple[SourceFile, ...], stated: str) -> None:
    """Raises SourceError GOV-705 when the files of a landing are not those that the log states."""
    if _digest(kind, files) != stated:
        raise SourceError(
            "GOV-705",
            "the landed rows are gone or others: a run took them in already, an erasure rewrote them, or they were altered",
            "run the task that makes them again",
        )


def discard(workspace: Workspace, dataset: str, source: SourceSnapshot) -> None:
    """Remove a landing that a run has taken in; any other source is left alone."""
    if source.kind in (LANDED, DERIVED):
        for folder in {file.name.rpartition("/")[0] for file in source.files}:
            workspace.dataset_storage(dataset).remove_tree(folder)


def _digest(kind: str, files: tuple[SourceFile, ...]) -> str:
    return digest(canonical([kind, [asdict(file) for file in files]]))


def _sweep(workspace: Workspace, dataset: str) -> None:
    storage = workspace.dataset_storage(dataset)
    until = workspace.clock().timestamp() - workspace.policy.quarantine_days * 86_400
    for name in {path.split("/")[1] for path in storage.list(QUARANTINE)}:
        kind, _, rest = name.partition("-")
        if kind in (LANDED, DERIVED) and int(rest.split("-")[0], 16) < until:
            storage.remove_tree(f"{QUARANTINE}/{name}")
