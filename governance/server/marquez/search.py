"""Search: `/search` over names, `/api/v2beta/search` over names, columns and code."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from governance.server.marquez.asking import Asking, Asks, Pages, Row, among, answer, instant, naive
from governance.server.marquez.datasets import present_facets
from governance.server.marquez.naming import named_routes
from governance.server.marquez.runs import STATES, shaped_runs
from governance.server.served import ServedStore

_HITS = 10
_EVENTS = {state: event for event, state in STATES.items()}
_ORDER = {"NAME": "lower(name), name, namespace, type", "UPDATE_AT": "updated_at DESC, name, namespace, type"}


def _upper(value: Any) -> Any:
    return value.upper() or None if isinstance(value, str) else value


Filter = Annotated[Literal["JOB", "DATASET", "ALL"] | None, Query(), BeforeValidator(_upper)]
Sort = Annotated[Literal["NAME", "UPDATE_AT"], Query(), BeforeValidator(_upper)]
When = Annotated[datetime | None, Query(), BeforeValidator(lambda value: value or None)]


def router(_served: ServedStore) -> APIRouter:
    """The routes below ``/api/v1``."""
    routes = named_routes()

    @routes.get("/search/", include_in_schema=False)
    @routes.get("/search")
    def search(
        q: str,
        ask: Asks,
        pages: Pages,
        filter: Filter = None,  # noqa: A002 - the API's name
        sort: Sort = "NAME",
        namespace: str | None = None,
        before: When = None,
        after: When = None,
    ) -> Response:
        if not q.strip():
            return answer({"totalCount": 0, "results": []})
        total, rows = ask.page(
            f"""
            SELECT * FROM (
                SELECT 'DATASET' AS type, namespace, name, updated_at FROM {ask.datasets}
                UNION ALL
                SELECT 'JOB' AS type, namespace, name, updated_at FROM {ask.jobs}
            )
            WHERE contains(lower(name), lower($words)) AND {ask.visible()}
                AND ($kind::VARCHAR IS NULL OR type = $kind)
                AND ($namespace::VARCHAR IS NULL OR namespace = $namespace)
                AND ($before::TIMESTAMP IS NULL OR updated_at < $before)
                AND ($after::TIMESTAMP IS NULL OR updated_at >= $after)
            """,
            _ORDER[sort],
            pages,
            words=q.strip(),
            kind=None if filter == "ALL" else filter,
            namespace=namespace,
            before=None if before is None else naive(before),
            after=None if after is None else naive(after),
        )
        results = [
            {
                "type": row["type"],
                "name": row["name"],
                "updatedAt": instant(row["updated_at"]),
                "namespace": row["namespace"],
                "nodeId": f"{row['type'].lower()}:{row['namespace']}:{row['name']}",
            }
            for row in rows
        ]
        return answer({"totalCount": total, "results": results})

    return routes


def beta_router(_served: ServedStore) -> APIRouter:
    """The routes below ``/api/v2beta``, which the search field of Marquez's UI asks."""
    routes = named_routes("/api/v2beta")

    @routes.get("/search/jobs")
    def jobs(q: str, ask: Asks) -> Response:
        rows = _hits(ask, q, "job", ask.jobs, "'sourceCode', 'sql', 'documentation'")
        facets = ask.facets("job", [(row["namespace"], row["name"]) for row in rows])
        runs = shaped_runs(ask, [row["latest_run_id"] for row in rows if row["latest_run_id"]])
        hits = []
        for row in rows:
            run = runs.get(row["latest_run_id"], {"facets": {}, "state": None})
            hits.append(
                {
                    **_hit(row, row["latest_run_id"], facets[row["namespace"], row["name"]]),
                    "eventType": _EVENTS.get(run["state"]),
                    "type": row["type"] or "BATCH",
                    "runFacets": run["facets"],
                }
            )
        return _found(q, hits)

    @routes.get("/search/datasets")
    def datasets(q: str, ask: Asks) -> Response:
        rows = _hits(ask, q, "dataset", ask.datasets, "'schema', 'documentation'")
        facets = present_facets(ask, [(row["namespace"], row["name"]) for row in rows])
        return _found(q, [_hit(row, None, facets[row["namespace"], row["name"]]) for row in rows])

    return routes


def _hits(ask: Asking, words: str, scope: str, entities: str, facets: str) -> list[Row]:
    """The first hits, those by name before those by what facets say.

    Only facets that name no other entity are looked into: a hit must not tell of what a caller does not see.
    """
    if not words.strip():
        return []
    said = ask.rows(
        f"""
        SELECT DISTINCT namespace, name FROM facets_at($as_of)
        WHERE scope = $scope AND facet IN ({facets}) AND contains(lower(body), lower($words)) AND {ask.visible()}
        ORDER BY name, namespace LIMIT {_HITS}
        """,
        words=words.strip(),
        scope=scope,
    )
    condition, bound = among((row["namespace"], row["name"]) for row in said)
    return ask.entities(
        f"""
        SELECT *, contains(lower(name), lower($words)) AS by_name FROM {entities}
        WHERE (contains(lower(name), lower($words)) OR {condition}) AND {ask.visible()}
        ORDER BY by_name DESC, updated_at DESC, name, namespace LIMIT {_HITS}
        """,
        words=words.strip(),
        **bound,
    )


def _hit(row: Row, run_id: str | None, facets: Row) -> Row:
    return {
        "run_id": run_id,
        "name": row["name"],
        "namespace": row["namespace"],
        "eventType": None,
        "facets": facets,
    }


def _found(words: str, hits: list[Row]) -> Response:
    return answer({"hits": hits, "highlights": [_highlight(hit["name"], words.strip()) for hit in hits]})


def _highlight(name: str, words: str) -> dict[str, list[str]]:
    """Where the words stand in a name, as OpenSearch marks it."""
    start = name.lower().find(words.lower())
    if start < 0:
        return {}
    end = start + len(words)
    return {"name": [f"{name[:start]}<em>{name[start:end]}</em>{name[end:]}"]}
