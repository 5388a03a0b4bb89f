"""The membership index: which subjects a segment, or a disclosure, holds, as sealed sorted pseudonyms.

Internal pseudonyms are random and 16 bytes long, so their leading bits cut them into pages of some 4 KiB. Each
page is sealed on its own (AES-256-GCM) under a key derived from the segment's ``membership`` key: to ask for
one subject one page is read and opened, however many the segment holds. The key dies with the segment's others.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from governance.errors import StorageError
from governance.keys.sealing import derive
from governance.model.canonical import canonical, digest
from governance.model.contract import Contract
from governance.model.dataset import Manifest, Segment
from governance.pipeline.consent import ReleasedPseudonyms
from governance.pipeline.memory import ReadSubjects
from governance.pipeline.step import RunContext
from governance.pipeline.workspace import Workspace
from governance.protect.encryption import open_sealed
from governance.storage import Storage

MEMBERSHIP = "membership"
"""The folder below a dataset root, and the name of the keys."""

Pseudonyms = npt.NDArray[np.uint8]
"""(n, 16), random bytes."""

_MAGIC = b"GOVMEM1\n"
_HEAD = struct.Struct(">8s16sB7xQ")
_WIDTH, _TAG, _PAGE = 16, 16, 256
_FEW = 32


class Members:
    """One sealed index, of which ``read(offset, size)`` gives bytes.

    Raises:
        StorageError: GOV-723 when it was altered, cut short, or is another segment's.
    """

    def __init__(self, read: Callable[[int, int], bytes], key: bytes, bound: str) -> None:
        self._read = read
        self._bound = bound
        head = read(0, _HEAD.size)
        if len(head) != _HEAD.size or head[:8] != _MAGIC:
            raise _altered(bound)
        _, salt, self._bits, self.count = _HEAD.unpack(head)
        if self._bits > 24:
            raise _altered(bound)
        self._aead = AESGCM(derive(key, "governance membership v1", salt.hex()))

    def contains(self, wanted: Pseudonyms) -> npt.NDArray[np.bool_]:
        """Which of the pseudonyms are in it."""
        pages = _pages_of(wanted, self._bits)
        found = [self._page(int(page)) for page in np.unique(pages)]
        if not found:
            return np.zeros(0, bool)
        held = np.concatenate(found)
        if len(wanted) <= _FEW:
            # Arrow's kernels, and what their first use loads, take longer than this comparison.
            asked, there = (np.ascontiguousarray(each).view(np.uint64) for each in (wanted, held))
            return np.asarray((asked[:, None] == there).all(axis=2).any(axis=1), bool)
        return np.asarray(
            pc.is_in(_fixed(wanted), value_set=_fixed(held)).to_numpy(zero_copy_only=False), bool
        )

    def _page(self, page: int) -> Pseudonyms:
        table = self._read(_HEAD.size + 4 * page, 8)
        if len(table) != 8:
            raise _altered(self._bound)
        start, stop = struct.unpack(">2I", table)
        if stop < start or stop > self.count:
            raise _altered(self._bound)
        at = _HEAD.size + 4 * ((1 << self._bits) + 1) + _WIDTH * start + _TAG * page
        sealed = self._read(at, _WIDTH * (stop - start) + _TAG)
        try:
            plain = self._aead.decrypt(
                page.to_bytes(12, "big"), sealed, _context(self._bound, self._bits, self.count)
            )
        except (InvalidTag, ValueError):
            raise _altered(self._bound) from None
        return np.frombuffer(plain, np.uint8).reshape(-1, _WIDTH)


def seal_members(pseudonyms: Pseudonyms, key: bytes, bound: str) -> bytes:
    """The index of distinct pseudonyms. ``bound`` says of what it is; it opens for nothing else."""
    count = len(pseudonyms)
    bits = max(0, (max(count, 1) // _PAGE).bit_length() - 1)
    ordered = _ordered(pseudonyms)
    starts = np.searchsorted(_pages_of(ordered, bits), np.arange((1 << bits) + 1)).tolist()
    salt = secrets.token_bytes(16)
    aead, context = AESGCM(derive(key, "governance membership v1", salt.hex())), _context(bound, bits, count)
    data, parts = ordered.tobytes(), [_HEAD.pack(_MAGIC, salt, bits, count)]
    parts.append(struct.pack(f">{len(starts)}I", *starts))
    for page in range(1 << bits):
        plain = data[_WIDTH * starts[page] : _WIDTH * starts[page + 1]]
        parts.append(aead.encrypt(page.to_bytes(12, "big"), plain, context))
    return b"".join(parts)


def _ordered(pseudonyms: Pseudonyms) -> Pseudonyms:
    """By their leading bits, at least 32: all that pages are cut by. Each number carries its row below them."""
    rows = np.uint64((1 << len(pseudonyms).bit_length()) - 1)
    leading = np.ascontiguousarray(pseudonyms[:, :8]).view(">u8").astype(np.uint64).reshape(-1)
    numbered = np.sort((leading & ~rows) | np.arange(len(pseudonyms), dtype=np.uint64))
    # Whole records are gathered several times faster than rows of bytes.
    taken = (
        np.ascontiguousarray(pseudonyms).view(f"V{_WIDTH}").reshape(-1)[(numbered & rows).astype(np.int64)]
    )
    return taken.view(np.uint8).reshape(-1, _WIDTH)


def index_members(context: RunContext, manifest: Manifest) -> None:
    """Write the index of each segment that has none yet; again it is harmless.

    Where the keys are at a broker, or the version names no subject, none is written: whoever asks then looks
    through the rows, and `governance subject index` where the keys are writes what is missing.

    Raises:
        StorageError: GOV-724. ProtectionError: GOV-303 for a destroyed key.
    """
    if context.workspace.settings.keys:
        # A worker would then hold internal pseudonyms under a key of its own.
        return
    storage, columns = context.storage, subject_columns(manifest)
    there = {path.rpartition("/")[2] for path in storage.list(MEMBERSHIP)}
    # What a killed try left of this version's own segments may be of other rows.
    missing = [
        s for s in manifest.segments if s.segment_id not in there or s.segment_id.startswith(manifest.version)
    ]
    if not columns or not missing:
        return
    seen = context.memory.members if context.memory else None
    index_segments(context.workspace, storage, context.contract, columns, missing, seen)


def index_segments(
    workspace: Workspace,
    storage: Storage,
    contract: Contract,
    columns: list[str],
    segments: list[Segment],
    seen: ReadSubjects | None = None,
) -> None:
    """Write the indexes of segments, but of those with rows of subjects the vault no longer knows.

    Args:
        contract: the one that the segments' version was made under.
        seen: what this process saw when it read the segments back; the others are read.

    Raises:
        ProtectionError: GOV-303 for a segment whose key was destroyed. StorageError: GOV-724.
    """
    keyring, people = workspace.keyring, contract.people
    by_domain = {
        domain: (
            workspace.vault.internal(domain),
            [c for c in columns if people.get(c, contract.subject.domain) == domain],
        )
        for domain in contract.subject.every_domain
    }
    for segment in segments:
        key = keyring.segment_key(keyring.new_segment_key(segment.segment_id, MEMBERSHIP))
        parts = []
        for domain, (internal, named) in by_domain.items():
            members = seen.of(segment, len(internal)) if seen and len(by_domain) == 1 else None
            if members is None:
                members = _members_in(workspace, storage, segment, domain, named)
            parts.append(None if members is None else internal[members])
        known = [part for part in parts if part is not None]
        held = np.concatenate(known) if len(known) == len(parts) else None
        if held is None or not held.any(axis=1).all():
            # Rows of an erased subject that wait to be rewritten: an index would not know of them.
            continue
        sealed = seal_members(held, key, bound_of(segment))
        storage.write(f"{MEMBERSHIP}/{segment.segment_id}", sealed)


def _members_in(
    workspace: Workspace, storage: Storage, segment: Segment, domain: str, columns: list[str]
) -> npt.NDArray[np.bool_] | None:
    """Which of the vault's subjects stand in a segment; ``None`` where one does that it does not know."""
    population = len(workspace.vault.internal(domain))
    known = ReleasedPseudonyms(workspace.vault, domain, population)
    seen = np.zeros(population + 1, bool)
    strangers = 0
    for batch in _subjects_in(workspace, storage, segment, columns):
        for pseudonyms in batch.columns:
            found = known.find(pseudonyms)
            seen[found] = True
            strangers += int((found < 0).sum()) - pseudonyms.null_count
    return None if strangers else seen[:-1]


def segment_members(workspace: Workspace, storage: Storage, segment: Segment) -> Members | None:
    """The index of a segment, ``None`` where there is none.

    Raises:
        StorageError: GOV-723 when it is another one than was written. ProtectionError: GOV-303 when its key
            was destroyed.
    """
    path = f"{MEMBERSHIP}/{segment.segment_id}"
    try:
        file = storage.filesystem().open_input_file(storage.path(path))
    except FileNotFoundError:
        return None
    key = workspace.keyring.segment_key(f"seg.{segment.segment_id}.{MEMBERSHIP}")
    return Members(lambda offset, size: bytes(file.read_at(size, offset)), key, bound_of(segment))


def subject_columns(manifest: Manifest) -> list[str]:
    """The released columns that carry people's pseudonyms."""
    return [str(c["column"]) for c in manifest.body["columns"] if c["method"] == "pseudonym"]


def bound_of(segment: Segment) -> str:
    """What an index is bound to: the segment and the bytes of its files."""
    stated: Any = [segment.segment_id, *(file.digest for file in segment.files)]
    return digest(canonical(stated))


def _subjects_in(
    workspace: Workspace, storage: Storage, segment: Segment, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    for file in segment.files:
        if file.role == "data":
            opened = open_sealed(storage.path(file.path), storage.filesystem(), workspace.keyring.segment_key)
            with opened:
                yield from opened.iter_batches(columns=columns)


def _pages_of(pseudonyms: Pseudonyms, bits: int) -> npt.NDArray[np.int64]:
    leading = np.ascontiguousarray(pseudonyms[:, :4]).view(">u4").astype(np.int64).reshape(-1)
    return leading >> (32 - bits)


def _fixed(pseudonyms: Pseudonyms) -> pa.Array:
    data = np.ascontiguousarray(pseudonyms)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(_WIDTH), len(data), [None, pa.py_buffer(data)])


def _context(bound: str, bits: int, count: int) -> bytes:
    stated: Any = [bound, bits, count]
    return canonical(stated)


def _altered(bound: str) -> StorageError:
    return StorageError(
        "GOV-723",
        f"the membership index bound to {bound[:23]} was altered, or is another segment's",
        f"remove the file below {MEMBERSHIP}/, then `governance subject index` writes it anew",
    )
