"""What ingest takes, keeps byte for byte, and refuses with its reason."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.errors import LogError
from governance.lineage.reading import read_event
from governance.log import NewEntry
from governance.server.app import build_app
from governance.server.ingest.ingest import outline
from governance.server.ingest.request_body import BodyReader
from governance.server.served import ServedStore

ONE, BATCH = "/api/v1/lineage", "/api/v1/lineage/batch"


def event(number: int = 0, **members: Any) -> dict[str, Any]:
    return {
        "eventType": "START",
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": f"0198c0de-0000-7000-8000-{number:012}"},
        "job": {"namespace": "shop", "name": "load"},
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    } | members


def bodies(served: ServedStore, since: int) -> list[bytes | None]:
    return [entry.body for entry in served.log.entries(since)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'"x"', "not an object"),
        (b"{}", "neither a run nor a job nor a dataset"),
        (b'{"run": 1, "job": []}', "neither a run nor a job nor a dataset"),
        (b'{"run": {"x": "\xff"}}', "not UTF-8"),
        (b'{"run": {"x": "\\ud800"}}', "surrogate"),
        (b'{"run": {"x": NaN}}', "not JSON"),
        (b'{"run": {}} trailing', "not JSON"),
        (b"\xef\xbb\xbf" + b'{"run": {}}', "byte order mark"),
        ('{"run": {}}'.encode("utf-16"), "byte order mark"),
        (b'{"run": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
    ],
)
def test_what_cannot_be_parsed_gets_400_with_the_reason(
    client: TestClient, served: ServedStore, body: bytes, reason: str
) -> None:
    size = served.log.size()
    answer = client.post(ONE, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GOV-508")
    assert reason in answer.json()["error"]["message"]
    assert served.log.size() == size


@pytest.mark.parametrize("depth", [10, 200, 900, 990, 2_000])
def test_no_nesting_stops_the_index(client: TestClient, served: ServedStore, depth: int) -> None:
    body = b'{"run": {"runId": "r", "facets": {"x": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}}}"
    assert client.post(ONE, content=body).status_code in (201, 400)
    assert client.post(ONE, json=event()).status_code == 201
    assert served.fresh().size == served.log.size()


def test_a_number_beyond_python_is_stored_and_flagged(client: TestClient, served: ServedStore) -> None:
    assert client.post(ONE, content=b'{"run": {"runId": "r", "x": %s}}' % (b"9" * 5_000)).status_code == 201
    index = served.log.size() - 1
    [row] = served.fresh().query("SELECT fault FROM entries WHERE log_index = $i", {"i": index})
    assert "cannot be parsed" in row["fault"]
    finding = client.get(f"/api/v1/audit/conformance/entries/{index}").json()["finding"]
    assert finding["faults"] == ["$: cannot be parsed"]


def test_bytes_are_kept_as_they_came(client: TestClient, served: ServedStore) -> None:
    since = served.log.size()
    odd = b' {"run" : {"runId":"not a uuid","n":1.0e2},\t"job":{},"\\u0061":"\xc3\xa9"}\n'
    assert client.post(ONE, content=odd).status_code == 201
    other = b'{"job":{"namespace":"n", "name":"j"}}'
    assert client.post(BATCH, content=b"[ " + odd + b" ,\n" + other + b"]").status_code == 204
    assert bodies(served, since) == [odd, odd.strip(), other]


def test_an_answer_is_empty(client: TestClient) -> None:
    answer = client.post(ONE, json=event())
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (201, b"", "0")


def test_the_same_event_twice_is_one_entry(client: TestClient, served: ServedStore) -> None:
    assert client.post(ONE, json=event()).status_code == 201
    size = served.log.size()
    assert client.post(ONE, json=event()).status_code == 201
    assert client.post(
        BATCH, content=b"[" + bytes(client.post(ONE, json=event()).request.content) + b"]"
    ).is_success
    assert served.log.size() == size


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP "])
def test_gzip_is_unpacked(client: TestClient, served: ServedStore, encoding: str) -> None:
    body = json.dumps(event()).encode()
    packed = gzip.compress(body[:40]) + gzip.compress(body[40:])
    assert client.post(ONE, content=packed, headers={"content-encoding": encoding}).status_code == 201
    assert served.log.entry(served.log.size() - 1).body == body


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"no gzip", "gzip", 400, "GOV-613"),
        (gzip.compress(b"{}" * 999, mtime=0)[:-9], "gzip", 400, "GOV-613"),
        (gzip.compress(b"{}", mtime=0) + b"garbage", "gzip", 400, "GOV-613"),
        (b"", "gzip", 400, "GOV-613"),
        (b"{}", "br", 415, "GOV-615"),
        (b"{}", "gzip, gzip", 415, "GOV-615"),
    ],
)
def test_a_damaged_encoding_is_refused(
    client: TestClient, body: bytes, encoding: str, status: int, code: str
) -> None:
    answer = client.post(ONE, content=body, headers={"content-encoding": encoding})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_sizes_are_bounded_before_and_after_unpacking(served: ServedStore, token: Callable[..., str]) -> None:
    app = build_app(served, reader=BodyReader(largest=100_000))
    with TestClient(app) as client:
        client.headers["authorization"] = f"Bearer {token('ingest')}"
        for content, headers in (
            (b" " * 100_001, {}),
            (gzip.compress(b" " * (64 << 20)), {"content-encoding": "gzip"}),
            (iter([b" " * 60_000] * 3), {}),
        ):
            answer = client.post(ONE, content=content, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "GOV-614")
        at_the_limit = json.dumps(event()).encode().ljust(100_000)
        assert client.post(ONE, content=at_the_limit).status_code == 201


def test_an_event_of_32_megabytes_is_taken(client: TestClient, served: ServedStore) -> None:
    body = json.dumps(event(job={"namespace": "n", "name": "j", "plan": "x" * (32 << 20)})).encode()
    assert client.post(ONE, content=gzip.compress(body, 1), headers={"content-encoding": "gzip"}).is_success
    assert served.log.entry(served.log.size() - 1).body == body


def test_too_many_large_bodies_at_once_are_an_overload() -> None:
    reader = BodyReader(together=1_000)
    half: dict[str, Any] = {"type": "http.request", "body": b" " * 600, "more_body": True}

    async def two_at_once() -> list[Any]:
        gate = asyncio.Event()

        async def slow() -> dict[str, Any]:
            await gate.wait()
            return half | {"more_body": False}

        def client(*first: dict[str, Any]) -> Any:
            messages = iter(first)

            async def receive() -> dict[str, Any]:
                return next(messages, None) or await slow()

            return reader.read([], receive)

        first = asyncio.ensure_future(client(half))
        await asyncio.sleep(0)
        second = await asyncio.gather(client(half), return_exceptions=True)
        gate.set()
        return [*second, *await asyncio.gather(first, return_exceptions=True)]

    refused, also_refused = asyncio.run(two_at_once())
    assert (refused.code, also_refused.code) == ("GOV-510", "GOV-510")
    assert asyncio.run(reader.read([], lambda: asyncio.sleep(0, half | {"more_body": False}))) == b" " * 600


def test_a_client_that_goes_away_leaves_nothing(served: ServedStore, token: Callable[..., str]) -> None:
    app = build_app(served)
    sent: list[Any] = []
    messages = iter(
        [{"type": "http.request", "body": b'{"run":', "more_body": True}, {"type": "http.disconnect"}]
    )
    scope = {
        "type": "http", "method": "POST", "path": ONE, "headers": [(b"authorization", f"Bearer {token('ingest')}".encode())],
    }  # fmt: skip

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    size = served.log.size()
    asyncio.run(app(scope, receive, send))
    assert (sent, served.log.size()) == ([], size)
    served.close()


def test_an_overloaded_log_answers_503_with_retry_after(
    client: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_entries: list[NewEntry], **_: bool) -> None:
        raise LogError("GOV-510", "full", "later")

    monkeypatch.setattr(served.group, "submit", full)
    for path, body in ((ONE, event()), (BATCH, [event()])):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_batch_names_what_it_could_not_take(client: TestClient, served: ServedStore) -> None:
    since = served.log.size()
    good = [json.dumps(event(n)).encode() for n in range(2)]
    answer = client.post(BATCH, content=b"[" + good[0] + b",1," + good[1] + b',{"x":"\xff"},{}]')
    assert answer.status_code == 200
    document = answer.json()
    assert document["status"] == "partial_success"
    assert document["summary"] == {
        "received": 5, "successful": 2, "failed": 3, "retriable": 0, "non_retriable": 3,
    }  # fmt: skip
    assert [(f["index"], f["retriable"]) for f in document["failed_events"]] == [
        (1, False),
        (3, False),
        (4, False),
    ]
    assert "not UTF-8" in document["failed_events"][1]["reason"]
    assert bodies(served, since) == good


def test_a_redacted_event_fails_alone_in_a_batch(client: TestClient, served: ServedStore) -> None:
    events = [json.dumps(event(n)).encode() for n in range(3)]
    client.post(ONE, content=events[1])
    served.log.redact(served.log.size() - 1, "GDPR Art. 17(1)(b)", "admin:test")
    assert client.post(ONE, content=events[1]).status_code == 409
    since = served.log.size()
    answer = client.post(BATCH, content=b"[" + b",".join(events) + b"]")
    assert [f["index"] for f in answer.json()["failed_events"]] == [1]
    assert "GOV-505" in answer.json()["failed_events"][0]["reason"]
    assert bodies(served, since) == [events[0], events[2]]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[{}", b"[]x", b"null"])
def test_what_is_no_array_is_no_batch(client: TestClient, body: bytes) -> None:
    answer = client.post(BATCH, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GOV-508")


def test_an_empty_batch_is_durable_at_once(client: TestClient) -> None:
    assert client.post(BATCH, content=b" [ ] ").status_code == 204


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["run", "job", "dataset", "x", "é", "\x00"]), JSON, max_size=4),
    st.integers(0, 400),
    st.binary(max_size=2),
    st.booleans(),
)
def test_the_outline_takes_what_the_index_can_read(
    members: dict[str, Any], at: int, noise: bytes, ascii_only: bool
) -> None:
    body = json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    body = body[:at] + noise + body[at:]

    def taken(read: Callable[[bytes], Any]) -> bool:
        try:
            read(body)
        except LogError as fault:
            assert fault.code == "GOV-508"
            return False
        return True

    assert taken(outline) == taken(read_event), body
