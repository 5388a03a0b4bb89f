"""The signer's memory."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from governance.errors import LogError
from governance.log import CheckpointSigner, parse_checkpoint, tree
from tests.signing_key import Key

ORIGIN = "example.com/log"


class MemoryLog:
    """A log's tree without a log."""

    def __init__(self, *leaves: bytes) -> None:
        self.frontier = tree.Frontier()
        self._nodes: dict[tree.Node, bytes] = {}
        self.note: str | None = None
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        index = self.frontier.size
        for level, value in enumerate(self.frontier.append(tree.leaf_hash(leaf))):
            self._nodes[level, index >> level] = value

    def size(self) -> int:
        return self.frontier.size

    def nodes(self, nodes: list[tree.Node]) -> list[bytes]:
        return [self._nodes[node] for node in nodes]

    def signed_by(self, signer: CheckpointSigner) -> int:
        checkpoint = signer.sign(self.size, self.nodes, lambda: self.note)
        assert parse_checkpoint(checkpoint.note, signer.vkey).root == self.frontier.root()
        self.note = checkpoint.note
        return checkpoint.size


def signer(path: Path, seed: bytes = bytes(range(32)), origin: str = ORIGIN) -> CheckpointSigner:
    return CheckpointSigner(Key(seed), origin, path)


def refuses(log: MemoryLog, by: CheckpointSigner) -> str:
    before = by.memory.read_bytes() if by.memory.exists() else None
    with pytest.raises(LogError) as caught:
        by.sign(log.size, log.nodes, lambda: log.note)
    assert caught.value.code == "GOV-503"
    assert (by.memory.read_bytes() if by.memory.exists() else None) == before
    return caught.value.message


def test_it_remembers_what_it_signed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "memory.json"
    log = MemoryLog()
    assert signer(path).last() is None
    assert log.signed_by(signer(path)) == 0
    for size in range(1, 20):
        log.append(bytes([size]))
        assert log.signed_by(signer(path)) == size
        last = signer(path).last()
        assert last is not None
        assert last.size == size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["memory.json", "memory.json.lock"]


def test_the_same_tree_gives_the_same_note(tmp_path: Path) -> None:
    log = MemoryLog(b"1", b"2")
    one = signer(tmp_path / "memory").sign(log.size, log.nodes, lambda: None)
    assert signer(tmp_path / "memory").sign(log.size, log.nodes, lambda: one.note) == one


@pytest.mark.parametrize(
    "other",
    [
        MemoryLog(b"1", b"2"),
        MemoryLog(b"1", b"2", b"x"),
        MemoryLog(b"1", b"2", b"x", b"4"),
        MemoryLog(b"x", b"2", b"3", b"4", b"5"),
        MemoryLog(),
    ],
)
def test_another_history_is_refused(tmp_path: Path, other: MemoryLog) -> None:
    log = MemoryLog(b"1", b"2", b"3")
    log.signed_by(signer(tmp_path / "memory"))
    other.note = None
    refuses(other, signer(tmp_path / "memory"))
    log.append(b"4")
    assert log.signed_by(signer(tmp_path / "memory")) == 4


def test_nodes_that_hide_a_rewritten_past_are_refused(tmp_path: Path) -> None:
    """The old frontier is left in the store, the tree above it belongs to another history."""
    log = MemoryLog(b"1", b"2", b"3")
    log.signed_by(signer(tmp_path / "memory"))
    forged = MemoryLog(b"x", b"2", b"3", b"4", b"5")
    for node in tree.subtrees(0, 3):
        forged._nodes[node] = log._nodes[node]
    refuses(forged, signer(tmp_path / "memory"))


def test_a_lost_memory_is_not_taken_for_a_first_time(tmp_path: Path) -> None:
    log = MemoryLog(b"1", b"2")
    log.signed_by(signer(tmp_path / "memory"))
    assert log.note is not None
    (tmp_path / "memory").unlink()
    assert "remembers none" in refuses(log, signer(tmp_path / "memory"))
    assert signer(tmp_path / "memory").adopt(log.note, 2, log.nodes).size == 2
    log.append(b"3")
    assert log.signed_by(signer(tmp_path / "memory")) == 3


def test_only_a_lost_memory_can_be_adopted(tmp_path: Path) -> None:
    log = MemoryLog(b"1", b"2")
    log.signed_by(signer(tmp_path / "memory"))
    fork = MemoryLog(b"x", b"2", b"3")
    fork.signed_by(signer(tmp_path / "other"))
    assert fork.note is not None
    with pytest.raises(LogError, match="GOV-503"):
        signer(tmp_path / "memory").adopt(fork.note, 3, fork.nodes)
    with pytest.raises(LogError, match="GOV-506"):
        signer(tmp_path / "third", bytes(32)).adopt(fork.note, 3, fork.nodes)
    with pytest.raises(LogError, match="GOV-503"):
        signer(tmp_path / "third").adopt(fork.note, 2, log.nodes)
    other = MemoryLog(b"1", b"2", b"3")
    with pytest.raises(LogError, match="GOV-503"):
        signer(tmp_path / "third").adopt(fork.note, 3, other.nodes)
    assert not (tmp_path / "third").exists()


def test_a_memory_behind_the_store_is_held_to_the_stores_checkpoint_too(tmp_path: Path) -> None:
    log = MemoryLog(b"1", b"2")
    log.signed_by(signer(tmp_path / "memory"))
    old = (tmp_path / "memory").read_bytes()
    log.append(b"3")
    log.signed_by(signer(tmp_path / "memory"))
    (tmp_path / "memory").write_bytes(old)
    fork = MemoryLog(b"1", b"2", b"x", b"4")
    fork.note = log.note
    refuses(fork, signer(tmp_path / "memory"))
    log.append(b"4")
    assert log.signed_by(signer(tmp_path / "memory")) == 4


def test_another_log_is_refused(tmp_path: Path) -> None:
    MemoryLog(b"1").signed_by(signer(tmp_path / "memory"))
    with pytest.raises(LogError) as caught:
        signer(tmp_path / "memory", origin="example.com/other")
    assert caught.value.code == "GOV-503"
    with pytest.raises(LogError, match="GOV-511"):
        signer(tmp_path / "memory", seed=bytes(32))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"origin": "example.com/log", "checkpoint": "x"}',
        b'{"origin": "example.com/log", "checkpoint": 3}',
    ],
)
def test_a_damaged_memory_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "memory").write_bytes(content)
    with pytest.raises(LogError) as caught:
        signer(tmp_path / "memory")
    assert caught.value.code == "GOV-506"


def test_a_memory_altered_by_hand_is_refused(tmp_path: Path) -> None:
    log = MemoryLog(b"1", b"2")
    log.signed_by(signer(tmp_path / "memory"))
    members = json.loads((tmp_path / "memory").read_text())
    members["checkpoint"] = members["checkpoint"].replace("\n2\n", "\n1\n")
    (tmp_path / "memory").write_text(json.dumps(members))
    with pytest.raises(LogError, match="GOV-506"):
        signer(tmp_path / "memory")


def test_signers_take_turns(tmp_path: Path) -> None:
    log = MemoryLog(*(bytes([number]) for number in range(50)))
    sizes = iter(range(1, 50))
    failures: list[BaseException] = []

    def sign() -> None:
        try:
            for _ in range(10):
                signer(tmp_path / "memory").sign(lambda: next(sizes), log.nodes, lambda: log.note)
        except BaseException as error:
            failures.append(error)

    log.note = signer(tmp_path / "memory").sign(lambda: 0, log.nodes, lambda: None).note
    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    last = signer(tmp_path / "memory").last()
    assert last is not None
    assert last.size == 40
