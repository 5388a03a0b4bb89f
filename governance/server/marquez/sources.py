"""Sources in Marquez's shape: `/sources`.

A source is what the ``dataSource`` facet names; without one it is the dataset's namespace, which by
OpenLineage's naming is where the dataset lives.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from governance.server.marquez.asking import Asking, Asks, Pages, Paging, Row, answer, instant, unknown
from governance.server.marquez.naming import NamedRoute
from governance.server.marquez.said import source_type
from governance.server.served import ServedStore


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=NamedRoute)

    @routes.get("/sources")
    def sources(ask: Asks, pages: Pages) -> Response:
        total, listed = _sources(ask, pages)
        return answer({"sources": listed, "totalCount": total})

    @routes.get("/sources/{source}")
    def source(source: str, ask: Asks) -> Response:
        _, found = _sources(ask, Paging(1, 0), source)
        if not found:
            raise unknown("source")
        return answer(found[0])

    return routes


def _sources(ask: Asking, pages: Paging, name: str | None = None) -> tuple[int, list[Row]]:
    total, rows = ask.page(
        f"""
        SELECT d.source AS name, min(d.created_at) AS created_at, max(d.updated_at) AS updated_at,
            arg_max(said(f.body, '$.uri'), f.rank) AS url
        FROM datasets_at($as_of) d
        LEFT JOIN (
            SELECT namespace, name, body, rank FROM facet_at($as_of, 'dataSource') WHERE scope = 'dataset'
        ) f ON f.namespace = d.namespace AND f.name = d.name
        WHERE {ask.visible("d.namespace")} AND ($name::VARCHAR IS NULL OR d.source = $name)
        GROUP BY d.source
        """,
        "name",
        pages,
        name=name,
    )
    return total, [
        {
            "type": source_type(row["url"] or row["name"]),
            "name": row["name"],
            "createdAt": instant(row["created_at"]),
            "updatedAt": instant(row["updated_at"]),
            "connectionUrl": row["url"] or row["name"],
            "description": None,
        }
        for row in rows
    ]
