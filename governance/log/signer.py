"""The checkpoint signer: it never signs two histories.

It remembers the last checkpoint it signed in a file of its own, outside the store, and signs a tree only
after a consistency proof from that checkpoint (https://c2sp.org/tlog-checkpoint: "a log MUST not sign
any checkpoint which is inconsistent with any checkpoint it previously signed"). So a store that was
rolled back, restored from an older backup, forked or replaced is caught by whoever holds the memory.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.errors import LogError
from governance.log import tree
from governance.log.note import (
    Checkpoint,
    checkpoint_text,
    parse_checkpoint,
    sign_note,
    vkey_of,
)
from governance.log.tree import ReadNodes
from governance.model.evidence import Signer

_REMEDY = (
    "Run `governance log verify`. If the store was restored from a backup, restore a newer one;"
    " nothing may be signed until the log holds what was signed before."
)


class CheckpointSigner:
    """Signs the tree heads of one log.

    Args:
        private_key: the log's Ed25519 key.
        origin: the log's name, also the name of the key.
        memory: the file that keeps the last checkpoint, mode 0600, outside the store and its backups.

    Raises:
        LogError: GOV-503 when the memory is of another log, GOV-506 when it is damaged.
    """

    def __init__(self, private_key: Signer, origin: str, memory: Path) -> None:
        self._private_key = private_key
        self.origin = origin
        self.memory = memory
        self.vkey = vkey_of(origin, private_key.public_key)
        self.last()

    def last(self) -> Checkpoint | None:
        """The last checkpoint signed, or None before the first."""
        try:
            stored = self.memory.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogError(
                "GOV-506",
                f"the signer's memory cannot be read: {error.strerror}",
                "Give this user the right to read the signer's memory file.",
            ) from None
        try:
            members = json.loads(stored)
            origin, note = members["origin"], members["checkpoint"]
        except (ValueError, TypeError, KeyError):
            raise LogError(
                "GOV-506",
                "the signer's memory is damaged",
                "Restore the file, or adopt the newest checkpoint known from manifests and reports.",
            ) from None
        if origin != self.origin:
            raise LogError(
                "GOV-503",
                f"the signer remembers the log {origin}, this store is {self.origin}",
                "Use the store that belongs to this signer, or a memory file of its own for a new log.",
            )
        return parse_checkpoint(note, self.vkey)

    def adopt(self, note: str) -> Checkpoint:
        """Take a checkpoint of this log as the memory, when the memory file was lost.

        Raises:
            LogError: GOV-506 when it is not signed by this key, GOV-503 when there is a memory.
        """
        checkpoint = parse_checkpoint(note, self.vkey)
        with self._locked():
            last = self.last()
            if last is not None and last.note != note:
                raise LogError("GOV-503", f"the signer remembers a tree of size {last.size}", _REMEDY)
            self._remember(checkpoint)
        return checkpoint

    def sign(self, size: Callable[[], int], read: ReadNodes, stored: Callable[[], str | None]) -> Checkpoint:
        """Sign the whole current tree; remembered durably before it returns.

        Args:
            size: the current number of leaves, asked while no other signer of this memory works.
            read: the storage's tree nodes.
            stored: the store's own newest checkpoint, to notice a lost memory.

        Raises:
            LogError: GOV-503 when the tree is not an extension of what was signed before.
        """
        with self._locked():
            last = self.last()
            note = stored()
            if last is None and note is not None:
                raise LogError(
                    "GOV-503",
                    "the store holds signed checkpoints and the signer remembers none",
                    "Restore the signer's memory file, or adopt the newest checkpoint you trust.",
                )
            now = size()
            root = tree.root(now, read)
            if last is not None:
                self._extends(last, now, root, read)
                # The store may be ahead of a memory that was itself restored from a backup.
                newest = last if note is None else parse_checkpoint(note, self.vkey)
                if newest.size > last.size:
                    self._extends(newest, now, root, read)
                if last.size == now:
                    return last
            text = checkpoint_text(self.origin, now, root)
            checkpoint = Checkpoint(self.origin, now, root, sign_note(text, self.origin, self._private_key))
            self._remember(checkpoint)
            return checkpoint

    def _extends(self, last: Checkpoint, size: int, root: bytes, read: ReadNodes) -> None:
        if size < last.size:
            raise LogError(
                "GOV-503",
                f"the log has {size} entries and {last.size} were signed: it was truncated or restored",
                _REMEDY,
            )
        proof = tree.consistency_proof(last.size, size, read)
        tree.verify_consistency(last.size, size, proof, last.root, root)

    def _remember(self, checkpoint: Checkpoint) -> None:
        content = json.dumps({"v": 1, "origin": checkpoint.origin, "checkpoint": checkpoint.note}).encode()
        temporary = self.memory.with_name(f".{self.memory.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.memory)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(self.memory.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.memory.parent.is_dir():
            self.memory.parent.mkdir(mode=0o700, parents=True)
        # The memory file is replaced at each signature, so the lock needs a file that stays.
        path = self.memory.with_name(f"{self.memory.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
