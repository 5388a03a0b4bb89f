"""The writes of Marquez's API, which this store does not have: lineage comes as events and nothing is deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from governance.errors import AccessError
from governance.server.access import allow
from governance.server.marquez.naming import named_routes
from governance.server.served import ServedStore
from governance.server.tokens import Caller

_EVENTS = "send an OpenLineage event to POST /api/v1/lineage"
_DATASET = "/namespaces/{namespace}/datasets/{dataset}"
_JOB = "/namespaces/{namespace}/jobs/{job}"
_WRITES = (
    ("/namespaces/{namespace}", "PUT", f"{_EVENTS}: a namespace is there with its first job or dataset"),
    ("/sources/{source}", "PUT", f"{_EVENTS} with the dataset's dataSource facet"),
    (_DATASET, "PUT", f"{_EVENTS}: a DatasetEvent with schema and documentation facets"),
    (_JOB, "PUT", f"{_EVENTS}: a JobEvent with inputs, outputs and facets"),
    (f"{_JOB}/runs", "POST", f"{_EVENTS}: a RunEvent of type START"),
    *((f"/jobs/runs/{{run_id}}/{verb}", "POST", f"{_EVENTS}: a RunEvent of type {verb.upper()}") for verb in (
        "start", "complete", "fail", "abort")),
    ("/tags/{tag}", "PUT", f"{_EVENTS} with a tags facet: a tag is there once something has it"),
    (f"{_DATASET}/tags/{{tag}}", "POST", f"{_EVENTS}: a DatasetEvent with a tags facet"),
    (f"{_DATASET}/fields/{{field}}/tags/{{tag}}", "POST", f"{_EVENTS}: a DatasetEvent with a tags facet that names the field"),
    (f"{_JOB}/tags/{{tag}}", "POST", f"{_EVENTS}: a JobEvent with a tags facet"),
    *((f"{owner}/tags/{{tag}}", "DELETE", f"{_EVENTS} with the tags facet as it is to be, or `_deleted`") for owner in (
        _DATASET, f"{_DATASET}/fields/{{field}}", _JOB)),
    (_DATASET, "DELETE", f"{_EVENTS}: a DatasetEvent whose lifecycleStateChange is DROP; the record of it stays"),
    (_JOB, "DELETE", "nothing: the record of a job stays"),
    ("/namespaces/{namespace}", "DELETE", "nothing: the record of a namespace stays"),
)  # fmt: skip


def router(_served: ServedStore) -> APIRouter:
    """The routes: each answers 405 and says what to do instead."""
    routes = named_routes()
    for path, method, remedy in _WRITES:
        _refuse(routes, path, method, remedy)
    return routes


def _refuse(routes: APIRouter, path: str, method: str, remedy: str) -> None:
    @routes.api_route(path, methods=[method], include_in_schema=False)
    def refused(_caller: Annotated[Caller, Depends(allow("read"))]) -> None:
        raise AccessError("GOV-617", "this store takes lineage as events and deletes nothing", remedy)
