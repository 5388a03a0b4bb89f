"""Tombstones in the log, and the sealed requests that say how the subject vault carries them out.

Order: the request is sealed and durable → its tombstone is in the log → the vault is sealed anew. Killed
between the last two, the next opening of the home carries the tombstone out. A vault from before an
erasure, whose request was finished and is gone, is refused.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from governance.durable import locked, replace_file
from governance.errors import ProtectionError
from governance.keys.sealing import Altered, Sealer
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault
from governance.log import Entry, Log, NewEntry
from governance.model.canonical import canonical, instant, parse, timestamp
from governance.model.erasure import TOMBSTONE
from governance.model.signed_leaf import signed_leaf
from governance.model.statements import REPLAYED

REQUESTS = "erasure"
"""In the home: the sealed requests that are not finished."""

MEMORY = "tombstones.json"
"""In the home: up to which log size tombstones were looked for, and at which indexes there are any."""

_WORTH_REMEMBERING = 256
_EVIDENCE = "evidence:"
_MARK = TOMBSTONE.encode()
_CONTEXT = "governance erasure request v1"


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """Subjects of one domain to erase; ``n`` of them in every array, in one order.

    ``internal`` (n, 16) and ``released`` (n, 16) are their pseudonyms, ``marks`` (n, 16) what the suppression
    list holds of them, ``held`` of whom a legal hold keeps rows. ``recipients`` maps a recipient's name to
    what it calls them, ``planned`` are the facts of the approved plan. Identifiers are not kept.
    """

    request: str
    domain: str
    ground: str
    requested_at: datetime
    due_at: datetime
    ordinals: npt.NDArray[np.int64]
    internal: npt.NDArray[np.uint8]
    released: npt.NDArray[np.uint8]
    marks: npt.NDArray[np.uint8]
    held: npt.NDArray[np.bool_]
    recipients: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    planned: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ErasureRequest({self.request!r}, {len(self.ordinals)} subjects)"

    @property
    def key_segment(self) -> str:
        """The segment whose key seals the request."""
        return f"erasure-{self.request}"

    @property
    def subjects(self) -> list[str]:
        """The internal pseudonyms, as the tombstone lists them."""
        return [row.tobytes().hex() for row in self.internal]

    def to_json(self) -> dict[str, Any]:
        return {
            "request": self.request,
            "domain": self.domain,
            "ground": self.ground,
            "requested_at": timestamp(self.requested_at),
            "due_at": timestamp(self.due_at),
            "ordinals": self.ordinals.tolist(),
            "internal": _text(self.internal),
            "released": _text(self.released),
            "marks": _text(self.marks),
            "held": self.held.tolist(),
            "recipients": {name: _text(names) for name, names in self.recipients.items()},
            "planned": dict(self.planned),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ErasureRequest:
        return cls(
            request=data["request"],
            domain=data["domain"],
            ground=data["ground"],
            requested_at=instant(data["requested_at"]),
            due_at=instant(data["due_at"]),
            ordinals=np.array(data["ordinals"], np.int64),
            internal=_rows(data["internal"]),
            released=_rows(data["released"]),
            marks=_rows(data["marks"]),
            held=np.array(data["held"], bool),
            recipients={name: _rows(names) for name, names in data["recipients"].items()},
            planned=data["planned"],
        )


def keep_request(home: Path, keyring: Keyring, request: ErasureRequest) -> None:
    """Seal a request and make it durable; one of that name is replaced."""
    folder = home / REQUESTS
    folder.mkdir(mode=0o700, exist_ok=True)
    key_id = keyring.new_segment_key(request.key_segment, "restricted")
    sealed = Sealer(keyring.segment_key(key_id)).seal(canonical(request.to_json()), _CONTEXT, request.request)
    replace_file(folder / f"{request.request}.sealed", sealed)


def kept_request(home: Path, keyring: Keyring, name: str) -> ErasureRequest | None:
    """A request that is not finished.

    Raises:
        ProtectionError: GOV-303 when its key was destroyed: it was put back from a backup. GOV-308 when it
            was altered.
    """
    try:
        sealed = (home / REQUESTS / f"{name}.sealed").read_bytes()
    except FileNotFoundError:
        return None
    key = keyring.segment_key(f"seg.erasure-{name}.restricted")
    try:
        return ErasureRequest.from_json(parse(Sealer(key).unseal(sealed, _CONTEXT, name)))
    except Altered:
        raise ProtectionError(
            "GOV-308",
            f"the sealed erasure request {name} was altered",
            f"restore {REQUESTS}/ from a backup, or ask for the erasure again",
        ) from None


def kept_requests(home: Path, keyring: Keyring) -> Iterator[ErasureRequest]:
    """Every request that is not finished, by name; one that a backup brought back is removed.

    Raises:
        ProtectionError: GOV-308 when one was altered.
    """
    for path in sorted((home / REQUESTS).glob("*.sealed")):
        try:
            found = kept_request(home, keyring, path.stem)
        except ProtectionError as fault:
            if fault.code != "GOV-303":
                raise
            drop_request(home, path.stem)
            continue
        if found is not None:
            yield found


def drop_request(home: Path, name: str) -> None:
    """Forget a finished request. Its key dies with the next epoch."""
    (home / REQUESTS / f"{name}.sealed").unlink(missing_ok=True)


@contextlib.contextmanager
def erasing(home: Path) -> Iterator[None]:
    """Hold what only one process may do at a time: change the vault for an erasure, or finish one."""
    (home / REQUESTS).mkdir(mode=0o700, exist_ok=True)
    with locked(home / REQUESTS / "erasing.lock"):
        yield


def tombstones(log: Log, home: Path, *, remember: bool = True) -> list[int]:
    """Log indexes of every tombstone, in log order.

    Envelopes tell, so one whose body was pruned or redacted counts too. Only entries since the last time are
    looked at; the memory of that is the home's, and whoever can alter it holds the home's keys too. Without
    ``remember`` it is left as it is.

    Raises:
        LogError: GOV-501 when the store does not answer.
    """
    memory, size = home / MEMORY, log.size()
    known: Any = None
    with contextlib.suppress(OSError, ValueError):
        known = parse(memory.read_bytes())
    if (
        not isinstance(known, dict)
        or known.get("origin") != log.origin
        or known["size"] > size
        or not all(_is_tombstone(log.entry(index)) for index in known["indexes"][-1:])
    ):
        known = {"origin": log.origin, "size": 0, "indexes": []}
    if known["size"] < size:
        found = [entry.index for entry in log.entries(known["size"], size) if _is_tombstone(entry)]
        # Not at each opening: a few hundred envelopes are read faster than a file is made durable.
        remember = remember and (bool(found) or size - known["size"] >= _WORTH_REMEMBERING)
        known = {**known, "size": size, "indexes": [*known["indexes"], *found]}
        if remember:
            with contextlib.suppress(OSError):
                replace_file(memory, canonical(known))
    indexes: list[int] = known["indexes"]
    return indexes


def carry_out(log: Log, keyring: Keyring, vault: SubjectVault, home: Path) -> None:
    """Bring the vault up to the log's tombstones, or refuse it.

    That it was behind, because it came out of a backup or a process was killed, is in the log from then on.

    Raises:
        ProtectionError: GOV-307 when the vault is from before an erasure whose request is gone, or is
            another one than the request was made with.
    """
    if vault.tombstones < len(indexes := tombstones(log, home)):
        with erasing(home):
            behind = vault.tombstones
            carry_out_alone(log, keyring, vault, home)
            if replayed := indexes[behind : vault.tombstones]:
                said = signed_leaf({"v": 1, "tombstones": replayed}, REPLAYED, keyring.evidence_signer)
                log.append([NewEntry(canonical(said), REPLAYED, "evidence:pipeline")])


def carry_out_alone(log: Log, keyring: Keyring, vault: SubjectVault, home: Path) -> None:
    """As :func:`carry_out`, for who holds :func:`erasing` already."""
    indexes = tombstones(log, home)
    for position in range(vault.tombstones, len(indexes)):
        said = log.entry(indexes[position]).body
        request = None
        if said is not None:
            with contextlib.suppress(ProtectionError):
                request = kept_request(home, keyring, parse(said)["request"])
        if request is None or not seal_anew(vault, request, position + 1):
            vault.expects(len(indexes))


def seal_anew(vault: SubjectVault, request: ErasureRequest, tombstones: int) -> bool:
    """Erase a request's subjects in the vault, at once in all its columns; again is harmless.

    Returns:
        False when the vault holds other subjects at their places, and is left alone.
    """
    population = vault.internal(request.domain)
    if request.ordinals.size and int(request.ordinals.max()) >= len(population):
        return False
    found = population[request.ordinals]
    if not np.all((found == request.internal).all(axis=1) | ~found.any(axis=1)):
        return False
    others = np.setdiff1d(vault.restricted(request.domain), request.ordinals)
    restricted = np.union1d(others, request.ordinals[request.held])
    vault.reseal(
        {request.domain: request.ordinals[~request.held]},
        suppressed={request.domain: request.marks},
        restricted={request.domain: restricted},
        tombstones=tombstones,
    )
    return True


def _is_tombstone(entry: Entry) -> bool:
    if _MARK not in entry.leaf:
        return False
    envelope = entry.envelope
    return envelope.media_type == TOMBSTONE and envelope.principal.startswith(_EVIDENCE)


def _text(rows: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(rows.tobytes()).decode()


def _rows(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 16)
