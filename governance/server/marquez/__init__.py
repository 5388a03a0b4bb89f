"""Marquez's API for reading, over our index: its web UI and its Python client work unchanged.

Shapes are those of Marquez 0.51; a module answers for one area. Right where Marquez is not: terminal states
stay, ``_deleted`` removes, owners, tags, masking and transformations are shown, totals count exactly what
the list lists, and every read takes ``as_of``, a log size.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

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
from governance.server.marquez.naming import lenient
from governance.server.served import ServedStore

# Longer paths first: for names that came unencoded the order decides.
_AREAS = (datasets, runs, jobs, namespaces, sources, tags, search, stats, events, writes)


def routes(served: ServedStore) -> list[BaseRoute]:
    """All routes, below ``/api/v1`` and ``/api/v2beta``."""
    named = [route for area in _AREAS for route in area.router(served).routes]
    return [*named, *lenient(named), *search.beta_router(served).routes]
