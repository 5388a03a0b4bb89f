"""The log: envelopes in, indexes out; checkpoints and proofs over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

from governance.errors import LogError, SettingError
from governance.log import tree
from governance.log.archives.archives import ARCHIVE, PRUNE, Archives
from governance.log.envelope import Envelope, write_leaf
from governance.log.note import Checkpoint, parse_checkpoint, read_checkpoint
from governance.log.proof import InclusionProof
from governance.log.sealing import NewEntry as NewEntry
from governance.log.sealing import Sealed, Sealer, redacted
from governance.log.sealing import keyed_digests as keyed_digests
from governance.log.signer import CheckpointSigner
from governance.log.storage import NewRow, Storage, StoredEntry, Turn
from governance.log.tree import Frontier
from governance.model.canonical import timestamp

GENESIS = "application/vnd.governance.genesis+json"
REDACTION = "application/vnd.governance.redaction+json"
CONTRACT = "application/vnd.governance.contract+yaml"
POLICY = "application/vnd.governance.policy+yaml"
CONSENT_BATCH = "application/vnd.governance.consent-batch+json"
TIMESTAMP = "application/vnd.governance.timestamp+json"
KEY_ROTATION = "application/vnd.governance.key-rotation+json"
OPENLINEAGE_EVENT = "application/vnd.openlineage.event+json"
STATEMENTS = frozenset({REDACTION, ARCHIVE, PRUNE})
"""Entries by which the log says what was done to its own store; nobody can append them otherwise."""

Submission: TypeAlias = list[Sealed] | LogError


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as stored. ``body`` and ``salt`` are None after a redaction and when pruned.

    What comes from the database is not verified here; what comes from an archive is.
    """

    index: int
    leaf: bytes
    body: bytes | None
    salt: bytes | None

    @property
    def envelope(self) -> Envelope:
        """What the leaf holds. Raises GOV-504 when it is no envelope."""
        return Envelope.from_leaf(self.leaf)


@dataclass(slots=True)
class _Head:
    """The right edge of the tree, and the newest row's nodes."""

    last_nodes: bytes
    frontier: Frontier

    def copy(self) -> _Head:
        return _Head(self.last_nodes, self.frontier.copy())


class _Laid(NamedTuple):
    answers: list[list[int] | LogError]
    rows: list[NewRow]
    head: _Head


class Log:
    """An append-only log over a storage.

    Args:
        storage: from :func:`governance.log.open_storage`.
        signer: signs checkpoints; None for those who only append or read.
        clock: the current time, aware; it stamps entries after whatever stands before them.
        witnesses: is shown each checkpoint that was signed and returns it, with more signatures or without.
        archives: folders in which archive files are looked for before the one they were written to.

    Raises:
        LogError: GOV-502 when the signer is another log's.
        SettingError: GOV-901 when the signer's memory lies inside the store it watches.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        signer: CheckpointSigner | None,
        clock: Callable[[], datetime],
        witnesses: Callable[[Storage, Checkpoint], Checkpoint] | None = None,
        archives: Sequence[Path] = (),
    ) -> None:
        self.storage = storage
        self._signer = signer
        self.archives = Archives(storage, archives)
        self._clock = clock
        self._witnesses = witnesses
        self._head: _Head | None = None
        self._unopposed = True
        self._size = 0
        self._sealer = Sealer(storage.dedup_key)
        if signer is not None:
            _check_signer(signer, storage)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.storage.origin

    def size(self) -> int:
        """Number of entries."""
        return self.storage.size()

    def append(self, entries: Sequence[NewEntry]) -> list[int]:
        """Append all entries or none; they are durable when it returns.

        An entry whose body, media type and principal are already in the log is not added again: its
        first index is returned. So a caller that does not know whether it succeeded just repeats.

        Raises:
            LogError: GOV-505 when a body was redacted, GOV-508 when a principal or media type is
                unusable, GOV-509 when an entry poses as a redaction, GOV-501 when the storage fails.
        """
        [answer] = self.append_sealed([self.seal(entries)])
        if isinstance(answer, LogError):
            raise answer
        return answer

    def seal(self, entries: Sequence[NewEntry]) -> Submission:
        """Do what can be done before the turn: the sealed entries, or their refusal (GOV-508, GOV-509)."""
        for entry in entries:
            if entry.media_type in STATEMENTS:
                return LogError(
                    "GOV-509",
                    f"{entry.media_type} says what was done to the store: it cannot be appended as an entry",
                    "Use `governance log redact`, `archive` or `prune`.",
                )
        try:
            return self._sealer.seal(entries)
        except LogError as refused:
            return refused

    def append_sealed(self, submissions: Sequence[Submission]) -> list[list[int] | LogError]:
        """Append what :meth:`seal` returned, in one turn with one fsync; each is added whole or refused.

        Returns:
            For each submission its indexes, or the refusal that :meth:`append` would raise.

        Raises:
            LogError: GOV-501 when the storage fails; then nothing was acknowledged, and all may be repeated.
        """
        items = [item for group in submissions if not isinstance(group, LogError) for item in group]
        if not items:
            return [group if isinstance(group, LogError) else [] for group in submissions]
        refusals = [item.refusal for item in items]
        head = self._head
        if (answers := self._extended(submissions, refusals)) is not None:
            return answers
        with self.storage.turn([item.marker for item in items], refusals) as turn:
            now = self._found(turn)
            self._unopposed = (head is None or now is head) and not turn.known and not turn.refused
            laid = self._lay(submissions, now.copy(), turn.known, turn.refused)
            if laid.rows:
                turn.write(laid.rows)
        self._head = laid.head
        return laid.answers

    def append_at_once(self, sealed: list[Sealed]) -> list[int] | LogError | None:
        """As :meth:`append_sealed` where that waits for nobody, for no network, and nothing speaks against it.

        Otherwise None, with nothing written.
        """
        if not self.storage.local:
            return None
        answers = self._extended([sealed], [item.refusal for item in sealed], wait=False)
        return None if answers is None else answers[0]

    def entry(self, index: int) -> Entry:
        """One entry.

        Raises:
            LogError: GOV-504 when there is none at ``index``, GOV-516 when its body is in an archive that is
                not at hand, GOV-517 when that archive does not verify.
        """
        for row in self.storage.read(index, index + 1):
            return self._entry(row)
        raise no_entry(index)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Entries in order, read page by page; up to the size found now when ``stop`` is None.

        Raises as :meth:`entry` does for bodies in archives.
        """
        for row in self.storage.read(start, self.size() if stop is None else stop):
            yield self._entry(row)

    def marked(self, mark: bytes, start: int, stop: int) -> Iterator[Entry]:
        """Those of :meth:`entries` whose leaf holds these bytes, at a fraction of the time where they are few."""
        for row in self.storage.marked(mark, start, stop):
            yield self._entry(row)

    def checkpoint(self, *, ask_witnesses: bool = True) -> Checkpoint:
        """Sign the tree as it is now, keep the checkpoint and return it, with the cosignatures it has.

        Raises:
            LogError: GOV-503 when the log is not an extension of what was signed before.
            SettingError: GOV-901 when this log was opened without a signer.
        """
        if self._signer is None:
            raise _no_signer()
        storage = self.storage
        checkpoint = self._signer.sign(
            storage.size, storage.nodes, storage.latest_checkpoint, storage.save_checkpoint
        )
        storage.save_checkpoint(checkpoint.size, checkpoint.note)
        kept = self.latest()
        if kept is not None and kept.text == checkpoint.text:
            checkpoint = kept
        if self._witnesses is None or not ask_witnesses:
            return checkpoint
        return self._witnesses(storage, checkpoint)

    def adopt(self, note: str) -> Checkpoint:
        """Let the signer, whose memory was lost, go on from a signed checkpoint that this log extends.

        Raises:
            LogError: GOV-503 when the log does not extend it or the signer remembers another, GOV-506 when
                it is not signed by this log's key.
            SettingError: GOV-901 when this log was opened without a signer.
        """
        if self._signer is None:
            raise _no_signer()
        return self._signer.adopt(note, self.storage.size(), self.storage.nodes)

    def latest(self) -> Checkpoint | None:
        """The newest signed checkpoint kept; its signature is verified only where the signer is at hand."""
        note = self.storage.latest_checkpoint()
        if note is None:
            return None
        return read_checkpoint(note) if self._signer is None else parse_checkpoint(note, self._signer.vkey)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[size]), 32 bytes each, leaf upwards (RFC 6962 §2.1.1). Raises GOV-504."""
        self._reached(size)
        return tree.inclusion_proof(index, size, self.storage.nodes)

    def consistency_proof(self, first: int, second: int) -> list[bytes]:
        """PROOF(first, D[second]), 32 bytes each (RFC 6962 §2.1.2). Raises GOV-503, GOV-504."""
        self._reached(second)
        return tree.consistency_proof(first, second, self.storage.nodes)

    def prove(self, index: int, checkpoint: Checkpoint) -> InclusionProof:
        """The proof that entry ``index`` is under ``checkpoint``.

        Raises:
            LogError: GOV-504 when it is not below the checkpoint's size.
        """
        return InclusionProof(index, checkpoint.size, tuple(self.inclusion_proof(index, checkpoint.size)))

    def redact(self, index: int, ground: str, authoriser: str) -> int:
        """Remove the body and salt of an entry for good; return the index of the redaction leaf.

        The envelope stays, the log still verifies, and the same body is refused from then on. An entry
        that was already redacted keeps its first redaction, whose index is returned.

        Args:
            index: the entry.
            ground: why, e.g. ``GDPR Art. 17(1)(b)``. It stays in the log: no personal data.
            authoriser: the principal who decided it, e.g. ``rights:dpo``.

        Raises:
            LogError: GOV-504 when there is no such entry, GOV-508 when the authoriser is no principal,
                GOV-509 when the entry must stay or was pruned, GOV-516 and GOV-517 when its body is in an
                archive that is not at hand or does not verify.
        """
        from governance.log.redaction import redact

        return redact(self, index, ground, authoriser)

    def state(self, turn: Turn, entries: Sequence[NewEntry]) -> None:
        """Append statements about the log itself inside a turn that also carries them out."""
        laid = self._lay([self._sealer.seal(entries)], self._found(turn).copy(), {}, {})
        turn.write(laid.rows)
        self._head = laid.head

    def close(self) -> None:
        """Let go of the storage."""
        self.storage.close()

    def _entry(self, row: StoredEntry) -> Entry:
        if row.body is None and row.redacted_by is None:
            row = self.archives.fill(row)
        return Entry(row.index, row.leaf, row.body, row.salt)

    def _reached(self, size: int) -> None:
        if size <= self._size:
            return
        now = self._size = self.size()
        if size > now:
            raise LogError(
                "GOV-504",
                f"the log has {now} entries, a proof was asked for a tree of size {size}",
                "Take a size that the log has reached; if it was signed, run `governance log verify`.",
            )

    def _extended(
        self, submissions: Sequence[Submission], refusals: Sequence[bytes], *, wait: bool = True
    ) -> list[list[int] | LogError] | None:
        """Append after the head last found, if nothing speaks against it; None otherwise."""
        head = self._head
        if head is None or not self._unopposed:
            return None
        laid = self._lay(submissions, head.copy(), {}, {})
        if not self.storage.append_if(head.frontier.size, head.last_nodes, laid.rows, refusals, wait=wait):
            return None
        self._head = laid.head
        return laid.answers

    def _lay(
        self,
        submissions: Sequence[Submission],
        head: _Head,
        known: Mapping[bytes, int],
        refused: Mapping[bytes, int],
    ) -> _Laid:
        """What follows ``head``, which it moves; stamped now, after whatever stands at that head."""
        received_at = timestamp(self._clock())
        places = dict(known)
        frontier, size = head.frontier, head.frontier.size
        answers: list[list[int] | LogError] = []
        rows: list[NewRow] = []
        for sealed in submissions:
            if isinstance(sealed, LogError):
                answers.append(sealed)
                continue
            if refused and (refusal := redacted(sealed, refused)) is not None:
                answers.append(refusal)
                continue
            indexes = []
            for body, names, salt, digest, marker, _ in sealed:
                index = places.setdefault(marker, size)
                if index == size:
                    size += 1
                    leaf = write_leaf(digest, names, received_at, len(body))
                    head.last_nodes = b"".join(frontier.append(tree.leaf_hash(leaf)))
                    rows.append(NewRow(index, head.last_nodes, leaf, salt, body, marker))
                indexes.append(index)
            answers.append(indexes)
        return _Laid(answers, rows, head)

    def _found(self, turn: Turn) -> _Head:
        """The head of the log; the last one is reused when nobody else appended since.

        The newest leaf hash tells: it covers a random salt, so no other history ends with it.
        """
        head = self._head
        if head is not None and (head.frontier.size, head.last_nodes) == (turn.size, turn.last_nodes):
            return head
        return _Head(turn.last_nodes, Frontier(turn.size, turn.nodes(tree.subtrees(0, turn.size))))


def no_entry(index: int) -> LogError:
    """There is no entry at ``index``."""
    return LogError("GOV-504", f"the log has no entry {index}", "Take an index below the log's size.")


def _no_signer() -> SettingError:
    return SettingError(
        "GOV-901", "the log was opened without its signing key", "Open the key store with the log."
    )


def _check_signer(signer: CheckpointSigner, storage: Storage) -> None:
    if signer.origin != storage.origin:
        raise LogError(
            "GOV-502",
            f"the signing key is of {signer.origin}, the store is {storage.origin}",
            "Use the key store that was created with this lineage store.",
        )
    directory = getattr(storage, "directory", None)
    if directory is not None and Path(directory).resolve() in signer.memory.resolve().parents:
        raise SettingError(
            "GOV-901",
            "the signer's memory lies inside the lineage store it watches",
            "Keep it elsewhere, so that restoring an old store does not restore the memory too.",
        )
