"""Seed data in the form of Marquez's own, posted and read back through Marquez's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import marquez_seed as seed
import pytest
from served_process import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("seeded")
    running = Server(str(folder / "store"), folder)
    with running.client() as client:
        for event in seed.events():
            assert client.post("/api/v1/lineage", json=event).status_code == 201
    yield running
    running.close()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_every_dataset_is_there_with_its_fields(client: httpx.Client) -> None:
    found = client.get(f"/api/v1/namespaces/{seed.NAMESPACE}/datasets").json()
    written = {seed.table(name) for _, outputs in seed.JOBS.values() for name in outputs}
    assert {d["name"] for d in found["datasets"]} == written
    assert found["totalCount"] == len(written)
    for dataset in found["datasets"]:
        assert [f["name"] for f in dataset["fields"]] == ["id", "name", "address", "placed_on"]
        assert dataset["fields"][0]["description"] == "The id."
        assert dataset["currentVersion"]


def test_every_job_is_there_with_its_run(client: httpx.Client) -> None:
    found = client.get(f"/api/v1/namespaces/{seed.NAMESPACE}/jobs", params={"limit": 100}).json()
    assert {job["name"] for job in found["jobs"]} == set(seed.JOBS)
    for job in found["jobs"]:
        inputs, outputs = seed.JOBS[job["name"]]
        assert {d["name"] for d in job["inputs"]} == {seed.table(name) for name in inputs}
        assert {d["name"] for d in job["outputs"]} == {seed.table(name) for name in outputs}
        assert job["description"] == f"Loads {outputs[0]}."
        run = job["latestRun"]
        assert run["id"] == seed.run_of(job["name"])
        assert run["state"] == ("FAILED" if job["name"] == seed.FAILED else "COMPLETED")
        assert (run["durationMs"], run["startedAt"]) == (190_000, "2020-02-22T22:42:42Z")
        assert set(job["facets"]) == {"sql", "documentation"}
        facets = client.get(f"/api/v1/jobs/runs/{run['id']}/facets", params={"type": "job"}).json()
        assert facets["facets"] == job["facets"]


def test_the_graph_leads_from_the_last_report_to_every_source(client: httpx.Client) -> None:
    node = f"dataset:{seed.NAMESPACE}:{seed.table('top_delivery_times')}"
    graph = client.get("/api/v1/lineage", params={"nodeId": node, "depth": 20}).json()["graph"]
    found = {n["id"] for n in graph}
    for name in (*seed.TABLES, "orders_7_days", "delivery_7_days"):
        assert f"dataset:{seed.NAMESPACE}:{seed.table(name)}" in found
    assert f"job:{seed.NAMESPACE}:etl_orders_7_days" in found


def test_events_failed_jobs_and_search_agree(client: httpx.Client) -> None:
    events = client.get("/api/v1/events/lineage", params={"limit": 1000, "sortDirection": "asc"}).json()
    assert events["totalCount"] == len(events["events"]) == len(seed.events())
    failed = client.get("/api/v1/jobs", params={"lastRunStates": "FAILED"}).json()
    assert [job["name"] for job in failed["jobs"]] == [seed.FAILED]
    found = client.get("/api/v1/search", params={"q": "7_days", "limit": 100}).json()
    assert {r["name"] for r in found["results"]} == {
        name
        for job, (_, outputs) in seed.JOBS.items()
        for name in (job, *map(seed.table, outputs))
        if "7_days" in name
    }
