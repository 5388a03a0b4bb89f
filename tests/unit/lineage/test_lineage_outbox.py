"""The outbox by itself: what is kept, found again, sent once, set aside, bounded."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from emission_samples import Sink, eventually, run_event
from hypothesis import given
from hypothesis import strategies as st
from openlineage.client.serde import Serde

from governance.errors import LogError
from governance.lineage.emission import outbox as outbox_module
from governance.lineage.emission.destination import REDACTED, Unavailable
from governance.lineage.emission.framing import Event, framed, scan
from governance.lineage.emission.outbox import Drained, Outbox
from governance.lineage.emission.segment import Segment, segment_paths


def body(name: str) -> bytes:
    return Serde.to_json(run_event(name)).encode()


def kept(directory: Path, *names: str) -> Outbox:
    outbox = Outbox(directory)
    for name in names:
        outbox.keep(body(name), "ingest:airflow")
    return outbox


def left(directory: Path, *names: str) -> Path:
    """A file left behind by a process that is gone."""
    kept(directory, *names).release()
    return segment_paths(directory)[-1]


records = st.lists(st.tuples(st.binary(max_size=200), st.text("abc:", max_size=9)), max_size=8)


@given(records, st.data())
def test_a_cut_costs_only_what_was_cut(pairs: list[tuple[bytes, str]], data: st.DataObject) -> None:
    events = [Event(b, p, n) for n, (b, p) in enumerate(pairs)]
    framed_events = [framed(e) for e in events]
    whole = b"".join(framed_events)
    cut = data.draw(st.integers(0, len(whole)))
    survivors, end = [], 0
    for event, record in zip(events, framed_events, strict=True):
        end += len(record)
        if end <= cut:
            survivors.append(event)
    scanned = scan(whole[:cut], ended=True)
    assert scanned.events == survivors
    assert scanned.length == cut
    assert scan(whole[:cut], ended=False).events == survivors


@given(records.filter(bool), st.data())
def test_a_flipped_byte_costs_one_event(pairs: list[tuple[bytes, str]], data: st.DataObject) -> None:
    events = [Event(b, p, n) for n, (b, p) in enumerate(pairs)]
    whole = bytearray(b"".join(framed(e) for e in events))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    scanned = scan(bytes(whole), ended=True)
    assert len(scanned.events) == len(events) - 1
    assert [e for e in events if e in scanned.events] == scanned.events
    assert len(scanned.damaged) == 1


def test_what_is_kept_is_sent_once_in_order_and_then_gone(tmp_path: Path) -> None:
    outbox, sink = kept(tmp_path, "a", "b"), Sink()
    assert outbox.drain(sink) == Drained(sent=2)
    assert outbox.drain(sink) == Drained()
    outbox.keep(body("c"), "ingest:spark")
    assert outbox.drain(sink) == Drained(sent=1)
    assert sink.names() == ["a", "b", "c"]
    assert sink.principals == ["ingest:airflow", "ingest:airflow", "ingest:spark"]
    assert outbox.status().size == 0
    outbox.release()
    assert segment_paths(tmp_path) == []


def test_more_than_a_batch_and_events_larger_than_a_read(tmp_path: Path) -> None:
    outbox, sink = Outbox(tmp_path), Sink()
    names = [f"n{n}" for n in range(230)] + ["x" * (3 << 20), "last"]
    for name in names:
        outbox.keep(body(name), "ingest:test")
    assert outbox.drain(sink) == Drained(sent=232)
    assert sink.names() == names


def test_a_full_file_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_SEGMENT", 1_000)
    outbox, sink = kept(tmp_path, *(f"n{n}" for n in range(20))), Sink()
    assert len(segment_paths(tmp_path)) > 3
    assert outbox.drain(sink) == Drained(sent=20)
    assert sink.names() == [f"n{n}" for n in range(20)]
    assert len(segment_paths(tmp_path)) == 1


def test_a_drain_that_fails_keeps_everything(tmp_path: Path) -> None:
    left(tmp_path, "a")
    outbox, sink = kept(tmp_path, "b"), Sink()
    sink.down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            outbox.drain(sink)
    sink.down = False
    assert outbox.drain(sink) == Drained(sent=2)
    assert sink.names() == ["a", "b"]


def test_what_a_living_process_holds_is_copied_not_taken(tmp_path: Path) -> None:
    owner, other, sink = kept(tmp_path, "a"), Outbox(tmp_path), Sink()
    assert other.drain(sink) == Drained()
    assert other.drain(sink, copy_held=True) == Drained(copied=1)
    assert owner.drain(sink) == Drained(sent=1)
    assert sink.names() == ["a", "a"]
    status = other.status()
    assert [(s.held, s.writer.pid if s.writer else 0) for s in status.segments] == [(True, os.getpid())]


@pytest.mark.parametrize("cut", [1, 5, 40, 100])
def test_a_torn_tail_is_set_aside_and_costs_no_other(tmp_path: Path, cut: int) -> None:
    path = left(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    outbox, sink = Outbox(tmp_path), Sink()
    assert (outbox.status().waiting, outbox.status().damaged) == (1, 1)
    assert outbox.drain(sink) == Drained(sent=1, damaged=1)
    assert sink.names() == ["a"]
    assert outbox.status().dead_letters == {"damaged": 1}


def test_a_refused_event_is_a_dead_letter_and_blocks_no_other(tmp_path: Path) -> None:
    outbox, sink = kept(tmp_path, "a", "bad", "b"), Sink()
    sink.refuse = lambda b: "HTTP 400" if b'"bad"' in b else None
    assert outbox.drain(sink) == Drained(sent=2, refused=1)
    [line] = [json.loads(x) for x in (tmp_path / "dead-letters.jsonl").read_text().splitlines()]
    assert (line["code"], line["reason"], line["event"].encode()) == ("HTTP 400", "because", body("bad"))
    assert outbox.status().dead_letters == {"HTTP 400": 1}
    sink.refuse = lambda _: None
    assert outbox.revive() == 1
    assert outbox.drain(sink) == Drained(sent=1)
    assert sink.names() == ["a", "b", "bad"]
    assert outbox.status().dead_letters == {}


def test_a_redacted_event_is_forgotten(tmp_path: Path) -> None:
    outbox, sink = kept(tmp_path, "secret"), Sink()
    sink.refuse = lambda _: REDACTED
    assert outbox.drain(sink) == Drained(refused=1)
    assert b"secret" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert outbox.revive() == 0
    assert outbox.status().dead_letters == {REDACTED: 1}


def test_an_event_that_fails_alone_waits_behind_the_others(tmp_path: Path) -> None:
    outbox, sink = kept(tmp_path, "stuck", "a"), Sink()
    oldest = outbox.status().oldest
    sink.defer = lambda b: b'"stuck"' in b
    assert outbox.drain(sink) == Drained(sent=1, deferred=1)
    assert (outbox.status().waiting, outbox.status().oldest) == (1, oldest)
    sink.defer = lambda _: False
    assert outbox.drain(sink) == Drained(sent=1)


@pytest.mark.parametrize("principal", ["evidence:pipeline", "admin:x", "", "nobody"])
def test_a_file_lends_nobody_more_than_ingest(tmp_path: Path, principal: str) -> None:
    outbox, sink = kept(tmp_path, "a"), Sink()
    outbox.keep(body("posing"), principal)
    assert outbox.drain(sink) == Drained(sent=1, refused=1)
    assert sink.names() == ["a"]


def test_a_full_outbox_says_so_and_recovers(tmp_path: Path) -> None:
    outbox, sink = Outbox(tmp_path, max_bytes=1_000), Sink()
    with pytest.raises(LogError, match=r"GOV-526 .*1,000 bytes"):
        for _ in range(20):
            outbox.keep(body("a"), "ingest:test")
    outbox.drain(sink)
    outbox.keep(body("b"), "ingest:test")
    assert outbox.drain(sink) == Drained(sent=1)


def test_the_bound_counts_what_others_left(tmp_path: Path) -> None:
    left(tmp_path, *"abcdef")
    with pytest.raises(LogError, match="GOV-526"):
        Outbox(tmp_path, max_bytes=1_000).keep(body("g"), "ingest:test")


def test_a_full_disk_loses_nothing_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, sink, write = kept(tmp_path, "a"), Sink(), os.pwrite

    def short(descriptor: int, data: memoryview, at: int) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:-40], at)

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(LogError, match=r"GOV-501 .*No space left on device"):
        outbox.keep(body("lost"), "ingest:test")
    monkeypatch.undo()
    outbox.keep(body("b"), "ingest:test")
    assert outbox.drain(sink) == Drained(sent=2)
    assert sink.names() == ["a", "b"]


FILLER = """
import resource, signal, sys
from pathlib import Path
from governance.errors import LogError
from governance.lineage.emission.outbox import Outbox
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
outbox, kept = Outbox(Path(sys.argv[1])), 0
try:
    while True:
        outbox.keep(b"x" * 777, "ingest:test")
        kept += 1
except LogError as error:
    print(kept, error.code)
"""


def test_a_real_limit_of_the_system_is_met_without_loss(tmp_path: Path) -> None:
    filler = [sys.executable, "-c", FILLER, str(tmp_path / "outbox")]
    kept, code = subprocess.run(filler, capture_output=True, check=True, text=True).stdout.split()
    outbox, sink = Outbox(tmp_path / "outbox"), Sink()
    done = outbox.drain(sink)
    assert (code, done.sent, done.damaged) == ("GOV-501", int(kept), 0)


def test_after_a_failed_sync_another_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, sink = kept(tmp_path, "a"), Sink()

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(LogError, match=r"GOV-501 .*Input/output error"):
        outbox.keep(body("unsure"), "ingest:test")
    monkeypatch.undo()
    outbox.keep(body("b"), "ingest:test")
    outbox.drain(sink)
    assert {"a", "b"} <= set(sink.names())
    assert outbox.status().size == 0


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_directory_that_vanishes_under_the_process_loses_nothing(tmp_path: Path, how: str) -> None:
    directory = tmp_path / "outbox"
    outbox, sink = kept(directory, "a"), Sink()
    if how == "deleted":
        shutil.rmtree(directory)
    else:
        directory.rename(tmp_path / "elsewhere")
    outbox.keep(body("b"), "ingest:test")
    assert Outbox(directory).status().waiting == 1
    outbox.drain(sink)
    assert {"a", "b"} == set(sink.names())


def test_something_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LogError, match=r"GOV-501 .*could not be kept"):
        Outbox(tmp_path / "file").keep(b"{}", "ingest:test")


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    outbox, sink = kept(tmp_path / "outbox", "a", "b"), Sink()
    sink.refuse = lambda b: "HTTP 400" if b'"a"' in b else None
    outbox.drain(sink)
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "outbox").iterdir()} == {0o600}


def test_threads_and_drainers_together_lose_and_repeat_nothing(tmp_path: Path) -> None:
    outbox, others, sink = Outbox(tmp_path), [Outbox(tmp_path) for _ in range(2)], Sink()
    done = threading.Event()

    def write(writer: int) -> None:
        for n in range(60):
            outbox.keep(body(f"{writer}-{n}"), "ingest:test")

    def move(mine: Outbox) -> None:
        while not done.is_set():
            mine.drain(sink)

    writers = [threading.Thread(target=write, args=(w,)) for w in range(4)]
    drainers = [threading.Thread(target=move, args=(o,)) for o in (outbox, *others)]
    for thread in (*drainers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    eventually(outbox.is_drained)
    done.set()
    for thread in drainers:
        thread.join()
    assert sorted(sink.names()) == sorted(f"{w}-{n}" for w in range(4) for n in range(60))


def test_a_child_writes_a_file_of_its_own_and_leaves_the_parents_alone(tmp_path: Path) -> None:
    outbox, sink = kept(tmp_path, "parent"), Sink()
    child = os.fork()
    if child == 0:
        try:
            outbox.keep(body("child"), "ingest:test")
            outbox.keep(body("child again"), "ingest:test")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    outbox.keep(body("parent again"), "ingest:test")
    assert outbox.drain(sink) == Drained(sent=4)
    assert sink.names() == ["child", "child again", "parent", "parent again"]


def test_the_lock_of_a_parent_outlives_its_children(tmp_path: Path) -> None:
    outbox = kept(tmp_path, "a")
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert Segment.take(segment_paths(tmp_path)[0]) is None
    outbox.release()
    taken = Segment.take(segment_paths(tmp_path)[0])
    assert taken is not None
    taken.close()
