"""What an auditor gets: the log with proofs that verify, evidence, findings; and a trace of having asked."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from governance.log import InclusionProof
from governance.log.tiles import leaves_of
from governance.log.tree import leaf_hash, root, verify_consistency, verify_inclusion
from governance.server.asked import ACCESS
from governance.server.served import ServedStore

AUDIT = "/api/v1/audit"


def event(number: int, **members: Any) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": f"0198c0de-0000-7000-8000-{number:012}"},
        "job": {"namespace": "shop", "name": "load"},
        "producer": "https://example.com/a",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    } | members


def evidence(stage: str, dataset: str, **facts: Any) -> dict[str, Any]:
    facet = {"stage": stage, "context": {"dataset": dataset, "version": "v1", "run_id": "r1"}, "facts": facts}
    return event(77, run={"runId": "governed", "facets": {f"governance_{stage}": facet}})


def send(client: TestClient, *events: dict[str, Any]) -> None:
    assert client.post("/api/v1/lineage/batch", json=list(events)).status_code == 204


def raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def test_proofs_from_the_service_verify(client: TestClient, served: ServedStore) -> None:
    send(client, *(event(n) for n in range(20)))
    size = served.log.size()
    root_now = root(size, served.log.storage.nodes)
    for index in (0, 7, size - 1):
        said = client.get(f"{AUDIT}/log/entries/{index}/proof", params={"size": size}).json()
        proof = InclusionProof.from_json(said)
        verify_inclusion(index, size, leaf_hash(raw(said["leaf"])), proof.hashes, root_now)
    said = client.get(f"{AUDIT}/log/consistency", params={"first": 5, "second": size}).json()
    hashes = [raw(h) for h in said["hashes"]]
    verify_consistency(5, size, hashes, root(5, served.log.storage.nodes), root_now)
    assert client.get(f"{AUDIT}/log/entries/{size}/proof", params={"size": size}).status_code == 404
    assert client.get(f"{AUDIT}/log/consistency", params={"first": 5, "second": 4}).status_code == 400
    assert client.get(f"{AUDIT}/log/consistency", params={"first": 5, "second": 2**60}).status_code == 404


def test_tiles_are_those_of_the_log(client: TestClient, served: ServedStore) -> None:
    send(client, *(event(n) for n in range(300)))
    bundle = leaves_of(client.get("/tlog/tile/entries/000").content)
    assert [hashlib.sha256(b"\0" + leaf).digest() for leaf in bundle] == [
        client.get("/tlog/tile/0/000").content[place : place + 32] for place in range(0, 8192, 32)
    ]
    partial = served.log.size() - 256
    assert len(client.get(f"/tlog/tile/0/001.p/{partial}").content) == 32 * partial
    for path in (
        "tile/0/009",
        "tile/0/1",
        "tile/99/000",
        "tile/0/../../etc",
        "tile/0/x999/x999/x999/x999/x999/999",
    ):
        assert client.get(f"/tlog/{path}").status_code == 404
    assert client.get("/tlog/checkpoint").status_code == 404


def test_log_status_and_envelopes(client: TestClient, served: ServedStore) -> None:
    send(client, event(1))
    status = client.get(f"{AUDIT}/log").json()
    assert (status["origin"], status["size"], status["signed"]) == ("governance.example/test", 2, 0)
    listed = client.get(f"{AUDIT}/log/entries", params={"start": 1}).json()["entries"]
    assert [entry["principal"] for entry in listed] == ["ingest:all"]
    assert client.get(f"{AUDIT}/log/entries/1").json() == listed[0]
    assert client.get(f"{AUDIT}/log/entries/9").status_code == 404


def test_reading_a_body_leaves_a_trace(client: TestClient, served: ServedStore) -> None:
    send(client, event(1))
    index = served.log.size() - 1
    answer = client.get(f"{AUDIT}/log/entries/{index}/body")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GOV-613")
    assert served.log.size() == index + 1
    answer = client.get(f"{AUDIT}/log/entries/{index}/body", params={"reason": "case 12"})
    assert answer.content == served.log.entry(index).body
    salted = raw(answer.headers["x-governance-salt"]) + answer.content
    assert served.log.entry(index).envelope.digest == "sha256:" + hashlib.sha256(salted).hexdigest()
    trace = served.log.entry(index + 1)
    assert (trace.envelope.media_type, trace.envelope.principal) == (ACCESS, "audit:all")
    said = json.loads(trace.body or b"")
    assert (said["caller"], said["what"], said["reason"]) == (
        "all", {"kind": "body", "log_index": index}, "case 12",
    )  # fmt: skip
    client.get(f"{AUDIT}/log/entries/{index}/body", params={"reason": "case 12"})
    assert served.log.size() == index + 3


def test_a_redacted_body_is_gone_and_its_envelope_stays(client: TestClient, served: ServedStore) -> None:
    send(client, event(1))
    index = served.log.size() - 1
    served.log.redact(index, "GDPR Art. 17(1)(b)", "admin:test")
    answer = client.get(f"{AUDIT}/log/entries/{index}/body", params={"reason": "case 12"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "GOV-616")
    assert client.get(f"{AUDIT}/log/entries/{index}").json()["body"] is False


def test_a_subject_query_says_what_it_found_and_what_it_cannot_know(
    client: TestClient, served: ServedStore
) -> None:
    tagged = {"namespace": "n", "name": "d", "facets": {"x": {"note": "for 5up3rs3cret"}}}
    send(client, event(1, inputs=[tagged]), evidence("disclose", "visits", subjects=4))
    assert client.get(f"{AUDIT}/subjects/5up3rs3cret").status_code == 400
    size = served.log.size()
    said = client.get(f"{AUDIT}/subjects/5up3rs3cret", params={"reason": "Art. 15 request 9"}).json()
    assert [(found["place"], found["name"]) for found in said["named_in"]] == [("facet", "d")]
    assert [row["dataset"] for row in said["disclosures"]] == ["visits"]
    assert said["unknown"]
    trace = json.loads(served.log.entry(size).body or b"")
    assert trace["what"] == {"kind": "subject", "pseudonym": "5up3rs3cret"}
    nothing = client.get(f"{AUDIT}/subjects/unheard", params={"reason": "Art. 15 request 9"}).json()
    assert nothing["named_in"] == []


def test_evidence_by_dataset_version_run_and_size(client: TestClient, served: ServedStore) -> None:
    send(client, evidence("release", "visits", state="released"), evidence("disclose", "orders"))
    size = served.log.size()
    assert len(client.get(f"{AUDIT}/evidence").json()["evidence"]) == 2
    for params in (
        {"dataset": "visits"},
        {"stage": "release"},
        {"as_of": size - 1},
        {"dataset": "visits", "run_id": "r1"},
    ):
        [row] = client.get(f"{AUDIT}/evidence", params=params).json()["evidence"]
        assert (row["stage"], row["basis"]) == ("release", "declared")
    assert client.get(f"{AUDIT}/evidence", params={"run_id": "other"}).json()["evidence"] == []
    assert len(client.get(f"{AUDIT}/releases").json()["evidence"]) == 1
    assert [r["dataset"] for r in client.get(f"{AUDIT}/disclosures").json()["evidence"]] == ["orders"]
    assert client.get(f"{AUDIT}/evidence", params={"stage": "x"}).status_code == 422


def test_findings_are_by_event_run_and_producer(client: TestClient, served: ServedStore) -> None:
    odd = event(2, producer="no uri", run={"runId": "no uuid"})
    send(client, event(1), odd, event(3, producer="no uri"))
    served.conformance.follow(served.log, served.log.size())
    said = client.get(f"{AUDIT}/conformance").json()
    assert said["judged"] == served.log.size()
    assert [sorted(found["faults"]) for found in said["events"]] == [
        ["$.producer: is not a URI", "$.run.runId: is not a UUID"],
        ["$.producer: is not a URI"],
    ]
    index = said["events"][0]["log_index"]
    assert (
        client.get(f"{AUDIT}/conformance", params={"run_id": "no uuid"}).json()["events"]
        == said["events"][:1]
    )
    assert client.get(f"{AUDIT}/conformance", params={"as_of": index}).json()["events"] == []
    assert client.get(f"{AUDIT}/conformance", params={"after": index}).json()["events"] == said["events"][1:]
    by_producer = {p["producer"]: p for p in client.get(f"{AUDIT}/conformance/producers").json()["producers"]}
    assert (by_producer["no uri"]["events"], by_producer["no uri"]["not_conforming"]) == (2, 2)
    assert by_producer["https://example.com/a"]["faults"] == []
    assert client.get(f"{AUDIT}/conformance/entries/{index}").json()["finding"] == said["events"][0]
    assert client.get(f"{AUDIT}/conformance/entries/0").json()["finding"] is None


def test_completeness_tells_expected_from_received(client: TestClient) -> None:
    state = {"tasksState": {"load": "success", "clean": "success"}}
    dag = event(1, job={"namespace": "shop", "name": "dag"})
    dag["run"] = {"runId": dag["run"]["runId"], "facets": {"airflowState": state, "airflowDagRun": {}}}
    parent = {"run": {"runId": dag["run"]["runId"]}, "job": {"namespace": "shop", "name": "dag"}}
    task = event(2, job={"namespace": "shop", "name": "dag.load"})
    task["run"] = {"runId": task["run"]["runId"], "facets": {"parent": parent, "airflow": {}}}
    send(client, dag, task)
    [run] = client.get(f"{AUDIT}/completeness").json()["runs"]
    assert (run["verdict"], run["expected"], run["received"], run["missing"]) == (
        "incomplete", 2, 1, ["dag.clean"],
    )  # fmt: skip
    assert client.get(f"{AUDIT}/completeness", params={"as_of": 1}).json()["runs"] == []


PATHS = [
    "/log", "/log/entries", "/log/entries/0", "/log/entries/0/body?reason=x", "/log/entries/0/proof",
    "/log/consistency?first=0&second=1", "/tokens", "/evidence", "/releases", "/disclosures",
    "/conformance", "/conformance/producers", "/conformance/entries/0", "/subjects/x?reason=y",
]  # fmt: skip


def test_audit_needs_its_scope_and_all_namespaces(
    client: TestClient, served: ServedStore, token: Callable[..., str]
) -> None:
    reader, within = token("read", "ingest", "admin", "rights"), token("audit", namespaces=["shop"])
    size = served.log.size()
    for path in (*(AUDIT + path for path in PATHS), "/tlog/checkpoint", "/tlog/tile/0/000"):
        for bearer in (reader, within):
            answer = client.get(path, headers={"authorization": f"Bearer {bearer}"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "GOV-611"), path
        assert client.get(path, headers={"authorization": ""}).status_code == 401
    assert served.log.size() == size


def test_completeness_shows_the_callers_namespaces_only(
    client: TestClient, token: Callable[..., str]
) -> None:
    dag = event(1, job={"namespace": "other", "name": "dag"})
    dag["run"]["facets"] = {"airflowState": {"tasksState": {}}, "airflowDagRun": {}}
    send(client, dag)
    assert len(client.get(f"{AUDIT}/completeness").json()["runs"]) == 1
    within = {"authorization": f"Bearer {token('audit', namespaces=['shop'])}"}
    assert client.get(f"{AUDIT}/completeness", headers=within).json()["runs"] == []


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 501])
def test_a_reason_must_be_one(client: TestClient, served: ServedStore, reason: str) -> None:
    size = served.log.size()
    assert client.get(f"{AUDIT}/subjects/x", params={"reason": reason}).status_code in (400, 422)
    assert served.log.size() == size
