"""The official `marquez-python` client, unchanged, against a server process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import marquez_seed as seed
import pytest
from marquez_client import MarquezClient
from marquez_client.errors import APIError
from served_process import Server

ODD = "s3://bucket/a b"
ODD_DATASET = "year=2026/versions"


@pytest.fixture(scope="module")
def marquez(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarquezClient]:
    folder: Path = tmp_path_factory.mktemp("marquez")
    server = Server(str(folder / "store"), folder)
    odd = seed.events()[0] | {
        "job": {"namespace": ODD, "name": "a/runs"},
        "run": {"runId": "0198c0de-0000-7000-8000-000000000001"},
        "outputs": [
            {
                "namespace": ODD,
                "name": ODD_DATASET,
                "facets": {
                    "columnLineage": {
                        "fields": {
                            "x": {
                                "inputFields": [
                                    {"namespace": ODD, "name": "raw", "field": "y", "transformations": []}
                                ]
                            }
                        }
                    },
                    "tags": {"tags": [{"key": "pii", "field": "x"}]},
                },
            }
        ],
    }
    with server.client() as client:
        for event in [*seed.events(), odd]:
            assert client.post("/api/v1/lineage", json=event).status_code == 201
    yield MarquezClient(url=server.url, api_key=server.token)
    server.close()


def test_namespaces(marquez: MarquezClient) -> None:
    assert [n["name"] for n in marquez.list_namespaces()["namespaces"]] == [seed.NAMESPACE, ODD]
    assert [n["name"] for n in marquez.list_namespaces(limit=1, offset=1)["namespaces"]] == [ODD]
    assert marquez.get_namespace(ODD)["name"] == ODD


def test_datasets_and_their_versions(marquez: MarquezClient) -> None:
    listed = marquez.list_datasets(seed.NAMESPACE, limit=3)
    assert (len(listed["datasets"]), listed["totalCount"]) == (3, 12)
    found = marquez.get_dataset(ODD, ODD_DATASET)
    assert found["id"] == {"namespace": ODD, "name": ODD_DATASET}
    (version,) = marquez.list_dataset_versions(ODD, ODD_DATASET)["versions"]
    assert marquez.get_dataset_version(ODD, ODD_DATASET, version["version"]) == version
    assert version["createdByRun"]["id"] == "0198c0de-0000-7000-8000-000000000001"


def test_jobs_and_runs(marquez: MarquezClient) -> None:
    listed = marquez.list_jobs(seed.NAMESPACE)
    assert listed["totalCount"] == len(listed["jobs"]) == len(seed.JOBS)
    assert marquez.get_job(ODD, "a/runs")["name"] == "a/runs"
    (run,) = marquez.list_job_runs(ODD, "a/runs")["runs"]
    assert marquez.get_job_run(run["id"]) == run


def test_sources_tags_and_events(marquez: MarquezClient) -> None:
    assert [s["name"] for s in marquez.list_sources()["sources"]] == [seed.NAMESPACE, ODD]
    assert marquez.get_source(ODD)["type"] == "S3"
    assert marquez.list_tags()["tags"] == [{"name": "pii", "description": ""}]
    assert marquez.list_events(limit=5)["totalCount"] == 2 * len(seed.JOBS) + 1
    assert len(marquez.list_events(namespace=ODD)["events"]) == 1


def test_column_lineage(marquez: MarquezClient) -> None:
    for found in (
        marquez.get_column_lineage_by_dataset(ODD, ODD_DATASET),
        marquez.get_column_lineage_by_dataset_field(ODD, ODD_DATASET, "x", with_downstream=True),
        marquez.get_column_lineage_by_job(ODD, "a/runs", depth=2),
    ):
        assert {node["data"]["field"] for node in found["graph"]} == {"x", "y"}


def test_its_writes_are_refused(marquez: MarquezClient) -> None:
    for write in (
        lambda: marquez.create_namespace("new", "owner"),
        lambda: marquez.create_tag("new"),
        lambda: marquez.tag_dataset(ODD, ODD_DATASET, "new"),
        lambda: marquez.tag_dataset_field(ODD, ODD_DATASET, "x", "new"),
    ):
        with pytest.raises(APIError) as refused:
            write()
        assert refused.value.__cause__.response.status_code == 405
        assert "POST /api/v1/lineage" in refused.value.__cause__.response.json()["error"]["remedy"]
    with pytest.raises(APIError):
        marquez.get_namespace("new")
