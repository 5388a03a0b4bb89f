"""What lies around, before and after a node, as Marquez's clients ask for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from fastapi.testclient import TestClient

from governance.lineage.index.index import Index
from governance.server.served import ServedStore

NS = "postgres://h:5432"
RUNS = [f"01a20b6a-c323-7f68-b456-23cd917a82a{i}" for i in range(4)]


def dataset(name: str, namespace: str = NS, **facets: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "facets": facets}


def ran(number: int, job: str, inputs: list[Any], outputs: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "eventType": more.get("state", "COMPLETE"),
        "eventTime": f"2026-11-24T08:00:{number:02d}Z",
        "run": {"runId": RUNS[number], "facets": more.get("facets", {})},
        "job": {"namespace": more.get("namespace", "etl"), "name": job, "facets": more.get("job_facets", {})},
        "inputs": inputs,
        "outputs": outputs,
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


SCHEMA = {
    "fields": [{"name": "id", "type": "INT"}, {"name": "mail", "type": "TEXT", "description": "of whom"}]
}
CLASSIFIED = {"columns": {"mail": {"classification": "email", "sensitivity": "confidential"}}}
MASKED = {"type": "DIRECT", "subtype": "HASH", "description": "salted", "masking": True}


def lineage_of(*columns: tuple[str, str], name: str = "raw.people") -> dict[str, Any]:
    source = {"namespace": NS, "name": name}
    return {
        "fields": {
            out: {"inputFields": [source | {"field": field, "transformations": [MASKED]}]}
            for out, field in columns
        }
    }


@pytest.fixture
def told(client: TestClient) -> TestClient:
    """raw.people → load → core.people → report → mart:sum, in three namespaces."""
    parent = {
        "parent": {"run": {"runId": RUNS[3]}, "job": {"namespace": "etl", "name": "nightly"}},
    }
    core = dataset(
        "core.people",
        schema=SCHEMA,
        columnLineage=lineage_of(("id", "id"), ("mail", "mail")),
        documentation={"description": "everyone"},
        governance_classifications=CLASSIFIED,
        tags={"tags": [{"key": "pii", "value": "true"}]},
    )
    mart = dataset("mart:sum", "s3://mart", columnLineage=lineage_of(("mail", "mail"), name="core.people"))
    facets = {"sourceCodeLocation": {"type": "git", "url": "https://example.com/load.py"}}
    put(client, ran(3, "nightly", [], []))
    put(client, ran(0, "nightly.load", [dataset("raw.people")], [core], facets=parent, job_facets=facets))
    put(client, ran(1, "report", [dataset("core.people")], [mart], namespace="bi", state="FAIL"))
    return client


def put(client: TestClient, event: dict[str, Any]) -> None:
    assert client.post("/api/v1/lineage", content=json.dumps(event)).status_code == 201


def graph(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return {node["id"]: node for node in answer.json()["graph"]}


def test_a_lineage_graph_has_marquez_shape(told: TestClient) -> None:
    nodes = graph(told, "lineage", nodeId=f"dataset:{NS}:core.people")
    load, core = "job:etl:nightly.load", f"dataset:{NS}:core.people"
    assert list(nodes) == sorted(nodes) == [
        f"dataset:{NS}:core.people", f"dataset:{NS}:raw.people", "dataset:s3://mart:mart:sum", "job:bi:report", load,
    ]  # fmt: skip
    assert nodes[core]["inEdges"] == [{"origin": load, "destination": core}]
    assert nodes[core]["outEdges"] == [{"origin": core, "destination": "job:bi:report"}]
    data = nodes[core]["data"]
    assert data["id"] == {"namespace": NS, "name": "core.people"}
    assert (data["type"], data["description"], data["tags"]) == ("DB_TABLE", "everyone", ["pii"])
    assert [(f["name"], f["type"], f["description"]) for f in data["fields"]] == [
        ("id", "INT", ""), ("mail", "TEXT", "of whom"),
    ]  # fmt: skip
    assert data["lastModifiedAt"] == "2026-11-24T08:00:00Z"
    assert data["classifications"] == [
        {"field": "mail", "classification": "email", "sensitivity": "confidential"}
    ]
    job = nodes[load]["data"]
    assert (nodes[load]["type"], job["type"], job["simpleName"], job["parentJobName"]) == (
        "JOB", "BATCH", "load", "nightly",
    )  # fmt: skip
    assert job["inputs"] == [{"namespace": NS, "name": "raw.people"}]
    assert job["outputs"] == [{"namespace": NS, "name": "core.people"}]
    assert job["location"] == "https://example.com/load.py"
    assert (job["latestRun"]["id"], job["latestRun"]["state"]) == (RUNS[0], "COMPLETED")
    assert nodes["job:bi:report"]["data"]["latestRun"]["state"] == "FAILED"


def test_what_stands_beside_a_job_is_what_its_own_page_says(told: TestClient) -> None:
    put(told, ran(2, "report", [dataset("core.people")], [], namespace="bi", state="START"))
    put(told, ran(2, "report", [], [], namespace="bi", state="ABORT"))
    put(told, ran(2, "report", [], [], namespace="bi", state="RUNNING"))
    nodes = graph(told, "lineage", nodeId=f"dataset:{NS}:core.people")
    for namespace, name in (("bi", "report"), ("etl", "nightly.load")):
        own = told.get(f"/api/v1/namespaces/{namespace}/jobs/{name}").json()
        data = nodes[f"job:{namespace}:{name}"]["data"]
        same = (
            "type",
            "simpleName",
            "parentJobName",
            "createdAt",
            "updatedAt",
            "location",
            "description",
            "tags",
        )
        assert {member: data[member] for member in same} == {member: own[member] for member in same}
        for member in ("id", "state", "createdAt", "updatedAt", "startedAt", "endedAt", "durationMs"):
            assert data["latestRun"][member] == own["latestRun"][member]
    own = told.get("/api/v1/namespaces/postgres%3A%2F%2Fh%3A5432/datasets/core.people").json()
    data = nodes[f"dataset:{NS}:core.people"]["data"]
    del data["classifications"]
    assert data == {member: own[member] for member in data}


@pytest.mark.parametrize(("depth", "count"), [(0, 3), (1, 5), (20, 5)])
def test_depth_counts_jobs(told: TestClient, depth: int, count: int) -> None:
    assert len(graph(told, "lineage/", nodeId="job:bi:report", depth=depth)) == count


def test_jobs_can_be_drawn_as_those_that_started_them(told: TestClient) -> None:
    nodes = graph(told, "lineage", nodeId=f"dataset:{NS}:raw.people", aggregateToParentRun="true")
    assert "job:etl:nightly.load" not in nodes
    assert nodes["job:etl:nightly"]["inEdges"] == [
        {"origin": f"dataset:{NS}:raw.people", "destination": "job:etl:nightly"}
    ]


def test_a_graph_is_cut_at_its_limit_and_says_so(told: TestClient) -> None:
    answer = told.get("/api/v1/lineage", params={"nodeId": "job:bi:report", "limit": 3}).json()
    assert (len(answer["graph"]), answer["truncated"]) == (3, True)
    whole = told.get("/api/v1/lineage", params={"nodeId": "job:bi:report"}).json()
    assert whole["truncated"] is False


def test_impact_says_what_is_reached_and_what_is_classified_there(told: TestClient) -> None:
    query = {"nodeId": f"dataset:{NS}:raw.people", "limit": 3}
    answer = told.get("/api/v1/impact", params=query).json()
    assert [(n["id"], n["depth"]) for n in answer["nodes"]] == [
        (f"dataset:{NS}:core.people", 1), ("job:etl:nightly.load", 1), ("dataset:s3://mart:mart:sum", 2),
    ]  # fmt: skip
    assert answer["nodes"][0]["classifications"][0]["classification"] == "email"
    assert {k: answer[k] for k in ("totalCount", "totalDatasets", "totalJobs", "truncated", "partial")} == {
        "totalCount": 4, "totalDatasets": 2, "totalJobs": 2, "truncated": True, "partial": False,
    }  # fmt: skip
    up = told.get(
        "/api/v1/impact", params={"nodeId": "dataset:s3://mart:mart:sum", "direction": "upstream"}
    ).json()
    assert next(n["id"] for n in up["nodes"]) == f"dataset:{NS}:core.people"


def test_impact_as_of_an_earlier_log_size(told: TestClient) -> None:
    size = told.get("/api/v1/impact", params={"nodeId": "job:etl:nightly"}).json()["asOf"]
    query = {"nodeId": f"dataset:{NS}:raw.people", "as_of": size - 1}
    answer = told.get("/api/v1/impact", params=query).json()
    assert [n["id"] for n in answer["nodes"]] == [f"dataset:{NS}:core.people", "job:etl:nightly.load"]
    gone = told.get("/api/v1/impact", params={"nodeId": "dataset:s3://mart:mart:sum", "as_of": size - 1})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "GOV-612")


def test_columns_upstream_and_down(told: TestClient) -> None:
    field = f"datasetField:{NS}:core.people:mail"
    nodes = graph(told, "column-lineage", nodeId=field)
    assert set(nodes) == {field, f"datasetField:{NS}:raw.people:mail"}
    data = nodes[field]["data"]
    assert (data["dataset"], data["field"], data["fieldType"]) == ("core.people", "mail", "TEXT")
    assert data["inputFields"][0]["transformations"] == [
        {"type": "DIRECT", "subtype": "HASH", "description": "salted", "masking": True, "basis": "declared"}
    ]
    assert (data["transformationType"], data["transformationDescription"]) == ("HASH", "salted")
    # As Marquez turns them.
    assert nodes[field]["inEdges"] == [{"origin": field, "destination": f"datasetField:{NS}:raw.people:mail"}]
    both = graph(told, "column-lineage", nodeId=field, withDownstream="true")
    assert set(both) - set(nodes) == {"datasetField:s3://mart:mart:sum:mail"}
    assert len(graph(told, "column-lineage", nodeId=f"dataset:{NS}:core.people")) == 4
    assert len(graph(told, "column-lineage", nodeId="job:etl:nightly.load", depth=0)) == 2


def test_runs_upstream(told: TestClient) -> None:
    answer = told.get("/api/v1/runlineage/upstream", params={"runId": RUNS[1]}).json()
    assert [(r["job"]["name"], r["run"]["id"], r["run"]["status"]) for r in answer["runs"]] == [
        ("report", RUNS[1], "FAILED"), ("nightly.load", RUNS[0], "COMPLETED"),
    ]  # fmt: skip
    assert answer["runs"][0]["inputs"] == [
        {"namespace": NS, "name": "core.people", "version": None, "producedByRunId": RUNS[0]}
    ]
    near = told.get("/api/v1/runlineage/upstream", params={"runId": RUNS[1], "depth": 0}).json()
    assert len(near["runs"]) == 1


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("lineage", {"nodeId": "dataset:a:b"}, 404, "GOV-612"),
        ("lineage", {"nodeId": "run:a:b"}, 400, "GOV-613"),
        ("lineage", {"nodeId": "nonsense"}, 400, "GOV-613"),
        ("lineage", {}, 422, "GOV-613"),
        ("lineage", {"nodeId": "dataset:a:b", "depth": "-1"}, 422, "GOV-613"),
        ("lineage", {"nodeId": "dataset:a:b", "depth": "deep"}, 422, "GOV-613"),
        ("lineage", {"nodeId": "dataset:\x00:\U0001f600"}, 404, "GOV-612"),
        ("impact", {"nodeId": "job:a:b"}, 404, "GOV-612"),
        ("impact", {"nodeId": "job:etl:nightly", "direction": "sideways"}, 422, "GOV-613"),
        ("impact", {"nodeId": "job:etl:nightly", "as_of": "999999"}, 400, "GOV-613"),
        ("column-lineage", {"nodeId": "datasetField:a:b:c"}, 404, "GOV-612"),
        ("column-lineage", {"nodeId": "b:c"}, 400, "GOV-613"),
        ("runlineage/upstream", {"runId": "none"}, 404, "GOV-612"),
        ("runlineage/upstream", {}, 422, "GOV-613"),
    ],
)
def test_what_cannot_be_answered_is_said_why(
    told: TestClient, path: str, query: dict[str, str], status: int, code: str
) -> None:
    answer = told.get(f"/api/v1/{path}", params=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_who_sees_some_namespaces_learns_of_no_other(told: TestClient, token: Callable[..., str]) -> None:
    told.headers["authorization"] = f"Bearer {token('read', namespaces=['postgres:*', 'etl'], name='some')}"
    core = f"dataset:{NS}:core.people"
    assert set(graph(told, "lineage", nodeId=core)) == {
        core,
        f"dataset:{NS}:raw.people",
        "job:etl:nightly.load",
    }
    answer = told.get("/api/v1/impact", params={"nodeId": f"dataset:{NS}:raw.people"}).json()
    assert [n["id"] for n in answer["nodes"]] == [core, "job:etl:nightly.load"]
    assert (answer["totalCount"], answer["partial"]) == (2, True)
    columns = graph(told, "column-lineage", nodeId=core, withDownstream="true")
    assert not any("s3:" in node for node in columns)
    for path, asked in (
        ("lineage", "job:bi:report"), ("impact", "dataset:s3://mart:mart:sum"),
        ("column-lineage", "datasetField:s3://mart:mart:sum:mail"),
    ):  # fmt: skip
        assert told.get(f"/api/v1/{path}", params={"nodeId": asked}).status_code == 404
    assert told.get("/api/v1/runlineage/upstream", params={"runId": RUNS[1]}).status_code == 404


def test_without_a_token_there_is_no_graph(told: TestClient) -> None:
    del told.headers["authorization"]
    assert told.get("/api/v1/impact", params={"nodeId": "job:bi:report"}).status_code == 401


def test_what_a_redacted_event_said_is_gone_from_the_graph(told: TestClient, served: ServedStore) -> None:
    query = {"nodeId": f"dataset:{NS}:raw.people"}
    before = told.get("/api/v1/impact", params=query).json()
    assert "dataset:s3://mart:mart:sum" in {node["id"] for node in before["nodes"]}
    served.log.redact(before["asOf"] - 1, "a name slipped in", "admin:test")
    after = told.get("/api/v1/impact", params=query).json()
    assert [node["id"] for node in after["nodes"]] == [f"dataset:{NS}:core.people", "job:etl:nightly.load"]
    assert told.get("/api/v1/lineage", params={"nodeId": "dataset:s3://mart:mart:sum"}).status_code == 404
    field = {"nodeId": f"datasetField:{NS}:core.people:mail", "withDownstream": "true"}
    assert "s3://mart" not in told.get("/api/v1/column-lineage", params=field).text


def test_an_answer_does_not_depend_on_how_the_graph_caught_up(
    client: TestClient, served: ServedStore
) -> None:
    dice, question = Random(7), "/api/v1/lineage?nodeId=dataset:w:t1&depth=9"
    for run in range(60):
        read, wrote = dice.sample(["t1", *(f"t{dice.randrange(20)}" for _ in range(3))], 2)
        event = {
            "eventType": "COMPLETE", "eventTime": f"2026-11-24T08:00:{run:02}Z", "producer": "urn:x",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": f"0198c0de-0000-7000-8000-0000000000{run:02}"},
            "job": {"namespace": "n", "name": f"j{dice.randrange(9)}"},
            "inputs": [{"namespace": "w", "name": read}], "outputs": [{"namespace": "w", "name": wrote}],
        }  # fmt: skip
        assert client.post("/api/v1/lineage", json=event).is_success
        if run % 5 == 4:
            grown = client.get(question).json()
    served.index.close()
    served._graph, served.index = None, Index.build(served.log)
    assert client.get(question).json() == grown


def test_while_a_graph_is_drawn_anew_the_former_one_answers_and_says_its_log_size(
    told: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"nodeId": f"dataset:{NS}:core.people"}
    before = told.get("/api/v1/lineage", params=asked).json()
    monkeypatch.setattr("governance.server.served._PATIENCE_S", 0.0)
    with served.graph()._catching_up:
        put(told, ran(2, "late", [dataset("core.people")], []))
        assert told.get("/api/v1/lineage", params=asked).json() == before
        reached = told.get("/api/v1/impact", params=asked).json()
        assert (reached["asOf"], reached["totalJobs"]) == (before["asOf"], 1)
    assert served._drawn is not None
    served._drawn.result()
    after = told.get("/api/v1/impact", params=asked).json()
    assert (after["asOf"], after["totalJobs"]) == (served.index.size, 2)


def test_after_a_redaction_no_former_graph_is_shown(
    told: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = served.graph()
    monkeypatch.setattr("governance.server.served._PATIENCE_S", 0.0)
    answers: list[int] = []
    with graph._catching_up:
        index = next(e.index for e in served.log.entries() if b"mart:sum" in (e.body or b""))
        served.log.redact(index, "personal data", "admin:test")
        waits = threading.Thread(target=lambda: answers.append(served.graph().size))
        waits.start()
        waits.join(0.5)
        assert answers == []
    waits.join()
    assert answers == [served.log.size()]
