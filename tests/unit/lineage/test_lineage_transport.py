"""The transports behind the real client: kept, sent, sent first, drained behind, closed in time."""

import json
import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from emission_samples import RUN, eventually, run_event
from lineage_samples import MemoryLog
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import RunState

from governance.errors import LogError, SettingError
from governance.lineage.emission import drainer as drainer_module
from governance.lineage.emission.outbox import Outbox
from governance.lineage.transport import LogConfig, LogTransport, OutboxConfig, OutboxTransport
from governance.log import Log, open_storage

OUTBOX = "governance.lineage.transport.OutboxTransport"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    open_storage(str(tmp_path / "store"), create=True, origin="example.org/log").close()
    return tmp_path / "store"


@pytest.fixture
def stored(store: Path) -> Log:
    return Log(open_storage(str(store)), signer=None, clock=lambda: datetime(2026, 11, 24, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drainer_module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(drainer_module, "LONGEST_DELAY", 0.02)


class HangingLog(MemoryLog):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.entered = threading.Event(), threading.Event()

    def append(self, entries):  # type: ignore[no-untyped-def]
        self.entered.set()
        self.gate.wait(60)
        return super().append(entries)


def names(log: Log | MemoryLog) -> list[str]:
    return [json.loads(e.body)["job"]["name"] for e in log.entries()]


def transport(directory: Path, log: MemoryLog | None, **settings: object) -> OutboxTransport:
    config = OutboxConfig.from_dict({"store": "unused", "outbox": str(directory / "outbox"), **settings})
    return OutboxTransport(config, log)


def test_the_client_sends_through_the_configured_log(store: Path, stored: Log) -> None:
    client = OpenLineageClient(
        config={
            "transport": {
                "type": "governance.lineage.transport.LogTransport",
                "store": str(store),
                "principal": "ingest:test",
            }
        }
    )
    client.emit(run_event())
    [entry] = stored.entries()
    assert entry.envelope.principal == "ingest:test"
    assert entry.envelope.media_type == "application/vnd.openlineage.event+json"
    assert json.loads(entry.body)["run"]["runId"] == RUN


def test_emit_returns_the_index_and_knows_duplicates(stored: Log) -> None:
    direct = LogTransport(LogConfig(store="", principal="ingest:test"), stored)
    assert [direct.emit(run_event(n)) for n in ("a", "b", "a")] == [0, 1, 0]


def test_a_missing_store_is_an_error(tmp_path: Path) -> None:
    direct = LogTransport(LogConfig(store=str(tmp_path / "none"), principal="ingest:test"))
    with pytest.raises(LogError, match="GOV-501"):
        direct.emit(run_event())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"store": "s"}, "has no outbox"),
        ({"outbox": "o"}, "has no store or url"),
        ({"outbox": "o", "store": "s", "url": "http://h"}, "or has both"),
        ({"outbox": "o", "store": ""}, "has no store"),
        ({"outbox": "o", "store": "s", "principal": "evidence:pipeline"}, "evidence principal"),
        ({"outbox": "o", "store": "s", "principal": "airflow"}, "evidence principal or none"),
        ({"outbox": "o", "store": "s", "mode": "later"}, "unknown mode"),
        ({"outbox": "o", "store": "s", "tokn_file": "t"}, "does not know tokn_file"),
        ({"outbox": "o", "store": "s", "timeout": "soon"}, "timeout that is no positive number"),
        ({"outbox": "o", "store": "s", "compression": "zip"}, "unknown compression"),
        ({"outbox": "o", "url": "ftp://h"}, "url that is none"),
        ({"outbox": "o", "url": "https://u:p@h"}, "secret or query"),
        ({"outbox": "o", "url": "https://h", "verify": False}, "not to verify"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=f"GOV-901.*{said}"):
        OutboxConfig.from_dict(settings)


def test_no_token_shows_in_the_configuration() -> None:
    config = OutboxConfig.from_dict({"outbox": "o", "url": "https://h", "api_key": "sesame"})
    assert "sesame" not in repr(config) + str(config)
    assert config.auth == {"type": "api_key", "apiKey": "sesame"}


@pytest.mark.parametrize("mode", [{}, {"mode": "send-first"}, {"send_first": True}])
def test_configured_by_its_dictionary_alone(
    store: Path, stored: Log, tmp_path: Path, mode: dict[str, object]
) -> None:
    settings = {"type": OUTBOX, "store": str(store), "outbox": str(tmp_path / "outbox"), **mode}
    client = OpenLineageClient(config={"transport": settings})
    client.emit(run_event("a"))
    client.emit(run_event("b", RunState.COMPLETE))
    assert client.close()
    assert names(stored) == ["a", "b"]
    assert {e.envelope.principal for e in stored.entries()} == {"ingest:airflow"}
    assert Outbox(tmp_path / "outbox").status().size == 0


def test_it_is_configured_by_the_clients_own_variables(
    store: Path, stored: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TYPE": OUTBOX, "STORE": str(store), "OUTBOX": str(tmp_path / "o"), "EXIT_TIMEOUT": "20",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    client = OpenLineageClient()
    client.emit(run_event())
    assert client.close()
    assert names(stored) == ["job"]


def test_events_wait_while_the_log_is_down_and_go_when_it_is_back(tmp_path: Path) -> None:
    log = MemoryLog(broken=True)
    mine = transport(tmp_path, log)
    for name in "abc":
        mine.emit(run_event(name))
    assert not mine.close(10)
    assert Outbox(tmp_path / "outbox").status().waiting == 3
    log.broken = False
    mine.emit(run_event("d"))
    eventually(lambda: len(names(log)) == 4)
    assert names(log) == ["a", "b", "c", "d"]
    assert mine.close()


def test_it_recovers_without_another_event(tmp_path: Path) -> None:
    log = MemoryLog(broken=True)
    mine = transport(tmp_path, log)
    mine.emit(run_event("a"))
    log.broken = False
    eventually(lambda: names(log) == ["a"])
    assert mine.close()


def test_a_hanging_log_blocks_no_emit_and_no_close(tmp_path: Path) -> None:
    log = HangingLog()
    mine = transport(tmp_path, log)
    mine.emit(run_event("a"))
    assert log.entered.wait(30)
    for n in range(50):
        mine.emit(run_event(str(n)))
    assert not mine.close(0.05)
    assert Outbox(tmp_path / "outbox").status().waiting == 51
    log.gate.set()
    mine.emit(run_event("z"))
    eventually(lambda: len(names(log)) == 52)
    assert mine.close()


def test_sent_first_an_event_never_touches_the_disk(tmp_path: Path) -> None:
    log = MemoryLog()
    mine = transport(tmp_path, log, mode="send-first")
    mine.emit(run_event("a"))
    assert names(log) == ["a"]
    assert not (tmp_path / "outbox").exists()
    assert mine.close()


def test_sent_first_and_hanging_waits_once(tmp_path: Path) -> None:
    log = HangingLog()
    mine = transport(tmp_path, log, mode="send-first", send_timeout=0.1)
    begun = time.monotonic()
    for n in range(100):
        mine.emit(run_event(str(n)))
    waited = time.monotonic() - begun
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.status().waiting == 100
    # Not a measurement: had each emit waited, it would have taken a hundred timeouts.
    assert waited < 100 * 0.1
    log.gate.set()
    eventually(lambda: len(set(names(log))) == 100)
    assert mine.close()
    assert sorted(names(log), key=int) == [str(n) for n in range(100)]


def test_another_process_knows_that_the_log_is_down(tmp_path: Path) -> None:
    broken, log = MemoryLog(broken=True), HangingLog()
    first = transport(tmp_path, broken, mode="send-first")
    first.emit(run_event("a"))
    Outbox(tmp_path / "outbox").note_unreachable(60)
    second = transport(tmp_path, log, mode="send-first", send_timeout=60)
    second.emit(run_event("b"))
    assert Outbox(tmp_path / "outbox").status().waiting == 2
    log.gate.set()
    assert second.close()
    assert names(log) == ["b"]
    assert not first.close(0.05)


def test_leaving_a_pod_it_goes_on_trying_until_its_time_is_up(tmp_path: Path) -> None:
    log = MemoryLog(broken=True)
    mine = transport(tmp_path, log, mode="send-first", exit_timeout=60)
    mine.emit(run_event("a"))
    threading.Timer(0.2, lambda: setattr(log, "broken", False)).start()
    assert mine.close()
    assert names(log) == ["a"]


def test_neither_outbox_nor_log_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("in the way")
    for mode in ("outbox", "send-first"):
        log = MemoryLog(broken=True)
        mine = transport(tmp_path, log, mode=mode)
        with pytest.raises(LogError, match=r"GOV-501 .*could not be kept"):
            mine.emit(run_event())
        mine.close(0.05)


def test_what_the_outbox_cannot_take_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = MemoryLog()
    mine = transport(tmp_path, log, max_bytes=1)
    with caplog.at_level(logging.WARNING, "governance.lineage"):
        mine.emit(run_event("a"))
    assert names(log) == ["a"]
    assert "sent instead" in caplog.text
    log.broken = True
    with pytest.raises(LogError, match="GOV-526"):
        mine.emit(run_event("b"))
    mine.close(0.05)


def test_a_redacted_event_is_refused_and_forgotten(tmp_path: Path, store: Path, stored: Log) -> None:
    settings = {"store": str(store), "outbox": str(tmp_path / "outbox")}
    for mode in ("outbox", "send-first"):
        mine = OutboxTransport(OutboxConfig.from_dict({**settings, "mode": mode}))
        mine.emit(run_event("a"))
        assert mine.close()
        stored.redact(0, ground="personal data in a name", authoriser="admin:test")
    mine = OutboxTransport(OutboxConfig.from_dict({**settings, "mode": "send-first"}))
    mine.emit(run_event("a"))
    mine.emit(run_event("b"))
    assert mine.close()
    status = Outbox(tmp_path / "outbox").status()
    assert (status.waiting, status.dead_letters) == (0, {"GOV-505": 2})
    assert next(e.body is None for e in stored.entries())
    assert json.loads(list(stored.entries())[-1].body or b"")["job"]["name"] == "b"


@pytest.mark.parametrize("mode", ["outbox", "send-first"])
def test_a_forked_process_has_its_own_log_file_and_thread(
    store: Path, stored: Log, tmp_path: Path, mode: str
) -> None:
    settings = {"store": str(store), "outbox": str(tmp_path / "outbox"), "mode": mode}
    mine = OutboxTransport(OutboxConfig.from_dict(settings))
    mine.emit(run_event("parent"))
    eventually(lambda: stored.size() == 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            mine.emit(run_event("child"))
            code = 0 if mine.close(60) else 2
        finally:
            os._exit(code)
    end = time.monotonic() + 90
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    assert ended[1] == 0
    mine.emit(run_event("parent again"))
    assert mine.close()
    assert names(stored) == ["parent", "child", "parent again"]
