"""What a log promises, on every storage."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.errors import GovernanceError, LogError
from governance.log import (
    GENESIS,
    OPENLINEAGE_EVENT,
    REDACTION,
    InclusionProof,
    Log,
    NewEntry,
    open_storage,
    parse_checkpoint,
    tree,
    verify_entry,
    verify_log,
)
from governance.log.storage import NewRow


def event(number: int, principal: str = "ingest:airflow") -> NewEntry:
    return NewEntry(json.dumps({"event": number}).encode(), OPENLINEAGE_EVENT, principal)


def test_entries_come_back_as_appended(log: Log) -> None:
    assert log.size() == 0
    assert list(log.entries()) == []
    assert log.append([]) == []
    bodies = [b"", b"\x00" * 40, secrets.token_bytes(200_000), "Zoë 😀".encode()]
    entries = [NewEntry(body, OPENLINEAGE_EVENT, "ingest:airflow") for body in bodies]
    assert log.append([NewEntry(b"{}", GENESIS, "admin:cli")]) == [0]
    assert log.append(entries) == [1, 2, 3, 4]
    assert log.size() == 5
    for index, (entry, body) in enumerate(zip(log.entries(1), bodies, strict=True), 1):
        assert (entry.index, entry.body) == (index, body)
        assert entry.salt is not None
        assert entry.envelope.covers(entry.salt, body)
        assert entry.envelope.principal == "ingest:airflow"
        assert log.entry(index) == entry
    assert [entry.index for entry in log.entries(2, 4)] == [2, 3]


def test_recorded_time_is_the_logs_clock(log: Log) -> None:
    log.append([event(1), event(2)])
    log.append([event(3)])
    times = [entry.envelope.received_at for entry in log.entries()]
    assert times[0] == times[1] < times[2]


def test_a_duplicate_returns_the_first_index(log: Log, open_log: Callable[..., Log]) -> None:
    assert log.append([event(1), event(2), event(1)]) == [0, 1, 0]
    assert log.append([event(2), event(3)]) == [1, 2]
    assert open_log().append([event(3), event(1)]) == [2, 0]
    assert log.append([event(1, "ingest:other")]) == [3]
    assert log.append([NewEntry(event(1).body, "application/json", "ingest:airflow")]) == [4]
    # Names that join to the same bytes are not the same sender.
    assert log.append([NewEntry(b"", "c", "ingest:ab"), NewEntry(b"", "bc", "ingest:a")]) == [5, 6]
    assert log.size() == 7


def test_an_append_is_refused_when_anything_speaks_against_it(log: Log, open_log: Callable[..., Log]) -> None:
    def row(place: int, marker: int) -> NewRow:
        return NewRow(place, b"n" * 32, b"leaf", b"s" * 32, b"body", marker.to_bytes(32, "big"))

    storage, other = log.storage, open_log().storage
    refusal = log._sealer.keyed(event(0))[1]
    log.append([event(0)])
    log.redact(0, "ground", "rights:dpo")
    with storage.turn() as turn:
        size, newest = turn.size, turn.last_nodes
    assert not storage.append_if(size - 1, newest, [row(size - 1, 1)], [bytes(32)])
    assert not storage.append_if(size, bytes(32), [row(size, 1)], [bytes(32)])
    assert not storage.append_if(size, newest, [row(size, 1)], [bytes(32), refusal])
    assert storage.size() == size
    assert storage.append_if(size, newest, [row(size, 1), row(size + 1, 2)], [bytes(32)])
    assert other.markers([row(0, n).marker for n in range(3)]) == {
        row(0, 1).marker: size,
        row(0, 2).marker: size + 1,
    }
    assert not other.append_if(size, newest, [row(size, 3)], [])
    assert not other.append_if(size + 2, b"n" * 32, [row(size + 2, 3), row(size + 3, 2)], [])
    assert other.append_if(size + 2, b"n" * 32, [row(size + 2, 3)], [])
    assert [stored.body for stored in storage.read(size, size + 9)] == [b"body"] * 3


def test_a_run_of_appends_sees_what_others_did_between(log: Log, open_log: Callable[..., Log]) -> None:
    other = open_log()
    assert [log.append([event(n)]) for n in range(3)] == [[0], [1], [2]]
    assert other.append([event(3)]) == [3]
    assert log.append([event(3)]) == [3]
    assert [log.append([event(n)]) for n in range(4, 6)] == [[4], [5]]
    other.redact(4, "ground", "rights:dpo")
    with pytest.raises(LogError, match="GOV-505"):
        log.append([event(4)])
    assert log.append([event(7)]) == [7]


def test_entries_are_found_by_a_mark_in_their_leaf(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sqlite", "postgres"):
        monkeypatch.setattr(f"governance.log.{module}.SPAN", 3)
    log.append([event(n, "ingest:rare" if n % 4 == 1 else "ingest:airflow") for n in range(10)])
    log.redact(5, "ground", "rights:dpo")
    found = list(log.marked(b"ingest:rare", 1, 10))
    assert [(e.index, e.body) for e in found] == [(1, event(1).body), (5, None), (9, event(9).body)]
    assert found == [log.entry(index) for index in (1, 5, 9)]
    assert [e.index for e in log.marked(b"ingest:rare", 2, 9)] == [5]
    assert list(log.marked(b"'", 0, 11)) == []


def test_writers_that_take_turns_stay_dense(log: Log, open_log: Callable[..., Log]) -> None:
    """Whatever one expects of the head, the other moved it: nothing is lost, doubled or out of order."""
    logs = [log, open_log()]
    for number in range(30):
        assert logs[number % 3 % 2].append([event(number)]) == [number]
        assert logs[number % 2].append([event(number), event(number // 2)]) == [number, number // 2]
    times = [entry.envelope.received_at for entry in log.entries()]
    assert len(times) == 30


def test_a_failing_batch_leaves_nothing(log: Log) -> None:
    with pytest.raises(LogError, match="GOV-508"):
        log.append([event(1), NewEntry(b"", "", "ingest:airflow")])
    with pytest.raises(LogError, match="GOV-509"):
        log.append([event(1), NewEntry(b"{}", REDACTION, "ingest:airflow")])
    assert log.size() == 0
    with pytest.raises(RuntimeError), log.storage.turn() as turn:
        assert turn.size == 0
        raise RuntimeError
    assert log.append([event(1)]) == [0]


def test_there_is_no_entry_beyond_the_end(log: Log) -> None:
    for index in (0, -1, 10**12):
        with pytest.raises(LogError, match="GOV-504"):
            log.entry(index)


def test_the_tree_is_that_of_the_leaves(log: Log, open_log: Callable[..., Log]) -> None:
    other = open_log()
    for number in range(0, 40, 2):
        log.append([event(number)])
        other.append([event(number + 1), event(number)])
    frontier = tree.Frontier()
    roots = [frontier.root()]
    for entry in log.entries():
        frontier.append(tree.leaf_hash(entry.leaf))
        roots.append(frontier.root())
    assert len(roots) == 41
    for size in range(41):
        assert tree.root(size, log.storage.nodes) == roots[size]
        proof = log.consistency_proof(size, 40)
        tree.verify_consistency(size, 40, proof, roots[size], roots[40])
    for index in range(40):
        leaf = tree.leaf_hash(log.entry(index).leaf)
        tree.verify_inclusion(index, 40, leaf, log.inclusion_proof(index, 40), roots[40])
    with pytest.raises(LogError, match="GOV-504"):
        log.inclusion_proof(40, 41)


def test_a_checkpoint_covers_everything_and_is_kept(log: Log, open_log: Callable[..., Log]) -> None:
    assert log.latest() is None
    vkey = log._signer.vkey  # type: ignore[union-attr]
    empty = log.checkpoint()
    assert (empty.size, empty.root) == (0, tree.EMPTY_ROOT)
    log.append([event(number) for number in range(5)])
    signed = log.checkpoint()
    assert signed == parse_checkpoint(signed.note, vkey)
    assert (signed.size, signed.origin) == (5, log.origin)
    assert log.checkpoint() == signed == log.latest()
    assert open_log(signed=False).latest() == signed
    assert log.storage.checkpoints() == [empty.note, signed.note]
    with pytest.raises(GovernanceError, match="GOV-901"):
        open_log(signed=False).checkpoint()


def test_an_entry_is_proved_without_the_store(log: Log) -> None:
    log.append([event(number) for number in range(11)])
    checkpoint = log.checkpoint()
    log.append([event(11)])
    for index in range(11):
        leaf = log.entry(index).leaf
        proof = InclusionProof.from_json(json.loads(json.dumps(log.prove(index, checkpoint).to_json())))
        verify_entry(leaf, proof, checkpoint)
        with pytest.raises(LogError, match="GOV-504"):
            verify_entry(leaf + b" ", proof, checkpoint)
    with pytest.raises(LogError, match="GOV-504"):
        log.prove(11, checkpoint)


def test_redaction_removes_a_body_and_refuses_it_from_then_on(log: Log, open_log: Callable[..., Log]) -> None:
    vkey = log._signer.vkey  # type: ignore[union-attr]
    log.append([event(number) for number in range(6)])
    before = log.checkpoint()
    leaf = log.entry(2).leaf
    assert log.redact(2, "GDPR Art. 17(1)(b)", "rights:dpo") == 6
    assert log.redact(2, "another ground", "rights:dpo") == 6
    gone = log.entry(2)
    assert (gone.leaf, gone.body, gone.salt) == (leaf, None, None)
    statement = log.entry(6)
    assert statement.envelope.media_type == REDACTION
    assert statement.envelope.principal == "rights:dpo"
    said = json.loads(statement.body or b"")
    assert (said["index"], said["ground"], said["authoriser"]) == (2, "GDPR Art. 17(1)(b)", "rights:dpo")
    for again in (log, open_log()):
        for entry in (event(2), event(2, "ingest:other")):
            with pytest.raises(LogError) as caught:
                again.append([event(99), entry])
            assert caught.value.code == "GOV-505"
    assert log.size() == 7
    log.checkpoint()
    report = verify_log(log.storage, vkey, [before.note])
    assert report.ok, report.reason
    assert report.redacted == 1
    assert any("redacted" in unknown for unknown in report.unknown)


def test_what_must_stay_cannot_be_redacted(log: Log) -> None:
    log.append([NewEntry(b"{}", GENESIS, "admin:cli"), event(1)])
    redaction = log.redact(1, "ground", "rights:dpo")
    for index in (0, redaction):
        with pytest.raises(LogError, match="GOV-509"):
            log.redact(index, "ground", "rights:dpo")
    with pytest.raises(LogError, match="GOV-504"):
        log.redact(3, "ground", "rights:dpo")


def test_two_entries_of_one_body_are_redacted_each(log: Log) -> None:
    log.append([event(1, "ingest:a"), event(1, "ingest:b")])
    log.redact(0, "ground", "rights:dpo")
    assert log.entry(1).body is not None
    log.redact(1, "ground", "rights:dpo")
    assert log.entry(1).body is None
    log.checkpoint()
    assert verify_log(log.storage, log._signer.vkey).ok  # type: ignore[union-attr]


def test_a_store_that_is_not_there(location: str) -> None:
    with pytest.raises(LogError) as caught:
        open_storage(location)
    assert caught.value.code == "GOV-501"
    assert "no lineage store" in caught.value.message
    assert "GOVERNANCE_STORE" in caught.value.remedy
    assert "@" not in str(caught.value)
    with pytest.raises(LogError, match="GOV-506"):
        open_storage(location, create=True, origin="not a name")


def test_another_store_is_refused(location: str) -> None:
    made = open_storage(location, create=True)
    made.close()
    again = open_storage(location, create=True)
    assert again.origin == made.origin
    assert again.dedup_key == made.dedup_key
    again.close()
    for create in (True, False):
        with pytest.raises(LogError) as caught:
            open_storage(location, create=create, origin="example.com/other")
        assert caught.value.code == "GOV-502"


def test_a_newer_schema_is_refused(log: Log, location: str, sql: Callable[..., object]) -> None:
    if location.startswith("postgresql:"):
        sql("INSERT INTO governance_log_migration VALUES (9999)")
    else:
        sql("PRAGMA user_version = 9999")
    with pytest.raises(LogError) as caught:
        open_storage(location)
    assert caught.value.code == "GOV-501"
    assert "Upgrade" in caught.value.remedy


def test_a_signer_of_another_log_is_refused(log: Log, key: object, tmp_path: Path) -> None:
    from governance.log import CheckpointSigner

    other = CheckpointSigner(key, "example.com/other", tmp_path / "other.json")  # type: ignore[arg-type]
    with pytest.raises(LogError, match="GOV-502"):
        Log(log.storage, signer=other, clock=log._clock)
