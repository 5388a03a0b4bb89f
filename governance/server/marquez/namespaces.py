"""Namespaces in Marquez's shape: `/namespaces`. There is one wherever a job or a dataset is."""

from __future__ import annotations

from fastapi import APIRouter, Response

from governance.server.marquez.asking import Asking, Asks, Pages, Paging, Row, answer, instant, unknown
from governance.server.marquez.naming import named_routes
from governance.server.served import ServedStore


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

    @routes.get("/namespaces")
    def namespaces(ask: Asks, pages: Pages) -> Response:
        total, listed = _namespaces(ask, pages)
        return answer({"namespaces": listed, "totalCount": total})

    @routes.get("/namespaces/{namespace}")
    def namespace(namespace: str, ask: Asks) -> Response:
        _, found = _namespaces(ask, Paging(1, 0), namespace)
        if not found:
            raise unknown("namespace")
        return answer(found[0])

    return routes


def _namespaces(ask: Asking, pages: Paging, namespace: str | None = None) -> tuple[int, list[Row]]:
    total, rows = ask.page(
        f"""
        SELECT namespace AS name, min(created_at) AS created_at, max(updated_at) AS updated_at
        FROM (
            SELECT namespace, created_at, updated_at FROM {ask.datasets}
            UNION ALL
            SELECT namespace, created_at, updated_at FROM {ask.jobs}
        )
        WHERE {ask.visible()} AND ($namespace::VARCHAR IS NULL OR namespace = $namespace)
        GROUP BY namespace
        """,
        "name",
        pages,
        namespace=namespace,
    )
    return total, [
        {
            "name": row["name"],
            "createdAt": instant(row["created_at"]),
            "updatedAt": instant(row["updated_at"]),
            # Jobs and datasets have owners; what Marquez says of a namespace that nobody registered.
            "ownerName": "anonymous",
            "description": None,
            "isHidden": False,
        }
        for row in rows
    ]
