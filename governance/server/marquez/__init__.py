"""Marquez's API for reading, over our index: its web UI and its Python client work unchanged.

Shapes are those of Marquez 0.51; a module answers for one area. Right where Marquez is not: terminal states
stay, ``_deleted`` removes, owners, tags, masking and transformations are shown, totals count exactly what
the list lists, and every read takes ``as_of``, a log size.
"""

from __future__ import annotations

from fastapi import APIRouter

from governance.server.marquez import (
    datasets,
    events,
    jobs,
    namespaces,
    runs,
    search,
    sources,
    stats,
    tags,
    writes,
)
from governance.server.marquez.naming import NamedRoute, add_lenient
from governance.server.served import ServedStore

# Longer paths first: for names that came unencoded the order decides.
_AREAS = (datasets, runs, jobs, namespaces, sources, tags, search, stats, events, writes)


def router(served: ServedStore) -> APIRouter:
    """All routes, below ``/api/v1`` and ``/api/v2beta``."""
    routes = APIRouter(prefix="/api/v1", tags=["marquez"], route_class=NamedRoute)
    for area in _AREAS:
        routes.include_router(area.router(served))
    add_lenient(routes)
    both = APIRouter()
    both.include_router(routes)
    both.include_router(search.beta_router(served), prefix="/api/v2beta", tags=["marquez"])
    return both
