import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lineage_samples import MemoryLog
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from governance.errors import LogError, SettingError
from governance.lineage.outbox import Drained, Outbox, OutboxStatus, drain, outbox_status
from governance.lineage.transport import LogConfig, LogTransport, OutboxConfig, OutboxTransport
from governance.log import Log, open_storage

RUN = "01a20b6a-c323-7f68-b456-23cd917a82a4"


def run_event(name: str = "job", state: RunState = RunState.START) -> RunEvent:
    return RunEvent(
        eventType=state,
        eventTime="2026-11-24T10:00:00Z",
        run=Run(RUN),
        job=Job("ns", name),
        producer="https://example.org/p",
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    open_storage(str(tmp_path / "store"), create=True, origin="example.org/log").close()
    return tmp_path / "store"


@pytest.fixture
def stored(store: Path) -> Log:
    return Log(open_storage(str(store)), signer=None, clock=lambda: datetime(2026, 11, 24, tzinfo=UTC))


def names(log: Log | MemoryLog) -> list[str]:
    return [json.loads(e.body)["job"]["name"] for e in log.entries()]


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
    transport = LogTransport(LogConfig(store="", principal="ingest:test"), stored)
    assert [transport.emit(run_event(n)) for n in ("a", "b", "a")] == [0, 1, 0]


def test_a_missing_store_is_an_error(tmp_path: Path) -> None:
    transport = LogTransport(LogConfig(store=str(tmp_path / "none"), principal="ingest:test"))
    with pytest.raises(LogError, match="GOV-501"):
        transport.emit(run_event())


@pytest.mark.parametrize("name", ["store", "outbox"])
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(SettingError, match=f"has no {name}"):
        OutboxConfig.from_dict({k: "x" for k in ("store", "outbox") if k != name})


def test_configuration_cannot_claim_evidence() -> None:
    with pytest.raises(SettingError, match="evidence principal"):
        OutboxConfig.from_dict({"store": "s", "outbox": "o", "principal": "evidence:pipeline"})


def test_events_wait_while_the_log_is_down(tmp_path: Path) -> None:
    log = MemoryLog()
    transport = OutboxTransport(OutboxConfig(store="", outbox=str(tmp_path / "outbox")), log)
    log.broken = True
    assert transport.emit(run_event("a")) is None
    assert transport.emit(run_event("b")) is None
    assert not transport.close()
    assert outbox_status(tmp_path / "outbox").pending == 2
    log.broken = False
    assert transport.emit(run_event("c")) == 0
    assert names(log) == ["c", "a", "b"]
    assert {json.loads(e.leaf)["principal"] for e in log.entries()} == {"ingest:airflow"}
    assert outbox_status(tmp_path / "outbox") == OutboxStatus(0, 0, 0, 0)
    assert transport.close()


def test_configured_by_its_dictionary_alone(store: Path, stored: Log, tmp_path: Path) -> None:
    client = OpenLineageClient(
        config={
            "transport": {
                "type": "governance.lineage.transport.OutboxTransport",
                "store": str(store),
                "outbox": str(tmp_path / "outbox"),
            }
        }
    )
    client.emit(run_event())
    assert names(stored) == ["job"]
    store.rename(tmp_path / "moved")
    other = OutboxTransport(OutboxConfig(store=str(store), outbox=str(tmp_path / "outbox")))
    assert other.emit(run_event("late")) is None
    assert outbox_status(tmp_path / "outbox").pending == 1


def test_neither_log_nor_outbox_is_an_error(tmp_path: Path) -> None:
    log = MemoryLog(broken=True)
    (tmp_path / "file").write_text("in the way")
    transport = OutboxTransport(OutboxConfig(store="", outbox=str(tmp_path / "file")), log)
    with pytest.raises(LogError, match="neither log nor outbox"):
        transport.emit(run_event())


def kept(directory: Path, *names: str) -> Outbox:
    outbox = Outbox(directory)
    for name in names:
        outbox.keep(Serde.to_json(run_event(name)).encode(), "ingest:airflow")
    return outbox


def test_draining_is_idempotent(tmp_path: Path, stored: Log) -> None:
    kept(tmp_path, "a", "b")
    copy = (tmp_path / "events").read_bytes()
    assert drain(tmp_path, stored) == Drained(2, 0, 0)
    (tmp_path / "draining-000000").write_bytes(copy)
    assert drain(tmp_path, stored) == Drained(2, 0, 0)
    assert names(stored) == ["a", "b"]
    assert drain(tmp_path, stored) == Drained(0, 0, 0)


def test_a_drain_that_fails_keeps_everything(tmp_path: Path) -> None:
    outbox, log = kept(tmp_path, "a"), MemoryLog(broken=True)
    with pytest.raises(OSError, match="no space"):
        outbox.drain(log)
    kept(tmp_path, "b")
    log.broken = False
    assert outbox.drain(log) == Drained(2, 0, 0)
    assert names(log) == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 5, 40, 100])
def test_a_torn_record_is_detected_and_costs_no_other(tmp_path: Path, cut: int) -> None:
    kept(tmp_path, "a", "b")
    whole = (tmp_path / "events").read_bytes()
    (tmp_path / "events").write_bytes(whole[:-cut])
    kept(tmp_path, "c")
    torn = 0 if cut == 1 else 1
    status = outbox_status(tmp_path)
    assert (status.pending, status.torn) == (3 - torn, torn)
    log = MemoryLog()
    assert drain(tmp_path, log) == Drained(3 - torn, 0, torn)
    assert names(log)[-1] == "c"
    assert outbox_status(tmp_path).set_aside == torn


def test_a_flipped_byte_is_detected(tmp_path: Path) -> None:
    kept(tmp_path, "a")
    data = (tmp_path / "events").read_bytes()
    (tmp_path / "events").write_bytes(data.replace(b"START", b"ABORT"))
    assert outbox_status(tmp_path).torn == 1


def test_a_file_lends_nobody_an_evidence_principal(tmp_path: Path) -> None:
    Outbox(tmp_path).keep(b"{}", "evidence:pipeline")
    log = MemoryLog()
    assert drain(tmp_path, log) == Drained(0, 0, 1)
    assert log.size() == 0


def test_a_redacted_event_is_refused_and_forgotten(tmp_path: Path, stored: Log) -> None:
    kept(tmp_path, "a", "b")
    drain(tmp_path, stored)
    stored.redact(0, ground="personal data in a name", authoriser="rights:test")
    kept(tmp_path, "a", "c")
    assert drain(tmp_path, stored) == Drained(1, 1, 0)
    assert not (tmp_path / "events").exists()
    assert outbox_status(tmp_path) == OutboxStatus(0, 0, 0, 0)
    transport = OutboxTransport(OutboxConfig(store="", outbox=str(tmp_path)), stored)
    with pytest.raises(LogError, match="GOV-505"):
        transport.emit(run_event("a"))


def test_only_the_owner_reads_the_outbox(tmp_path: Path) -> None:
    kept(tmp_path / "outbox", "a")
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "outbox" / "events").stat().st_mode & 0o777 == 0o600


def test_writers_and_drainers_together_lose_nothing(tmp_path: Path) -> None:
    log, done = MemoryLog(), threading.Event()

    def write(writer: int) -> None:
        kept(tmp_path, *(f"{writer}-{n}" for n in range(40)))

    def move() -> None:
        while not done.is_set():
            Outbox(tmp_path).drain(log, wait=False)

    writers = [threading.Thread(target=write, args=(w,)) for w in range(4)]
    drainers = [threading.Thread(target=move) for _ in range(2)]
    for thread in (*drainers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in drainers:
        thread.join()
    Outbox(tmp_path).drain(log)
    assert sorted(names(log)) == sorted(f"{w}-{n}" for w in range(4) for n in range(40))


def test_what_a_killed_process_emitted_is_there(tmp_path: Path, store: Path, stored: Log) -> None:
    script = """
import sys
from governance.lineage.outbox import Outbox
from pathlib import Path
n = 0
while True:
    Outbox(Path(sys.argv[1])).keep(b'{"job":{"name":"%d"}}' % n, "ingest:airflow")
    print(n, flush=True)
    n += 1
"""
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "outbox")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split()]
    child.wait()
    child.stdout.close()
    drained = drain(tmp_path / "outbox", stored)
    assert drained.sent >= len(acknowledged)
    assert set(map(str, acknowledged)) <= set(names(stored))


def test_a_forked_process_opens_its_own_log(store: Path, stored: Log, tmp_path: Path) -> None:
    transport = OutboxTransport(OutboxConfig(store=str(store), outbox=str(tmp_path / "outbox")))
    transport.emit(run_event("parent"))
    child = os.fork()
    if child == 0:
        try:
            transport.emit(run_event("child"))
        finally:
            os._exit(0)
    deadline = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    transport.emit(run_event("parent again"))
    assert names(stored) == ["parent", "child", "parent again"]
