"""Runs in Marquez's shape: `/jobs/runs/{id}`, their facets, and the runs of a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from governance.lineage.reading import mapping
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
from governance.server.served import ServedStore

STATES = {"NEW": "NEW", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
"""Marquez's run states by the event types that bring them about."""


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = named_routes()

    @routes.get("/jobs/runs/{run_id}/facets")
    def run_facets(run_id: str, ask: Asks, type: Annotated[Literal["run", "job"], Query()]) -> Response:  # noqa: A002
        if not run_rows(ask, [run_id]):
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
    return shaped_rows(ask, run_rows(ask, run_ids))


def shaped_rows(ask: Asking, rows: Sequence[Row]) -> dict[str, Row]:
    """As :func:`shaped_runs`, from rows of :func:`run_rows`."""
    if not rows:
        return {}
    facets = _facets(ask, rows)
    io = _io(ask, rows)
    versions = _job_versions(ask, rows, io)
    shaped = {}
    for row in rows:
        of = row["run_id"]
        shaped[of] = _bare(row, versions.get(of)) | {
            f"{direction}DatasetVersions": [
                {
                    "datasetVersionId": {key: d[key] for key in ("namespace", "name", "version")},
                    "facets": facets.get((of, direction, d["namespace"], d["name"]), {}),
                }
                for d in ask.seen(io[of])
                if d["direction"] == direction
            ]
            for direction in ("input", "output")
        }
        shaped[of]["facets"] = facets.get((of, None), {})
    return shaped


def bare_runs(ask: Asking, run_ids: Sequence[str]) -> dict[str, Row]:
    """As :func:`shaped_runs`, without facets, datasets and job version: states and times."""
    return {row["run_id"]: _bare(row, None) for row in run_rows(ask, run_ids)}


def run_rows(ask: Asking, run_ids: Sequence[str]) -> list[Row]:
    """Rows of ``runs_at``, for runs that the caller sees. The newest of each job are kept."""
    rows = []
    if ask.present and run_ids:
        condition, bound = any_of("run_id", run_ids, "run")
        rows = ask.entities(f"FROM runs WHERE {condition}", **bound)
    kept = {row["run_id"] for row in rows}
    if others := [run_id for run_id in run_ids if run_id not in kept]:
        condition, bound = any_of("run_id", others, "run")
        rows += ask.rows(f"FROM runs_at($as_of) WHERE {condition}", **bound)
    everything = ask.caller.namespaces is None
    return [row for row in rows if everything or (row["job_name"] and ask.caller.sees(row["job_namespace"]))]


def _within(rows: Sequence[Row]) -> tuple[str, Row]:
    """A condition that a fact is of one of the runs: their ids, and where in the log they lie."""
    condition, bound = any_of("run_id", [row["run_id"] for row in rows], "run")
    bound["low"], bound["high"] = (
        min(row["first_index"] for row in rows),
        max(row["last_index"] for row in rows),
    )
    return f"{condition} AND log_index BETWEEN $low AND $high AND log_index < $as_of", bound


def _job_known(ask: Asking, job: Key) -> bool:
    condition, bound = among([job], "job_namespace", "job_name")
    seen = ask.visible("job_namespace")
    return bool(
        ask.rows(f"SELECT 1 FROM events WHERE {condition} AND {seen} AND log_index < $as_of LIMIT 1", **bound)
    )


def _facets(ask: Asking, rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """Facet bodies by (run, None) and, of inputs and outputs, by (run, direction, namespace, name)."""
    condition, bound = _within(rows)
    # These facets belong to one run each: DuckDB reaches them at once, where facets_at would rank all.
    said = ask.rows(
        f"""
        SELECT run_id, scope, namespace, name, facet, arg_max(body, rank) AS body FROM facet_history($as_of)
        WHERE scope IN ('run', 'input', 'output') AND {condition}
        GROUP BY run_id, scope, namespace, name, facet, basis ORDER BY basis
        """,
        **bound,
    )
    facets: dict[tuple[Any, ...], Row] = defaultdict(dict)
    for row in said:
        of = (row["scope"], row["namespace"], row["name"]) if row["scope"] != "run" else (None,)
        facets[(row["run_id"], *of)][row["facet"]] = ask.parsed(row["body"])
    return facets


def _io(ask: Asking, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """What each run read and wrote, with the version that it made or that stood when it read."""
    condition, bound = _within(rows)
    said = ask.rows(
        f"""
        SELECT
            run_id, direction, namespace, name, min(log_index) AS log_index, max(rank) AS rank,
            max(max(rank)) OVER (PARTITION BY run_id) AS newest
        FROM run_io WHERE {condition} AND direction <> 'static'
        GROUP BY run_id, direction, namespace, name ORDER BY direction, namespace, name
        """,
        **bound,
    )
    older = {row["run_id"] for row in said if row["rank"] != row["newest"]}
    whole = _snapshots(ask, [row for row in rows if row["run_id"] in older])
    said = [row for row in said if row["run_id"] not in whole or row["rank"] == row["newest"]]
    io: dict[str, list[Row]] = defaultdict(list)
    for row, version in zip(said, _versions(ask, said), strict=True):
        io[row["run_id"]].append(row | {"version": version})
    return io


def _snapshots(ask: Asking, rows: Sequence[Row]) -> frozenset[str]:
    """The runs of which each event says everything, so that the newest counts (spec 2-0-2, emissionPattern)."""
    said = ask.facets(
        "job", ((row["job_namespace"], row["job_name"]) for row in rows if row["job_name"]), ("jobType",)
    )
    patterns = {
        job: mapping(mapping(facets.get("jobType")).get("emissionPattern")) for job, facets in said.items()
    }
    jobs = {job for job, how in patterns.items() if how.get("eventContentMode") == "COMPLETE_SNAPSHOT"}
    return frozenset(row["run_id"] for row in rows if (row["job_namespace"], row["job_name"]) in jobs)


def _versions(ask: Asking, io: Sequence[Row]) -> list[str | None]:
    """The dataset version of each input and output, in their order."""
    condition, bound = among((row["namespace"], row["name"]) for row in io)
    columns = {
        name: [row[name] for row in io] for name in ("namespace", "name", "run_id", "direction", "log_index")
    }
    rows = ask.entities(
        f"""
        WITH io AS (
            SELECT
                unnest(range(len($namespace))) AS place, unnest($namespace::VARCHAR[]) AS namespace,
                unnest($name::VARCHAR[]) AS name, unnest($run_id::VARCHAR[]) AS run_id,
                unnest($direction::VARCHAR[]) AS direction, unnest($log_index::BIGINT[]) AS log_index
        ), version AS MATERIALIZED (FROM {ask.dataset_versions} WHERE {condition}),
        own AS (
            SELECT io.place, arg_max(v.version, v.rank) AS version FROM io JOIN version v
                ON v.namespace = io.namespace AND v.name = io.name AND v.run_id = io.run_id
            WHERE io.direction = 'output' GROUP BY io.place
        ), stood AS (
            SELECT io.place, arg_max(v.version, v.log_index) AS version FROM io JOIN version v
                ON v.namespace = io.namespace AND v.name = io.name AND v.log_index <= io.log_index
            GROUP BY io.place
        )
        SELECT coalesce(own.version, stood.version) AS version
        FROM io LEFT JOIN own USING (place) LEFT JOIN stood USING (place) ORDER BY io.place
        """,
        **bound,
        **columns,
    )
    return [row["version"] for row in rows]


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


def _bare(row: Row, version: str | None) -> Row:
    started, ended = row["started_at"], row["ended_at"]
    lasted = None if started is None or ended is None else (ended - started) // timedelta(milliseconds=1)
    return {
        "id": row["run_id"],
        "createdAt": instant(row["created_at"]),
        "updatedAt": instant(row["updated_at"]),
        "nominalStartTime": instant(row["nominal_start"]),
        "nominalEndTime": instant(row["nominal_end"]),
        "state": STATES[row["state"]],
        "startedAt": instant(started),
        "endedAt": instant(ended),
        "durationMs": lasted,
        "args": {},
        "jobVersion": {"namespace": row["job_namespace"], "name": row["job_name"], "version": version},
    }
