"""Which token may send which event, and as whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from governance.server.served import ServedStore

ONE, BATCH = "/api/v1/lineage", "/api/v1/lineage/batch"
EVIDENCE = {"runId": "r", "facets": {"governance_open": {"stage": "open"}}}
JOB = {"namespace": "shop", "name": "load"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("scopes", "run", "principal"),
    [
        (("ingest",), {"runId": "r"}, "ingest:test"),
        (("ingest",), EVIDENCE, "ingest:test"),
        (("evidence",), EVIDENCE, "evidence:test"),
        (("evidence",), {"runId": "r"}, None),
        (("evidence",), {"runId": "governance_open", "facets": {"x": "governance_"}}, None),
        (("ingest", "evidence"), {"runId": "r"}, "ingest:test"),
        (("ingest", "evidence"), EVIDENCE, "evidence:test"),
        (("read", "audit", "admin", "rights"), EVIDENCE, None),
    ],
)
def test_evidence_is_spoken_only_for_events_that_hold_some(
    client: TestClient,
    served: ServedStore,
    token: Callable[..., str],
    scopes: tuple[str, ...],
    run: dict[str, Any],
    principal: str | None,
) -> None:
    headers = bearer(token(*scopes))
    size = served.log.size()
    answer = client.post(ONE, json={"run": run, "job": JOB}, headers=headers)
    if principal is None:
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "GOV-611")
        assert served.log.size() == size
    else:
        assert answer.status_code == 201
        assert served.log.entry(size).envelope.principal == principal


def test_evidence_that_repeats_a_member_is_refused(client: TestClient) -> None:
    body = b'{"run": {"runId": "r", "facets": {"governance_open": {}, "governance_open": {}}}}'
    assert client.post(ONE, content=body).status_code == 400


@pytest.mark.parametrize(
    ("members", "allowed"),
    [
        ({"run": {"runId": "r"}, "job": {"namespace": "shop", "name": "x"}}, True),
        ({"run": {"runId": "r"}, "job": {"namespace": "team-a/x", "name": "x"}}, True),
        ({"run": {"runId": "r"}, "job": {"namespace": "shopping", "name": "x"}}, False),
        ({"run": {"runId": "r"}, "job": {"name": "x"}}, False),
        ({"run": {"runId": "r"}, "job": {"namespace": 1}}, False),
        ({"run": {"runId": "r"}, "job": 1}, False),
        ({"run": {"runId": "r"}}, False),
        ({"dataset": {"namespace": "shop", "name": "d"}}, True),
        ({"dataset": {"namespace": "other", "name": "d"}}, False),
        ({"job": {"namespace": "other", "name": "x"}, "dataset": {"namespace": "shop", "name": "d"}}, False),
        (
            {
                "run": {},
                "job": {"namespace": "shop", "name": "x"},
                "inputs": [{"namespace": "o", "name": "d"}],
            },
            True,
        ),
    ],
)
def test_a_token_of_namespaces_sends_only_theirs(
    client: TestClient, served: ServedStore, token: Callable[..., str], members: dict[str, Any], allowed: bool
) -> None:
    headers = bearer(token("ingest", namespaces=["shop", "team-a/*"]))
    size = served.log.size()
    answer = client.post(ONE, json=members, headers=headers)
    assert answer.status_code == (201 if allowed else 403)
    assert served.log.size() == size + allowed
    batch = client.post(BATCH, json=[members], headers=headers)
    assert batch.status_code == (204 if allowed else 200)


def test_a_repeated_job_cannot_smuggle_a_namespace(
    client: TestClient, served: ServedStore, token: Callable[..., str]
) -> None:
    """The last of two members counts here and in the index alike."""
    headers = bearer(token("ingest", namespaces=["shop"]))
    first, second = ({"namespace": n, "name": "x"} for n in ("shop", "other"))
    body = f'{{"run": {{"runId": "r"}}, "job": {json.dumps(first)}, "job": {json.dumps(second)}}}'
    assert client.post(ONE, content=body, headers=headers).status_code == 403
    body = f'{{"run": {{"runId": "r"}}, "job": {json.dumps(second)}, "job": {json.dumps(first)}}}'
    assert client.post(ONE, content=body, headers=headers).status_code == 201
    assert [job["namespace"] for job in served.fresh().jobs()] == ["shop"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer gov_0123456789abcdef_" + "x" * 43,
        "Bearer é",
        "bearer\tx",
    ],
)
def test_a_wrong_token_gets_401_and_asks_nothing(
    client: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch, authorization: str
) -> None:
    monkeypatch.setattr(served.index, "query", lambda *_: pytest.fail("a failed attempt reached the index"))
    answer = client.post(ONE, content=b"{}", headers={"authorization": authorization.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "GOV-610")
    assert answer.headers["www-authenticate"] == "Bearer"
