"""Runs in Marquez's shape: `/jobs/runs/{id}`, their facets, and the runs of a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

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
from governance.server.marquez.naming import NamedRoute
from governance.server.served import ServedStore

STATES = {"NEW": "NEW", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
"""Marquez's run states by the event types that bring them about."""


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=NamedRoute)

    @routes.get("/jobs/runs/{run_id}/facets")
    def run_facets(run_id: str, ask: Asks, type: Annotated[Literal["run", "job"], Query()]) -> Response:  # noqa: A002
        if not _run_rows(ask, [run_id]):
            raise unknown("run")
        facets = ask.rows(
            """
            SELECT facet, arg_max(body, (rank, basis)) AS body
            FROM facet_history($as_of) WHERE scope = $scope AND run_id = $run_id
            GROUP BY facet HAVING $scope = 'run' OR NOT arg_max(deleted, (rank, basis)) ORDER BY facet
            """,
            scope=type,
            run_id=run_id,
        )
        return answer({"runId": run_id, "facets": {f["facet"]: ask.parsed(f["body"]) for f in facets}})

    @routes.get("/jobs/runs/{run_id}")
    def run(run_id: str, ask: Asks) -> Response:
        found = shaped_runs(ask, [run_id]).get(run_id)
        if found is None:
            raise unknown("run")
        return answer(found)

    @routes.get("/namespaces/{namespace}/jobs/{job}/runs")
    def runs(namespace: str, job: str, ask: Asks, pages: Pages) -> Response:
        total, listed = runs_of_job(ask, (namespace, job), pages)
        if not total and not _job_known(ask, (namespace, job)):
            raise unknown("job")
        return answer({"runs": listed, "totalCount": total})

    return routes


def runs_of_job(ask: Asking, job: Key, paging: Paging) -> tuple[int, list[Row]]:
    """How many runs a job has, and a page of them, the newest first."""
    total, page = ask.page_of_facts(
        f"""
        SELECT
            run_id,
            coalesce(min(event_time) FILTER (event_type = 'START'), min(event_time)) AS started_at
        FROM events
        WHERE job_namespace = $namespace AND job_name = $name AND run_id IS NOT NULL AND log_index < $as_of
            AND {ask.visible("job_namespace")}
        GROUP BY run_id
        """,
        "started_at DESC NULLS LAST, run_id DESC",
        paging,
        namespace=job[0],
        name=job[1],
    )
    shaped = shaped_runs(ask, [row["run_id"] for row in page])
    return total, [shaped[row["run_id"]] for row in page]


def shaped_runs(ask: Asking, run_ids: Sequence[str]) -> dict[str, Row]:
    """Runs that the caller sees, in Marquez's shape, by id."""
    rows = _run_rows(ask, run_ids) if run_ids else []
    if not rows:
        return {}
    found = [row["run_id"] for row in rows]
    facets = _facets(ask, found)
    io = _io(ask, found)
    versions = _job_versions(ask, rows, io)
    return {
        row["run_id"]: _shape(row, facets, io[row["run_id"]], versions.get(row["run_id"])) for row in rows
    }


def _run_rows(ask: Asking, run_ids: Sequence[str]) -> list[Row]:
    condition, bound = any_of("run_id", run_ids, "run")
    return ask.rows(f"FROM runs_at($as_of) WHERE {condition} AND {ask.visible('job_namespace')}", **bound)


def _job_known(ask: Asking, job: Key) -> bool:
    condition, bound = among([job], "job_namespace", "job_name")
    seen = ask.visible("job_namespace")
    return bool(
        ask.rows(f"SELECT 1 FROM events WHERE {condition} AND {seen} AND log_index < $as_of LIMIT 1", **bound)
    )


def _facets(ask: Asking, run_ids: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    """Facet bodies by (run, None) and, of inputs and outputs, by (run, direction, namespace, name)."""
    condition, bound = any_of("run_id", run_ids, "run")
    rows = ask.rows(
        f"""
        SELECT run_id, scope, namespace, name, facet, body FROM facets_at($as_of)
        WHERE scope IN ('run', 'input', 'output') AND {condition} ORDER BY basis
        """,
        **bound,
    )
    facets: dict[tuple[Any, ...], Row] = defaultdict(dict)
    for row in rows:
        of = (row["scope"], row["namespace"], row["name"]) if row["scope"] != "run" else (None,)
        facets[(row["run_id"], *of)][row["facet"]] = ask.parsed(row["body"])
    return facets


def _io(ask: Asking, run_ids: Sequence[str]) -> dict[str, list[Row]]:
    """What each run read and wrote, with the version that it made or that stood when it read."""
    condition, bound = any_of("run_id", run_ids, "run")
    rows = ask.rows(
        f"""
        SELECT run_id, direction, namespace, name, log_index FROM io_at($as_of)
        WHERE {condition} AND {ask.visible()} ORDER BY direction, namespace, name
        """,
        **bound,
    )
    datasets, bound = among((row["namespace"], row["name"]) for row in rows)
    made: dict[Key, list[Row]] = defaultdict(list)
    for version in ask.rows(
        f"""
        SELECT namespace, name, version, run_id, log_index FROM dataset_versions_at($as_of)
        WHERE {datasets} ORDER BY log_index
        """,
        **bound,
    ):
        made[version["namespace"], version["name"]].append(version)
    io: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        versions = made[row["namespace"], row["name"]]
        own = [v for v in versions if v["run_id"] == row["run_id"] and row["direction"] == "output"]
        stood = own or [v for v in versions if v["log_index"] <= row["log_index"]]
        io[row["run_id"]].append(row | {"version": stood[-1]["version"] if stood else None})
    return io


def _job_versions(ask: Asking, rows: Sequence[Row], io: dict[str, list[Row]]) -> dict[str, str]:
    """The job version that each run ran: the one with its inputs and outputs."""
    jobs, bound = among(
        (row["job_namespace"], row["job_name"]) for row in rows if row["job_name"] is not None
    )
    versions = ask.entities(
        f"FROM {ask.job_versions} WHERE {jobs} ORDER BY created_at",
        **bound,
    )
    found: dict[str, str] = {}
    for row in rows:
        job = (row["job_namespace"], row["job_name"])
        for version in versions:
            if (version["namespace"], version["name"]) == job and (
                version["run_id"] == row["run_id"]
                or (row["run_id"] not in found and _same_io(version, io[row["run_id"]]))
            ):
                found[row["run_id"]] = version["version"]
    return found


def _same_io(version: Row, io: Sequence[Row]) -> bool:
    return all(
        {(d["namespace"], d["name"]) for d in version[f"{direction}s"]}
        == {(d["namespace"], d["name"]) for d in io if d["direction"] == direction}
        for direction in ("input", "output")
    )


def _shape(row: Row, facets: dict[tuple[Any, ...], Row], io: Sequence[Row], version: str | None) -> Row:
    run_id, started, ended = row["run_id"], row["started_at"], row["ended_at"]
    return {
        "id": run_id,
        "createdAt": instant(row["created_at"]),
        "updatedAt": instant(row["updated_at"]),
        "nominalStartTime": instant(row["nominal_start"]),
        "nominalEndTime": instant(row["nominal_end"]),
        "state": STATES[row["state"]],
        "startedAt": instant(started),
        "endedAt": instant(ended),
        "durationMs": None
        if started is None or ended is None
        else (ended - started) // timedelta(milliseconds=1),
        "args": {},
        "jobVersion": {"namespace": row["job_namespace"], "name": row["job_name"], "version": version},
        **{
            f"{direction}DatasetVersions": [
                {
                    "datasetVersionId": {key: d[key] for key in ("namespace", "name", "version")},
                    "facets": facets.get((run_id, direction, d["namespace"], d["name"]), {}),
                }
                for d in io
                if d["direction"] == direction
            ]
            for direction in ("input", "output")
        },
        "facets": facets.get((run_id, None), {}),
    }
