"""What stands beside the nodes of a graph, in Marquez's shape, read for hundreds of nodes at once.

The present is kept. For a past log size the macros of the index fold every dataset there is before a join can
say which are wanted; here the rows of the wanted ones are folded, in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from governance.lineage.graph.adjacency import Ids
from governance.lineage.graph.graph import View
from governance.lineage.graph.node_names import JOB, NodeName
from governance.lineage.reading import mapping, text
from governance.server.marquez.asking import KEYS, Asking, Key, Row, columns_of, instant
from governance.server.marquez.runs import STATES
from governance.server.marquez.said import fields_said, tags_said
from governance.server.served import ServedStore

_WANTED = (
    "wanted AS (SELECT unnest($numbers) AS number, unnest($spaces) AS namespace, unnest($names) AS name)"
)

_KEPT_DATASETS = f"""
    SELECT namespace, name, created_at, updated_at, written_at
    FROM datasets SEMI JOIN {KEYS} USING (namespace, name)
"""
_KEPT_JOBS = f"""
    SELECT namespace, name, created_at, updated_at, latest_run_id AS run_id
    FROM jobs SEMI JOIN {KEYS} USING (namespace, name)
"""
_KEPT_RUNS = """
    SELECT
        run_id, state, started_at, ended_at, nominal_start, nominal_end,
        created_at AS run_created_at, updated_at AS run_updated_at,
        parent_job_namespace AS parent_namespace, parent_job_name AS parent_name
    FROM runs SEMI JOIN (SELECT unnest($runs::VARCHAR[]) AS run_id) USING (run_id)
"""

_DATASETS = f"""
    WITH {_WANTED}
    SELECT
        w.number, min(i.received_at) AS created_at, max(i.received_at) AS updated_at,
        max(i.event_time) FILTER (i.direction = 'output' AND NOT i.future) AS written_at
    FROM run_io i JOIN wanted w USING (namespace, name)
    WHERE i.log_index < $as_of GROUP BY w.number
"""

# runs_at folds every run there is; this folds the latest of each wanted job, in the same way.
_JOBS = f"""
    WITH {_WANTED},
    mine AS MATERIALIZED (
        SELECT w.number, e.* FROM events e
        JOIN wanted w ON w.namespace = e.job_namespace AND w.name = e.job_name
        WHERE e.log_index < $as_of
    ), job AS (
        SELECT
            number, min(received_at) AS created_at, max(received_at) AS updated_at,
            arg_max(run_id, rank) FILTER (run_id IS NOT NULL) AS run_id
        FROM mine GROUP BY number
    ), run AS (
        SELECT
            number, run_id,
            coalesce(
                arg_min(event_type, early) FILTER (event_type IN ('COMPLETE', 'FAIL', 'ABORT')),
                CASE WHEN bool_or(event_type IN ('START', 'RUNNING')) THEN 'RUNNING' ELSE 'NEW' END
            ) AS state,
            coalesce(min(event_time) FILTER (event_type = 'START'), min(event_time)) AS started_at,
            arg_min_null(event_time, early) FILTER (event_type IN ('COMPLETE', 'FAIL', 'ABORT')) AS ended_at,
            arg_max(nominal_start, rank) FILTER (nominal_start IS NOT NULL) AS nominal_start,
            arg_max_null(nominal_end, rank) FILTER (nominal_start IS NOT NULL) AS nominal_end,
            min(received_at) AS run_created_at, max(received_at) AS run_updated_at,
            arg_max_null(parent_job_namespace, rank) FILTER (parent_run_id IS NOT NULL) AS parent_namespace,
            arg_max_null(parent_job_name, rank) FILTER (parent_run_id IS NOT NULL) AS parent_name
        FROM mine SEMI JOIN job USING (number, run_id) GROUP BY number, run_id
    )
    SELECT job.*, run.* EXCLUDE (number, run_id) FROM job LEFT JOIN run USING (number)
"""

_OF_DATASET = (
    "schema", "tags", "documentation", "dataSource", "datasetType", "lifecycleStateChange",
    "governance_classifications",
)  # fmt: skip
_OF_JOB = ("jobType", "documentation", "sourceCodeLocation", "tags")

Names = dict[int, NodeName]


def drawn(served: ServedStore, ask: Asking) -> tuple[Asking, View]:
    """The graph for a question, and the question for the graph: one may be drawn anew, then both are earlier."""
    view = served.graph().view(ask.as_of)
    return ask.at(view.size), view


def facets_of(ask: Asking, view: View, names: Names, facets: tuple[str, ...], scope: str) -> dict[int, Row]:
    """The present facets of some nodes: observed before declared, a dataset's before its aliases'."""
    pairs = [*_pairs(_aliases(view, names)), *names.items()]
    said = ask.facets(scope, (_key(name) for _, name in pairs), facets)
    found: dict[int, Row] = defaultdict(dict)
    for number, name in pairs:
        found[number] |= said.get(_key(name), {})
    return found


def dataset_data(ask: Asking, view: View, names: Names) -> dict[int, Row]:
    """Marquez's DatasetData of some nodes, and what our facets classify of their fields."""
    facets = facets_of(ask, view, names, _OF_DATASET, "dataset")
    both = [*_pairs(_aliases(view, names)), *names.items()]
    rows = _numbered(ask, names, _KEPT_DATASETS) if ask.present else _folded(ask, both, _DATASETS)
    data: dict[int, Row] = {}
    fields: dict[tuple[int, int], list[Row]] = {}
    for number, name in names.items():
        said, row = facets[number], rows.get(number, {})
        # Facets that say the same are one object: their fields are put into shape once.
        of = id(said.get("schema")), id(said.get("tags"))
        if of not in fields:
            fields[of] = fields_said(said.get("schema"), said.get("tags"))
        kind = (text(mapping(said.get("datasetType")).get("datasetType")) or "").upper()
        data[number] = {
            "id": {"namespace": name.namespace, "name": name.name},
            "type": "STREAM" if kind in ("STREAM", "TOPIC") else "DB_TABLE",
            "name": name.name,
            "physicalName": name.name,
            "createdAt": instant(row.get("created_at")),
            "updatedAt": instant(row.get("updated_at")),
            "namespace": name.namespace,
            "sourceName": text(mapping(said.get("dataSource")).get("name")) or name.namespace,
            "fields": fields[of],
            "tags": tags_said(said.get("tags")),
            "lastModifiedAt": instant(row.get("written_at")),
            "description": text(mapping(said.get("documentation")).get("description")),
            "lastLifecycleState": text(mapping(said.get("lifecycleStateChange")).get("lifecycleStateChange")),
            "classifications": classified(said.get("governance_classifications")),
        }
    return data


def job_data(ask: Asking, view: View, names: Names) -> dict[int, Row]:
    """Marquez's JobData of some nodes, without inputs and outputs, which are their edges."""
    facets = facets_of(ask, view, names, _OF_JOB, "job")
    rows = _with_latest_run(ask, names)
    data = {}
    for number, name in names.items():
        said, row = facets[number], rows.get(number, {})
        kind = text(mapping(said.get("jobType")).get("processingType")) or "BATCH"
        started_by = _parent(ask, row)
        parent = started_by.name if started_by else None
        data[number] = {
            "id": {"namespace": name.namespace, "name": name.name},
            "type": {"STREAMING": "STREAM"}.get(kind.upper(), kind.upper()),
            "name": name.name,
            "simpleName": name.name.removeprefix(f"{parent}.") if parent else name.name,
            "parentJobName": parent,
            "parentJobUuid": None,
            "createdAt": instant(row.get("created_at")),
            "updatedAt": instant(row.get("updated_at")),
            "namespace": name.namespace,
            "location": text(mapping(said.get("sourceCodeLocation")).get("url")),
            "description": text(mapping(said.get("documentation")).get("description")),
            "latestRun": _run(row) if row.get("run_id") else None,
            "tags": tags_said(said.get("tags")),
        }
    return data


def classified(facet: Any) -> list[Row]:
    """The fields that a ``governance_classifications`` facet classifies."""
    columns = mapping(mapping(facet).get("columns"))
    return [
        {
            "field": field,
            "classification": text(mapping(said).get("classification")),
            "sensitivity": text(mapping(said).get("sensitivity")),
        }
        for field, said in columns.items()
        if text(mapping(said).get("classification"))
    ]


def parent_jobs(ask: Asking, view: View, jobs: Ids) -> dict[int, int]:
    """Of some jobs, the job that started their latest run, where that is known and seen."""
    names = dict(zip(jobs.tolist(), view.names.names(jobs), strict=True))
    parents = {number: _parent(ask, row) for number, row in _with_latest_run(ask, names).items()}
    named = {number: parent for number, parent in parents.items() if parent is not None}
    numbers = view.names.of(list(named.values()))
    return {
        job: parent
        for job, parent in zip(named, numbers, strict=True)
        if parent is not None and view.known(parent)
    }


def _with_latest_run(ask: Asking, names: Names) -> dict[int, Row]:
    """Times, latest run and what started it, of some jobs."""
    if not ask.present:
        return _folded(ask, list(names.items()), _JOBS)
    jobs = _numbered(ask, names, _KEPT_JOBS)
    wanted = [job["run_id"] for job in jobs.values() if job["run_id"] is not None]
    runs = {run["run_id"]: run for run in ask.entities(_KEPT_RUNS, runs=wanted)} if wanted else {}
    # A run that came between the two questions is not known to the first.
    return {
        number: job | runs[job["run_id"]] if job["run_id"] in runs else job | {"run_id": None}
        for number, job in jobs.items()
    }


def _numbered(ask: Asking, names: Names, sql: str) -> dict[int, Row]:
    """Kept rows of some nodes."""
    if not names:
        return {}
    numbers = {_key(name): number for number, name in names.items()}
    rows = ask.entities(sql, **columns_of(numbers))
    return {numbers[row["namespace"], row["name"]]: row for row in rows}


def _folded(ask: Asking, pairs: list[tuple[int, NodeName]], sql: str) -> dict[int, Row]:
    """Rows of some nodes under any of their names, folded for a past log size."""
    rows = ask.rows(sql, **_wanted(pairs)) if pairs else []
    return {row["number"]: row for row in rows}


def _parent(ask: Asking, row: Row) -> NodeName | None:
    """The job that started a job's latest run, if the caller sees it."""
    if row.get("parent_name") is None or row["parent_namespace"] is None:
        return None
    name = NodeName(JOB, row["parent_namespace"], row["parent_name"], "")
    return name if ask.caller.sees(name.namespace) else None


def _aliases(view: View, names: Names) -> dict[int, list[NodeName]]:
    """The other names of some datasets."""
    aliases: dict[int, list[NodeName]] = defaultdict(list)
    alias, meant = view.renamed
    if len(alias):
        for name, number in zip(view.names.names(alias), meant.tolist(), strict=True):
            if number in names:
                aliases[number].append(name)
    return aliases


def _pairs(aliases: dict[int, list[NodeName]]) -> list[tuple[int, NodeName]]:
    return [(number, name) for number, names in aliases.items() for name in names]


def _key(name: NodeName) -> Key:
    return name.namespace, name.name


def _wanted(pairs: list[tuple[int, NodeName]]) -> Row:
    return {
        "numbers": [number for number, _ in pairs],
        "spaces": [name.namespace for _, name in pairs],
        "names": [name.name for _, name in pairs],
    }


def _run(row: Row) -> Row:
    started, ended = row["started_at"], row["ended_at"]
    whole = started is not None and ended is not None
    return {
        "id": row["run_id"],
        "createdAt": instant(row["run_created_at"]),
        "updatedAt": instant(row["run_updated_at"]),
        "nominalStartTime": instant(row["nominal_start"]),
        "nominalEndTime": instant(row["nominal_end"]),
        "state": STATES[row["state"]],
        "startedAt": instant(started),
        "endedAt": instant(ended),
        "durationMs": (ended - started) // timedelta(milliseconds=1) if whole else None,
        "args": {},
        "jobVersion": None,
        "facets": {},
    }
