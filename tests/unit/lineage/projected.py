"""Every macro of the index at a log size, as comparable rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.lineage.index.index import Index

MACROS: Mapping[str, str] = {
    name: f"FROM {name}($as_of)"
    for name in (
        *("runs_at", "jobs_at", "job_versions_at", "datasets_at", "dataset_versions_at", "facets_at"),
        *("facet_history", "io_at", "lineage_at", "edges_at", "column_edges_at", "symlinks_at", "aliases_at"),
        *("owners_at", "tags_at", "classifications_at"),
    )
}
"""Everything, with what tells of arrival."""

_ARRIVAL = ("log_index", "first_index", "last_index", "received_at", "created_at", "updated_at")
_ARRIVES = {
    "runs_at": _ARRIVAL[1:3] + _ARRIVAL[4:],
    "jobs_at": _ARRIVAL[1:3] + _ARRIVAL[4:],
    "job_versions_at": ("created_at",),
    "datasets_at": _ARRIVAL[1:3] + _ARRIVAL[4:],
    "dataset_versions_at": ("log_index", "created_at"),
    "facets_at": ("log_index", "received_at"),
    "facet_history": ("log_index", "received_at"),
    "io_at": ("log_index",),
    "lineage_at": ("log_index", "received_at"),
    "edges_at": ("first_index",),
    "column_edges_at": ("log_index", "received_at"),
}
WHATEVER_THE_ORDER: Mapping[str, str] = {
    name: f"SELECT DISTINCT * EXCLUDE ({', '.join(_ARRIVES[name])}) FROM {name}($as_of)"
    if name in _ARRIVES
    else sql
    for name, sql in MACROS.items()
}
"""What is a function of the set of events alone."""


def projected(index: Index, macros: Mapping[str, str], as_of: int | None = None) -> dict[str, Any]:
    """The rows of each macro, in an order of their own."""
    return {name: index.query(f"{sql} ORDER BY ALL", {"as_of": as_of}) for name, sql in macros.items()}
