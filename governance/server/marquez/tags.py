"""Tags in Marquez's shape: `/tags`. They are those that tags facets put on jobs, datasets, fields and runs."""

from __future__ import annotations

from fastapi import APIRouter, Response

from governance.server.marquez.asking import Asks, Pages, answer
from governance.server.marquez.naming import named_routes
from governance.server.marquez.said import tag_name
from governance.server.served import ServedStore


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

    @routes.get("/tags")
    def tags(ask: Asks, pages: Pages) -> Response:
        total, rows = ask.page_of_facts(
            f"""
            SELECT DISTINCT key, CASE WHEN value NOT IN ('', 'true') THEN value END AS value
            FROM tags_at($as_of) WHERE {ask.visible()}
            """,
            "key, value NULLS FIRST",
            pages,
        )
        # OpenLineage tags have no description; Marquez's UI shows the text that stands here.
        listed = [{"name": tag_name(row["key"], row["value"]), "description": ""} for row in rows]
        return answer({"tags": listed, "totalCount": total})

    return routes
