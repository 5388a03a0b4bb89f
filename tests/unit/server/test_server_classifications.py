"""What columns hold, over HTTP; who may correct it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from fastapi.testclient import TestClient

from governance.log import POLICY, NewEntry
from governance.model.resources import schemas
from governance.server.served import ServedStore

NS = "postgres://h:1"
CORRECTIONS = "/api/v1/classifications/corrections"
PAGE = b"sensitivities: [public, confidential]\nclassifications: {email: {sensitivity: confidential}}\n"


@pytest.fixture
def seeded(client: TestClient, served: ServedStore) -> TestClient:
    served.log.append([NewEntry(PAGE, POLICY, "evidence:pipeline")])
    found = {"columns": {"mail": {"classification": "email"}}}
    edge = {"namespace": NS, "name": "a", "field": "mail", "transformations": [{"type": "DIRECT"}]}
    lineage = {"fields": {"x": {"inputFields": [edge]}}}
    for name, facets in (("a", {"governance_classifications": found}), ("b", {"columnLineage": lineage})):
        body = {
            "eventTime": "2026-11-24T10:00:00Z",
            "eventType": "COMPLETE",
            "producer": "https://example.org/p",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": "01a20b6a-c323-7f68-b456-23cd917a82a4"},
            "job": {"namespace": "jobs", "name": "j"},
            "inputs": [{"namespace": NS, "name": "c"}] if name == "b" else [],
            "outputs": [{"namespace": NS, "name": name, "facets": facets}],
        }
        assert client.post("/api/v1/lineage", content=json.dumps(body)).status_code == 201
    return client


def asked(client: TestClient, node: str, **parameters: Any) -> Any:
    return client.get("/api/v1/classifications", params={"nodeId": node, **parameters})


def wanted(**changed: Any) -> dict[str, Any]:
    return {
        "namespace": NS,
        "dataset": "a",
        "column": "mail",
        "classification": "none",
        "by": "data steward",
        "because": "aliases of shops",
        **changed,
    }


def test_a_column_is_explained_with_its_path(seeded: TestClient, served: ServedStore) -> None:
    answer = asked(seeded, f"dataset:{NS}:b").json()
    [column] = answer["columns"]
    assert column["sensitivity"] == "confidential"
    [held] = column["classifications"]
    assert (held["classification"], held["status"]) == ("email", "derived")
    assert held["path"][0]["from"] == {"namespace": NS, "dataset": "a", "column": "mail"}
    assert answer["without_column_lineage"] == [{"namespace": NS, "dataset": "c"}]
    assert asked(seeded, f"datasetField:{NS}:b:x").json()["columns"] == answer["columns"]
    size = served.log.size()
    before = asked(seeded, f"dataset:{NS}:b", as_of=size - 1)
    assert before.status_code == 404
    assert asked(seeded, f"datasetField:{NS}:a:mail", as_of=size - 1).json()["as_of"] == size - 1


@pytest.mark.parametrize(
    ("node", "status"),
    [("dataset:x:y", 404), ("datasetField:x:y:z", 404), ("job:jobs:j", 400), ("nothing", 400), ("", 422)],
)
def test_what_is_not_there(seeded: TestClient, node: str, status: int) -> None:
    assert asked(seeded, node).status_code == status


def test_a_correction_counts_at_once_and_keeps_who_sent_it(seeded: TestClient) -> None:
    made = seeded.post(CORRECTIONS, json=wanted())
    assert made.status_code == 201
    assert made.json()["principal"] == "admin:all"
    assert made.json()["from"] == [{"classification": "email", "probability": 0}]
    [column] = asked(seeded, f"dataset:{NS}:b").json()["columns"]
    assert column["classifications"] == []
    [listed] = seeded.get(CORRECTIONS).json()["corrections"]
    assert listed == made.json()
    assert seeded.post(CORRECTIONS, json=wanted(classification=None)).status_code == 201
    [column] = asked(seeded, f"dataset:{NS}:b").json()["columns"]
    assert len(column["classifications"]) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"because": ""},
        {"because": "ask jane.doe@mail.example"},
        {"column": "nothing"},
        {"classification": "emial"},
        {"dataset": "*"},
    ],
)
def test_unsound_corrections_are_refused(seeded: TestClient, changed: dict[str, Any]) -> None:
    refused = seeded.post(CORRECTIONS, json=wanted(**changed))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "GOV-118"


@pytest.mark.parametrize("scope", ["ingest", "evidence", "read", "audit"])
def test_only_administrators_and_rights_correct(
    seeded: TestClient, token: Callable[..., str], scope: str
) -> None:
    seeded.headers["authorization"] = f"Bearer {token(scope)}"
    assert seeded.post(CORRECTIONS, json=wanted()).status_code == 403
    seeded.headers["authorization"] = f"Bearer {token('rights')}"
    assert seeded.post(CORRECTIONS, json=wanted()).json()["principal"] == "rights:test"


def test_a_token_of_some_namespaces_learns_nothing(seeded: TestClient, token: Callable[..., str]) -> None:
    seeded.headers["authorization"] = f"Bearer {token('read', 'admin', namespaces=[NS])}"
    assert asked(seeded, f"dataset:{NS}:b").status_code == 403
    assert seeded.get(CORRECTIONS).status_code == 403
    assert seeded.post(CORRECTIONS, json=wanted()).status_code == 403


def test_what_is_recorded_is_of_the_schema(seeded: TestClient, served: ServedStore) -> None:
    made = seeded.post(CORRECTIONS, json=wanted(version="1", dataset="a*")).json()
    schema = json.loads((schemas() / "classification-correction.schema.json").read_bytes())
    entry = served.log.entry(made["log_index"])
    jsonschema.Draft202012Validator(schema).validate(json.loads(entry.body or b""))
