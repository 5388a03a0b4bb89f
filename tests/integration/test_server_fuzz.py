"""Whatever is sent to whatever path: a documented status, never a fault of ours, and the service goes on."""

from __future__ import annotations

import json
import socket
import string
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import status_code_conformance
from served_process import Server

pytestmark = pytest.mark.slow

LINEAGE = "/api/v1/lineage"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzzed")
    running = Server(str(folder / "store"), folder)
    with running.client() as http:
        assert http.post(f"{LINEAGE}/batch", json=[seed(n) for n in range(20)]).status_code == 204
    yield running
    said = running.output.read_text()
    running.close()
    assert "unexpected" not in said, said


def seed(number: int) -> dict[str, Any]:
    """Events with names that are hard to carry in a path."""
    names = [
        "plain",
        "a/b:c",
        "s3://bucket/x y",
        "é%2F",
        "'; DROP TABLE runs; --",
        "#?&=",
        "..",
        "{x}",
        "_",
        "%",
    ]
    name = names[number % len(names)]
    dataset = {
        "namespace": name,
        "name": name[::-1],
        "facets": {"schema": {"fields": [{"name": "c", "type": "t"}]}},
    }
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": f"0198c0de-0000-7000-8000-{number:012}"},
        "job": {"namespace": name, "name": f"job {number}"},
        "inputs": [dataset],
        "outputs": [dataset | {"name": f"out {number}"}],
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


@pytest.fixture(scope="module")
def schema(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=server.headers)


def test_every_operation_answers_as_documented(schema: Any, server: Server) -> None:
    undocumented: dict[str, str] = {}
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck), database=None,
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def conforms(case: Any) -> None:
            response = case.call(headers=server.headers)
            case.validate_response(response, checks=[not_a_server_error, status_code_conformance])

        try:
            conforms()
        except (FailureGroup, Failure) as fault:
            undocumented[operation.label] = " ".join(map(str, getattr(fault, "exceptions", [fault])))[:400]
    assert undocumented == {}


NASTY = [
    "\x00", "a\x00b", "../../etc/passwd", "..%2f..%2fetc", "%00", "%ff", "%c3%28", "'", '"', "' OR 1=1 --", "$1", "$as_of",
    "\\", "{}", "*", "%", "_", "é" * 300, "\u202e", "\ud83d\ude00", "9" * 400, "-1", "1e999", "NaN", "null", "[]", " ", "\n", "\r\nX: y",
    "dataset:a:b", "dataset:", ":::", "job:s3://b/x:y#v", "datasetField:a:b:c",
]  # fmt: skip


@pytest.fixture(scope="module")
def operations(server: Server) -> list[tuple[str, str, list[str]]]:
    """Method, path and query parameters of every operation."""
    with server.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
    return [
        (method, path, [p["name"] for p in said.get("parameters", ()) if p["in"] == "query"])
        for path, methods in paths.items()
        for method, said in methods.items()
    ]


@pytest.mark.parametrize("nasty", NASTY)
def test_nasty_text_in_every_parameter(
    server: Server, operations: list[tuple[str, str, list[str]]], nasty: str
) -> None:
    """In every path member as it is and encoded, in every query parameter, alone."""
    encoded = "".join(f"%{octet:02X}" for octet in nasty.encode("utf-8", "surrogatepass"))
    sendable = (
        encoded
        if set(nasty) - set(string.printable) or set(nasty) & set("\r\n \x00?#%{}[]|\\^\"<>`'")
        else nasty
    )
    with server.client() as http:
        for method, path, query in operations:
            shape = "".join(sendable if part.startswith("{") else part for part in split(path))
            sent = [f"{shape}"] + [f"{filled(path)}?{name}={encoded}" for name in query]
            for target in sent:
                answer = http.request(method, f"{server.url}{target}", content=b"{}")
                assert answer.status_code < 500, (method, target, answer.text)


def split(path: str) -> list[str]:
    parts, rest = [], path
    while "{" in rest:
        before, _, after = rest.partition("{")
        _, _, rest = after.partition("}")
        parts += [before, "{"]
    return [*parts, rest]


def filled(path: str) -> str:
    return "".join("plain" if part == "{" else part for part in split(path))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=300)
    | st.text(alphabet='{}[]",:0123456789.eE+-truefalsnu\\/ \n\x00', max_size=200).map(str.encode)
)
def test_any_bytes_as_an_event(server: Server, body: bytes) -> None:
    with server.client() as http:
        for path in (LINEAGE, f"{LINEAGE}/batch"):
            for headers in ({}, {"content-encoding": "gzip"}):
                assert http.post(path, content=body, headers=headers).status_code in (200, 201, 204, 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["facets", "namespace", "name", "runId", "inputs", "outputs", "schema", "fields", "parent", "job", "run",
         "columnLineage", "inputFields", "field", "transformations", "tags", "ownership", "owners", "version",
         "datasetVersion", "symlinks", "identifiers", "lineage", "entries", "governance_open", "context", "facts",
         "nominalTime", "nominalStartTime", "_deleted", "governance_classifications", "columns", "airflowState",
         "tasksState", "lifecycleStateChange", "jobType", "processingType", "dataSource", "uri"]), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


MEMBERS = st.dictionaries(
    st.sampled_from(["eventTime", "eventType", "run", "job", "dataset", "inputs", "outputs", "producer"]),
    JSON,
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MEMBERS, min_size=1, max_size=8))
def test_any_shape_of_event_is_stored_and_every_read_goes_on(
    server: Server, events: list[dict[str, Any]]
) -> None:
    bodies = [json.dumps({"run": {"runId": "r"}} | members) for members in events]
    with server.client() as http:
        for body in bodies:
            assert http.post(LINEAGE, content=body).status_code in (201, 400), body
        for path in READS:
            answer = http.get(path)
            assert answer.status_code < 500, (path, bodies, answer.text)


READS = [
    "/api/v1/namespaces", "/api/v1/jobs", "/api/v1/search?q=a", "/api/v1/events/lineage", "/api/v1/tags",
    "/api/v1/jobs/runs/r", "/api/v1/audit/completeness", "/api/v1/audit/evidence", "/api/v1/stats/jobs",
]  # fmt: skip


@pytest.mark.parametrize("depth", [100, 500, 900, 980, 995, 1_100])
def test_deep_nesting_stops_nothing(server: Server, depth: int) -> None:
    with server.client() as http:
        for opened, closed in (("[", "]"), ('{"a":', "}")):
            facet = f'{{"x": {opened * depth}1{closed * depth}}}'
            body = f'{{"run": {{"runId": "deep{depth}", "facets": {facet}}}, "job": {{"namespace": "n", "name": "deep"}}}}'
            assert http.post(LINEAGE, content=body).status_code in (201, 400)
            for path in (
                *READS,
                f"/api/v1/jobs/runs/deep{depth}",
                f"/api/v1/jobs/runs/deep{depth}/facets?type=run",
            ):
                answer = http.get(path)
                assert answer.status_code < 500, (path, depth, answer.text)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/v1/lineage HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/lineage HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/lineage HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/v1/lineage HTTP/1.1\r\nAuthorization: \xff\xfe\x80\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET /%zz%/..//%2e%2e HTTP/1.1\r\nHost: \x80\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_junk_on_the_wire(server: Server, head: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as peer:
        try:
            peer.sendall(head)
            peer.shutdown(socket.SHUT_WR)
            answer = peer.recv(65_536)
        except ConnectionError:
            answer = b""
    assert answer[9:10] != b"5", answer
    with server.client() as http:
        assert http.get("/healthz").json() == {"status": "ok"}


def test_after_all_this_the_service_is_whole(server: Server) -> None:
    with server.client() as http:
        size = http.get("/api/v1/audit/log").json()["size"]
        assert http.get("/api/v1/audit/evidence").json()["as_of"] >= size
        assert http.post(LINEAGE, json=seed(99)).status_code == 201
        with httpx.Client(trust_env=False) as anybody:
            assert anybody.get(f"{server.url}/healthz").json() == {"status": "ok"}
