"""Names with slashes, colons, spaces, suffixes of paths and characters of every script resolve exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sent_events import dataset, event

Send, Read = Callable[..., None], Callable[..., Any]

NAMES = [
    "a/b",
    "a/versions",
    "versions",
    "a/versions/v1",
    "datasets/x",
    "/lake/raw/patients.parquet",
    "s3://bucket/key",
    "with space",
    "per%2Fcent",
    "100%",
    "plus+and&more?q#h",
    "ünï/日本語",
    "a..b/../c",
    "a:b:c",
    "quote'\"--;",
    "$1",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_resolves_as_namespace_dataset_and_job(send: Send, read: Read, name: str) -> None:
    send(event(job=name, namespace=name, outputs=[dataset(name, name), dataset("a", name)]))
    part = quote(name, safe="")
    assert read(f"/namespaces/{part}")["name"] == name
    assert read(f"/namespaces/{part}/datasets")["totalCount"] == 2
    found = read(f"/namespaces/{part}/datasets/{part}")
    assert found["id"] == {"namespace": name, "name": name}
    (version,) = read(f"/namespaces/{part}/datasets/{part}/versions")["versions"]
    assert (version["name"], version["version"]) == (name, found["currentVersion"])
    path = f"/namespaces/{part}/datasets/{part}/versions/{quote(version['version'], safe='')}"
    assert read(path) == version
    assert read(f"/namespaces/{part}/jobs/{part}")["id"] == {"namespace": name, "name": name}
    assert read(f"/namespaces/{part}/jobs/{part}/runs")["totalCount"] == 1
    assert read(f"/namespaces/{part}/jobs/{part}/versions")["totalCount"] == 1
    assert read(f"/sources/{part}")["name"] == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/namespaces/s3://bucket/datasets/a/b", "a/b"),
        ("/namespaces/s3://bucket/datasets//lake/x", "/lake/x"),
        ("/namespaces/s3%3A%2F%2Fbucket/datasets/a/b", "a/b"),
    ],
)
def test_slashes_that_came_unencoded_are_understood(send: Send, read: Read, path: str, name: str) -> None:
    send(event(outputs=[dataset("a/b", "s3://bucket"), dataset("/lake/x", "s3://bucket")]))
    assert read(path)["id"] == {"namespace": "s3://bucket", "name": name}
    (version,) = read(f"{path}/versions")["versions"]
    assert version["name"] == name


def test_an_encoded_suffix_belongs_to_the_name(send: Send, client: TestClient) -> None:
    send(event(outputs=[dataset("a")]))
    assert client.get("/api/v1/namespaces/db/datasets/a/versions").status_code == 200
    missing = client.get("/api/v1/namespaces/db/datasets/a%2Fversions")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "GOV-612")


@pytest.mark.parametrize(
    "path",
    [
        "/namespaces/no",
        "/namespaces/db/datasets/no",
        "/namespaces/db/datasets/no/versions",
        "/namespaces/db/datasets/a/versions/no",
        "/namespaces/jobs/jobs/no",
        "/namespaces/jobs/jobs/no/runs",
        "/namespaces/jobs/jobs/no/versions",
        "/namespaces/jobs/jobs/load/versions/no",
        "/jobs/runs/no",
        "/jobs/runs/no/facets?type=run",
        "/sources/no",
        "/namespaces/%00/datasets/%FF",
    ],
)
def test_what_is_not_there_is_404(send: Send, client: TestClient, path: str) -> None:
    send(event(outputs=[dataset("a")]))
    answer = client.get(f"/api/v1{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "GOV-612")
