"""Datasets and their versions in Marquez's shape: `/namespaces/{namespace}/datasets`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response

from governance.lineage.reading import mapping, text
from governance.server.marquez.asking import (
    Asking,
    Asks,
    Key,
    Pages,
    Paging,
    Row,
    among,
    answer,
    any_of,
    instant,
    unknown,
)
from governance.server.marquez.naming import named_routes
from governance.server.marquez.runs import shaped_runs
from governance.server.marquez.said import fields_said, owners_said, tags_said
from governance.server.served import ServedStore


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

    @routes.get("/namespaces/{namespace}/datasets/{dataset}/versions/{version}")
    def dataset_version(namespace: str, dataset: str, version: str, ask: Asks) -> Response:
        found = _versions(ask, _meant(ask, (namespace, dataset)), Paging(1, 0), version)[1]
        if not found:
            raise unknown("dataset version")
        return answer(found[0])

    @routes.get("/namespaces/{namespace}/datasets/{dataset}/versions")
    def dataset_versions(namespace: str, dataset: str, ask: Asks, pages: Pages) -> Response:
        key = _meant(ask, (namespace, dataset))
        total, versions = _versions(ask, key, pages)
        if not total and not _rows(ask, key):
            raise unknown("dataset")
        return answer({"versions": versions, "totalCount": total})

    @routes.get("/namespaces/{namespace}/datasets/{dataset}")
    def dataset(namespace: str, dataset: str, ask: Asks) -> Response:
        rows = _rows(ask, _meant(ask, (namespace, dataset)))
        if not rows:
            raise unknown("dataset")
        return answer(shaped_datasets(ask, rows)[0])

    @routes.get("/namespaces/{namespace}/datasets")
    def datasets(namespace: str, ask: Asks, pages: Pages) -> Response:
        total, rows = ask.page(
            f"FROM {ask.datasets} WHERE namespace = $namespace AND {ask.visible()}",
            "updated_at DESC, name",
            pages,
            namespace=namespace,
        )
        return answer({"datasets": shaped_datasets(ask, rows), "totalCount": total})

    return routes


def _meant(ask: Asking, key: Key) -> Key:
    """The dataset that a name means: its own, or the one that an alias stands for."""
    condition, bound = among([key], "alias_namespace", "alias_name")
    rows = ask.entities(f"FROM {ask.aliases} WHERE {condition} AND {ask.visible('alias_namespace')}", **bound)
    return (rows[0]["namespace"], rows[0]["name"]) if rows else key


def _rows(ask: Asking, key: Key) -> list[Row]:
    condition, bound = among([key])
    return ask.entities(f"FROM {ask.datasets} WHERE {condition} AND {ask.visible()}", **bound)


def _named(ask: Asking, keys: Sequence[Key]) -> dict[Key, Key]:
    """What each of the keys, and every alias of theirs, stands for; the aliases come first."""
    condition, bound = among(keys)
    rows = ask.entities(f"FROM {ask.aliases} WHERE {condition} ORDER BY ALL", **bound)
    aliases = {(r["alias_namespace"], r["alias_name"]): (r["namespace"], r["name"]) for r in rows}
    return aliases | {key: key for key in keys}


def shaped_datasets(ask: Asking, rows: Sequence[Row]) -> list[Row]:
    """Datasets in Marquez's shape, from rows of ``datasets_at``, in their order."""
    if not rows:
        return []
    keys = [(row["namespace"], row["name"]) for row in rows]
    names = _named(ask, keys)
    facets = _facets(ask, names)
    columns = _columns(ask, keys)
    changed = {key: mapping(said.get("lifecycleStateChange")) for key, said in facets.items()}
    return [
        {
            **_head(row["namespace"], row["name"], row["type"], row["source"], facets[key]),
            "id": {"namespace": row["namespace"], "name": row["name"]},
            "createdAt": instant(row["created_at"]),
            "updatedAt": instant(row["updated_at"]),
            "fields": fields_said(facets[key].get("schema"), facets[key].get("tags")),
            "lastModifiedAt": instant(row["written_at"]),
            "lastLifecycleState": text(changed.get(key, {}).get("lifecycleStateChange")),
            "currentVersion": row["version"],
            # Marquez's UI takes any list, even an empty one, for column lineage.
            "columnLineage": columns.get(key),
            "facets": facets[key],
            "deleted": row["deleted"],
        }
        for row, key in zip(rows, keys, strict=True)
    ]


def present_facets(ask: Asking, keys: Sequence[Key]) -> dict[Key, Row]:
    """The present facets of datasets by namespace and name."""
    return _facets(ask, _named(ask, keys))


def _head(namespace: str, name: str, kind: str | None, source: str, facets: Row) -> Row:
    return {
        "type": "STREAM" if kind == "STREAM" else "DB_TABLE",
        "name": name,
        "physicalName": name,
        "namespace": namespace,
        "sourceName": source,
        "tags": tags_said(facets.get("tags")),
        "owners": owners_said(facets.get("ownership")),
        "description": text(mapping(facets.get("documentation")).get("description")),
    }


def _facets(ask: Asking, names: dict[Key, Key]) -> dict[Key, Row]:
    """The present facets: what was observed goes before what was declared, and both before an alias's."""
    said = ask.facets("dataset", names)
    facets: dict[Key, Row] = defaultdict(dict)
    for name, key in names.items():
        facets[key] |= said[name]
    return facets


def _columns(ask: Asking, keys: Sequence[Key]) -> dict[Key, list[Row]]:
    """The fields of each dataset that came from others, with every transformation and its masking."""
    condition, bound = among(keys, "output_namespace", "output_name")
    rows = ask.rows(
        f"""
        SELECT DISTINCT
            output_namespace, output_name, output_column, input_namespace, input_name, input_column,
            type, transformation, description, masking
        FROM column_edges_at($as_of)
        WHERE {condition} AND output_column IS NOT NULL AND {ask.visible("input_namespace")} ORDER BY ALL
        """,
        **bound,
    )
    inputs: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        inputs[
            row["output_namespace"], row["output_name"], row["output_column"],
            row["input_namespace"], row["input_name"], row["input_column"],
        ].append(row)  # fmt: skip
    outputs: dict[Key, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for (namespace, name, column, *source), edges in inputs.items():
        outputs[namespace, name][column].append(_input(source, edges))
    return {
        key: [
            {
                "name": column,
                "inputFields": fields,
                "transformationDescription": fields[0]["transformationDescription"],
                "transformationType": fields[0]["transformationType"],
            }
            for column, fields in by_column.items()
        ]
        for key, by_column in outputs.items()
    }


def _input(source: Sequence[str], edges: Sequence[Row]) -> Row:
    return {
        "namespace": source[0],
        "dataset": source[1],
        "field": source[2],
        "transformationDescription": edges[0]["description"],
        "transformationType": edges[0]["transformation"] or edges[0]["type"],
        "transformations": [
            {
                "type": edge["type"],
                "subtype": edge["transformation"],
                "description": edge["description"],
                "masking": edge["masking"],
            }
            for edge in edges
        ],
    }


def _versions(ask: Asking, key: Key, pages: Paging, version: str | None = None) -> tuple[int, list[Row]]:
    names = _named(ask, [key])
    condition, bound = among(names)
    total, rows = ask.page(
        f"""
        FROM {ask.dataset_versions}
        WHERE {condition} AND {ask.visible()} AND ($version::VARCHAR IS NULL OR version = $version)
        """,
        "rank DESC, version",
        pages,
        version=version,
        **bound,
    )
    about = _rows(ask, key)
    if not rows or not about:
        return total, []
    runs = shaped_runs(ask, [row["run_id"] for row in rows if row["run_id"]])
    facets = _version_facets(ask, names, rows)
    schemas = _schemas(ask, names, rows)
    return total, [
        _version(row, about[0], facets[row["version"]], schemas.get(row["version"]), runs.get(row["run_id"]))
        for row in rows
    ]


def _version_facets(ask: Asking, names: dict[Key, Key], rows: Sequence[Row]) -> dict[str, Row]:
    """What the run, or the DatasetEvent, that made each version said of the dataset."""
    condition, bound = among(names)
    runs, of_runs = any_of("run_id", [row["run_id"] for row in rows if row["run_id"]], "run")
    indexes, of_indexes = any_of("log_index", [row["log_index"] for row in rows], "index")
    said = ask.rows(
        f"""
        SELECT run_id, log_index, facet, body, deleted FROM facet_history($as_of)
        WHERE scope = 'dataset' AND {condition} AND ({runs} OR {indexes}) ORDER BY rank, basis
        """,
        **bound,
        **of_runs,
        **of_indexes,
    )
    by_origin: dict[str | int, Row] = defaultdict(dict)
    for facet in said:
        for origin in (facet["run_id"], facet["log_index"]):
            by_origin[origin].pop(facet["facet"], None)
            if not facet["deleted"]:
                by_origin[origin][facet["facet"]] = facet["body"]
    return {
        row["version"]: {
            facet: ask.parsed(body) for facet, body in by_origin[row["run_id"] or row["log_index"]].items()
        }
        for row in rows
    }


def _schemas(ask: Asking, names: dict[Key, Key], rows: Sequence[Row]) -> dict[str, Any]:
    """The schema that stood when each version was made."""
    condition, bound = among(names)
    stood = ask.rows(
        f"""
        SELECT v.version, arg_max_null(f.body, f.rank) AS body FROM (
            SELECT unnest($versions::VARCHAR[]) AS version, unnest($ranks::VARCHAR[])::DECIMAL(38, 0) AS rank
        ) v JOIN (
            SELECT CASE WHEN NOT deleted THEN body END AS body, rank FROM facet_history($as_of)
            WHERE scope = 'dataset' AND facet = 'schema' AND {condition}
        ) f ON f.rank <= v.rank
        GROUP BY v.version
        """,
        versions=[row["version"] for row in rows],
        ranks=[str(row["rank"]) for row in rows],
        **bound,
    )
    return {row["version"]: ask.parsed(row["body"]) for row in stood if row["body"] is not None}


def _version(row: Row, about: Row, facets: Row, schema: Any, run: Row | None) -> Row:
    namespace, name, version = about["namespace"], about["name"], row["version"]
    return {
        **_head(namespace, name, about["type"], about["source"], facets),
        "id": {"namespace": namespace, "name": name, "version": version},
        "createdAt": instant(row["created_at"]),
        "version": version,
        "fields": fields_said(schema, facets.get("tags")),
        "lifecycleState": row["lifecycle"],
        "lastModifiedAt": instant(row["created_at"]),
        "createdByRun": run,
        "facets": facets,
    }
