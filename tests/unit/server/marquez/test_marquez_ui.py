"""Every request that Marquez's web UI makes (0.51, ``web/src/store/requests``) is answered in its types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import shapes
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from sent_events import dataset, event, run

NAMESPACE, DATASET, JOB = "postgres://db:5432", "public.orders/eu", "etl.orders eu"
_NS, _DS, _JOB = (quote(name, safe="") for name in (NAMESPACE, DATASET, JOB))

REQUESTS: list[tuple[str, Any]] = [
    # columnlineage.ts, lineage.ts: the node id comes unencoded, or in part.
    (f"/column-lineage?nodeId=dataset:{_NS}:{_DS}&depth=2&withDownstream=true", shapes.GRAPH),
    (f"/lineage?nodeId=dataset:{NAMESPACE}:{DATASET}&depth=2", shapes.GRAPH),
    (f"/lineage?nodeId=job:{NAMESPACE}:{_JOB}&depth=2", shapes.GRAPH),
    # datasets.ts
    (f"/namespaces/{_NS}/datasets?limit=20&offset=0", shapes.page("datasets", shapes.DATASET)),
    (
        f"/namespaces/{_NS}/datasets/{_DS}/versions?limit=100&offset=0",
        shapes.page("versions", shapes.DATASET_VERSION),
    ),
    (f"/namespaces/{_NS}/datasets/{_DS}", shapes.DATASET),
    # events.ts
    (
        "/events/lineage?limit=100&before=2030-01-01T00:00:00.000Z&after=2020-01-01T00:00:00.000Z"
        "&offset=0&sortDirection=desc",
        shapes.page("events", shapes.EVENT),
    ),
    # facets.ts
    (f"/jobs/runs/{run(1)}/facets?type=run", shapes.FACETS),
    (f"/jobs/runs/{run(1)}/facets?type=job", shapes.FACETS),
    # intervalMetrics.ts, lineageMetrics.ts
    ("/stats/jobs?period=DAY&timezone=Europe/Berlin", shapes.listed(shapes.INTERVAL)),
    ("/stats/datasets?period=WEEK&timezone=Europe/Berlin", shapes.listed(shapes.INTERVAL)),
    ("/stats/sources?period=WEEK&timezone=America/Argentina/Buenos_Aires", shapes.listed(shapes.INTERVAL)),
    ("/stats/lineage-events?period=WEEK&timezone=Etc/GMT+5", shapes.listed(shapes.LINEAGE_INTERVAL)),
    # jobs.ts
    ("/jobs?limit=25&offset=0", shapes.page("jobs", shapes.JOB)),
    (f"/namespaces/{_NS}/jobs?limit=25&offset=0&lastRunStates=COMPLETED", shapes.page("jobs", shapes.JOB)),
    (f"/namespaces/{_NS}/jobs/{_JOB}/runs?limit=14&offset=0", shapes.page("runs", shapes.RUN)),
    (f"/namespaces/{_NS}/jobs/{_JOB}", shapes.JOB),
    # namespaces.ts, search.ts, tags.ts
    ("/namespaces", shapes.page("namespaces", shapes.NAMESPACE)),
    ("/search?q=orders&sort=NAME&limit=100", shapes.page("results", shapes.RESULT)),
    ("/search/?q=orders eu&sort=UPDATE_AT&limit=100&filter=JOB", shapes.page("results", shapes.RESULT)),
    ("/tags", shapes.page("tags", shapes.TAG)),
]


@pytest.fixture
def ui(client: TestClient, send: Callable[..., None]) -> TestClient:
    """A client of a store with two jobs, their datasets and column lineage."""
    source = {"namespace": NAMESPACE, "name": "public.raw", "field": "id"}
    described = {
        "schema": {"fields": [{"name": "id", "type": "INTEGER"}]},
        "columnLineage": {"fields": {"id": {"inputFields": [source]}}},
        "tags": {"tags": [{"key": "gold", "value": "true"}]},
    }
    schema = {"schema": {"fields": [{"name": "id", "type": "INTEGER"}]}}
    for kind in ("START", "COMPLETE"):
        send(
            event(
                kind,
                job=JOB,
                namespace=NAMESPACE,
                job_facets={"sql": {"query": "select 1"}},
                inputs=[dataset("public.raw", NAMESPACE, **schema)],
                outputs=[dataset(DATASET, NAMESPACE, **described)],
            )
        )
    send(event(number=2, job="report", namespace=NAMESPACE, inputs=[dataset(DATASET, NAMESPACE)]))
    return client


@pytest.mark.parametrize(("path", "schema"), REQUESTS, ids=[path[:60] for path, _ in REQUESTS])
def test_the_ui_is_answered_in_its_types(ui: TestClient, path: str, schema: Any) -> None:
    answer = ui.get(f"/api/v1{path}", follow_redirects=False)
    assert answer.status_code == 200, answer.text
    faults = [
        f"{fault.json_path}: {fault.message}"
        for fault in Draft202012Validator(schema).iter_errors(answer.json())
    ]
    assert not faults
    assert answer.json()


def test_the_search_field_is_answered_in_its_types(ui: TestClient) -> None:
    for entity in ("jobs", "datasets"):
        answer = ui.get(f"/api/v2beta/search/{entity}?q=orders")
        Draft202012Validator(shapes.HITS).validate(answer.json())
        assert len(answer.json()["hits"]) == 1


def test_the_ui_asks_for_jobs_by_state_with_post(ui: TestClient) -> None:
    answer = ui.post("/api/v1/jobs?runState=COMPLETED&limit=5&offset=0")
    Draft202012Validator(shapes.page("jobs", shapes.JOB)).validate(answer.json())
    assert answer.json()["totalCount"] == 2
    assert ui.post("/api/v1/jobs?runState=FAILED").json()["totalCount"] == 0
