"""What an operator sees beside a DAG, or beside one run of it: what was governed, decided and proved."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from governance.server.marquez.asking import Asking, Asks, Row, any_of
from governance.server.pages.frame import page, page_routes
from governance.server.pages.jobs import completeness_of
from governance.server.pages.listed import runs_of
from governance.server.pages.proved import evidence
from governance.server.served import ServedStore

Dag = Annotated[str, Path(min_length=1, max_length=300)]
_OF_DAG = "(job_name = $dag OR starts_with(job_name, $dag || '.'))"


def router(_served: ServedStore) -> APIRouter:
    """The routes."""
    routes = page_routes()

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
            runs=[found[row["run_id"]] for row in told if row["run_id"] in found],
        )

    @routes.get("/airflow/{dag_id}/{run_id:path}")
    def dag_run(request: Request, ask: Asks, dag_id: Dag, run_id: str) -> Response:
        rows = evidence(ask, f"{_OF_DAG} AND governed_run_id = $airflow_run", dag=dag_id, airflow_run=run_id)
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
            lineage_run=lineage_run,
            completeness=completeness_of(ask, lineage_run) if lineage_run else None,
        )

    return routes


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
    condition, bound = any_of("run_id", sorted({row["run_id"] for row in rows if row["run_id"]}), "run")
    return (
        ask.rows(
            f"SELECT DISTINCT direction, namespace, name FROM run_io WHERE {condition}"
            f" AND log_index < $as_of AND {ask.visible()} ORDER BY ALL LIMIT 200",
            **bound,
        )
        if rows
        else []
    )
