"""Writes a log as a directory of C2SP tlog-tiles, and checks such a directory without the log.

An export adds files and publishes them by replacing ``checkpoint`` last: whatever stops it, the directory
is the older export or the newer one. What is written is derived from the leaves, not from stored tree
nodes, and must come to the signed root before the checkpoint is published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.durable import replace_file, sync
from governance.errors import LogError
from governance.log import tree
from governance.log.note import Checkpoint, VerifierKey, read_checkpoint
from governance.log.rotation import Handover, follow, open_checkpoint
from governance.log.storage import Storage
from governance.log.tiles import CHECKPOINT, WIDTH, Edge, Resource, bundle, leaf_hashes, leaves_of
from governance.log.tree import HASH_SIZE

_REMEDY = "Export into an empty directory, and keep this one if you want to know who altered it."


@dataclass(frozen=True, slots=True)
class Exported:
    """``size`` entries are in the directory, ``since`` were before; ``files`` were written now."""

    size: int
    since: int
    files: int
    checkpoint: Checkpoint


def export_tiles(storage: Storage, checkpoint: Checkpoint, folder: Path, *, public: bool = False) -> Exported:
    """Write the log up to ``checkpoint``, or add to an export what is new since.

    Args:
        checkpoint: a signed one of this log, from :meth:`governance.log.Log.checkpoint`.
        folder: made if it is not there; an earlier export of this log is extended.
        public: let every user of the machine read the files (0644) instead of this one alone (0600).

    Raises:
        LogError: GOV-502 when the directory is another log's, GOV-503 when it holds more than, or
            something else than, the log; GOV-504 when the log does not come to the signed root;
            GOV-515 when a file that must not change is another one; GOV-519 when it cannot be written.
    """
    try:
        return _export(storage, checkpoint, folder, 0o644 if public else 0o600)
    except OSError as error:
        raise LogError(
            "GOV-519",
            f"the export at {folder} cannot be written: {error.strerror}",
            "Give a directory that this user may write; a repeated export goes on where this one ended.",
        ) from None


def _export(storage: Storage, checkpoint: Checkpoint, folder: Path, mode: int) -> Exported:
    folder.mkdir(parents=True, exist_ok=True, mode=0o755 if mode & 0o044 else 0o700)
    since = _before(storage, checkpoint, folder)
    edge = Edge.of(storage, since)
    written = 0
    if checkpoint.size > since:
        for start in range(since // WIDTH * WIDTH, checkpoint.size, WIDTH):
            stop = min(start + WIDTH, checkpoint.size)
            leaves = [row.leaf for row in storage.read(start, stop)]
            new = leaf_hashes(leaves[max(since - start, 0) :])
            files = [(Resource(None, start // WIDTH, len(leaves)), bundle(leaves)), *edge.append(new)]
            written += sum(_write(folder, resource.path, data, mode) for resource, data in files)
        written += sum(_write(folder, part.path, data, mode) for part, data in edge.partial())
    if (edge.size, edge.root()) != (checkpoint.size, checkpoint.root):
        raise LogError(
            "GOV-504",
            "what the log holds does not come to the root that was signed: nothing was published",
            "Run `governance log verify` on the store.",
        )
    replace_file(folder / CHECKPOINT, checkpoint.note.encode(), mode=mode)
    return Exported(checkpoint.size, since, written, checkpoint)


def _before(storage: Storage, checkpoint: Checkpoint, folder: Path) -> int:
    """The size of the export that is there, after proving that the log extends it."""
    published = folder / CHECKPOINT
    if not published.exists():
        return 0
    try:
        old = read_checkpoint(published.read_text("utf-8"))
    except (LogError, UnicodeDecodeError):
        raise LogError("GOV-515", f"the checkpoint at {folder} is malformed", _REMEDY) from None
    if old.origin != checkpoint.origin:
        raise LogError("GOV-502", f"the export at {folder} is of the log {old.origin}", _REMEDY)
    if old.size > checkpoint.size:
        raise LogError(
            "GOV-503",
            f"the export holds {old.size} entries and the log {checkpoint.size}: the log was rolled back",
            "Run `governance log verify`; the export may be the better copy, keep it.",
        )
    proof = tree.consistency_proof(old.size, checkpoint.size, storage.nodes)
    tree.verify_consistency(old.size, checkpoint.size, proof, old.root, checkpoint.root)
    return old.size


def _write(folder: Path, path: str, data: bytes, mode: int) -> int:
    """Write an immutable file; 0 when an export that was stopped left the same one already."""
    target = folder / path
    if target.exists():
        if target.read_bytes() != data:
            raise LogError("GOV-515", f"{path} is there and says something else", _REMEDY)
        return 0
    missing = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    if mode & 0o044 == 0:
        for parent in missing:
            parent.chmod(0o700)
    replace_file(target, data, mode=mode)
    for made in missing:
        sync(made.parent)
    return 1


@dataclass(frozen=True, slots=True)
class TilesReport:
    """The outcome of :func:`verify_tiles`.

    ``first_bad`` is the first entry that is not as signed, where the fault can be located; ``reason``
    says why in words and is empty when nothing is wrong. ``compared`` checkpoints agree.
    """

    origin: str
    size: int
    root: bytes
    compared: int
    first_bad: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether every file is what the signed checkpoint commits to."""
        return not self.reason


def verify_tiles(
    folder: Path,
    vkey: str,
    checkpoints: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    handovers: Sequence[Handover] = (),
) -> TilesReport:
    """Check an exported directory with nothing but a pinned public key: no store, no network.

    Every leaf is hashed, every tile derived again and compared, the root held against the signature.

    Args:
        checkpoints: older signed notes that the export must extend.
        handovers: rotations of the log's key, where the pinned key is not the one that signed.

    Raises:
        LogError: GOV-515 when there is no export at ``folder``, GOV-506 when its checkpoint, or one that
            is given, is not signed by the pinned key.
    """
    keys = follow(VerifierKey.parse(vkey), handovers)
    try:
        checkpoint = open_checkpoint((folder / CHECKPOINT).read_text("utf-8"), keys)
    except (OSError, UnicodeDecodeError):
        raise LogError(
            "GOV-515", f"there is no export at {folder}", "Name a directory that holds `checkpoint`."
        ) from None
    older = sorted((open_checkpoint(note, keys) for note in checkpoints), key=lambda c: c.size)
    edge, compared = Edge(), 0

    def report(first: int | None, reason: str) -> TilesReport:
        return TilesReport(checkpoint.origin, checkpoint.size, checkpoint.root, compared, first, reason)

    if older and older[-1].size > checkpoint.size:
        reason = f"a checkpoint of {older[-1].size} entries was signed and the export holds {checkpoint.size}"
        return report(checkpoint.size, reason)
    for start in range(0, checkpoint.size, WIDTH):
        width = min(WIDTH, checkpoint.size - start)
        wanted = Resource(None, start // WIDTH, width)
        try:
            leaves = leaves_of((folder / wanted.path).read_bytes())
        except OSError as error:
            return report(start, f"{wanted.path} cannot be read: {error.strerror}")
        except LogError as error:
            return report(start, f"{wanted.path}: {error.message}")
        if len(leaves) != width:
            return report(start, f"{wanted.path} holds {len(leaves)} entries instead of {width}")
        hashes = leaf_hashes(leaves)
        while older and older[0].size <= start + width:
            signed = older.pop(0)
            at = edge.copy()
            at.append(hashes[: (signed.size - start) * HASH_SIZE])
            if at.root() != signed.root:
                return report(None, f"the first {signed.size} entries are not those that were signed")
            compared += 1
        derived = edge.append(hashes)
        if edge.size == checkpoint.size:
            derived += edge.partial()
        for resource, data in derived:
            fault = _compare(folder, resource, data, start)
            if fault is not None:
                return report(*fault)
        if progress is not None:
            progress(edge.size, checkpoint.size)
    if edge.root() != checkpoint.root:
        return report(None, "entries and tiles agree with one another and not with the signed root")
    compared += 1 + sum(signed.root == tree.EMPTY_ROOT for signed in older)
    return report(None, "")


def _compare(folder: Path, resource: Resource, data: bytes, start: int) -> tuple[int | None, str] | None:
    try:
        stored = (folder / resource.path).read_bytes()
    except OSError as error:
        return start, f"{resource.path} cannot be read: {error.strerror}"
    if stored == data:
        return None
    place = next((n for n in range(len(data)) if stored[n : n + 1] != data[n : n + 1]), len(data))
    first = resource.index * WIDTH + min(place // HASH_SIZE, resource.width - 1)
    return first << (8 * (resource.level or 0)), f"{resource.path} does not hold the hashes of its entries"
