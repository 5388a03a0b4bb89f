"""Jobs and their versions in Marquez's shape: `/jobs`, `/namespaces/{namespace}/jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

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
    malformed,
    unknown,
)
from governance.server.marquez.naming import named_routes
from governance.server.marquez.runs import STATES, bare_runs, run_rows, shaped_rows, shaped_runs
from governance.server.marquez.said import owners_said, tags_said
from governance.server.served import ServedStore

_ORDER = "updated_at DESC, namespace, name"
States = Annotated[list[str] | None, Query()]


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

    # Marquez's own UI sends the filter as runState and by POST; a read all the same.
    @routes.post("/jobs", include_in_schema=False)
    @routes.get("/jobs")
    def all_jobs(
        ask: Asks,
        pages: Pages,
        lastRunStates: States = None,  # noqa: N803 - the API's name
        runState: States = None,  # noqa: N803
    ) -> Response:
        return _list(ask, pages, "true", lastRunStates, runState)

    @routes.get("/namespaces/{namespace}/jobs/{job}/versions/{version}")
    def job_version(namespace: str, job: str, version: str, ask: Asks) -> Response:
        found = _versions(ask, (namespace, job), Paging(1, 0), version)[1]
        if not found:
            raise unknown("job version")
        return answer(found[0])

    @routes.get("/namespaces/{namespace}/jobs/{job}/versions")
    def job_versions(namespace: str, job: str, ask: Asks, pages: Pages) -> Response:
        total, versions = _versions(ask, (namespace, job), pages)
        if not total:
            raise unknown("job")
        return answer({"versions": versions, "totalCount": total})

    @routes.get("/namespaces/{namespace}/jobs/{job}")
    def job(namespace: str, job: str, ask: Asks) -> Response:
        condition, bound = among([(namespace, job)])
        rows = ask.entities(f"FROM {ask.jobs} WHERE {condition} AND {ask.visible()}", **bound)
        if not rows:
            raise unknown("job")
        return answer(shaped_jobs(ask, rows)[0])

    @routes.get("/namespaces/{namespace}/jobs")
    def jobs(
        namespace: str,
        ask: Asks,
        pages: Pages,
        lastRunStates: States = None,  # noqa: N803
        runState: States = None,  # noqa: N803
    ) -> Response:
        return _list(ask, pages, "namespace = $namespace", lastRunStates, runState, namespace=namespace)

    return routes


def _list(
    ask: Asking, pages: Paging, where: str, last: list[str] | None, state: list[str] | None, **bound: Any
) -> Response:
    wanted = [s.strip() for given in (last or []) + (state or []) for s in given.split(",") if s.strip()]
    if wanted:
        if not set(wanted).issubset(STATES.values()):
            raise malformed("a run state is unknown", f"use {', '.join(STATES.values())}")
        condition, states = any_of(
            "latest_state", [event for event, shown in STATES.items() if shown in wanted], "state"
        )
        where, bound = f"{where} AND {condition}", bound | states
    total, rows = ask.page(
        f"FROM {ask.jobs} WHERE {where} AND {ask.visible()}",
        _ORDER,
        pages,
        **bound,
    )
    return answer({"jobs": shaped_jobs(ask, rows), "totalCount": total})


def shaped_jobs(ask: Asking, rows: Sequence[Row]) -> list[Row]:
    """Jobs in Marquez's shape, from rows of ``jobs_at``, in their order."""
    if not rows:
        return []
    keys = [(row["namespace"], row["name"]) for row in rows]
    facets = ask.facets("job", keys)
    current = {
        (v["namespace"], v["name"], v["version"]): v
        for v in _version_rows(ask, keys, [row["version"] for row in rows])
    }
    newest = run_rows(ask, [row["latest_run_id"] for row in rows if row["latest_run_id"]])
    runs = shaped_rows(ask, newest)
    recent = bare_runs(ask, [run for row in rows for run in row["latest_runs"] or []]) | runs
    parents = {
        run["run_id"]: run["parent_job_name"]
        for run in newest
        if run["parent_job_name"] and ask.caller.sees(run["parent_job_namespace"])
    }
    return [
        _shape(
            ask,
            row,
            facets[key],
            current.get((*key, row["version"])),
            runs.get(row["latest_run_id"]),
            [recent[r] for r in row["latest_runs"] or [] if r in recent],
            parents.get(row["latest_run_id"]),
        )
        for row, key in zip(rows, keys, strict=True)
    ]


def _version_rows(ask: Asking, keys: Sequence[Key], versions: Sequence[str]) -> list[Row]:
    condition, bound = among(keys)
    wanted, also = any_of("version", versions, "version")
    return ask.entities(f"FROM {ask.job_versions} WHERE {condition} AND {wanted}", **bound, **also)


def _versions(ask: Asking, job: Key, pages: Paging, version: str | None = None) -> tuple[int, list[Row]]:
    condition, bound = among([job])
    total, rows = ask.page(
        f"""
        FROM {ask.job_versions}
        WHERE {condition} AND {ask.visible()} AND ($version::VARCHAR IS NULL OR version = $version)
        """,
        "rank DESC, version",
        pages,
        version=version,
        **bound,
    )
    location = text(mapping(ask.facets("job", [job])[job].get("sourceCodeLocation")).get("url"))
    runs = shaped_runs(ask, [row["run_id"] for row in rows if row["run_id"]])
    return total, [
        {
            "id": {"namespace": job[0], "name": job[1], "version": row["version"]},
            "name": job[1],
            "namespace": job[0],
            "createdAt": instant(row["created_at"]),
            "version": row["version"],
            "location": location,
            "inputs": ask.seen(row["inputs"]),
            "outputs": ask.seen(row["outputs"]),
            "latestRun": runs.get(row["run_id"]),
        }
        for row in rows
    ]


def _shape(
    ask: Asking,
    row: Row,
    facets: Row,
    version: Row | None,
    latest: Row | None,
    runs: list[Row],
    parent: str | None,
) -> Row:
    name = row["name"]
    io = version or {"inputs": [], "outputs": []}
    return {
        "id": {"namespace": row["namespace"], "name": name},
        "type": row["type"] or "BATCH",
        "name": name,
        "simpleName": name.removeprefix(f"{parent}.") if parent else name,
        "parentJobName": parent,
        "parentJobUuid": None,
        "createdAt": instant(row["created_at"]),
        "updatedAt": instant(row["updated_at"]),
        "namespace": row["namespace"],
        "inputs": ask.seen(io["inputs"]),
        "outputs": ask.seen(io["outputs"]),
        "location": text(mapping(facets.get("sourceCodeLocation")).get("url")),
        "description": text(mapping(facets.get("documentation")).get("description")),
        "latestRun": latest,
        "latestRuns": runs,
        "facets": facets,
        "currentVersion": row["version"],
        "labels": [],
        "tags": tags_said(facets.get("tags")),
        "owners": owners_said(facets.get("ownership")),
    }
