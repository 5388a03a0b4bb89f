"""Sealed rows that no manifest names: what tries of a run left that were killed while they sealed."""

from __future__ import annotations

from governance.model.dataset import Manifest
from governance.model.evidence import Stage
from governance.pipeline.step import RunContext
from governance.protect.outputs import QUARANTINE


def remove_loose(context: RunContext, manifest: Manifest) -> None:
    """Remove segments and quarantine of a released version that neither its manifest nor its evidence names."""
    named = {segment.segment_id for segment in manifest.segments}
    if context.has_run(Stage.PROTECT) and (aside := context.facts(Stage.PROTECT)["quarantine"]):
        named.add(aside["segment_id"])
    for top in ("segments", QUARANTINE):
        for name in {path.split("/")[1] for path in context.storage.list(top)} - named:
            if name.startswith(f"{manifest.version}-"):
                context.storage.remove_tree(f"{top}/{name}")
