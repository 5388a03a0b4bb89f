"""A dataset: versions, fields with what they hold, where columns came from and went, and who touched it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from governance.lineage.graph.node_names import DATASET
from governance.server.marquez.asking import Asking, Asks, Row, any_of, unknown
from governance.server.marquez.said import fields_said, tags_said
from governance.server.pages.frame import page, page_routes
from governance.server.pages.listed import runs_of
from governance.server.pages.proved import evidence
from governance.server.pages.reported import reported
from governance.server.served import ServedStore

Name = Annotated[str, Query(min_length=1, max_length=2_000)]
_THIS = "namespace = $namespace AND name = $name"


def router(served: ServedStore) -> APIRouter:
    """The route."""
    routes = page_routes()

    @routes.get("/dataset")
    def dataset(request: Request, ask: Asks, namespace: Name, name: Name) -> Response:
        view = served.graph().view(ask.as_of)
        node = view.find(f"{DATASET}:{namespace}:{name}")
        if node is not None:
            meant = view.names.name(node)
            namespace, name = meant.namespace, meant.name
        key = {"namespace": namespace, "name": name}
        found = ask.entities(f"FROM {ask.datasets} WHERE {_THIS} AND {ask.visible()}", **key)
        if not found:
            raise unknown("dataset")
        facets = facets_of(ask, f"scope = 'dataset' AND {_THIS}", **key)
        said = {facet["facet"]: facet["body"] for facet in reversed(facets)}
        touched = _touched(ask, key)
        proved = _evidence(ask, touched)
        return page(
            request,
            "dataset.html",
            ask,
            title=name,
            dataset=found[0],
            description=(said.get("documentation") or {}).get("description")
            if isinstance(said.get("documentation"), dict)
            else None,
            fields=_fields(ask, said, key),
            versions=ask.rows(
                f"FROM dataset_versions_at($as_of) WHERE {_THIS} ORDER BY rank DESC LIMIT 50", **key
            ),
            owners=ask.rows(f"FROM owners_at($as_of) WHERE entity = 'dataset' AND {_THIS}", **key),
            tags=tags_said(said.get("tags")),
            aliases=[
                row
                for row in ask.rows(f"FROM symlinks_at($as_of) WHERE {_THIS}", **key)
                if ask.caller.sees(row["alias_namespace"])
            ],
            came=_columns(ask, "output", "input", key),
            went=_columns(ask, "input", "output", key),
            touched=touched,
            reports=reported(request, ask, proved),
            facets=facets,
            evidence=proved,
            node=f"{DATASET}:{namespace}:{name}",
        )

    return routes


def facets_of(ask: Asking, condition: str, **bound: Any) -> list[Row]:
    """Present facets, observed ones first of a name; ``conflicting`` where observed and declared differ."""
    rows = ask.rows(
        f"SELECT scope, facet, body, basis, log_index, event_time, producer, namespace, name"
        f" FROM facets_at($as_of) WHERE {condition} ORDER BY facet, basis DESC, log_index DESC LIMIT 500",
        **bound,
    )
    seen: dict[Any, Row] = {}
    for row in rows:
        first = seen.setdefault((row["scope"], row["namespace"], row["name"], row["facet"]), row)
        row["conflicting"] = first["body"] != row["body"] if first is not row else False
    for row in rows:
        row["body"] = ask.parsed(row["body"])
    return rows


def _fields(ask: Asking, said: Row, key: Row) -> list[Row]:
    classified = {
        row["field"]: row for row in ask.rows(f"FROM classifications_at($as_of) WHERE {_THIS}", **key)
    }
    fields = fields_said(said.get("schema"), said.get("tags"))
    known = [field["name"] for field in fields]
    fields += [
        {"name": name, "type": None, "description": None, "tags": []}
        for name in sorted(set(classified) - set(known))
    ]
    return [field | {"classified": classified.get(field["name"])} for field in fields]


def _columns(ask: Asking, near: str, far: str, key: Row) -> list[Row]:
    return ask.rows(
        f"""
        SELECT {near}_column AS mine, {far}_namespace AS namespace, {far}_name AS name, {far}_column AS field,
            type, transformation, description, masking, list_reverse_sort(list(DISTINCT basis)) AS bases,
            max(log_index) AS log_index
        FROM column_edges_at($as_of)
        WHERE {near}_namespace = $namespace AND {near}_name = $name AND {ask.visible(f"{far}_namespace")}
        GROUP BY ALL ORDER BY mine, namespace, name, field LIMIT 1000
        """,
        **key,
    )


def _touched(ask: Asking, key: Row) -> list[Row]:
    rows = ask.rows(
        f"""
        SELECT run_id, job_namespace, job_name, list_sort(list(DISTINCT direction)) AS directions,
            max(log_index) AS log_index
        FROM run_io WHERE {_THIS} AND log_index < $as_of AND job_name IS NOT NULL
            AND {ask.visible("job_namespace")}
        GROUP BY run_id, job_namespace, job_name ORDER BY log_index DESC LIMIT 50
        """,
        **key,
    )
    runs = runs_of(ask, [row["run_id"] for row in rows if row["run_id"]])
    return [row | {"run": runs.get(row["run_id"])} for row in rows]


def _evidence(ask: Asking, touched: list[Row]) -> list[Row]:
    """The evidence of every version that one of the runs proved something of."""
    runs = [row["run_id"] for row in touched if row["run_id"]]
    of_run, bound = any_of("run_id", runs, "run")
    named = (
        sorted({row["version"] for row in evidence(ask, of_run, **bound) if row["version"]}) if runs else []
    )
    of_version, bound = any_of("version", named, "version")
    return evidence(ask, of_version, **bound) if named else []
