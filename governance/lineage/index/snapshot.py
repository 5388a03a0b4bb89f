"""The index kept between processes: immutable Parquet files and a manifest that says what they are of.

A snapshot saves time, nothing else: it is checked against the log when it is opened, and what does not
agree is not used. It lies in a folder of mode 0700, in files of mode 0600: facets are kept as they were sent
and may hold personal data that slipped in. A snapshot that holds an entry which was redacted or pruned since is
deleted when that is noticed.

    FOLDER/manifest.json       what the newest snapshot is of; replaced in one rename
    FOLDER/SIZE-RANDOM/        its files, one a table, and ``lock``, held by whoever has it open
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import duckdb

import governance
from governance.durable import replace_file, sync
from governance.errors import LogError
from governance.lineage.index import schemas
from governance.lineage.index.index import Index, Kept, ReadableLog, genesis_evidence_key
from governance.lineage.signatures import RunKeys
from governance.log import tree

MANIFEST = "manifest.json"
_LOCK, _WRITING = "lock", ".writing"
_log = logging.getLogger(__name__)


class SnapshotLog(ReadableLog, Protocol):
    """What a snapshot needs of the log, as :class:`governance.log.Log` has it."""

    @property
    def origin(self) -> str:
        """The log's name."""


def write_snapshot(index: Index, folder: Path, log: SnapshotLog) -> Path:
    """Keep the index in ``folder`` in place of what was kept there; returns where its files lie.

    Killed at any point, the former snapshot or the new one is there, whole. The former one goes as soon as
    nobody has it open. Catching up goes on meanwhile.

    Raises:
        LogError: GOV-524 when it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with _writing(folder, wait=True):
            return _write(index, folder, log)
    except (OSError, duckdb.Error) as error:
        raise LogError(
            "GOV-524",
            f"the snapshot of the index cannot be written to {folder}: {type(error).__name__}",
            "Free space there, or name a folder that this user may write; the log is not touched.",
        ) from None


def _write(index: Index, folder: Path, log: SnapshotLog) -> Path:
    with index.still() as (store, reader, size):
        place = folder / f"{size}-{secrets.token_hex(4)}"
        place.mkdir(mode=0o700)
        write, finish = store.export(place)
        said = {
            "next_id": reader.next_id,
            "run_keys": [(dict(context), _text(key)) for context, key in reader.run_keys.pairs()],
        }
    try:
        files = write()
    finally:
        finish()
    (place / _LOCK).touch(mode=0o600)
    for file in files.values():
        file.chmod(0o600)
        sync(file)
    sync(place)
    manifest = {
        "v": 1,
        "facts": _version(),
        "origin": log.origin,
        "size": size,
        "root": _root(log, size),
        "redactions": sum(r.leaf < size for r in log.storage.redactions()),
        "evidence_public_key": _text(index.evidence_public_key),
        "folder": place.name,
        "files": {name: _digest(file) for name, file in files.items()},
        **said,
    }
    _publish(folder, manifest)
    _sweep(folder, place.name)
    return place


def open_snapshot(
    folder: Path,
    log: SnapshotLog,
    evidence_public_key: bytes | None = None,
    *,
    threads: int = 2,
    memory_limit: str = "40%",
) -> Index | None:
    """The index as kept in ``folder``; catch it up to have what was appended since.

    ``None`` when there is none, or when it cannot be used, which is logged with its reason (GOV-523): build
    the index from the log then. A key not pinned is the genesis leaf's, as in :meth:`Index.build`.
    """
    key = genesis_evidence_key(log) if evidence_public_key is None else evidence_public_key
    try:
        kept = _kept(folder, log, key)
        if kept is None:
            return None
        try:
            return Index(key, threads=threads, memory_limit=memory_limit, kept=kept)
        except duckdb.Error as error:
            kept.lock.close()
            raise _refused(f"its files cannot be read ({type(error).__name__})") from None
    except LogError as error:
        if error.code != "GOV-523":
            raise
        _log.warning("%s", error)
        return None


def _kept(folder: Path, log: SnapshotLog, key: bytes | None) -> Kept | None:
    """What is kept, checked and held; ``None`` if there is nothing. Raises GOV-523."""
    for attempt in (1, 2, 3):
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _refused(f"its manifest cannot be read ({type(error).__name__})") from None
        try:
            return _of(manifest, folder, log, key)
        except FileNotFoundError:
            # Another process may have put a newer one in its place meanwhile.
            if attempt == 3:
                raise _refused("a file is missing") from None
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _refused(f"it is damaged ({type(error).__name__})") from None
    return None


def _of(manifest: Mapping[str, Any], folder: Path, log: SnapshotLog, key: bytes | None) -> Kept:
    _check(manifest, log, key)
    size, place = manifest["size"], folder / manifest["folder"]
    if gone := _gone(log, size):
        with _writing(folder, wait=False) as alone:
            if alone:
                (folder / MANIFEST).unlink(missing_ok=True)
                _sweep(folder, None)
        raise _refused(f"an entry it holds was {gone} since; it is deleted")
    lock = (place / _LOCK).open("rb")
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        for name, digest in manifest["files"].items():
            if _digest(place / f"{name}.parquet") != digest:
                raise _refused(f"the file of {name} is damaged")
        run_keys = RunKeys()
        for context, public_key in manifest["run_keys"]:
            run_keys.add(context, base64.b64decode(public_key, validate=True))
        files = {name: place / f"{name}.parquet" for name in schemas.SCHEMAS}
        return Kept(files, size, run_keys, int(manifest["next_id"]), lock)
    except BaseException:
        lock.close()
        raise


def _gone(log: SnapshotLog, size: int) -> str:
    """How a body among the first ``size`` entries left the log since it had so many; empty if none did."""
    if any(r.leaf >= size > r.index for r in log.storage.redactions()):
        return "redacted"
    if any(a.pruned is not None and a.pruned >= size > a.first for a in log.storage.archives()):
        return "pruned"
    return ""


def _check(manifest: Mapping[str, Any], log: SnapshotLog, key: bytes | None) -> None:
    size = manifest["size"]
    if manifest["v"] != 1 or manifest["facts"] != _version():
        raise _refused("another version of governance wrote it")
    if manifest["origin"] != log.origin:
        raise _refused("it is of another log")
    if size > log.size() or _root(log, size) != manifest["root"]:
        raise _refused("the log has another root at its size: rolled back, or another history")
    if manifest["evidence_public_key"] != _text(key):
        raise _refused("another evidence key was pinned")
    if manifest["files"].keys() != schemas.SCHEMAS.keys():
        raise _refused("a table is missing")


@contextmanager
def _writing(folder: Path, *, wait: bool) -> Iterator[bool]:
    """While one process changes the folder, no other does. False when another is at it."""
    with os.fdopen(os.open(folder / _WRITING, os.O_RDWR | os.O_CREAT, 0o600), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _publish(folder: Path, manifest: Mapping[str, Any]) -> None:
    replace_file(folder / MANIFEST, json.dumps(manifest).encode())


def _sweep(folder: Path, newest: str | None) -> None:
    """Delete what killed writers left and former snapshots that nobody has open."""
    for place in folder.iterdir():
        if place.name in (MANIFEST, _WRITING, newest):
            continue
        if place.is_file():
            place.unlink(missing_ok=True)
            continue
        try:
            with (place / _LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
        except BlockingIOError:
            _log.info("a former snapshot is still open: %s stays until the next one", place.name)


def _root(log: SnapshotLog, size: int) -> str:
    return tree.root(size, log.storage.nodes).hex()


def _version() -> str:
    return f"{governance.__version__} {schemas.VERSION}"


def _digest(file: Path) -> str:
    with file.open("rb") as source:
        return "sha256:" + hashlib.file_digest(source, "sha256").hexdigest()


def _text(key: bytes | None) -> str | None:
    return None if key is None else base64.b64encode(key).decode("ascii")


def _refused(why: str) -> LogError:
    return LogError(
        "GOV-523",
        f"the snapshot of the index is not used: {why}",
        "Nothing is lost: the index is built from the log, which takes longer; write a new snapshot then.",
    )
