"""Nothing is readable or writable without a token of the right scope."""

from __future__ import annotations

import json
from collections.abc import Callable

from fastapi.testclient import TestClient

from governance.server.served import ServedStore

EVENT = {
    "eventType": "START",
    "eventTime": "2026-11-24T08:00:00Z",
    "run": {"runId": "0198c0de-0000-7000-8000-000000000001"},
    "job": {"namespace": "shop", "name": "load"},
    "producer": "https://example.com/test",
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
}


def test_an_acknowledged_event_is_in_the_log_and_the_index(client: TestClient, served: ServedStore) -> None:
    body = json.dumps(EVENT).encode()
    assert client.post("/api/v1/lineage", content=body).status_code == 201
    last = served.log.entry(served.log.size() - 1)
    assert last.body == body
    assert last.envelope.principal == "ingest:all"
    assert [run["job_name"] for run in served.fresh().runs()] == ["load"]


def test_without_a_token_nothing_is_taken(client: TestClient, served: ServedStore) -> None:
    size = served.log.size()
    del client.headers["authorization"]
    answer = client.post("/api/v1/lineage", json=EVENT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "GOV-610")
    assert served.log.size() == size


def test_a_token_of_another_scope_is_refused(client: TestClient, token: Callable[..., str]) -> None:
    answer = client.post("/api/v1/lineage", json=EVENT, headers={"authorization": f"Bearer {token('read')}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "GOV-611")
