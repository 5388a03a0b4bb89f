"""The front page, search, and the lists of datasets, jobs and runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from governance.server.marquez.asking import Asking, Asks, Paging, Row, any_of
from governance.server.pages.attention import attention
from governance.server.pages.frame import page, page_routes
from governance.server.pages.reported import reported
from governance.server.pages.requested import Register
from governance.server.served import ServedStore

_SIZE = 50
_RECENT = 5_000
"""How many entries back the front page looks for runs: folding all would take as long as the log is large."""

Words = Annotated[str, Query(max_length=500)]
Place = Annotated[int, Query(ge=1, le=1_000_000)]
State = Literal["", "NEW", "RUNNING", "COMPLETE", "FAIL", "ABORT"]


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = page_routes()
    register = Register(served)

    @routes.get("/")
    def front(request: Request, ask: Asks) -> Response:
        counts = {
            "Datasets": _count(ask, ask.datasets),
            "Jobs": _count(ask, ask.jobs),
            "Runs": ask.rows(
                "SELECT count(DISTINCT run_id) AS n FROM events"
                f" WHERE run_id IS NOT NULL AND log_index < $as_of AND {ask.visible('job_namespace')}"
            )[0]["n"],
        }
        changed = ask.entities(
            f"FROM {ask.datasets} WHERE {ask.visible()} ORDER BY last_index DESC, namespace, name LIMIT 10"
        )
        return page(
            request,
            "front.html",
            ask,
            title="Overview",
            counts=counts,
            checkpoint=served.log.latest(),
            fault=served.fault,
            runs=_recent_runs(ask),
            changed=changed,
            reports=reported(request, ask),
            requests=register.undecided(ask, served.clock()),
            **attention(ask, served.clock()),
        )

    @routes.get("/search")
    def search(request: Request, ask: Asks, q: Words = "", at: Place = 1) -> Response:
        total, rows = 0, list[Row]()
        if q.strip():
            total, rows = ask.page(
                f"""
                SELECT * FROM (
                    SELECT 'dataset' AS kind, namespace, name, updated_at FROM {ask.datasets}
                    UNION ALL SELECT 'job', namespace, name, updated_at FROM {ask.jobs}
                ) WHERE contains(lower(namespace || ' ' || name), lower($words)) AND {ask.visible()}
                """,
                "lower(name), namespace, kind",
                _paging(at),
                words=q.strip(),
            )
        return page(
            request, "search.html", ask, title="Search", q=q, total=total, rows=rows, at=at, size=_SIZE
        )

    def entities(request: Request, ask: Asking, kind: str, namespace: str, at: int) -> Response:
        relation = ask.datasets if kind == "dataset" else ask.jobs
        total, rows = ask.page(
            f"FROM {relation} WHERE {ask.visible()} AND ($namespace = '' OR namespace = $namespace)",
            "namespace, name",
            _paging(at),
            namespace=namespace,
        )
        spaces = ask.entities(
            f"SELECT DISTINCT namespace FROM {relation} WHERE {ask.visible()} ORDER BY 1 LIMIT 500"
        )
        return page(
            request,
            "listed.html",
            ask,
            title=f"{kind.capitalize()}s",
            kind=kind,
            rows=rows,
            total=total,
            at=at,
            size=_SIZE,
            namespace=namespace,
            namespaces=[row["namespace"] for row in spaces],
        )

    @routes.get("/datasets")
    def datasets(request: Request, ask: Asks, namespace: Words = "", at: Place = 1) -> Response:
        return entities(request, ask, "dataset", namespace, at)

    @routes.get("/jobs")
    def jobs(request: Request, ask: Asks, namespace: Words = "", at: Place = 1) -> Response:
        return entities(request, ask, "job", namespace, at)

    @routes.get("/runs")
    def runs(
        request: Request, ask: Asks, namespace: Words = "", state: State = "", at: Place = 1
    ) -> Response:
        total, rows = ask.page_of_facts(
            f"FROM runs_at($as_of) WHERE {ask.visible('job_namespace')}"
            " AND ($namespace = '' OR job_namespace = $namespace) AND ($state = '' OR state = $state)",
            "last_index DESC",
            _paging(at),
            namespace=namespace,
            state=state,
        )
        spaces = ask.entities(
            f"SELECT DISTINCT namespace FROM {ask.jobs} WHERE {ask.visible()} ORDER BY 1 LIMIT 500"
        )
        return page(
            request,
            "runs.html",
            ask,
            title="Runs",
            rows=rows,
            total=total,
            at=at,
            size=_SIZE,
            namespace=namespace,
            state=state,
            namespaces=[row["namespace"] for row in spaces],
        )

    return routes


def runs_of(ask: Asking, run_ids: list[str]) -> dict[str, Row]:
    """Some runs, folded, by id; those that the caller sees."""
    condition, bound = any_of("run_id", run_ids, "run")
    sql = f"FROM runs_at($as_of) WHERE {condition} AND {ask.visible('job_namespace')}"
    return {row["run_id"]: row for row in ask.rows(sql, **bound)} if run_ids else {}


def _recent_runs(ask: Asking) -> list[Row]:
    rows = ask.rows(
        f"""
        SELECT run_id, max(log_index) AS last FROM events
        WHERE run_id IS NOT NULL AND log_index < $as_of AND log_index >= $as_of - {_RECENT}
            AND {ask.visible("job_namespace")}
        GROUP BY run_id ORDER BY last DESC LIMIT 12
        """
    )
    found = runs_of(ask, [row["run_id"] for row in rows])
    return [found[row["run_id"]] for row in rows if row["run_id"] in found]


def _count(ask: Asking, relation: str) -> Any:
    return ask.entities(f"SELECT count(*) AS n FROM {relation} WHERE {ask.visible()}")[0]["n"]


def _paging(at: int) -> Paging:
    return Paging(_SIZE, (at - 1) * _SIZE)
