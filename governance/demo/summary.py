"""``summary.json``: every figure read from what happened, from manifests, facts and the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline.pointer import released_manifest
from governance.pipeline.step import RunReference
from governance.pipeline.workspace import Workspace


def summarize(
    workspace: Workspace, datasets: list[str], reports: list[dict[str, Path]], *, verified: bool, base: Path
) -> dict[str, Any]:
    """The demo's summary; paths are relative to ``base``."""
    checkpoint = workspace.log.checkpoint()
    return {
        "datasets": [_dataset(workspace, name, base) for name in datasets],
        "events": _events(workspace),
        "log": {
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "checkpoint": checkpoint.note,
            "public_key": workspace.vkey,
        },
        "reports": [{kind: _relative(path, base) for kind, path in r.items()} for r in reports],
        "verified": verified,
    }


def _dataset(workspace: Workspace, name: str, base: Path) -> dict[str, Any]:
    manifest = released_manifest(workspace, name)
    run = manifest.body["run"]
    storage = workspace.dataset_storage(name)
    reference = RunReference(name, run["version"], run["attempt"])
    found = parse(storage.read(f"{reference.folder}/{Stage.CLASSIFY}.json"))["facts"]["columns"]
    counts = manifest.body["counts"]
    return {
        "name": name,
        "kind": run["kind"],
        "rows_in": counts["rows_in"],
        "rows_denied": counts["rows_denied"],
        "rows_quarantined": counts["rows_quarantined"],
        "rows_out": counts["rows_out"],
        "version": manifest.version,
        "path": _relative(Path(storage.path("")), base),
        "segments": [_relative(Path(storage.path(f.path)), base) for s in manifest.segments for f in s.files],
        "encrypted_columns": [c["name"] for c in manifest.body["schema"]],
        "classifications": {c["column"]: c["classification"] for c in found},
    }


def _events(workspace: Workspace) -> int:
    from governance.log import OPENLINEAGE_EVENT

    return sum(e.envelope.media_type == OPENLINEAGE_EVENT for e in workspace.log.entries())


def _relative(path: Path, base: Path) -> str:
    resolved = path.resolve()
    return (
        str(resolved.relative_to(base.resolve()))
        if resolved.is_relative_to(base.resolve())
        else str(resolved)
    )
