"""Proofs that travel: an entry is in the log, checked with nothing but a signed checkpoint."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.errors import LogError
from governance.log import tree
from governance.log.note import Checkpoint


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """PATH(index, D[size]) of RFC 6962 §2.1.1; ``hashes`` are 32 bytes each, leaf upwards."""

    index: int
    size: int
    hashes: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """``{"index", "size", "hashes": [base64]}``."""
        return {
            "index": self.index,
            "size": self.size,
            "hashes": [base64.b64encode(value).decode() for value in self.hashes],
        }

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> InclusionProof:
        """The inverse of :meth:`to_json`.

        Raises:
            LogError: GOV-504 when it is malformed.
        """
        try:
            index, size = members["index"], members["size"]
            hashes = tuple(base64.b64decode(value, validate=True) for value in members["hashes"])
            if type(index) is not int or type(size) is not int or any(len(h) != 32 for h in hashes):
                raise ValueError
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise LogError(
                "GOV-504", "an inclusion proof is malformed", "Ask the log for the proof again."
            ) from None
        return cls(index, size, hashes)


def verify_entry(leaf: bytes, proof: InclusionProof, checkpoint: Checkpoint) -> None:
    """Check that ``leaf`` is entry ``proof.index`` of the tree that ``checkpoint`` commits to.

    The checkpoint must come from :func:`governance.log.note.parse_checkpoint`: this function does not
    look at signatures.

    Raises:
        LogError: GOV-504 when it is not.
    """
    if proof.size != checkpoint.size:
        raise LogError(
            "GOV-504",
            f"the proof is for a tree of size {proof.size}, the checkpoint for {checkpoint.size}",
            "Use the checkpoint that the proof was made for.",
        )
    tree.verify_inclusion(proof.index, proof.size, tree.leaf_hash(leaf), proof.hashes, checkpoint.root)
