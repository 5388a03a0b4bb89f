"""A job with its runs; a run with its times, inputs, outputs, facets, faults and evidence."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from governance.lineage import completeness
from governance.lineage.graph.node_names import JOB
from governance.server.marquez.asking import Asking, Asks, Row, unknown
from governance.server.pages.datasets import Name, facets_of
from governance.server.pages.frame import page, page_routes
from governance.server.pages.listed import runs_of
from governance.server.pages.proved import evidence
from governance.server.served import ServedStore

_THIS = "namespace = $namespace AND name = $name"
Id = Annotated[str, Query(min_length=1, max_length=200)]


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = page_routes()

    @routes.get("/job")
    def job(request: Request, ask: Asks, namespace: Name, name: Name) -> Response:
        key = {"namespace": namespace, "name": name}
        found = ask.entities(f"FROM {ask.jobs} WHERE {_THIS} AND {ask.visible()}", **key)
        if not found:
            raise unknown("job")
        return page(
            request,
            "job.html",
            ask,
            title=name,
            job=found[0],
            io=_io(ask, "job_namespace = $namespace AND job_name = $name", **key),
            runs=ask.rows(
                "FROM runs_at($as_of) WHERE job_namespace = $namespace AND job_name = $name"
                " ORDER BY last_index DESC LIMIT 50",
                **key,
            ),
            owners=ask.rows(f"FROM owners_at($as_of) WHERE entity = 'job' AND {_THIS}", **key),
            tags=ask.rows(f"FROM tags_at($as_of) WHERE entity = 'job' AND {_THIS}", **key),
            facets=facets_of(ask, f"scope = 'job' AND {_THIS}", **key),
            node=f"{JOB}:{namespace}:{name}",
        )

    @routes.get("/run")
    def run(request: Request, ask: Asks, id: Id) -> Response:  # noqa: A002 - the parameter's name
        found = runs_of(ask, [id]).get(id)
        if found is None:
            raise unknown("run")
        facets = facets_of(ask, "run_id = $run_id", run_id=id)
        return page(
            request,
            "run.html",
            ask,
            title=f"Run {id}",
            run=found,
            io=_io(ask, "run_id = $run_id", run_id=id),
            facets=[facet for facet in facets if _shown(ask, facet)],
            events=ask.rows(
                "SELECT log_index, event_type, event_time, received_at, principal, producer, faults FROM events"
                " WHERE run_id = $run_id AND log_index < $as_of ORDER BY log_index LIMIT 200",
                run_id=id,
            ),
            faults=served.conformance.findings(ask.as_of, -1, 20, id, None),
            judged=served.conformance.size,
            evidence=evidence(ask, "run_id = $run_id OR governed_run_id = $run_id", run_id=id),
            completeness=completeness_of(ask, found["parent_run_id"] or id),
            started=started_by(ask, id),
        )

    return routes


def completeness_of(ask: Asking, run_id: str) -> completeness.RunCompleteness | None:
    """Whether all lineage of a DAG run is here; None when it is no DAG run that the caller sees."""
    dag_runs = ask.rows(f"FROM ({completeness.DAG_RUNS}) WHERE run_id = $run_id", run_id=run_id)
    seen = [row for row in dag_runs if ask.caller.sees(row["job_namespace"] or "")]
    if not seen:
        return None
    tasks = ask.rows(f"FROM ({completeness.TASK_RUNS}) WHERE parent_run_id = $run_id", run_id=run_id)
    return completeness.judge(seen[:1], tasks)[0]


def started_by(ask: Asking, run_id: str) -> list[Row]:
    """Runs whose parent a run is."""
    rows = ask.rows(
        "SELECT DISTINCT run_id FROM events WHERE parent_run_id = $run_id AND log_index < $as_of LIMIT 500",
        run_id=run_id,
    )
    runs = runs_of(ask, [row["run_id"] for row in rows if row["run_id"]])
    return sorted(runs.values(), key=lambda run: run["first_index"])


def _io(ask: Asking, condition: str, **bound: str) -> list[Row]:
    return ask.rows(
        f"""
        SELECT direction, namespace, name, min(log_index) AS log_index FROM io_at($as_of)
        WHERE {condition} AND {ask.visible()} GROUP BY ALL ORDER BY direction, namespace, name LIMIT 500
        """,
        **bound,
    )


def _shown(ask: Asking, facet: Row) -> bool:
    return facet["namespace"] is None or ask.caller.sees(facet["namespace"])
