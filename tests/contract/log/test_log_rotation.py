"""Key rotation on every storage: the pin follows handovers and nothing else."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from governance.errors import LogError
from governance.log import CheckpointSigner, Log, NewEntry, open_storage, tree, verify_log
from governance.log.archives.archive import Selection, archive
from governance.log.archives.archive_file import verify_archive
from governance.log.log import KEY_ROTATION
from governance.log.note import (
    VerifierKey,
    add_signatures,
    checkpoint_text,
    read_checkpoint,
    sign_note,
    split_note,
)
from governance.log.rotation import Handover, follow, handovers, open_checkpoint, rotate
from governance.model.canonical import canonical
from tests.contract.log.archived_log import LATER, event
from tests.signing_key import Key

ORIGIN = "example.com/log"

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


OLD, NEW, THIRD, EVIL = (Key(bytes([n]) * 32) for n in range(1, 5))
OPERATOR = "admin:cli"
_CONTEXT = b"governance key rotation v1\n"


def key_of(key: Key, origin: str = ORIGIN) -> VerifierKey:
    return VerifierKey.of(origin, key.public_key)


class World:
    """A log, its signer and what the key store says the key is."""

    def __init__(self, location: str, memory: Path, key: Key) -> None:
        self.location, self.memory = location, memory
        ticks = count()
        self.clock = lambda: START + timedelta(microseconds=next(ticks))
        self.current: Key = key
        self.signer = CheckpointSigner(key, ORIGIN, memory, lambda _: self.current)
        self.log = Log(
            open_storage(location, create=True, origin=ORIGIN), signer=self.signer, clock=self.clock
        )
        self.count = 0

    def append(self, entries: int = 1) -> None:
        for _ in range(entries):
            self.count += 1
            self.log.append([NewEntry(b"event %d" % self.count, "text/plain", "ingest:test")])

    def rotate(self, successor: Key) -> None:
        rotate(self.log, self.signer, successor, self.clock(), OPERATOR)
        self.current = successor

    def found(self) -> list[Handover]:
        return list(handovers(self.log.storage))

    def verdict(self, pinned: Key, *notes: str) -> str:
        report = verify_log(self.log.storage, str(key_of(pinned)), notes)
        return "ok" if report.ok else report.reason


@pytest.fixture
def world(location: str, tmp_path: Path) -> Iterator[World]:
    made = World(location, tmp_path / "memory", OLD)
    yield made
    made.log.close()


def test_whoever_pinned_any_key_follows(world: World) -> None:
    world.append(3)
    before = world.log.checkpoint()
    world.rotate(NEW)
    world.append(4)
    between = world.log.checkpoint()
    world.rotate(THIRD)
    world.append(2)
    after = world.log.checkpoint()
    for pinned in (OLD, NEW, THIRD):
        report = verify_log(world.log.storage, str(key_of(pinned)), [before.note, between.note, after.note])
        assert report.ok and report.compared == 8
        terms = [(term.key, term.first, term.last) for term in report.keys]
        assert terms == [(key_of(OLD), 0, 4), (key_of(NEW), 4, 9), (key_of(THIRD), 9, None)]
    assert "not signed by" in world.verdict(EVIL)


def test_an_archive_verifies_under_a_key_pinned_before(world: World, tmp_path: Path) -> None:
    world.log.append([event(number) for number in range(5)])
    world.rotate(NEW)
    world.append()
    world.log.checkpoint()
    [row] = archive(world.log, tmp_path / "archives", Selection(LATER), ground="old", authoriser=OPERATOR)
    with pytest.raises(LogError, match="GOV-506"):
        verify_archive(row.path, str(key_of(OLD)))
    for pinned in (OLD, NEW):
        assert verify_archive(row.path, str(key_of(pinned)), world.found()).header.origin == ORIGIN
    with pytest.raises(LogError, match="GOV-506"):
        verify_archive(row.path, str(key_of(EVIL)), world.found())


def test_the_handover_is_signed_by_both_and_ends_with_the_leaf(world: World) -> None:
    world.append(3)
    world.rotate(NEW)
    note = world.log.storage.latest_checkpoint()
    assert note is not None
    assert [s.key_id for s in split_note(note)[1]] == [key_of(OLD).key_id, key_of(NEW).key_id]
    entry = world.log.entry(read_checkpoint(note).size - 1)
    assert (entry.envelope.media_type, entry.envelope.principal) == (KEY_ROTATION, OPERATOR)
    said = json.loads(entry.body or b"")
    assert (said["old"], said["new"]) == (str(key_of(OLD)), str(key_of(NEW)))
    assert world.log.checkpoint().note == note
    assert world.log.latest() is not None
    with pytest.raises(LogError, match="GOV-509"):
        world.log.redact(entry.index, "a ground", "rights:dpo")


def test_a_handover_travels(world: World) -> None:
    world.append(5)
    world.rotate(NEW)
    [handover] = [Handover.from_json(json.loads(canonical(h.to_json()))) for h in world.found()]
    assert [str(t.key) for t in follow(key_of(OLD), [handover])] == [str(key_of(OLD)), str(key_of(NEW))]
    members = handover.to_json()
    for name in members:
        with pytest.raises(LogError, match="GOV-511"):
            Handover.from_json({**members, name: "!"}).checked()
        with pytest.raises(LogError, match="GOV-511"):
            Handover.from_json({n: v for n, v in members.items() if n != name})


def test_a_retired_key_signs_no_more(world: World) -> None:
    world.append(2)
    old_signer = world.signer
    world.rotate(NEW)
    world.append(2)
    checkpoint = world.log.checkpoint()
    stolen = sign_note(checkpoint.text, ORIGIN, OLD)
    terms = follow(key_of(OLD), world.found())
    with pytest.raises(LogError, match="GOV-511"):
        open_checkpoint(stolen, terms)
    assert open_checkpoint(checkpoint.note, terms).size == 5
    assert "outside its term" in world.verdict(OLD, stolen)
    # And the new key does not speak for trees from before its time.
    early = sign_note(
        read_checkpoint(world.log.storage.checkpoints()[0]).text.replace("3", "2", 1), ORIGIN, NEW
    )
    with pytest.raises(LogError, match="GOV-511"):
        open_checkpoint(early, terms)
    assert old_signer.vkey == str(key_of(NEW))


def test_another_process_goes_on_with_the_new_key(world: World) -> None:
    world.append(2)
    world.log.checkpoint()
    other = CheckpointSigner(OLD, ORIGIN, world.memory, lambda _: world.current)
    stale = CheckpointSigner(OLD, ORIGIN, world.memory)
    storage = world.log.storage
    world.rotate(NEW)
    world.append()
    with pytest.raises(LogError, match="GOV-511"):
        stale.sign(storage.size, storage.nodes, storage.latest_checkpoint)
    note = other.sign(storage.size, storage.nodes, storage.latest_checkpoint).note
    assert [s.key_id for s in split_note(note)[1]] == [key_of(NEW).key_id]
    assert other.vkey == str(key_of(NEW))
    with pytest.raises(LogError, match="GOV-511"):
        rotate(world.log, other, NEW, world.clock(), OPERATOR)


def test_two_rotations_at_once_hand_over_once_each(world: World) -> None:
    world.append(1)
    refused: list[str] = []

    def go() -> None:
        signer = CheckpointSigner(OLD, ORIGIN, world.memory, lambda _: NEW)
        try:
            rotate(world.log, signer, NEW, world.clock(), OPERATOR)
        except LogError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["GOV-511"] * 3
    assert len(world.found()) == 1
    world.current = NEW
    world.append()
    world.log.checkpoint()
    assert world.verdict(OLD) == world.verdict(NEW) == "ok"


def test_killed_after_the_leaf_the_old_key_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(2)
    world.log.checkpoint()

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CheckpointSigner, "_signed", killed)
        with pytest.raises(KeyboardInterrupt):
            world.rotate(NEW)
    assert world.log.size() == 3
    world.log.checkpoint()
    assert world.found() == []
    assert world.verdict(OLD) == "ok" and "not signed by" in world.verdict(NEW)
    world.rotate(NEW)
    world.append()
    world.log.checkpoint()
    assert world.verdict(OLD) == world.verdict(NEW) == "ok"


def test_killed_before_the_store_has_the_handover_it_gets_it_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(2)
    world.log.checkpoint()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(world.log.storage, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            world.rotate(NEW)
    assert world.found() == []
    world.current = NEW
    world.append(3)
    restarted = CheckpointSigner(NEW, ORIGIN, world.memory)
    world.log = Log(world.log.storage, signer=restarted, clock=world.clock)
    world.log.checkpoint()
    assert len(world.found()) == 1
    assert world.verdict(OLD) == world.verdict(NEW) == "ok"


def test_the_same_statement_twice_is_refused(world: World) -> None:
    world.append(2)
    at = world.clock()
    rotate(world.log, world.signer, NEW, at, OPERATOR)
    world.signer._private_key = OLD
    world.memory.unlink()
    world.log.adopt(world.log.storage.latest_checkpoint() or "")
    with pytest.raises(LogError, match="GOV-511"):
        rotate(world.log, world.signer, NEW, at, OPERATOR)


def statement(old: Key, new: Key, *signers: Key, origin: str = ORIGIN, **changed: Any) -> bytes:
    said: dict[str, Any] = {
        "v": 1,
        "origin": origin,
        "old": str(key_of(old, origin)),
        "new": str(key_of(new, origin)),
        "at": "2026-01-31T12:00:00.000000Z",
        **changed,
    }
    covered = _CONTEXT + canonical(said)
    first, second = (base64.b64encode(key.sign(covered)).decode() for key in signers)
    return canonical(said | {"signatures": {"old": first, "new": second}})


def forge(
    world: World, body: bytes, *keys: Key, size: int | None = None, media_type: str = KEY_ROTATION
) -> str:
    """Append a statement, sign the tree that ends with it as somebody who holds ``keys``, keep the note."""
    world.append(2)
    index = world.log.append([NewEntry(body, media_type, "ingest:attacker")])[0]
    world.append(1)
    root = world.log.storage
    at = index + 1 if size is None else index + size
    text = checkpoint_text(ORIGIN, at, tree.root(at, root.nodes))
    note = sign_note(text, ORIGIN, *keys)
    root.save_checkpoint(at, note)
    return note


FORGERIES: dict[str, Callable[[World], str]] = {
    "the attacker alone signed the statement": lambda w: forge(
        w, statement(OLD, EVIL, EVIL, EVIL), OLD, EVIL
    ),
    "only the old key signed the statement": lambda w: forge(w, statement(OLD, EVIL, OLD, OLD), OLD, EVIL),
    "only the new key signed the tree": lambda w: forge(w, statement(OLD, EVIL, OLD, EVIL), EVIL),
    "the attacker signed the tree twice": lambda w: forge(w, statement(OLD, EVIL, OLD, EVIL), EVIL, THIRD),
    "it is of another origin": lambda w: forge(
        w, statement(OLD, EVIL, OLD, EVIL, origin="example.com/other"), OLD, EVIL
    ),
    "it says another origin": lambda w: forge(
        w, statement(OLD, EVIL, OLD, EVIL, origin="x.example"), OLD, EVIL
    ),
    "the tree does not end with it": lambda w: forge(w, statement(OLD, EVIL, OLD, EVIL), OLD, EVIL, size=2),
    "it is no rotation leaf": lambda w: forge(
        w, statement(OLD, EVIL, OLD, EVIL), OLD, EVIL, media_type="application/json"
    ),
    "it is of another version": lambda w: forge(w, statement(OLD, EVIL, OLD, EVIL, v=2), OLD, EVIL),
    "its keys are one": lambda w: forge(w, statement(OLD, OLD, OLD, OLD), OLD, EVIL),
    "another key was before": lambda w: forge(w, statement(THIRD, EVIL, THIRD, EVIL), OLD, EVIL),
    "it is no JSON": lambda w: forge(w, b"\xff\x00", OLD, EVIL),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_rotation_moves_nothing(world: World, forgery: Callable[[World], str]) -> None:
    world.append(2)
    world.log.checkpoint()
    forgery(world)
    assert [term.key for term in follow(key_of(OLD), world.found())] == [key_of(OLD)]
    terms = follow(key_of(OLD), world.found())
    size = world.log.size()
    later = sign_note(checkpoint_text(ORIGIN, size, tree.root(size, world.log.storage.nodes)), ORIGIN, EVIL)
    with pytest.raises(LogError, match="GOV-506"):
        open_checkpoint(later, terms)
    assert "not signed by" in world.verdict(OLD, later)


def test_a_leaf_that_is_not_in_the_tree_moves_nothing(world: World) -> None:
    world.append(2)
    world.rotate(NEW)
    [true] = world.found()
    for altered in (
        replace(true, leaf=true.leaf.replace(b"admin:cli", b"admin:clj")),
        replace(true, salt=bytes(32)),
        replace(true, body=statement(OLD, EVIL, OLD, EVIL)),
        replace(true, proof=replace(true.proof, index=true.proof.index - 1)),
        replace(true, proof=replace(true.proof, hashes=true.proof.hashes[:-1])),
        replace(true, note=sign_note(read_checkpoint(true.note).text, ORIGIN, NEW, EVIL)),
    ):
        with pytest.raises(LogError, match="GOV-511"):
            terms = follow(key_of(OLD), [altered])
            assert terms[-1].key != key_of(OLD), "it was left alone"


def test_two_successors_are_a_contradiction(world: World) -> None:
    """Who holds the old key can rotate it twice; then neither successor is believed."""
    world.append(2)
    world.rotate(NEW)
    forge(world, statement(OLD, EVIL, OLD, EVIL), OLD, EVIL)
    with pytest.raises(LogError, match="GOV-511"):
        follow(key_of(OLD), world.found())
    assert "contradict" in verify_log(world.log.storage, str(key_of(OLD))).faults[0].reason


def test_an_attackers_extra_line_does_not_make_a_handover(world: World) -> None:
    world.append(2)
    world.log.append([NewEntry(statement(OLD, EVIL, EVIL, EVIL), KEY_ROTATION, "ingest:attacker")])
    checkpoint = world.log.checkpoint()
    line = split_note(sign_note(checkpoint.text, ORIGIN, EVIL))[1]
    note = add_signatures(checkpoint.note, line)
    assert world.log.storage.replace_checkpoint(checkpoint.size, checkpoint.note, note)
    assert world.found() == []
    assert world.verdict(OLD) == "ok"


def test_a_note_is_replaced_only_while_it_is_the_one_kept(world: World) -> None:
    world.append(2)
    checkpoint = world.log.checkpoint()
    storage = world.log.storage
    assert storage.replace_checkpoint(2, checkpoint.note, "second")
    assert not storage.replace_checkpoint(2, checkpoint.note, "third")
    assert not storage.replace_checkpoint(1, "second", "third")
    assert storage.checkpoints() == ["second"]
