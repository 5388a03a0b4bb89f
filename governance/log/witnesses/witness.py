"""A witness: it cosigns what extends the last checkpoint it cosigned (https://c2sp.org/tlog-witness).

:func:`recognise` and :func:`refusal` hold the protocol's rules and do no I/O; :class:`Witness` remembers. The
memory keeps one file a log, replaced atomically under a lock between processes, and durable before a
cosignature is given away: two requests at once, or a witness killed and started again, never cosign two
histories.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.durable import locked, replace_file
from governance.errors import LogError
from governance.log import tree
from governance.log.note import Checkpoint, VerifierKey, open_note, read_checkpoint
from governance.log.witnesses.cosignature import WitnessKey, cosign
from governance.model.evidence import Signer

MAX_REQUEST = 1 << 16
_MAX_PROOF = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, body and its type."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """What a log submits: the size the witness knows, the proof from there, the checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def to_bytes(self) -> bytes:
        """The body of ``POST …/add-checkpoint``."""
        lines = [f"old {self.old}", *(base64.b64encode(value).decode() for value in self.proof)]
        return ("\n".join(lines) + "\n\n" + self.note).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Request:
        """The inverse of :meth:`to_bytes`.

        Raises:
            ValueError: it is malformed or has more than 63 proof lines.
        """
        head, blank, note = body.decode("utf-8").partition("\n\n")
        first, *lines = head.split("\n")
        matched = _OLD.fullmatch(first)
        if not blank or matched is None or len(lines) > _MAX_PROOF:
            raise ValueError("the body is not of the form that add-checkpoint takes")
        proof = tuple(base64.b64decode(line, validate=True) for line in lines)
        if any(len(value) != tree.HASH_SIZE for value in proof):
            raise ValueError("a proof line is not a hash")
        return cls(int(matched[1]), proof, note)


def recognise(body: bytes, logs: Mapping[str, Sequence[VerifierKey]]) -> tuple[Request, Checkpoint] | Answer:
    """A request with a checkpoint that a known log signed, or the refusal; ``logs`` are keys by origin."""
    try:
        request = Request.from_bytes(body)
        checkpoint = read_checkpoint(request.note)
    except (ValueError, LogError):
        return Answer(400, "the request is malformed\n")
    keys = logs.get(checkpoint.origin)
    if not keys:
        return Answer(404, "this witness does not know that log\n")
    try:
        open_note(request.note, keys)
    except LogError:
        return Answer(403, "no trusted key of that log signed the checkpoint\n")
    if request.old > checkpoint.size:
        return Answer(400, "the old size is larger than the checkpoint's\n")
    return request, checkpoint


def refusal(request: Request, checkpoint: Checkpoint, last: Checkpoint | None) -> Answer | None:
    """Why a checkpoint cannot be cosigned after ``last``; None when it can."""
    size, root = (0, tree.EMPTY_ROOT) if last is None else (last.size, last.root)
    if request.old != size or (request.old == checkpoint.size and root != checkpoint.root):
        return Answer(409, f"{size}\n", "text/x.tlog.size")
    try:
        tree.verify_consistency(size, checkpoint.size, request.proof, root, checkpoint.root)
    except LogError:
        return Answer(422, "the consistency proof does not hold\n")
    return None


class Witness:
    """A witness of some logs.

    Args:
        key: signs cosignatures and nothing else.
        name: stands in them, such as ``witness.example/w1``.
        logs: the public keys of the logs it serves; several of one origin while its key is rotated.
        memory: a directory of its own, outside backups that could be restored.
        clock: POSIX seconds.

    Raises:
        LogError: GOV-514 when no log is named, when one signs with the witness's own key, or the memory
            cannot be used.
    """

    def __init__(
        self, key: Signer, name: str, logs: Sequence[VerifierKey], memory: Path, clock: Callable[[], float]
    ) -> None:
        self.key = WitnessKey.of(name, key.public_key)
        self._signer = key
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            if log.public_key == key.public_key:
                raise LogError(
                    "GOV-514", f"{log.name} signs with the key of this witness", "Make another key."
                )
            self._logs.setdefault(log.name, []).append(log)
        if not logs:
            raise LogError("GOV-514", "a witness that knows no log cosigns nothing", "Name one with --log.")
        self._memory = memory
        self._clock = clock
        try:
            memory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(memory, error) from None

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer ``POST …/add-checkpoint``.

        Raises:
            LogError: GOV-514 when the memory is damaged or cannot be written: then nothing is cosigned.
        """
        recognised = recognise(body, self._logs)
        if isinstance(recognised, Answer):
            return recognised
        request, checkpoint = recognised
        with self._locked(checkpoint.origin):
            refused = refusal(request, checkpoint, self.last(checkpoint.origin))
            if refused is not None:
                return refused
            line = cosign(checkpoint.text, self.key.name, self._signer, int(self._clock()))
            self._remember(checkpoint)
        return Answer(200, str(line))

    def last(self, origin: str) -> Checkpoint | None:
        """The checkpoint of a log that was cosigned last.

        Raises:
            LogError: GOV-514 when the memory is damaged or cannot be read.
        """
        path = self._path(origin)
        try:
            members = json.loads(path.read_bytes())
            checkpoint = read_checkpoint(members["checkpoint"])
            if checkpoint.origin != origin:
                raise ValueError
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from None
        except (ValueError, TypeError, KeyError, AttributeError, LogError):
            raise LogError(
                "GOV-514",
                f"the memory of {origin} is damaged",
                "Restore it, or end this witness: one that forgot may cosign another history.",
            ) from None
        return checkpoint

    def _path(self, origin: str) -> Path:
        return self._memory / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"

    def _remember(self, checkpoint: Checkpoint) -> None:
        path = self._path(checkpoint.origin)
        try:
            replace_file(path, json.dumps({"v": 1, "checkpoint": checkpoint.note}).encode())
        except OSError as error:
            raise _unusable(path, error) from None

    @contextmanager
    def _locked(self, origin: str) -> Iterator[None]:
        path = self._path(origin).with_suffix(".lock")
        with ExitStack() as held:
            try:
                held.enter_context(locked(path))
            except OSError as error:
                raise _unusable(path, error) from None
            yield


def _unusable(path: Path, error: OSError) -> LogError:
    return LogError(
        "GOV-514",
        f"{path} cannot be used: {error.strerror}",
        "Give the witness a directory that its user may write to, with space left.",
    )
