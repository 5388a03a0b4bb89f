"""Sources in Marquez's shape: `/sources`.

A source is what the ``dataSource`` facet names; without one it is the dataset's namespace, which by
OpenLineage's naming is where the dataset lives.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from governance.server.marquez.asking import (
    Asking,
    Asks,
    Pages,
    Paging,
    Row,
    answer,
    instant,
    unknown,
)
from governance.server.marquez.naming import named_routes
from governance.server.marquez.said import source_type
from governance.server.served import ServedStore


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

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
        SELECT
            source AS name, min(created_at) AS created_at, max(updated_at) AS updated_at,
            arg_max(source_url, source_rank) AS url
        FROM {ask.datasets} WHERE {ask.visible()} AND ($name::VARCHAR IS NULL OR source = $name) GROUP BY source
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
