"""A span of the log as reports read it: its ordinary events in sum, its other entries one by one.

A portion is a pure function of the entries. The root hashes it carries are those of the leaves that were read, so
portions add up to the root that the checkpoint signed, or are not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from governance.audit.portions.ordinary import Summary, Summing, read_ordinary
from governance.errors import GovernanceError, LogError
from governance.lineage.naming import EVIDENCE_PRINCIPAL, PREFIX
from governance.lineage.reading import read_event
from governance.lineage.signatures import is_sound
from governance.log.envelope import Envelope
from governance.log.log import OPENLINEAGE_EVENT
from governance.log.tree import leaf_hash, node_hash, subtrees

LEVEL = 15
SIZE = 1 << LEVEL
"""Entries of a whole portion; it begins at a multiple of this."""

_OURS = PREFIX.encode("ascii")


class FullEntry(Protocol):
    """An entry as it is stored."""

    @property
    def index(self) -> int: ...

    @property
    def leaf(self) -> bytes: ...

    @property
    def body(self) -> bytes | None: ...

    @property
    def salt(self) -> bytes | None: ...


class KeptEntry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """An entry that is looked at by itself. ``sound``: the signature of its evidence holds under the key it names."""

    index: int
    leaf: bytes
    body: bytes | None
    sound: bool = False
    salt: bytes | None = None


class Portion(msgspec.Struct, array_like=True, gc=False):
    """The entries ``first`` to ``stop``. ``roots`` are those of :func:`governance.log.tree.subtrees` over them."""

    first: int
    stop: int
    roots: list[bytes]
    ordinary: Summary
    entries: list[KeptEntry]


def read_portion(first: int, stop: int, rows: Iterable[FullEntry]) -> Portion:
    """Read the entries ``first`` to ``stop``.

    Raises:
        LogError: GOV-504 when a body is not the one its leaf commits to, or entries are missing.
    """
    hashes: list[bytes] = []
    summing, entries = Summing(), []
    for row in rows:
        index, leaf, body = row.index, row.leaf, row.body
        if index != first + len(hashes):
            break
        envelope = Envelope.from_leaf(leaf)
        if body is not None:
            found = hashlib.sha256((row.salt or b"") + body).hexdigest()
            if len(body) != envelope.size or envelope.digest[7:] != found:
                raise not_signed(f"the body of log entry {index} is not the one its leaf commits to")
        hashes.append(leaf_hash(leaf))
        # The last entry of a span may be the checkpoint's, which is described by itself.
        if body is not None and envelope.media_type == OPENLINEAGE_EVENT and first < index < stop - 1:
            event = read_ordinary(body)
            if event is not None:
                summing.take(index, envelope, event)
                continue
        entries.append(KeptEntry(index, leaf, body, _is_sound(envelope, body)))
    if len(hashes) != stop - first:
        raise not_signed(f"log entry {first + len(hashes)} is missing")
    return Portion(first, stop, subtree_roots(hashes), summing.summary(), entries)


def subtree_roots(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots of the complete subtrees over nodes of one level, largest first."""
    levels = [list(hashes)]
    while len(below := levels[-1]) > 1:
        levels.append([node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)])
    return [levels[level][place] for level, place in subtrees(0, len(hashes))]


def not_signed(what: str) -> LogError:
    """GOV-504: no report is made of it."""
    return LogError(
        "GOV-504", what, "no report is made of it; `governance log verify` names what was altered"
    )


def _is_sound(envelope: Envelope, body: bytes | None) -> bool:
    if body is None or not envelope.principal.startswith(EVIDENCE_PRINCIPAL) or body.rfind(_OURS) < 0:
        return False
    try:
        return is_sound(_without_repetition(body) or read_event(body).body)
    except GovernanceError:
        return False


def _without_repetition(body: bytes) -> dict[str, Any] | None:
    """An event in which no member is repeated, many times faster than with a look at each object.

    Without escapes each text has two quotation marks; a member that was repeated is missing when it is written again.
    """
    if not body.isascii() or b"\\" in body:
        return None
    try:
        event = msgspec.json.decode(body)
        whole = msgspec.json.encode(event).count(b'"') == body.count(b'"')
    except (ValueError, OverflowError, RecursionError):
        return None
    return event if whole and isinstance(event, dict) and isinstance(event.get("run"), dict) else None
