"""Asking witnesses over HTTP: real witnesses, and servers that fail in the ways servers do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest
from test_log_witness import LOG, NAME, ORIGIN, STRANGER, WITNESS, Key

from governance.log import (
    Checkpoint,
    CheckpointSigner,
    Log,
    NewEntry,
    open_storage,
    read_checkpoint,
    verify_log,
)
from governance.log.note import VerifierKey, add_signatures
from governance.log.witnesses.client import Outcome, WitnessClient, keep
from governance.log.witnesses.cosignature import WitnessKey, cosign, cosignatures
from governance.log.witnesses.post import Unreachable, post
from governance.log.witnesses.server import WitnessServer
from governance.log.witnesses.trust import Trust, WitnessAt
from governance.log.witnesses.witness import Witness

PINNED = WitnessKey.of(NAME, WITNESS.public_key)
VKEY = str(VerifierKey.of(ORIGIN, LOG.public_key))


@contextmanager
def served(memory: Path, key: Key = WITNESS, name: str = NAME) -> Iterator[WitnessServer]:
    witness = Witness(key, name, [VerifierKey.parse(VKEY)], memory, time.time)
    server = WitnessServer(witness, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does what it likes with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                answer(connection)
            except OSError:
                pass
            finally:
                connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answering(status: int, body: bytes, kind: str = "text/plain") -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return answer


def asked(url: str, *, needed: int = 1, timeout: float = 5, key: WitnessKey = PINNED) -> Trust:
    return Trust((WitnessAt(key, url),), needed, timeout)


class Store:
    """A log with as many entries as asked for, opened with or without witnesses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = open_storage(str(path / "store"), create=True, origin=ORIGIN)
        self.signer = CheckpointSigner(LOG, ORIGIN, path / "memory")
        self.log = Log(self.storage, signer=self.signer, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def grow(self, entries: int, text: str = "event") -> Checkpoint:
        size = self.log.size()
        self.log.append(
            [NewEntry(f"{text} {size + n}".encode(), "text/plain", "ingest:x") for n in range(entries)]
        )
        return self.log.checkpoint()

    def witnessed(self, trust: Trust) -> Log:
        client = WitnessClient(trust)
        return Log(
            self.storage,
            signer=self.signer,
            clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            witnesses=client.cosigned,
        )

    def verdict(self, needed: int = 1) -> str:
        return verify_log(self.storage, VKEY, trust=Trust((WitnessAt(PINNED),), needed)).verdict


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.log.close()


def test_each_checkpoint_is_cosigned_and_kept(store: Store, tmp_path: Path) -> None:
    with served(tmp_path / "witness") as server:
        log = store.witnessed(asked(server.url))
        for size in (1, 2, 5, 9):
            store.log.append([NewEntry(b"%d %d" % (size, n), "text/plain", "ingest:x") for n in range(size)])
            checkpoint = log.checkpoint()
            assert [c.witness for c in cosignatures(checkpoint.note, [PINNED])] == [PINNED]
            assert store.storage.latest_checkpoint() == checkpoint.note
            assert log.checkpoint().note == checkpoint.note
        last = server.witness.last(ORIGIN)
        assert last is not None and last.size == 17
    report = verify_log(store.storage, VKEY, trust=Trust((WitnessAt(PINNED),), 1))
    assert report.verdict == "verified, witnessed by witness.example/w1 up to entry 17"
    assert not any("self-attested" in line for line in report.unknown)
    witnessed = report.to_json()["witnessed"]
    assert (witnessed["size"], [w["key"] for w in witnessed["by"]]) == (17, [str(PINNED)])


def test_without_a_pinned_witness_it_is_self_attested(store: Store, tmp_path: Path) -> None:
    with served(tmp_path / "witness") as server:
        store.witnessed(asked(server.url)).checkpoint()
        store.grow(3)
        store.witnessed(asked(server.url)).checkpoint()
    assert verify_log(store.storage, VKEY).verdict == "verified, self-attested"
    stranger = Trust((WitnessAt(WitnessKey.of("other.example", STRANGER.public_key)),), 1)
    assert verify_log(store.storage, VKEY, trust=stranger).verdict == "verified, self-attested"


def test_a_verdict_says_what_no_witness_saw(store: Store, tmp_path: Path) -> None:
    store.grow(4)
    with served(tmp_path / "witness") as server:
        store.witnessed(asked(server.url)).checkpoint()
    store.grow(3)
    report = verify_log(store.storage, VKEY, trust=Trust((WitnessAt(PINNED),), 1))
    assert report.verdict.endswith("up to entry 4")
    assert "the newest 3 entries: no outside witness or timestamp vouches for them yet" in report.unknown


def test_n_of_m_witnesses(store: Store, tmp_path: Path) -> None:
    keys = [Key(bytes([40 + n]) * 32) for n in range(3)]
    pins = [WitnessKey.of(f"w{n}.example", key.public_key) for n, key in enumerate(keys)]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(served(tmp_path / f"w{n}", key, f"w{n}.example"))
            for n, key in enumerate(keys[:2])
        ]
        urls = [*(server.url for server in servers), "http://127.0.0.1:1"]
        trust = Trust(tuple(WitnessAt(pin, url) for pin, url in zip(pins, urls, strict=True)), 2)
        store.grow(4)
        checkpoint, answers = WitnessClient(trust).submit(store.storage, store.log.checkpoint())
    assert [a.outcome for a in answers] == [Outcome.COSIGNED, Outcome.COSIGNED, Outcome.UNREACHABLE]
    assert len(cosignatures(checkpoint.note, pins)) == 2
    for needed, expected in (
        (1, "witnessed"),
        (2, "witnessed by w0.example, w1.example"),
        (3, "self-attested"),
    ):
        pinned = Trust(tuple(map(WitnessAt, pins)), needed)
        assert expected in verify_log(store.storage, VKEY, trust=pinned).verdict


def test_a_client_that_knows_nothing_learns_the_size(store: Store, tmp_path: Path) -> None:
    with served(tmp_path / "witness") as server:
        store.grow(5)
        assert (
            WitnessClient(asked(server.url)).submit(store.storage, store.log.checkpoint())[1][0].reason == ""
        )
        checkpoint = store.grow(6)
        [answer] = WitnessClient(asked(server.url)).submit(store.storage, checkpoint)[1]
        assert answer.outcome is Outcome.COSIGNED
        # Again at the same size: a witness cosigns it again, with its time now.
        [answer] = WitnessClient(asked(server.url)).submit(store.storage, checkpoint)[1]
        assert answer.outcome is Outcome.COSIGNED
    assert (store.storage.latest_checkpoint() or "").count(NAME) == 1


def test_whoever_comes_late_is_no_fork(store: Store, tmp_path: Path) -> None:
    """Another process signed and submitted a newer checkpoint between our signature and our question."""
    late = store.grow(3)
    with served(tmp_path / "witness") as server:
        client = WitnessClient(asked(server.url))
        assert client.submit(store.storage, store.grow(3))[1][0].outcome is Outcome.COSIGNED
        for asking in (client, WitnessClient(asked(server.url))):
            assert asking.submit(store.storage, late)[1][0].outcome is Outcome.REFUSED


def test_a_fork_and_a_rollback_are_contradicted(store: Store, tmp_path: Path) -> None:
    fork = Store(tmp_path / "fork")
    with served(tmp_path / "witness") as server:
        client = WitnessClient(asked(server.url))
        fork.grow(3, "another")
        assert client.submit(store.storage, store.grow(6))[1][0].outcome is Outcome.COSIGNED
        for size in (3, 6, 9):
            while fork.log.size() < size:
                fork.grow(1, "another")
            for asking in (client, WitnessClient(asked(server.url))):
                checkpoint, [answer] = asking.submit(fork.storage, fork.log.checkpoint())
                assert answer.outcome is Outcome.CONTRADICTED, size
                assert cosignatures(checkpoint.note, [PINNED]) == []
    fork.log.close()


FAILURES: dict[str, tuple[Callable[[socket.socket], None], Outcome]] = {
    "it closes at once": (lambda connection: None, Outcome.UNREACHABLE),
    "it never answers": (lambda connection: time.sleep(5), Outcome.UNREACHABLE),
    "it speaks no HTTP": (lambda connection: connection.sendall(b"hello\r\n\r\n"), Outcome.UNREACHABLE),
    "it fails": (answering(500, b"GOV-514\n"), Outcome.REFUSED),
    "it redirects": (answering(302, b""), Outcome.REFUSED),
    "it does not know the log": (answering(404, b"no\n"), Outcome.REFUSED),
    "it knows another key": (answering(403, b"no\n"), Outcome.REFUSED),
    "its conflict names no size": (answering(409, b"many\n", "text/x.tlog.size"), Outcome.REFUSED),
    "its conflict is of another type": (answering(409, b"2\n"), Outcome.REFUSED),
    "its conflict is a large number": (
        answering(409, b"9" * 30 + b"\n", "text/x.tlog.size"),
        Outcome.CONTRADICTED,
    ),
    "its conflict never ends": (answering(409, b"2\n", "text/x.tlog.size"), Outcome.REFUSED),
    "it answers nothing": (answering(200, b""), Outcome.REFUSED),
    "it answers something else": (answering(200, b"<html>"), Outcome.REFUSED),
    "it answers without end": (answering(200, b"x" * 300_000), Outcome.UNREACHABLE),
}


@pytest.mark.parametrize(("answer", "expected"), FAILURES.values(), ids=FAILURES.keys())
def test_a_witness_that_fails_stops_nothing(
    store: Store, answer: Callable[[socket.socket], None], expected: Outcome
) -> None:
    store.grow(4)
    with raw(answer) as url:
        trust = asked(url, timeout=0.5)
        checkpoint, [outcome] = WitnessClient(trust).submit(store.storage, store.log.checkpoint())
        assert outcome.outcome is expected, outcome.reason
        assert store.witnessed(trust).checkpoint().note == checkpoint.note
    assert store.verdict() == "verified, self-attested"


def test_an_answer_that_trickles_in_is_cut_off() -> None:
    stopped = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stopped.wait(0.02):
            connection.sendall(b"x")

    with raw(trickle) as url:
        with pytest.raises(Unreachable, match="no answer within"):
            post(url, b"", "text/plain", 0.3)
        stopped.set()


def test_a_failed_witness_rests_for_a_minute(store: Store) -> None:
    asked_for: list[int] = []
    clock = [0.0]

    def count(connection: socket.socket) -> None:
        asked_for.append(1)
        answering(500, b"")(connection)

    with raw(count) as url:
        client = WitnessClient(asked(url), monotonic=lambda: clock[0])
        checkpoint = store.grow(1)
        for now, expected in ((0.0, 1), (30.0, 1), (59.0, 1), (61.0, 2)):
            clock[0] = now
            assert client.cosigned(store.storage, checkpoint).note == checkpoint.note
            assert len(asked_for) == expected


def test_lines_of_others_over_other_checkpoints_or_by_other_keys_are_not_kept(store: Store) -> None:
    first = store.grow(2)
    second = store.grow(2)
    lines = {
        "of another checkpoint": str(cosign(first.text, NAME, WITNESS, 5)),
        "by a stranger": str(cosign(second.text, "other.example", STRANGER, 5)),
        "by a stranger in the witness's name": str(cosign(second.text, NAME, STRANGER, 5)),
    }
    for line in lines.values():
        with raw(answering(200, line.encode())) as url:
            checkpoint, [answer] = WitnessClient(asked(url)).submit(store.storage, second)
        assert (answer.outcome, checkpoint.note) == (Outcome.REFUSED, second.note)
    good = cosign(second.text, NAME, WITNESS, 5)
    with raw(answering(200, ("".join(lines.values()) + str(good)).encode())) as url:
        checkpoint, [answer] = WitnessClient(asked(url)).submit(store.storage, second)
    assert answer.signature == good
    assert checkpoint.note == add_signatures(second.note, [good])


def test_lines_that_arrive_at_once_are_all_kept(store: Store) -> None:
    checkpoint = store.grow(2)
    names = [f"w{n}.example" for n in range(8)]
    lines = [cosign(checkpoint.text, name, Key(bytes([60 + n]) * 32), 5) for n, name in enumerate(names)]
    threads = [threading.Thread(target=keep, args=(store.storage, checkpoint, [line])) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = store.storage.latest_checkpoint() or ""
    assert all(kept.count(f"— {name} ") == 1 for name in names)
    assert read_checkpoint(kept).text == checkpoint.text


def test_an_altered_cosignature_is_a_fault(store: Store, tmp_path: Path) -> None:
    store.grow(3)
    with served(tmp_path / "witness") as server:
        checkpoint = store.witnessed(asked(server.url)).checkpoint()
    forged = add_signatures(checkpoint.note, [cosign("another\n", NAME, WITNESS, 7)])
    assert store.storage.replace_checkpoint(3, checkpoint.note, forged)
    report = verify_log(store.storage, VKEY, trust=Trust((WitnessAt(PINNED),), 1))
    assert not report.ok and NAME in report.reason
    assert verify_log(store.storage, VKEY).ok  # to those who pinned no witness the line is unknown


def test_the_server_bounds_what_it_reads(tmp_path: Path) -> None:
    with served(tmp_path / "witness") as server:
        connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        for method, path, headers, body, expected in (
            ("POST", "/add-checkpoint", {}, b"old 0\n", 400),
            ("POST", "/other", {}, b"", 404),
            ("GET", "/add-checkpoint", {}, None, 501),
            ("POST", "/add-checkpoint", {"Content-Length": "70000"}, None, 413),
            ("POST", "/add-checkpoint", {"Content-Length": "-1"}, None, 411),
        ):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            assert response.status == expected
        connection.close()


def test_a_damaged_memory_is_an_error_of_the_server(store: Store, tmp_path: Path) -> None:
    with served(tmp_path / "witness") as server:
        store.witnessed(asked(server.url)).checkpoint()
        [path] = (tmp_path / "witness").glob("*.json")
        path.write_text("")
        [answer] = WitnessClient(asked(server.url)).submit(store.storage, store.grow(2))[1]
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, "it answered 500")
