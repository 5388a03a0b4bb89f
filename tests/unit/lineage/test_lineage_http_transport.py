"""The service as a destination, against a real consumer that misbehaves when told to."""

import json
import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from emission_samples import Answer, Consumer, consumer, eventually, run_event
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import RunState
from openlineage.client.facet_v2 import job_type_job, nominal_time_run
from openlineage.client.serde import Serde

from governance.errors import SettingError
from governance.lineage.emission import drainer as drainer_module
from governance.lineage.emission.destination import REDACTED, Refusal, Unavailable
from governance.lineage.emission.framing import Event
from governance.lineage.emission.http_transport import BATCH, SINGLE, Service, ServiceDestination
from governance.lineage.emission.outbox import Outbox
from governance.lineage.transport import read_token

OUTBOX = "governance.lineage.transport.OutboxTransport"


@pytest.fixture
def service() -> Iterator[Consumer]:
    with consumer() as made:
        yield made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drainer_module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(drainer_module, "LONGEST_DELAY", 0.02)


def events(*names: str) -> list[Event]:
    return [Event(Serde.to_json(run_event(n)).encode(), "ingest:test") for n in names]


def destination(url: str, *, timeout: float = 30.0, compress: bool = False) -> ServiceDestination:
    return ServiceDestination(
        Service(url, lambda: "Bearer sesame", connect_timeout=3, read_timeout=timeout, compress=compress)
    )


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("names", [("a",), ("a", "b", "c")])
def test_one_goes_alone_and_several_as_a_batch(
    service: Consumer, names: tuple[str, ...], compress: bool
) -> None:
    sent = destination(service.url + "/", compress=compress).send(events(*names))
    assert (sent.refused, sent.again) == ([], [])
    assert service.names() == list(names)
    [(path, headers)] = service.requests
    assert path == (BATCH if len(names) > 1 else SINGLE)
    assert headers["Authorization"] == "Bearer sesame"
    assert headers["Content-Type"] == "application/json"
    assert headers.get("Content-Encoding") == ("gzip" if compress else None)


def test_bytes_arrive_as_they_were_kept(service: Consumer) -> None:
    odd = Event(b'{"job" : {"name":"a"},\n "x":1.0}', "ingest:test")
    destination(service.url).send([odd])
    assert service.taken == [odd.body]


@pytest.mark.parametrize("base", ["/base/path", "/base/path/"])
def test_a_path_in_the_url_is_kept(service: Consumer, base: str) -> None:
    destination(service.url + base).send(events("a"))
    assert service.paths() == ["/base/path" + SINGLE]


def test_a_service_without_batches_gets_single_events(service: Consumer) -> None:
    service.batches = False
    mine = destination(service.url)
    mine.send(events("a", "b"))
    mine.send(events("c", "d"))
    assert service.names() == ["a", "b", "c", "d"]
    assert service.paths() == [BATCH, *[SINGLE] * 4]


def test_a_refused_event_of_a_batch_is_named(service: Consumer) -> None:
    service.refuse = lambda b: 400 if b'"bad"' in b else None
    sent = destination(service.url).send(events("a", "bad", "b"))
    assert sent.refused == [Refusal(1, "refused", "refused")]
    assert service.names() == ["a", "b"]


@pytest.mark.parametrize("status", [400, 409, 413, 422, 500])
def test_a_batch_refused_whole_goes_alone(service: Consumer, status: int) -> None:
    service.script = [status]
    service.refuse = lambda b: 422 if b'"bad"' in b else None
    sent = destination(service.url).send(events("a", "bad", "b"))
    assert sent.refused == [Refusal(1, "HTTP 422", "refused alone")]
    assert service.names() == ["a", "b"]


@pytest.mark.parametrize("status", [403, 500])
def test_a_failure_of_one_event_alone_is_its_own(service: Consumer, status: int) -> None:
    service.refuse = lambda b: status if b'"stuck"' in b else None
    service.batches = False
    sent = destination(service.url).send(events("stuck", "a", "b"))
    assert (sent.refused, sent.again) == ([], [0])
    assert service.names() == ["a", "b"]


def test_what_a_batch_calls_worth_another_try_gets_one(service: Consumer) -> None:
    seen: list[bytes] = []

    def refuse(body: bytes) -> int | None:
        if b'"late"' not in body:
            return None
        seen.append(body)
        return 503 if len(seen) == 1 else None

    service.refuse = refuse
    sent = destination(service.url).send(events("a", "late"))
    assert (sent.refused, sent.again) == ([], [])
    assert sorted(service.names()) == ["a", "late"]


def test_a_redacted_event_is_recognised(service: Consumer) -> None:
    service.script = [(409, {}, json.dumps({"error": {"code": "GOV-505"}}).encode())]
    [refusal] = destination(service.url).send(events("a")).refused
    assert refusal.code == REDACTED


HTML = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>sign in</html>")


@pytest.mark.parametrize(
    "answer", [301, 401, 403, 404, 429, 500, 502, 503, 504, "hang", "reset", "garbage", "drip", HTML]
)
@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_no_answer_of_a_service_acknowledges_nothing(
    service: Consumer, answer: int | str | Answer, names: tuple[str, ...]
) -> None:
    service.default = answer
    with pytest.raises(Unavailable, match="GOV-527"):
        destination(service.url, timeout=0.2).send(events(*names))
    assert service.taken == []


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(Unavailable, match=r"GOV-527 .*ConnectionError"):
            destination(f"http://127.0.0.1:{port}").send(events("a"))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"not json",
        b'{"status":"success","summary":{"received":1,"successful":1,"failed":0}}',
        b'{"status":"partial_success","summary":{"received":2,"successful":1,"failed":1}}',
        b'{"summary":{"received":2,"failed":1},"failed_events":[{"index":7,"retriable":false}]}',
        b'{"summary":{"received":2,"failed":2},"failed_events":[{"index":0},{"index":0}]}',
    ],
)  # fmt: skip
def test_a_batch_answer_that_does_not_account_for_all_is_not_believed(service: Consumer, body: bytes) -> None:
    service.script = [(200, {"Content-Type": "application/json"}, body)]
    destination(service.url).send(events("a", "b"))
    assert service.names() == ["a", "b"]
    assert service.paths() == [BATCH, SINGLE, SINGLE]


def test_retry_after_is_understood(service: Consumer) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    for said, least, most in (("7", 7, 7), (later, 90, 100), ("soon", None, None)):
        service.script = [(503, {"Retry-After": said}, b"")]
        with pytest.raises(Unavailable) as caught:
            destination(service.url).send(events("a"))
        after = caught.value.retry_after
        assert after is None if least is None else least <= (after or 0) <= (most or 0)


def test_the_thread_waits_as_long_as_it_is_told(service: Consumer, tmp_path: Path) -> None:
    service.script = [(503, {"Retry-After": "120"}, b"")]
    client = configured(service, tmp_path)
    client.emit(run_event("a"))
    eventually(lambda: len(service.requests) == 1)
    client.emit(run_event("b"))
    drainer = client.transport._drainer
    eventually(lambda: drainer._not_before > 0)
    assert len(service.requests) == 1
    assert client.close(30)
    assert service.names() == ["a", "b"]


def configured(service: Consumer, tmp_path: Path, **settings: object) -> OpenLineageClient:
    transport = {"type": OUTBOX, "url": service.url, "outbox": str(tmp_path / "outbox"), **settings}
    return OpenLineageClient(config={"transport": transport})


@pytest.mark.parametrize("mode", ["outbox", "send-first"])
def test_the_client_and_its_facets_arrive_unchanged(service: Consumer, tmp_path: Path, mode: str) -> None:
    client = configured(service, tmp_path, mode=mode)
    event = run_event("a", RunState.COMPLETE)
    event.run.facets = {"nominalTime": nominal_time_run.NominalTimeRunFacet("2026-11-24T00:00:00Z")}
    event.job.facets = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "SPARK", jobType="JOB")}
    client.emit(event)
    assert client.close(30)
    assert service.taken == [Serde.to_json(event).encode()]


def test_a_service_that_comes_back_gets_everything_once(service: Consumer, tmp_path: Path) -> None:
    service.script = [503, 502, "reset", "garbage", 500]
    client = configured(service, tmp_path, timeout=1)
    for n in range(20):
        client.emit(run_event(str(n)))
    eventually(lambda: len(service.taken) == 20)
    assert client.close(30)
    assert sorted(service.names(), key=int) == [str(n) for n in range(20)]


def test_a_refused_event_is_counted_and_blocks_no_other(
    service: Consumer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse = lambda b: 400 if b'"bad"' in b else None
    client = configured(service, tmp_path)
    with caplog.at_level(logging.WARNING, "governance.lineage"):
        for name in ("a", "bad", "b"):
            client.emit(run_event(name))
        assert client.close(30)
    assert sorted(service.names()) == ["a", "b"]
    status = Outbox(tmp_path / "outbox").status()
    assert (status.waiting, sum(status.dead_letters.values())) == (0, 1)
    assert "1 events were refused" in caplog.text
    assert "refused alone" not in caplog.text


def test_a_new_token_is_taken_up(service: Consumer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    client = configured(service, tmp_path, token_file=str(file))
    client.emit(run_event("a"))
    eventually(lambda: len(service.taken) == 1)
    file.write_text("second")
    client.emit(run_event("b"))
    assert client.close(30)
    assert [h["Authorization"] for _, h in service.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("text", [None, "", "two words"])
def test_a_token_file_without_a_token_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(SettingError, match=r"GOV-901 .*token_file"):
        read_token(str(tmp_path / "token"))


def test_the_clients_own_way_to_name_a_token_works(service: Consumer, tmp_path: Path) -> None:
    client = configured(service, tmp_path, auth={"type": "api_key", "apiKey": "sesame"})
    client.emit(run_event("a"))
    assert client.close(30)
    assert [h["Authorization"] for _, h in service.requests] == ["Bearer sesame"]
