"""What is seen beside a DAG, a run of it or a task: what was governed, decided and proved; and the export of it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from governance.lineage.graph.node_names import DATASET
from governance.server.marquez.asking import Asking, Asks, Row, answer, any_of
from governance.server.pages.frame import HEADERS, page, page_routes
from governance.server.pages.jobs import completeness_of
from governance.server.pages.listed import runs_of
from governance.server.pages.proved import evidence
from governance.server.pages.reported import reported
from governance.server.served import ServedStore

Dag = Annotated[str, Path(min_length=1, max_length=300)]
_OF_DAG = """(
    (job_name = $dag OR starts_with(job_name, $dag || '.'))
    AND log_index NOT IN (
        SELECT e.log_index FROM events e
        WHERE starts_with(e.job_name, $dag) AND e.parent_job_name <> $dag AND e.log_index < $as_of
    )
)"""
"""Jobs of a DAG, and none of one whose own name begins with this one's and a dot: who may see one sees no other."""


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = page_routes()

    def proved(ask: Asking, dag_id: str, run_id: str) -> list[Row]:
        return evidence(ask, f"{_OF_DAG} AND governed_run_id = $airflow_run", dag=dag_id, airflow_run=run_id)

    def checkpoint(rows: list[Row]) -> Row:
        """The newest signed checkpoint, and whether it covers all of a run's evidence."""
        latest = served.log.latest()
        size = latest.size if latest else 0
        uncovered = sum(row["log_index"] >= size for row in rows)
        return {"size": size, "note": latest.note if latest else None, "uncovered": uncovered}

    @routes.get("/airflow/{dag_id}")
    def dag(request: Request, ask: Asks, dag_id: Dag) -> Response:
        rows = evidence(ask, _OF_DAG, dag=dag_id)
        runs: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["governed_run_id"]:
                runs[row["governed_run_id"]].append(row)
        governed: list[Row] = [
            {
                "run_id": run_id,
                "evidence": found,
                "datasets": sorted({(row["dataset"], row["version"]) for row in found}),
                "released": sorted(
                    {
                        row["dataset"]
                        for row in found
                        if row["stage"] == "release"
                        and row["basis"] == "observed"
                        and row["facts"].get("state") == "released"
                    }
                ),
                "last": found[-1],
            }
            for run_id, found in runs.items()
        ]
        governed.sort(key=lambda run: -run["last"]["log_index"])
        told = ask.rows(
            f"""
            SELECT run_id, max(log_index) AS last FROM events
            WHERE job_name = $dag AND run_id IS NOT NULL AND log_index < $as_of AND {ask.visible("job_namespace")}
            GROUP BY run_id ORDER BY last DESC LIMIT 50
            """,
            dag=dag_id,
        )
        found = runs_of(ask, [row["run_id"] for row in told])
        return page(
            request,
            "dag.html",
            ask,
            title=dag_id,
            dag_id=dag_id,
            governed=governed[:50],
            reports=reported(request, ask, rows),
            runs=[found[row["run_id"]] for row in told if row["run_id"] in found],
        )

    @routes.get("/airflow/{dag_id}/{run_id:path}")
    def dag_run(request: Request, ask: Asks, dag_id: Dag, run_id: str) -> Response:
        rows = proved(ask, dag_id, run_id)
        datasets: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            datasets[row["dataset"], row["version"]].append(row)
        lineage_run = _lineage_run(ask, dag_id, run_id, rows)
        return page(
            request,
            "dag_run.html",
            ask,
            title=f"{dag_id}: {run_id}",
            dag_id=dag_id,
            run_id=run_id,
            datasets=datasets,
            outputs=_outputs(ask, rows),
            classified=_classified(rows),
            checkpoint=checkpoint(rows),
            lineage_run=lineage_run,
            completeness=completeness_of(ask, lineage_run) if lineage_run else None,
            reports=reported(request, ask, rows),
        )

    @routes.get("/airflow-task/{dag_id}/{task_id}/{map_index}/{run_id:path}")
    def task(request: Request, ask: Asks, dag_id: Dag, task_id: Dag, map_index: str, run_id: str) -> Response:
        mapped = int(map_index) if map_index.isdecimal() and len(map_index) < 10 else None
        job = f"{dag_id}.{task_id}"
        rows = [
            row
            for row in proved(ask, dag_id, run_id)
            if row["job_name"] == job and mapped in (None, row["map_index"])
        ]
        lineage_run = _lineage_run(ask, dag_id, run_id, rows)
        return page(
            request,
            "dag_task.html",
            ask,
            title=f"{task_id}: {run_id}",
            dag_id=dag_id,
            task_id=task_id,
            run_id=run_id,
            mapped=mapped,
            rows=rows,
            classified=_classified(rows),
            outputs=_outputs(ask, rows),
            checkpoint=checkpoint(rows),
            tries=_tries(ask, job, lineage_run) if lineage_run else [],
            completeness=completeness_of(ask, lineage_run) if lineage_run else None,
            job=job,
            reports=reported(request, ask, rows),
        )

    @routes.get("/airflow-evidence/{dag_id}/{run_id:path}")
    def export(ask: Asks, dag_id: Dag, run_id: str) -> Response:
        rows = proved(ask, dag_id, run_id)
        latest = checkpoint(rows)
        named = (
            "log_index",
            "stage",
            "dataset",
            "version",
            "map_index",
            "job_name",
            "run_id",
            "basis",
            "reason",
        )
        made = answer(
            {
                "dag_id": dag_id,
                "run_id": run_id,
                "as_of": ask.as_of,
                "checkpoint": latest["note"],
                "after_checkpoint": latest["uncovered"],
                "evidence": [
                    {name: row[name] for name in (*named, "facts", "context")}
                    | {"event_time": f"{row['event_time'].isoformat()}Z" if row["event_time"] else None}
                    for row in rows
                ],
            }
        )
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{dag_id}-{run_id}")[:150]
        made.headers.update(HEADERS)
        made.headers["content-disposition"] = f'attachment; filename="evidence-{name}.json"'
        return made

    return routes


def _classified(rows: list[Row]) -> list[Row]:
    """What each column of each dataset was found to hold, as a run's evidence says it last."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        columns = row["facts"].get("columns") if row["stage"] == "classify" else None
        for column in columns if isinstance(columns, list) else []:
            if isinstance(column, dict) and isinstance(column.get("column"), str):
                found[str(row["dataset"]), column["column"]] = {
                    "dataset": row["dataset"],
                    "column": column["column"],
                    "classification": column.get("classification"),
                    "sensitivity": column.get("sensitivity"),
                    "basis": row["basis"],
                    "log_index": row["log_index"],
                }
    return [one for one in found.values() if one["classification"] not in (None, "none")]


def _tries(ask: Asking, job: str, lineage_run: str) -> list[Row]:
    """What arrived of a task's tries, mapped ones among them; a try that was killed never ended."""
    return ask.rows(
        f"FROM runs_at($as_of) WHERE job_name = $job AND parent_run_id = $parent"
        f" AND {ask.visible('job_namespace')} ORDER BY first_index LIMIT 200",
        job=job,
        parent=lineage_run,
    )


def _lineage_run(ask: Asking, dag_id: str, run_id: str, rows: list[Row]) -> str | None:
    """OpenLineage's id of a DAG run: the parent of its tasks' runs, or the run that says it is it."""
    runs = runs_of(ask, sorted({row["run_id"] for row in rows if row["run_id"]}))
    parents = {run["parent_run_id"] for run in runs.values() if run["parent_job_name"] == dag_id}
    if len(parents) == 1:
        return str(parents.pop())
    said = ask.rows(
        """
        SELECT coalesce(e.parent_run_id, f.run_id) AS run_id, f.facet, f.run_id AS own FROM facets f
        LEFT JOIN events e ON e.log_index = f.log_index
        WHERE f.scope = 'run' AND f.facet IN ('airflow', 'airflowDagRun') AND f.log_index < $as_of
            AND contains(f.body, $run_text)
            AND said(f.body, '$.dagRun.run_id') = $airflow_run AND said(f.body, '$.dag.dag_id') = $dag
        LIMIT 1
        """,
        run_text=run_id,
        airflow_run=run_id,
        dag=dag_id,
    )
    return (
        said[0]["own"]
        if said and said[0]["facet"] == "airflowDagRun"
        else said[0]["run_id"]
        if said
        else None
    )


def _outputs(ask: Asking, rows: list[Row]) -> list[Row]:
    """Datasets that a run read and wrote, each with its node in the graph."""
    condition, bound = any_of("run_id", sorted({row["run_id"] for row in rows if row["run_id"]}), "run")
    found = (
        ask.rows(
            f"SELECT DISTINCT direction, namespace, name FROM run_io WHERE {condition}"
            f" AND log_index < $as_of AND {ask.visible()} ORDER BY ALL LIMIT 200",
            **bound,
        )
        if rows
        else []
    )
    for row in found:
        row["node"] = f"{DATASET}:{row['namespace']}:{row['name']}"
    return found
