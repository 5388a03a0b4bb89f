"""Lineage that can be trusted: OpenLineage events, our signed facets, and the index over the log.

``facets`` and ``signatures`` are the format of evidence, ``recorder`` writes it, ``transport``
carries what other producers send, ``index`` answers questions. Nothing here imports Airflow.
"""

from typing import TYPE_CHECKING, Any

from governance.lineage.naming import as_sent, openlineage_run_id
from governance.lineage.signatures import Declared, Observed, RunKeys, verify_event, verify_evidence

if TYPE_CHECKING:
    from governance.lineage.index.index import Index
    from governance.lineage.recorder import OpenLineageRecorder

__all__ = [
    "Declared",
    "Index",
    "Observed",
    "OpenLineageRecorder",
    "RunKeys",
    "as_sent",
    "openlineage_run_id",
    "verify_event",
    "verify_evidence",
]


def __getattr__(name: str) -> Any:
    """Load the OpenLineage client and DuckDB only for those who record or ask."""
    import importlib

    rooms = {"Index": "governance.lineage.index.index", "OpenLineageRecorder": "governance.lineage.recorder"}
    if name not in rooms:
        raise AttributeError(name)
    return getattr(importlib.import_module(rooms[name]), name)
