"""`verify_log` finds and names the first bad entry, on every storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.errors import LogError
from governance.log import (
    OPENLINEAGE_EVENT,
    CheckpointSigner,
    Envelope,
    FaultKind,
    Log,
    LogReport,
    NewEntry,
    salted_digest,
    tree,
    verify_log,
)
from governance.log.sealing import keyed_digests

Sql = Callable[..., list[tuple[Any, ...]]]
SIZE = 40
FIRST = 16


def event(number: int) -> NewEntry:
    return NewEntry(json.dumps({"event": number}).encode(), OPENLINEAGE_EVENT, "ingest:airflow")


@pytest.fixture
def signed(log: Log) -> Log:
    """Forty entries, checkpoints at 16 and 40."""
    log.append([event(number) for number in range(FIRST)])
    log.checkpoint()
    log.append([event(number) for number in range(FIRST, SIZE)])
    log.checkpoint()
    return log


def verify(log: Log, *outside: str) -> LogReport:
    return verify_log(log.storage, log._signer.vkey, outside)  # type: ignore[union-attr]


def assert_bad(report: LogReport, kind: FaultKind, first: int | None, last: int | None = None) -> None:
    assert not report.ok
    fault = report.faults[0]
    assert (fault.kind, fault.first, fault.last) == (kind, first, first if last is None else last), fault
    assert report.first_bad == first
    assert report.reason
    assert "not verified" in report.verdict


def test_an_untouched_log_verifies(signed: Log) -> None:
    seen: list[tuple[int, int]] = []
    report = verify_log(
        signed.storage,
        signed._signer.vkey,  # type: ignore[union-attr]
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.ok, report.faults
    assert (report.size, report.compared, report.unsigned, report.redacted) == (SIZE, 2, 0, 0)
    assert report.checkpoint == signed.latest()
    assert report.root == report.checkpoint.root  # type: ignore[union-attr]
    assert report.verdict == "verified, self-attested"
    assert any("witness" in unknown for unknown in report.unknown)
    assert seen[-1] == (SIZE, SIZE)
    members = json.loads(json.dumps(report.to_json()))
    assert (members["ok"], members["size"], members["faults"]) == (True, SIZE, [])


def test_entries_after_the_newest_checkpoint_are_said_to_be_unsigned(signed: Log) -> None:
    signed.append([event(100), event(101)])
    report = verify(signed)
    assert report.ok
    assert report.unsigned == 2
    assert any("newest 2 entries" in unknown for unknown in report.unknown)


@pytest.mark.parametrize("index", [0, 1, 7, 15, 16, 39])
def test_an_edited_body(signed: Log, sql: Sql, index: int) -> None:
    sql("UPDATE {entry} SET body = ? WHERE idx = ?", b'{"event": 99}', index)
    assert_bad(verify(signed), FaultKind.EDITED_BODY, index)


def test_an_edited_salt(signed: Log, sql: Sql) -> None:
    sql("UPDATE {entry} SET salt = ? WHERE idx = 9", bytes(31) + b"\x01")
    assert_bad(verify(signed), FaultKind.EDITED_BODY, 9)


@pytest.mark.parametrize("index", [0, 1, 7, 15, 16, 39])
def test_an_edited_envelope(signed: Log, sql: Sql, index: int) -> None:
    leaf = signed.entry(index).leaf.replace(b"ingest:airflow", b"evidence:airflo")
    sql("UPDATE {entry} SET leaf = ? WHERE idx = ?", leaf, index)
    assert_bad(verify(signed), FaultKind.EDITED_ENVELOPE, index)


@pytest.mark.parametrize("index", [0, 1, 7, 15, 16, 38])
def test_a_deleted_entry(signed: Log, sql: Sql, index: int) -> None:
    sql("DELETE FROM {entry} WHERE idx = ?", index)
    assert_bad(verify(signed), FaultKind.DELETED, index)


def test_a_deleted_span(signed: Log, sql: Sql) -> None:
    sql("DELETE FROM {entry} WHERE idx BETWEEN 5 AND 8")
    assert_bad(verify(signed), FaultKind.DELETED, 5, 8)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("index", [4, 5, 7])
def test_a_deleted_entry_whose_followers_moved_up(signed: Log, sql: Sql, index: int, whole: bool) -> None:
    """Whole rows are renumbered, or all but the tree nodes, which stay in place."""
    columns = "leaf, salt, body" + (", nodes" if whole else "")
    rows = sql(f"SELECT idx, {columns} FROM {{entry}} WHERE idx > ? ORDER BY idx", index)
    sets = ", ".join(f"{column} = ?" for column in columns.split(", "))
    for number, *values in rows:
        sql(f"UPDATE {{entry}} SET {sets} WHERE idx = ?", *values, number - 1)
    sql("DELETE FROM {entry} WHERE idx = ?", SIZE - 1)
    assert_bad(verify(signed), FaultKind.DELETED, index)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("one", "other"), [(2, 4), (1, 5), (6, 21), (3, 38)])
def test_reordered_entries(signed: Log, sql: Sql, one: int, other: int, whole: bool) -> None:
    columns = ["leaf", "salt", "body"] + (["nodes"] if whole else [])
    sets = ", ".join(f"{column} = ?" for column in columns)
    rows = {
        index: sql(f"SELECT {', '.join(columns)} FROM {{entry}} WHERE idx = ?", index)[0]
        for index in (one, other)
    }
    sql(f"UPDATE {{entry}} SET {sets} WHERE idx = ?", *rows[other], one)
    sql(f"UPDATE {{entry}} SET {sets} WHERE idx = ?", *rows[one], other)
    report = verify(signed)
    assert_bad(report, FaultKind.REORDERED, one)
    assert f"entry {other}" in report.reason


@pytest.mark.parametrize("kept", [0, 1, 16, 39])
def test_a_truncated_log(signed: Log, sql: Sql, kept: int) -> None:
    sql("DELETE FROM {entry} WHERE idx >= ?", kept)
    assert_bad(verify(signed), FaultKind.TRUNCATED, kept, SIZE - 1)


def test_a_rollback_with_its_checkpoints_needs_one_from_outside(signed: Log, sql: Sql, memory: Path) -> None:
    outside = signed.latest()
    assert outside is not None
    sql("DELETE FROM {entry} WHERE idx >= ?", FIRST)
    sql("DELETE FROM {marker} WHERE idx >= ?", FIRST)
    sql("DELETE FROM {checkpoint} WHERE size > ?", FIRST)
    alone = verify(signed)
    assert alone.ok
    assert any("rolled back" in unknown for unknown in alone.unknown)
    assert_bad(verify(signed, outside.note), FaultKind.TRUNCATED, FIRST, SIZE - 1)
    with pytest.raises(LogError) as caught:
        signed.checkpoint()
    assert caught.value.code == "GOV-503"


def rewrite(log: Log, sql: Sql, index: int, body: bytes) -> None:
    """Forge entry ``index`` with everything in the store made to agree, as one who holds it could."""
    old = log.entry(index)
    assert old.salt is not None
    assert old.body is not None
    envelope = old.envelope
    forged = Envelope(
        envelope.received_at,
        envelope.principal,
        envelope.media_type,
        len(body),
        salted_digest(old.salt, body),
    )
    sql("UPDATE {entry} SET leaf = ?, body = ? WHERE idx = ?", forged.to_leaf(), body, index)
    for text, statement in (
        (old.body, "DELETE FROM {marker} WHERE digest = ?"),
        (body, f"INSERT INTO {{marker}} VALUES (?, {index})"),
    ):
        entry = NewEntry(text, envelope.media_type, envelope.principal)
        sql(statement, keyed_digests(log.storage.dedup_key, entry)[0])
    frontier = tree.Frontier()
    for number, leaf in sql("SELECT idx, leaf FROM {entry} ORDER BY idx"):
        nodes = b"".join(frontier.append(tree.leaf_hash(leaf)))
        sql("UPDATE {entry} SET nodes = ? WHERE idx = ?", nodes, number)


@pytest.mark.parametrize(("index", "first", "last"), [(3, 0, FIRST - 1), (20, FIRST, SIZE - 1)])
def test_a_consistent_forgery_is_held_against_the_checkpoints(
    signed: Log, sql: Sql, index: int, first: int, last: int
) -> None:
    rewrite(signed, sql, index, b'{"event": "forged"}')
    assert_bad(verify(signed), FaultKind.FORKED, first, last)
    signed.append([event(1000)])
    with pytest.raises(LogError) as caught:
        signed.checkpoint()
    assert caught.value.code == "GOV-503"


def test_a_forged_entry_without_its_marker_is_named(signed: Log, sql: Sql) -> None:
    rewrite(signed, sql, 20, b'{"event": "forged"}')
    sql("DELETE FROM {marker} WHERE idx = 20")
    assert_bad(verify(signed), FaultKind.REPLACED, 20)


def test_a_fork_signed_by_the_same_key(signed: Log, sql: Sql, key: Any, tmp_path: Path) -> None:
    outside = signed.latest()
    assert outside is not None
    sql("DELETE FROM {entry} WHERE idx >= 30")
    sql("DELETE FROM {marker} WHERE idx >= 30")
    sql("DELETE FROM {checkpoint}")
    signer = CheckpointSigner(key, signed.origin, tmp_path / "forgetful.json")
    fork = Log(signed.storage, signer=signer, clock=signed._clock)
    fork.append([event(number) for number in range(200, 210)])
    fork.checkpoint()
    assert verify(fork).ok
    report = verify(fork, outside.note)
    assert report.faults[0].kind is FaultKind.FORKED


@pytest.mark.parametrize("index", [0, 3, 16, 39])
def test_altered_tree_nodes(signed: Log, sql: Sql, index: int) -> None:
    nodes = sql("SELECT nodes FROM {entry} WHERE idx = ?", index)[0][0]
    sql("UPDATE {entry} SET nodes = ? WHERE idx = ?", bytes(nodes[:-1]) + bytes([nodes[-1] ^ 1]), index)
    kind = FaultKind.EDITED_ENVELOPE if len(nodes) == 32 else FaultKind.TREE
    assert_bad(verify(signed), kind, index)


def test_an_altered_marker(signed: Log, sql: Sql) -> None:
    digest = sql("SELECT digest FROM {marker} WHERE idx = 5")[0][0]
    sql("UPDATE {marker} SET digest = ? WHERE digest = ?", bytes(32), digest)
    assert_bad(verify(signed), FaultKind.MARKER, 5)
    sql("UPDATE {marker} SET digest = ? WHERE idx = 5", digest)
    assert verify(signed).ok
    sql("INSERT INTO {marker} VALUES (?, 5)", bytes(32))
    assert_bad(verify(signed), FaultKind.MARKER, None)


def test_an_altered_checkpoint(signed: Log, sql: Sql) -> None:
    note = sql("SELECT note FROM {checkpoint} WHERE size = ?", FIRST)[0][0]
    sql("UPDATE {checkpoint} SET note = ? WHERE size = ?", note.replace(f"\n{FIRST}\n", "\n17\n"), FIRST)
    assert_bad(verify(signed), FaultKind.CHECKPOINT, None)


def test_without_a_checkpoint_nothing_is_verified(log: Log) -> None:
    assert verify(log).ok
    log.append([event(1)])
    assert_bad(verify(log), FaultKind.UNSIGNED, None)


def test_a_checkpoint_of_another_log_or_key(signed: Log, key: Any, tmp_path: Path) -> None:
    other = CheckpointSigner(key, "example.com/other", tmp_path / "other.json")
    note = other.sign(lambda: 0, lambda _: [], lambda: None).note
    assert_bad(verify(signed, note), FaultKind.CHECKPOINT, None)
    report = verify_log(signed.storage, other.vkey)
    assert report.faults[0].kind is FaultKind.ORIGIN
    with pytest.raises(LogError, match="GOV-506"):
        verify_log(signed.storage, "not a key")


def test_a_body_taken_without_a_redaction(signed: Log, sql: Sql, location: str) -> None:
    if location.startswith("postgresql:"):
        sql("UPDATE {entry} SET body = NULL, salt = NULL WHERE idx = 8")
    else:
        sql("UPDATE {entry} SET body = zeroblob(length(body)), salt = zeroblob(32) WHERE idx = 8")
        assert_bad(verify(signed), FaultKind.EDITED_BODY, 8)
    sql("INSERT INTO {redaction} VALUES (8, 9, ?)", bytes(32))
    assert_bad(verify(signed), FaultKind.REDACTION, 8)


def test_a_redacted_body_put_back(signed: Log, sql: Sql) -> None:
    before = signed.entry(8)
    leaf = signed.redact(8, "ground", "rights:dpo")
    signed.checkpoint()
    assert verify(signed).ok
    sql("UPDATE {entry} SET body = ?, salt = ? WHERE idx = 8", before.body, before.salt)
    assert_bad(verify(signed), FaultKind.REDACTION, 8)
    refusal = sql("SELECT refusal FROM {redaction} WHERE idx = 8")[0][0]
    sql("DELETE FROM {redaction}")
    marker = keyed_digests(signed.storage.dedup_key, event(8))[0]
    sql("INSERT INTO {marker} VALUES (?, 8)", marker)
    assert_bad(verify(signed), FaultKind.REDACTION, leaf)
    sql("INSERT INTO {redaction} VALUES (8, ?, ?)", leaf, refusal)


def test_a_refusal_that_was_altered(signed: Log, sql: Sql) -> None:
    signed.redact(8, "ground", "rights:dpo")
    signed.checkpoint()
    sql("UPDATE {redaction} SET refusal = ?", bytes(32))
    assert_bad(verify(signed), FaultKind.REDACTION, 8)


def test_missing_nodes_make_no_proof(signed: Log, sql: Sql) -> None:
    sql("UPDATE {entry} SET nodes = ? WHERE idx = 15", b"short")
    with pytest.raises(LogError, match="GOV-504"):
        signed.inclusion_proof(20, SIZE)
