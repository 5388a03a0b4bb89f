"""Field transforms, Parquet encryption, segments, signed manifests and the single rewriting pass."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governance.protect.encryption import open_sealed, seal_writer
    from governance.protect.manifest import (
        build_manifest,
        carried_segments,
        load_manifest,
        sign_manifest,
    )
    from governance.protect.plan import ColumnEvidence, ColumnPlan, RewritePlan, RewriteResult
    from governance.protect.reading import open_version, unsealed_files, verify_files
    from governance.protect.rewriting import rewrite
    from governance.protect.safe_harbor import safe_harbor_evidence, safe_harbor_faults
    from governance.protect.segment import SegmentWriter
    from governance.protect.transforms import transform, transform_names

_HOMES = {
    "open_sealed": "encryption",
    "seal_writer": "encryption",
    "build_manifest": "manifest",
    "carried_segments": "manifest",
    "load_manifest": "manifest",
    "sign_manifest": "manifest",
    "ColumnEvidence": "plan",
    "ColumnPlan": "plan",
    "RewritePlan": "plan",
    "RewriteResult": "plan",
    "open_version": "reading",
    "unsealed_files": "reading",
    "verify_files": "reading",
    "rewrite": "rewriting",
    "safe_harbor_evidence": "safe_harbor",
    "safe_harbor_faults": "safe_harbor",
    "SegmentWriter": "segment",
    "transform": "transforms",
    "transform_names": "transforms",
}

__all__ = [
    "ColumnEvidence",
    "ColumnPlan",
    "RewritePlan",
    "RewriteResult",
    "SegmentWriter",
    "build_manifest",
    "carried_segments",
    "load_manifest",
    "open_sealed",
    "open_version",
    "rewrite",
    "safe_harbor_evidence",
    "safe_harbor_faults",
    "seal_writer",
    "sign_manifest",
    "transform",
    "transform_names",
    "unsealed_files",
    "verify_files",
]


def __getattr__(name: str) -> Any:
    # Reading a manifest must not cost the import of Arrow.
    if name in _HOMES:
        return getattr(import_module(f"governance.protect.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
