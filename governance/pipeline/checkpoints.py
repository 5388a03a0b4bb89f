"""Checkpoints that lie outside the log: what a rolled-back or forked store is caught by."""

from __future__ import annotations

from governance.pipeline.pointer import released_manifest
from governance.pipeline.workspace import Workspace


def outside_checkpoints(workspace: Workspace, datasets: list[str]) -> list[str]:
    """Signed notes from the signer's memory and from the manifest of each released version."""
    remembered = workspace.signer.last()
    notes = [remembered.note] if remembered else []
    notes += [released_manifest(workspace, name).body["checkpoint"] for name in datasets]
    return notes


def released_datasets(workspace: Workspace) -> list[str]:
    """The names of the datasets that have a released version."""
    from governance.pipeline.pointer import POINTER
    from governance.storage import storage_for

    root = storage_for(workspace.settings.datasets)
    return sorted(p.split("/")[0] for p in root.list() if p.count("/") == 1 and p.endswith(f"/{POINTER}"))
