"""The checkpoint signer: it never signs two histories.

It remembers the last checkpoint it signed in a file of its own, outside the store, and signs a tree only
after a consistency proof from that checkpoint (https://c2sp.org/tlog-checkpoint: "a log MUST not sign
any checkpoint which is inconsistent with any checkpoint it previously signed"). So a store that was
rolled back, restored from an older backup, forked or replaced is caught by whoever holds the memory.
It also remembers which key signs now, so that a process that still holds a rotated key signs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.durable import locked, replace_file
from governance.errors import LogError
from governance.log import tree
from governance.log.note import (
    Checkpoint,
    checkpoint_text,
    parse_checkpoint,
    read_checkpoint,
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
        reload: given the public key that signs now, the log's key as the key store has it: asked when
            another process rotated it, or one was killed while it did.

    Raises:
        LogError: GOV-503 when the memory is of another log, GOV-506 when it is damaged, GOV-511 when the
            key was rotated and ``reload`` does not know the new one.
    """

    def __init__(
        self,
        private_key: Signer,
        origin: str,
        memory: Path,
        reload: Callable[[str], Signer] | None = None,
    ) -> None:
        self._private_key = private_key
        self._reload = reload
        self.origin = origin
        self.memory = memory
        self.last()

    @property
    def vkey(self) -> str:
        """The public key that verifies what is signed now."""
        return vkey_of(self.origin, self._private_key.public_key)

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
            origin, note, key = members["origin"], members["checkpoint"], members.get("key")
            if not isinstance(note, str):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError):
            raise LogError(
                "GOV-506",
                "the signer's memory is damaged",
                "Restore the file. Or move it away and `governance log adopt` the newest checkpoint you trust.",
            ) from None
        if origin != self.origin:
            raise LogError(
                "GOV-503",
                f"the signer remembers the log {origin}, this store is {self.origin}",
                "Use the store that belongs to this signer, or a memory file of its own for a new log.",
            )
        self._take_over(key)
        return parse_checkpoint(note, self.vkey)

    def adopt(self, note: str, size: int, read: ReadNodes) -> Checkpoint:
        """Take a checkpoint of a log of ``size`` leaves as the memory, when the memory file was lost.

        Raises:
            LogError: GOV-506 when it is not signed by this key, GOV-503 when there is a memory, or the log
                does not extend it.
        """
        checkpoint = parse_checkpoint(note, self.vkey)
        self._extends(checkpoint, size, tree.root(size, read), read)
        with self._locked():
            last = self.last()
            if last is not None and last.note != note:
                raise LogError("GOV-503", f"the signer remembers a tree of size {last.size}", _REMEDY)
            self._remember(checkpoint, self.vkey)
        return checkpoint

    def sign(
        self,
        size: Callable[[], int],
        read: ReadNodes,
        stored: Callable[[], str | None],
        keep: Callable[[int, str], None] | None = None,
    ) -> Checkpoint:
        """Sign the whole current tree; remembered durably before it returns.

        Args:
            size: the current number of leaves, asked while no other signer of this memory works.
            read: the storage's tree nodes.
            stored: the store's own newest checkpoint, to notice a lost memory.
            keep: keeps a checkpoint in the store: the last one, when a process was killed before it did.

        Raises:
            LogError: GOV-503 when the tree is not an extension of what was signed before.
        """
        with self._locked():
            now, root, last = self._grown(size, read, stored)
            if last is not None and last.size == now:
                return last
            if last is not None and keep is not None:
                keep(last.size, last.note)
            return self._signed(now, root, self._private_key)

    def hand_over(
        self,
        successor: Signer,
        append: Callable[[Signer], int],
        read: ReadNodes,
        stored: Callable[[], str | None],
    ) -> Checkpoint:
        """Sign a checkpoint with this key and its successor, which signs alone from then on.

        Nobody else signs meanwhile, so the checkpoint ends with the leaf that names the successor: that is
        how a verifier finds it (:mod:`governance.log.rotation`).

        Args:
            append: given the key that signs now, appends that leaf and returns its index.

        Raises:
            LogError: GOV-503 as for :meth:`sign`, GOV-511 when the leaf is below what was signed before.
        """
        with self._locked():
            last = self.last()
            if successor.public_key == self._private_key.public_key:
                raise LogError(
                    "GOV-511",
                    "another process handed the log over to this key just now",
                    "Nothing is left to do; rotate again for yet another key.",
                )
            size = append(self._private_key) + 1
            if last is not None and size <= last.size:
                raise LogError(
                    "GOV-511",
                    "the statement of the key rotation was in the log already",
                    "Rotate again: each rotation needs a statement of its own.",
                )
            now, root, _ = self._grown(lambda: size, read, stored)
            checkpoint = self._signed(now, root, self._private_key, successor)
            self._private_key = successor
            return checkpoint

    def _grown(
        self, size: Callable[[], int], read: ReadNodes, stored: Callable[[], str | None]
    ) -> tuple[int, bytes, Checkpoint | None]:
        """Size and root of the tree, and the last checkpoint signed, which that tree extends."""
        last = self.last()
        note = stored()
        if last is None and note is not None:
            raise LogError(
                "GOV-503",
                "the store holds signed checkpoints and the signer remembers none",
                "Restore the signer's memory file, or `governance log adopt` the newest checkpoint you trust.",
            )
        now = size()
        root = tree.root(now, read)
        if last is not None:
            self._extends(last, now, root, read)
            # The store may be ahead of a memory that was itself restored from a backup.
            if note is not None and read_checkpoint(note).size > last.size:
                self._extends(parse_checkpoint(note, self.vkey), now, root, read)
        return now, root, last

    def _signed(self, size: int, root: bytes, *keys: Signer) -> Checkpoint:
        """A new checkpoint by ``keys``, remembered with the last of them as the key that signs from now on."""
        note = sign_note(checkpoint_text(self.origin, size, root), self.origin, *keys)
        checkpoint = Checkpoint(self.origin, size, root, note)
        self._remember(checkpoint, vkey_of(self.origin, keys[-1].public_key))
        return checkpoint

    def _take_over(self, key: str | None) -> None:
        """Go on with the key that the memory names. Memories from before rotation existed name none."""
        if key is None or key == self.vkey:
            return
        current = self._private_key if self._reload is None else self._reload(key)
        if vkey_of(self.origin, current.public_key) != key:
            raise LogError(
                "GOV-511",
                "the signer's memory names another key than this home has: it was rotated, or is another home's",
                "Open the home again. If the memory or the key store was restored from a backup, restore a newer one.",
            )
        self._private_key = current

    def _extends(self, last: Checkpoint, size: int, root: bytes, read: ReadNodes) -> None:
        if size < last.size:
            raise LogError(
                "GOV-503",
                f"the log has {size} entries and {last.size} were signed: it was truncated or restored",
                _REMEDY,
            )
        proof = tree.consistency_proof(last.size, size, read)
        tree.verify_consistency(last.size, size, proof, last.root, root)

    def _remember(self, checkpoint: Checkpoint, key: str) -> None:
        content = json.dumps(
            {"v": 1, "origin": checkpoint.origin, "key": key, "checkpoint": checkpoint.note}
        ).encode()
        replace_file(self.memory, content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.memory.parent.is_dir():
            self.memory.parent.mkdir(mode=0o700, parents=True)
        # The memory file is replaced at each signature, so the lock needs a file that stays.
        with locked(self.memory.with_name(f"{self.memory.name}.lock")):
            yield
