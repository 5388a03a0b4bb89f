"""Lineage that can be trusted: OpenLineage events, our signed facets, and the index over the log.

``facets`` and ``signatures`` are the format of evidence, ``recorder`` writes it, ``transport``
carries what other producers send, ``index`` answers questions. Nothing here imports Airflow.
"""

from governance.lineage.naming import as_sent, openlineage_run_id
from governance.lineage.signatures import Declared, Observed, RunKeys, verify_event, verify_evidence

__all__ = [
    "Declared",
    "Observed",
    "RunKeys",
    "as_sent",
    "openlineage_run_id",
    "verify_event",
    "verify_evidence",
]
