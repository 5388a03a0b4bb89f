"""Asks witnesses to cosign a checkpoint and keeps the lines they answer (https://c2sp.org/tlog-witness).

A witness that is down, slow or wrong never stops a log from signing: the checkpoint then lacks its line, and
whoever pins that witness sees so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from governance.errors import LogError
from governance.log import tree
from governance.log.note import Checkpoint, Signature, add_signatures, read_checkpoint, read_signatures
from governance.log.storage import Storage
from governance.log.witnesses.cosignature import Cosignature, cosignatures
from governance.log.witnesses.post import Posted, Unreachable, post
from governance.log.witnesses.trust import Trust, WitnessAt
from governance.log.witnesses.witness import Request

_REST_S = 60.0
_ATTEMPTS = 3
_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    COSIGNED = "cosigned"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of one request. ``contradicted``: the witness cosigned another history of this log."""

    witness: WitnessAt
    outcome: Outcome
    reason: str = ""
    signature: Signature | None = None


class WitnessClient:
    """Asks the witnesses of ``trust``. Safe to share between threads.

    Args:
        monotonic: seconds; tells how long ago a witness failed.
    """

    def __init__(self, trust: Trust, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.trust = trust
        self._monotonic = monotonic
        self._sizes: dict[bytes, int] = {}
        self._resting: dict[bytes, float] = {}

    def cosigned(self, storage: Storage, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with the cosignatures that can be had; those it has are not asked for again.

        A witness that failed is not asked again for a minute, so that it does not slow each signature.
        """
        has = {signature.witness.key_id for signature in self._held(checkpoint)}
        now = self._monotonic()
        asked = [
            witness
            for witness in self.trust.witnesses
            if witness.key.key_id not in has and self._resting.get(witness.key.key_id, now) <= now
        ]
        return self.submit(storage, checkpoint, asked)[0] if asked else checkpoint

    def submit(
        self, storage: Storage, checkpoint: Checkpoint, witnesses: Sequence[WitnessAt] | None = None
    ) -> tuple[Checkpoint, list[Submission]]:
        """Ask all witnesses at once, keep the lines that verify; one answer a witness, in their order."""
        asked = self.trust.witnesses if witnesses is None else witnesses
        if not asked:
            return checkpoint, []
        deadline = self._monotonic() + self.trust.timeout
        with ThreadPoolExecutor(len(asked), "governance-witness") as pool:
            answers = list(pool.map(lambda witness: self._ask(storage, checkpoint, witness, deadline), asked))
        for answer in answers:
            key_id = answer.witness.key.key_id
            if answer.outcome is Outcome.COSIGNED:
                self._resting.pop(key_id, None)
            else:
                self._resting[key_id] = self._monotonic() + _REST_S
                _log.warning(
                    "GOV-512 witness %s, size %d: %s, %s",
                    answer.witness.key.name,
                    checkpoint.size,
                    answer.outcome,
                    answer.reason,
                )
        lines = [answer.signature for answer in answers if answer.signature is not None]
        return keep(storage, checkpoint, lines), answers

    def _held(self, checkpoint: Checkpoint) -> Sequence[Cosignature]:
        try:
            return cosignatures(checkpoint.note, [witness.key for witness in self.trust.witnesses])
        except LogError:
            return ()

    def _ask(
        self, storage: Storage, checkpoint: Checkpoint, witness: WitnessAt, deadline: float
    ) -> Submission:
        key_id = witness.key.key_id
        old = min(self._sizes.get(key_id, 0), checkpoint.size)
        for _ in range(_ATTEMPTS):
            proof = tree.consistency_proof(old, checkpoint.size, storage.nodes)
            request = Request(old, tuple(proof), checkpoint.note).to_bytes()
            try:
                answer = post(
                    f"{witness.url}/add-checkpoint",
                    request,
                    "application/octet-stream",
                    max(0.001, deadline - self._monotonic()),
                )
            except Unreachable as fault:
                return Submission(witness, Outcome.UNREACHABLE, str(fault))
            if answer.status == 200:
                self._sizes[key_id] = checkpoint.size
                return _line(witness, checkpoint, answer)
            if answer.status == 422:
                return Submission(
                    witness, Outcome.CONTRADICTED, f"it cosigned another history of the first {old} entries"
                )
            size = _size(answer)
            if size is None:
                return Submission(witness, Outcome.REFUSED, f"it answered {answer.status}")
            if size > storage.size() or size == old == checkpoint.size:
                return Submission(
                    witness,
                    Outcome.CONTRADICTED,
                    f"it cosigned a tree of size {size} that this log does not extend",
                )
            if size > checkpoint.size:
                return Submission(witness, Outcome.REFUSED, "it cosigned a newer checkpoint meanwhile")
            old = self._sizes[key_id] = size
        return Submission(witness, Outcome.REFUSED, "others submit to it faster")


def keep(storage: Storage, checkpoint: Checkpoint, signatures: Sequence[Signature]) -> Checkpoint:
    """Add signature lines to a checkpoint that the store keeps; none that it has meanwhile is lost."""
    former: str | None = checkpoint.note
    while former is not None:
        note = add_signatures(former, signatures)
        if note == former or storage.replace_checkpoint(checkpoint.size, former, note):
            return read_checkpoint(note)
        kept = map(read_checkpoint, storage.checkpoints())
        former = next((found.note for found in kept if found.text == checkpoint.text), None)
    return read_checkpoint(add_signatures(checkpoint.note, signatures))


def _line(witness: WitnessAt, checkpoint: Checkpoint, answer: Posted) -> Submission:
    """The witness's line of an answer; others are ignored."""
    key = witness.key
    try:
        found = read_signatures(answer.body.decode("utf-8"))
    except (LogError, UnicodeDecodeError):
        return Submission(witness, Outcome.REFUSED, "its answer is not of signature lines")
    for signature in found:
        if (signature.name, signature.key_id) == (key.name, key.key_id) and key.verifies(
            checkpoint.text, signature.value
        ):
            return Submission(witness, Outcome.COSIGNED, "", signature)
    return Submission(witness, Outcome.REFUSED, "its answer holds no line of its key over this checkpoint")


def _size(answer: Posted) -> int | None:
    """The size that a 409 names."""
    text = answer.body[:32].decode("ascii", "replace")
    number = text.removesuffix("\n")
    named = answer.status == 409 and answer.content_type == "text/x.tlog.size" and text != number
    return int(number) if named and number.isascii() and number.isdecimal() else None
