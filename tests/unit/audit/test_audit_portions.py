"""The log read by portions: quickly or carefully, at once or by others, now or before, a report is the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from audit_story import full_world
from audit_world import Key, World
from hypothesis import given
from hypothesis import strategies as st

from governance.audit import REPORTS
from governance.audit.making import make_report
from governance.audit.portions import log_reading
from governance.audit.portions.kept_portions import KeptPortions
from governance.audit.portions.log_reading import LogReading, read_ahead
from governance.audit.portions.ordinary import read_ordinary
from governance.audit.record import make_record
from governance.audit.trail import read_trail
from governance.errors import GovernanceError, LogError
from governance.lineage.reading import read_event
from governance.log import OPENLINEAGE_EVENT
from governance.model.canonical import canonical, canonical_parsed
from tests.bench.lineage_index import body

SMALL = 16
WHOLE = sorted(kind for kind, report in REPORTS.items() if not report.personal)


@dataclass
class Home:
    """A world with a place for what was read of its log."""

    world: World
    readings: Path

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def kept(self, signer: Key | None = None) -> KeptPortions:
        return KeptPortions(self.readings, self.log.origin, signer or self.world.root)


@pytest.fixture
def home(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(log_reading, "SIZE", SMALL)
    monkeypatch.setattr(log_reading, "_coming", lambda *_: {})
    return Home(world, tmp_path / "readings")


def record(kind: str, reading: Any, checkpoint: Any, entry: Any) -> bytes:
    return canonical(make_record(REPORTS[kind], read_trail(reading, checkpoint.size), checkpoint, entry))


def test_every_kind_is_the_same_by_portions(home: Home) -> None:
    checkpoint = home.log.checkpoint()
    for kind in WHOLE:
        entries = (home.log.entry(i) for i in range(checkpoint.size))
        expected = record(kind, entries, checkpoint, home.log.entry)
        for kept in (None, home.kept(), home.kept()):
            reading = LogReading(home.log, checkpoint, kept)
            assert record(kind, reading, checkpoint, reading.entry) == expected, kind
    assert len(list(home.readings.iterdir())) == checkpoint.size // SMALL


def test_other_processes_read_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reading, "SIZE", SMALL)
    size = world.log.size()
    firsts = list(range(0, size // SMALL * SMALL, SMALL))
    with ExitStack() as until:
        coming = log_reading._coming(world.log, firsts, until)
        if not coming:
            pytest.skip("one processor")
        found = {first: future.result() for first, future in coming.items()}
    expected = {first: log_reading._portion(world.log, first, first + SMALL) for first in firsts}
    assert found == expected


def test_a_process_that_dies_is_no_matter(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(log_reading, "SIZE", SMALL)
    monkeypatch.setattr(log_reading.sys, "executable", "/bin/false")
    checkpoint = home.log.checkpoint()
    reading = LogReading(home.log, checkpoint)
    assert read_trail(reading, checkpoint.size).counts["entries"] == checkpoint.size


def test_what_was_kept_is_used_only_if_the_evidence_key_signed_it(home: Home) -> None:
    checkpoint = home.log.checkpoint()
    list(LogReading(home.log, checkpoint, home.kept()))
    files = sorted(home.readings.iterdir())
    assert files[0].stat().st_mode & 0o777 == 0o600
    whole = files[1].read_bytes()
    expected = record("compliance", LogReading(home.log, checkpoint), checkpoint, home.log.entry)
    for altered in (
        whole.replace(b"released", b"relea5ed"),
        whole[:-3],
        b"",
        whole + b"x",
        files[0].read_bytes(),
    ):
        assert altered != whole
        files[1].write_bytes(altered)
        reading = LogReading(home.log, checkpoint, home.kept())
        assert record("compliance", reading, checkpoint, home.log.entry) == expected
        assert files[1].read_bytes() == whole
    assert home.kept(Key("a thief")).get(0, SMALL, frozenset()) is None


def test_a_server_reads_ahead_what_is_signed_and_no_more(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reading, "_BREATH_S", 0)
    checkpoint, pauses = home.log.checkpoint(), []
    size = checkpoint.size - SMALL
    read_ahead(home.log, size, home.kept(), lambda s: bool(pauses.append(s)))
    assert len(list(home.readings.iterdir())) == size // SMALL
    assert max(pauses) > 0
    ahead = {path.name: path.read_bytes() for path in home.readings.iterdir()}
    list(LogReading(home.log, checkpoint, home.kept()))
    assert ahead.items() <= {path.name: path.read_bytes() for path in home.readings.iterdir()}.items()
    for path in home.readings.iterdir():
        path.unlink()
    read_ahead(home.log, size, home.kept(), lambda _: True)
    assert len(list(home.readings.iterdir())) == 1, "it stops, once a portion is whole"


def test_a_redaction_since_is_seen_and_the_body_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reading, "SIZE", SMALL)
    monkeypatch.setattr(log_reading, "_coming", lambda *_: {})
    home = Home(full_world(tmp_path / "world"), tmp_path / "readings")
    before = home.log.checkpoint()
    list(LogReading(home.log, before, home.kept()))
    redacted = next(
        e.index
        for e in home.log.entries(SMALL, before.size)
        if e.envelope.media_type == OPENLINEAGE_EVENT and b"governance_classify" in (e.body or b"")
    )
    body_ = home.log.entry(redacted).body or b""
    assert any(body_ in path.read_bytes() for path in home.readings.iterdir())
    home.log.redact(redacted, "GDPR Art. 17(1)(d)", "rights:dpo")
    after = read_trail(LogReading(home.log, before, home.kept()), before.size)
    assert redacted in after.redacted
    assert not any(body_ in path.read_bytes() for path in home.readings.iterdir())


def test_another_log_is_not_read_for_this_one(home: Home, tmp_path: Path) -> None:
    checkpoint = home.log.checkpoint()
    list(LogReading(home.log, checkpoint, home.kept()))
    other = World(tmp_path / "other")
    for number in range(checkpoint.size):
        other.put(str(number).encode(), OPENLINEAGE_EVENT, "ingest:airflow")
    with pytest.raises(LogError, match="not those the checkpoint signed"):
        list(LogReading(other.log, other.log.checkpoint(), home.kept()))


def test_a_cited_entry_that_was_exchanged_since_is_refused(home: Home, tmp_path: Path) -> None:
    checkpoint = home.log.checkpoint()
    reading = LogReading(home.log, checkpoint, home.kept())
    trail = read_trail(reading, checkpoint.size)
    started = min(index for job in trail.reads.values() for index in job.values())
    assert reading.entry(started).leaf == home.log.entry(started).leaf
    other = World(tmp_path / "other")
    for number in range(checkpoint.size):
        other.put(str(number).encode(), OPENLINEAGE_EVENT, "ingest:airflow")
    reading._leaves.clear()
    reading._log = other.log
    with pytest.raises(LogError) as refused:
        reading.entry(started)
    assert refused.value.code == "GOV-504"


def test_reports_of_a_home_keep_what_they_read(home: Home, tmp_path: Path) -> None:
    first = make_report(home, "gdpr-art30", tmp_path / "first")
    assert any(home.readings.iterdir())
    again = make_report(home, "gdpr-art30", tmp_path / "again")
    assert first.json.read_bytes() == again.json.read_bytes()


def odd_events() -> Iterator[bytes]:
    """Events of every shape, and the same damaged by one byte at a time."""
    chance = random.Random(7)
    plain = {
        "eventType": "START",
        "eventTime": "2026-03-02T12:00:00Z",
        "run": {"runId": "r1", "facets": {"a": {"b": [1, 2.5, None, True]}}},
        "job": {"namespace": "n", "name": "j"},
        "inputs": [{"namespace": "n", "name": "d", "facets": {}}],
        "outputs": [],
    }
    for edit in (
        {"eventType": "FAIL"}, {"eventType": 3}, {"eventType": "start"}, {"eventType": None}, {"job": None},
        {"job": {"namespace": "", "name": "j"}}, {"run": {}}, {"run": {"runId": ""}}, {"run": None},
        {"inputs": None}, {"inputs": {"namespace": "n", "name": "d"}}, {"inputs": ["x"]},
        {"run": {"runId": "r", "facets": {"governance_open": {}}}}, {"x": "\ud800"}, {"x": "é"}, {"x": "\\u0041"},
        {"outputs": [{"namespace": "n", "name": ""}]}, {"dataset": {"namespace": "n", "name": "d"}},
    ):  # fmt: skip
        yield json.dumps({**plain, **edit}).encode()
    yield json.dumps({**plain, "x": "é"}, ensure_ascii=False).encode("latin-1")
    yield json.dumps({**plain, "x": "é"}, ensure_ascii=False).encode()
    yield b'{"run":{"runId":"a"},"run":{"runId":"b"},"eventType":"START"}'
    yield b'{"run":{"runId":"a","facets":{"gover\\u006eance_open":{}}}}'
    yield b"\xef\xbb\xbf" + json.dumps(plain).encode()
    for base in (json.dumps(plain).encode(), body(4, True)):
        for _ in range(400):
            at, damaged = chance.randrange(len(base)), bytearray(base)
            damaged[at] = chance.randrange(256)
            yield bytes(damaged)
            yield base[:at]


def test_the_quick_way_says_what_the_careful_one_says() -> None:
    quick = 0
    for event in odd_events():
        found = read_ordinary(event)
        if found is None:
            continue
        quick += 1
        try:
            read = read_event(event)
        except GovernanceError as fault:  # pragma: no cover
            raise AssertionError(event) from fault
        assert (found.run.runId or None) == read.run_id
        assert found.eventType in (read.event_type, *([found.eventType] if read.event_type is None else ()))
        job = found.job if found.job and found.job.namespace and found.job.name else None
        assert ((job.namespace, job.name) if job else None) == read.job
        for member, datasets in (("inputs", found.inputs), ("outputs", found.outputs)):
            named = [(d.namespace, d.name) for d in datasets if d.namespace and d.name]
            assert named == [(namespace, name) for namespace, name, _ in read.datasets(member)]
        assert read.kind == "run" and b"governance_" not in event
    assert quick > 100


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(0, 1)
    | st.text()
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_canonical_form_by_the_quick_way(value: dict[str, Any]) -> None:
    try:
        expected = canonical(value)
    except ValueError as refused:
        with pytest.raises(type(refused)):
            canonical_parsed(value)
    else:
        assert canonical_parsed(value) == expected


@pytest.mark.parametrize("odd", [1e999, -1e999, float("nan")])
def test_what_is_no_number_has_no_canonical_form(odd: float) -> None:
    with pytest.raises(rfc8785.FloatDomainError):
        canonical_parsed({"a": None, "b": odd})
