"""Rotation of the checkpoint key: how a pinned key leads to the one that signs now, and nothing else does.

A rotation is a leaf that names the old and the new key, signed by both, and a checkpoint that ends with
that leaf, signed by both (https://c2sp.org/tlog-checkpoint: unknown signatures are ignored, which "enables,
for example, log key rotation"). The two together are a *handover*. So who pinned either key can check the
handover alone: the pinned key itself signed the statement, and the tree that holds it. Up to the handover's
size the old key speaks for the log, from there on the new one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.errors import LogError
from governance.log import tree
from governance.log.envelope import Envelope
from governance.log.log import KEY_ROTATION, Log
from governance.log.note import (
    Checkpoint,
    VerifierKey,
    open_note,
    read_checkpoint,
    split_note,
    verifies,
    vkey_of,
)
from governance.log.proof import InclusionProof, verify_entry
from governance.log.sealing import NewEntry
from governance.log.signer import CheckpointSigner
from governance.log.storage import Storage
from governance.model.canonical import canonical, timestamp
from governance.model.evidence import Signer

_CONTEXT = b"governance key rotation v1\n"
_MEMBERS = frozenset({"v", "origin", "old", "new", "at", "signatures"})
_REMEDY = "Do not move the pin: ask whoever runs the log for its key, the way you got the pinned one."


@dataclass(frozen=True, slots=True)
class Handover:
    """A rotation as it travels: the entry that names the keys, and the checkpoint that ends with it."""

    leaf: bytes
    salt: bytes
    body: bytes
    proof: InclusionProof
    note: str

    def to_json(self) -> dict[str, Any]:
        """Byte strings in base64."""
        return {
            "leaf": _text(self.leaf),
            "salt": _text(self.salt),
            "body": _text(self.body),
            "proof": self.proof.to_json(),
            "checkpoint": self.note,
        }

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Handover:
        """The inverse of :meth:`to_json`. Raises GOV-511 when it is malformed."""
        try:
            leaf, salt, body = (base64.b64decode(members[n], validate=True) for n in ("leaf", "salt", "body"))
            proof = InclusionProof.from_json(members["proof"])
            return cls(leaf, salt, body, proof, str(members["checkpoint"]))
        except (ValueError, TypeError, KeyError, LogError):
            raise _invalid("a key rotation is malformed") from None

    def checked(self) -> tuple[VerifierKey, VerifierKey, Checkpoint]:
        """Old key, new key and the checkpoint both signed, everything verified but who they are.

        Raises:
            LogError: GOV-511 when anything does not hold.
        """
        try:
            envelope = Envelope.from_leaf(self.leaf)
            old, new = _statement(self.body)
            checkpoint = read_checkpoint(self.note)
            if envelope.media_type != KEY_ROTATION or not envelope.covers(self.salt, self.body):
                raise _invalid("the leaf of a key rotation does not commit to its statement")
            if checkpoint.origin != old.name or self.proof.index != checkpoint.size - 1:
                raise _invalid(
                    "a key rotation and its checkpoint are not of one log, or it does not end with it"
                )
            for key in (old, new):
                open_note(self.note, [key])
            verify_entry(self.leaf, self.proof, checkpoint)
        except LogError as error:
            if error.code == "GOV-511":
                raise
            raise _invalid(f"a key rotation does not hold: {error.message}") from None
        return old, new, checkpoint


@dataclass(frozen=True, slots=True)
class Term:
    """That ``key`` speaks for the log's trees of size ``first`` to ``last`` (None: it still does).

    At the size of a handover both keys do.
    """

    key: VerifierKey
    first: int
    last: int | None

    def spans(self, size: int) -> bool:
        """Whether a tree of this size is within the term."""
        return self.first <= size and (self.last is None or size <= self.last)


def follow(pinned: VerifierKey, handovers: Iterable[Handover]) -> list[Term]:
    """The log's keys in order, as far as handovers lead from the pinned one, both ways.

    Forwards the pinned key signed who comes next; backwards it signed who was before, and the tree up to
    there. Handovers that do not connect are left alone: they move nothing.

    Raises:
        LogError: GOV-511 when a handover that names a key of the chain does not hold, or two contradict.
    """
    checked = []
    for handover in handovers:
        old, new = _statement(handover.body)
        checked.append((old, new, handover))
    chain = [pinned]
    sizes: list[int] = []
    while found := [item for item in checked if item[0] == chain[-1]]:
        size = _size(found, sizes[-1] if sizes else 0)
        sizes.append(size)
        chain.append(found[0][1])
    while found := [item for item in checked if item[1] == chain[0]]:
        size = _size(found, 0)
        if sizes and size > sizes[0]:
            raise _invalid("key rotations contradict each other")
        sizes.insert(0, size)
        chain.insert(0, found[0][0])
    bounds = [0, *sizes]
    return [
        Term(key, bounds[place], sizes[place] if place < len(sizes) else None)
        for place, key in enumerate(chain)
    ]


def open_checkpoint(note: str, terms: Sequence[Term]) -> Checkpoint:
    """A checkpoint signed by the key in whose term its size falls.

    Raises:
        LogError: GOV-506 when it is malformed or not so signed, GOV-511 when a retired key signed it.
    """
    checkpoint = read_checkpoint(note)
    keys = [term.key for term in terms]
    if checkpoint.origin != keys[0].name:
        raise LogError("GOV-506", "a checkpoint's origin is not the pinned key's name", _REMEDY)
    open_note(note, keys)
    signers = {(signature.name, signature.key_id) for signature in split_note(note)[1]}
    valid = [term for term in terms if (term.key.name, term.key.key_id) in signers]
    if not any(term.spans(checkpoint.size) for term in valid):
        raise _invalid(f"a checkpoint of size {checkpoint.size} is signed by a key outside its term")
    return checkpoint


def handovers(storage: Storage, notes: Iterable[str] = ()) -> Iterator[Handover]:
    """The handovers that a store and notes from outside hold; who signed them is for :func:`follow`.

    A handover's checkpoint has two signatures under the origin's name, and the leaf is its last.
    """
    seen = set()
    for note in [*storage.checkpoints(), *notes]:
        if note.count(f"\n— {storage.origin} ") < 2:
            continue
        try:
            checkpoint = read_checkpoint(note)
            index = checkpoint.size - 1
            if index < 0 or index in seen:
                continue
            [row] = storage.read(index, index + 1)
            if row.body is None or row.salt is None or _media_type(row.leaf) != KEY_ROTATION:
                continue
            hashes = tuple(tree.inclusion_proof(index, checkpoint.size, storage.nodes))
            proof = InclusionProof(index, checkpoint.size, hashes)
            handover = Handover(row.leaf, row.salt, row.body, proof, note)
            handover.checked()
        except (LogError, ValueError):
            # Damaged or truncated: the verification of the log says so, and the pin does not move.
            continue
        seen.add(index)
        yield handover


def rotate(
    log: Log, signer: CheckpointSigner, successor: Signer, at: datetime, principal: str
) -> tuple[VerifierKey, Checkpoint]:
    """Hand the log over to another key. ``signer`` signs with it when this returns.

    Killed before the checkpoint is remembered, the old key goes on and the leaf means nothing; killed
    after, the new key signs and :meth:`Log.checkpoint` puts the checkpoint into the store.

    Returns:
        The new public key and the checkpoint that both keys signed.

    Raises:
        LogError: GOV-503 when the log does not extend what was signed before, GOV-511 when the statement
            was in the log already.
    """
    storage = log.storage

    def append(current: Signer) -> int:
        body = _signed_statement(log.origin, current, successor, at)
        return log.append([NewEntry(body, KEY_ROTATION, principal)])[0]

    checkpoint = signer.hand_over(successor, append, storage.nodes, storage.latest_checkpoint)
    storage.save_checkpoint(checkpoint.size, checkpoint.note)
    return VerifierKey.of(log.origin, successor.public_key), checkpoint


def _signed_statement(origin: str, current: Signer, successor: Signer, at: datetime) -> bytes:
    said: dict[str, Any] = {
        "v": 1,
        "origin": origin,
        "old": vkey_of(origin, current.public_key),
        "new": vkey_of(origin, successor.public_key),
        "at": timestamp(at),
    }
    covered = _CONTEXT + canonical(said)
    said["signatures"] = {"old": _text(current.sign(covered)), "new": _text(successor.sign(covered))}
    return canonical(said)


def _statement(body: bytes) -> tuple[VerifierKey, VerifierKey]:
    """Old and new key of a statement that both signed.

    Raises:
        LogError: GOV-511.
    """
    try:
        said = json.loads(body)
        if said.keys() != _MEMBERS or said["v"] != 1 or canonical(said) != body:
            raise ValueError
        old, new = VerifierKey.parse(said["old"]), VerifierKey.parse(said["new"])
        signatures = said.pop("signatures")
        covered = _CONTEXT + canonical(said)
        signed = all(
            verifies(key.public_key, base64.b64decode(signatures[side], validate=True), covered)
            for side, key in (("old", old), ("new", new))
        )
        if not signed or old.name != said["origin"] or new.name != said["origin"] or old == new:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, LogError):
        raise _invalid("the statement of a key rotation is malformed or not signed by both keys") from None
    return old, new


def _size(found: Sequence[tuple[VerifierKey, VerifierKey, Handover]], above: int) -> int:
    """The size at which one key became another."""
    sizes = set()
    for old, new, handover in found:
        if handover.checked()[:2] != (old, new) or (old, new) != found[0][:2]:
            raise _invalid("key rotations contradict each other")
        sizes.add(handover.proof.size)
    size = min(sizes)
    if size <= above:
        raise _invalid("key rotations contradict each other")
    return size


def _media_type(leaf: bytes) -> str:
    return Envelope.from_leaf(leaf).media_type


def _invalid(what: str) -> LogError:
    return LogError("GOV-511", what, _REMEDY)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
