"""The witness's rules, held against c2sp.org/tlog-witness, and its memory."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import LogError
from governance.log import tree
from governance.log.note import VerifierKey, add_signatures, checkpoint_text, read_signatures, sign_note
from governance.log.witnesses.cosignature import Cosignature, cosignatures
from governance.log.witnesses.witness import Answer, Request, Witness, recognise
from tests.signing_key import Key

ORIGIN = "example.com/log"
NAME = "witness.example/w1"
NOW = 1_800_000_000
LEAVES = [tree.leaf_hash(bytes([n])) for n in range(40)]


LOG, WITNESS, STRANGER = Key(b"l" * 32), Key(b"w" * 32), Key(b"s" * 32)


class Tree:
    """A tree of some leaves, and what a log submits of it."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.frontier = tree.Frontier()
        self.size = len(leaves)
        self._nodes: dict[tree.Node, bytes] = {}
        for index, leaf in enumerate(leaves):
            for level, value in enumerate(self.frontier.append(leaf)):
                self._nodes[level, index >> level] = value

    def read(self, nodes: list[tree.Node]) -> list[bytes]:
        return [self._nodes[node] for node in nodes]

    def note(self, *keys: Key, origin: str = ORIGIN) -> str:
        return sign_note(checkpoint_text(origin, self.size, self.frontier.root()), origin, *(keys or (LOG,)))

    def request(self, old: int, *keys: Key) -> bytes:
        return Request(old, tuple(self.proof(old)), self.note(*keys)).to_bytes()

    def proof(self, old: int) -> list[bytes]:
        return tree.consistency_proof(old, self.size, self.read) if old <= self.size else []


def grown(size: int) -> Tree:
    return Tree(LEAVES[:size])


def forked(size: int, at: int) -> Tree:
    return Tree([*LEAVES[:at], *(tree.leaf_hash(b"other" + bytes([n])) for n in range(size - at))])


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return made(tmp_path / "memory")


def made(memory: Path, *keys: VerifierKey) -> Witness:
    logs = keys or (VerifierKey.of(ORIGIN, LOG.public_key),)
    return Witness(WITNESS, NAME, logs, memory, lambda: NOW + 0.7)


def status(witness: Witness, body: bytes) -> int:
    answer = witness.add_checkpoint(body)
    assert (answer.status == 200) == answer.body.startswith("— ")
    return answer.status


def test_it_cosigns_what_extends_what_it_cosigned(witness: Witness) -> None:
    old = 0
    for size in (1, 2, 3, 7, 8, 8, 31, 40):
        answer = witness.add_checkpoint(grown(size).request(old))
        assert (answer.status, answer.content_type.split(";")[0]) == (200, "text/plain")
        note = add_signatures(grown(size).note(), read_signatures(answer.body))
        assert cosignatures(note, [witness.key]) == [Cosignature(witness.key, NOW)]
        old = size
    last = witness.last(ORIGIN)
    assert last is not None and (last.size, last.root) == (40, grown(40).frontier.root())


def test_the_published_race_of_torchwood(tmp_path: Path) -> None:
    # FiloSottile/torchwood, internal/witness/witness_test.go, TestRace: a log's notes and proofs.
    origin = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
    key = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
    first = f"""old 0

{origin}
1
KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

— {origin} UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=
"""
    three = f"""old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{origin}
3
RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=

— {origin} UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=
"""
    five = f"""old 1
KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=
KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

{origin}
5
QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=

— {origin} UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=
"""
    witness = made(tmp_path, VerifierKey.of(origin, key))
    assert status(witness, first.encode()) == 200
    assert status(made(tmp_path / "other", VerifierKey.of(origin, key)), first.encode()) == 200
    assert status(witness, five.encode()) == 200
    answer = witness.add_checkpoint(three.encode())
    assert (answer.status, answer.body, answer.content_type) == (409, "5\n", "text/x.tlog.size")
    last = witness.last(origin)
    assert last is not None and last.root.hex().startswith("42bb57ad06420afa")
    # TestTooManyProofs
    lines = "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64
    assert status(witness, first.replace("old 0\n", "old 0\n" + lines).encode()) == 400


@pytest.mark.parametrize(
    ("old", "size", "proof", "root", "expected"),
    [
        # FiloSottile/torchwood, TestZeroSize; for a wrong root of the empty tree the specification says 409,
        # because the old size matches the checkpoint's and the roots differ.
        (0, 0, 0, tree.EMPTY_ROOT, 200),
        (0, 0, 0, LEAVES[0], 409),
        (0, 0, 1, tree.EMPTY_ROOT, 422),
        (0, 1, 0, LEAVES[0], 200),
        (0, 1, 1, LEAVES[0], 422),
        (1, 0, 0, tree.EMPTY_ROOT, 400),
    ],
)
def test_the_smallest_trees(
    witness: Witness, old: int, size: int, proof: int, root: bytes, expected: int
) -> None:
    note = sign_note(checkpoint_text(ORIGIN, size, root), ORIGIN, LOG)
    assert status(witness, Request(old, (LEAVES[5],) * proof, note).to_bytes()) == expected
    assert (witness.last(ORIGIN) is not None) == (expected == 200)


def test_a_fork_is_not_cosigned(witness: Witness) -> None:
    assert status(witness, grown(20).request(0)) == 200
    before = witness.last(ORIGIN)
    for size in (21, 32, 40):
        for at in (0, 7, 19):
            fork = forked(size, at)
            assert status(witness, fork.request(20)) == 422
    assert status(witness, forked(20, 19).request(20)) == 409
    assert witness.last(ORIGIN) == before
    assert status(witness, grown(21).request(20)) == 200


def test_a_smaller_tree_is_not_cosigned(witness: Witness) -> None:
    assert status(witness, grown(20).request(0)) == 200
    for old in (0, 5, 19):
        answer = witness.add_checkpoint(grown(19).request(old))
        assert (answer.status, answer.body, answer.content_type) == (409, "20\n", "text/x.tlog.size")
    assert status(witness, grown(19).request(20)) == 400


def test_a_bad_proof_is_not_cosigned(witness: Witness) -> None:
    assert status(witness, grown(20).request(0)) == 200
    good, note = grown(33).proof(20), grown(33).note()
    for proof in (good[:-1], good[1:], [*good, good[0]], good[::-1], [], [good[0], *good[:-1]]):
        assert status(witness, Request(20, tuple(proof), note).to_bytes()) == 422
    assert status(witness, Request(20, tuple(good), note).to_bytes()) == 200


def test_other_logs_and_keys_are_refused(witness: Witness) -> None:
    other = sign_note(checkpoint_text("example.com/other", 1, LEAVES[0]), "example.com/other", LOG)
    assert status(witness, Request(0, (), other).to_bytes()) == 404
    assert status(witness, grown(1).request(0, STRANGER)) == 403
    # Another's valid line does not make up for a wrong one of the log's key.
    wrong = grown(2).note().split("\n\n")[1]
    assert status(witness, Request(0, (), grown(1).note(STRANGER) + wrong).to_bytes()) == 403
    assert status(witness, grown(1).request(0, STRANGER, LOG)) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 0\n\n",
        b"old -1\n\n",
        b"old 00\n\n",
        b"old 0 \n\n",
        b"OLD 0\n\n",
        b"old 99999999999999999999\n\n",
        b"old 0\nAAAA\n\n",
        b"old 0\n!\n\n",
        b"\xff\xfe\n\n",
    ],
)
def test_malformed_requests_are_bad(witness: Witness, body: bytes) -> None:
    assert status(witness, body) == 400
    assert status(witness, body + grown(1).note().encode()) in (400, 200)
    assert (status(witness, body + grown(1).note().encode()) == 200) <= (body == b"old 0\n\n")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 200))
def test_no_request_crashes_it_or_gets_a_line_it_should_not(noise: bytes, at: int, cut: int) -> None:
    body = grown(4).request(0)
    altered = body[:at] + noise + body[at + cut :]
    answer = recognise(altered, {ORIGIN: [VerifierKey.of(ORIGIN, LOG.public_key)]})
    if isinstance(answer, Answer):
        assert answer.status in (400, 403, 404)
    else:
        assert answer[1].text == grown(4).note().split("\n\n")[0] + "\n"


def test_a_rotated_log_is_cosigned_under_either_key(tmp_path: Path) -> None:
    new = Key(b"n" * 32)
    old_only = made(tmp_path / "a")
    assert status(old_only, grown(5).request(0, LOG, new)) == 200
    assert status(old_only, grown(6).request(5, new)) == 403
    both = made(
        tmp_path / "a", VerifierKey.of(ORIGIN, LOG.public_key), VerifierKey.of(ORIGIN, new.public_key)
    )
    assert status(both, grown(6).request(5, new)) == 200


def test_a_key_signs_as_log_or_as_witness(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="GOV-514"):
        made(tmp_path, VerifierKey.of(ORIGIN, WITNESS.public_key))
    with pytest.raises(LogError, match="GOV-514"):
        Witness(WITNESS, NAME, [], tmp_path, lambda: 0)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"checkpoint": 3}', b'{"checkpoint": "x"}', b"\xff"]
)
def test_a_witness_that_forgot_cosigns_nothing(tmp_path: Path, content: bytes) -> None:
    witness = made(tmp_path)
    assert status(witness, grown(4).request(0)) == 200
    [path] = tmp_path.glob("*.json")
    path.write_bytes(content)
    for body in (grown(5).request(4), forked(5, 2).request(0)):
        with pytest.raises(LogError, match="GOV-514"):
            witness.add_checkpoint(body)
    path.write_text(json.dumps({"checkpoint": grown(4).note(origin="example.com/other")}))
    with pytest.raises(LogError, match="GOV-514"):
        witness.add_checkpoint(grown(5).request(4))


def test_a_memory_that_cannot_be_written_cosigns_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="GOV-514"):
        made(tmp_path / "file")
    witness = made(tmp_path / "memory")
    assert status(witness, grown(4).request(0)) == 200
    request = grown(5).request(4)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, former[1]))
    try:
        with pytest.raises(LogError, match="GOV-514"):
            witness.add_checkpoint(request)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    last = witness.last(ORIGIN)
    assert last is not None and last.size == 4


def test_many_at_once_cosign_one_history(tmp_path: Path) -> None:
    """Each round, honest and forked extensions race over one memory: exactly one of them wins."""
    witnesses = [made(tmp_path) for _ in range(4)]
    assert status(witnesses[0], grown(3).request(0)) == 200
    size = 3
    for _ in range(5):
        trees = [*(grown(size + n) for n in (1, 2)), *(forked(size + n, size) for n in (1, 2))]
        last = witnesses[0].last(ORIGIN)
        assert last is not None
        winners: list[int] = []
        barrier = threading.Barrier(len(trees))

        def submit(number: int) -> None:
            barrier.wait()  # noqa: B023
            if status(witnesses[number], trees[number].request(size)) == 200:  # noqa: B023
                winners.append(number)  # noqa: B023

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(len(trees))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        won = trees[winners[0]]
        if winners[0] > 1:
            return  # a fork that nobody saw the other side of: from here on it is the history
        size = won.size


KILLED = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
import test_log_witness as t
witness = t.made(Path(sys.argv[2]))
size = 0
while True:
    size = size % 40 + 1 if size < 40 else 40
    t.status(witness, t.grown(size).request(size - 1 if size < 40 else 40))
    print(size, flush=True)
"""


def test_killed_at_any_point_it_remembers_what_it_cosigned(tmp_path: Path) -> None:
    for round_ in range(4):
        memory = tmp_path / str(round_)
        path = ":".join([str(Path(__file__).parent)])
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, path, str(memory)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(5 + 7 * round_):
            answered = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        answered = int(rest[-1]) if rest else answered
        last = made(memory).last(ORIGIN)
        assert last is not None and last.size >= answered
        assert last.root == grown(last.size).frontier.root()
