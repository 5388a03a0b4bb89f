"""The bundle: a record with everything that proves it, in files whose names and bytes are fixed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.audit.container import pack
from governance.log.envelope import Envelope
from governance.log.log import Entry, Log
from governance.log.note import Checkpoint, read_checkpoint
from governance.log.proof import InclusionProof
from governance.model.canonical import canonical, digest

FORMAT = "governance-bundle/1"
RECORD, HTML, CHECKPOINT, KEY, PROOFS, MANIFEST, HOWTO = (
    "record.json",
    "report.html",
    "checkpoint.txt",
    "key.txt",
    "proofs.json",
    "manifest.json",
    "HOWTO.txt",
)
ENTRIES = "entries/"

HOWTO_TEXT = """\
How to check this report
========================

You need the log's public key from somewhere other than this bundle: from the organisation's
website, from an earlier report, by telephone. key.txt says which key the bundle claims; whoever
altered the bundle could have altered that too.

    pip install airflow-governance
    governance verify BUNDLE.zip --key PUBLIC-KEY
    governance verify BUNDLE.zip --key PUBLIC-KEY --checkpoint AN-OLDER-CHECKPOINT.txt

No network and no other file is needed. What is checked, so that you can also do it by hand:

1. checkpoint.txt is a signed note (https://c2sp.org/tlog-checkpoint) under the key: the name, size
   and root hash of an append-only log.
2. entries/N.json holds entry N of that log: its leaf (canonical JSON), its body and a salt, in
   base64. The leaf's digest is SHA-256(salt || body).
3. proofs.json leads from SHA-256(0x00 || leaf) to the root hash (RFC 6962, section 2.1.1).
4. The bodies of governed runs carry Ed25519 signatures, by the evidence key that entry 0 names and
   by run keys that openings introduce.
5. record.json is computed again from these entries. Every row, exception and unknown must come out
   the same. Counts over the whole log (population, whole_log) cannot: the bundle holds the cited
   entries only.

record.json is the report; report.html shows it. Read "statements" for what it cannot prove.
"""


@dataclass(frozen=True, slots=True)
class BundledEntry:
    """An entry of the log as a bundle has it; without body and salt where it was redacted."""

    index: int
    leaf: bytes
    body: bytes | None
    salt: bytes | None

    def to_bytes(self) -> bytes:
        return canonical(
            {
                "index": self.index,
                "leaf": _text(self.leaf),
                "body": None if self.body is None else _text(self.body),
                "salt": None if self.salt is None else _text(self.salt),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> BundledEntry:
        """Read an entry, refusing every spelling but one.

        Raises:
            ValueError: it is not as :meth:`to_bytes` writes it, or its body is not the envelope's.
        """
        said = json.loads(data)
        if not isinstance(said, dict) or set(said) != {"index", "leaf", "body", "salt"}:
            raise ValueError("it is no entry")
        try:
            entry = cls(said["index"], _bytes(said["leaf"]), _maybe(said["body"]), _maybe(said["salt"]))
        except (TypeError, binascii.Error):
            raise ValueError("it is no entry") from None
        if type(entry.index) is not int or entry.to_bytes() != data:
            raise ValueError("it is not in canonical form")
        if (entry.body is None) != (entry.salt is None):
            raise ValueError("it has a body without a salt, or a salt without a body")
        envelope = Envelope.from_leaf(entry.leaf)
        if entry.body is not None and not envelope.covers(entry.salt or b"", entry.body):
            raise ValueError("its body is not the one its leaf commits to")
        return entry


def make_bundle(
    log: Log,
    vkey: str,
    checkpoint: Checkpoint,
    record: Mapping[str, Any],
    html: bytes,
    entries: Sequence[Entry],
) -> bytes:
    """Pack a record.

    Args:
        entries: those that ``record["entries"]`` lists.

    Raises:
        AuditError: GOV-804 when it would be too large. LogError: GOV-504 when an entry has no proof.
    """
    members = {
        RECORD: canonical(record),
        HTML: html,
        CHECKPOINT: checkpoint.note.encode(),
        KEY: (vkey + "\n").encode(),
        HOWTO: HOWTO_TEXT.encode(),
        PROOFS: canonical(
            {
                "inclusion": [log.prove(entry.index, checkpoint).to_json() for entry in entries],
                "consistency": _consistency(log, checkpoint),
            }
        ),
    }
    for entry in entries:
        bundled = BundledEntry(entry.index, entry.leaf, entry.body, entry.salt)
        members[f"{ENTRIES}{entry.index}.json"] = bundled.to_bytes()
    return pack(members | {MANIFEST: manifest(members)})


def manifest(members: Mapping[str, bytes]) -> bytes:
    """The list of files with their digests; itself left out."""
    files = {name: digest(data) for name, data in sorted(members.items()) if name != MANIFEST}
    return canonical({"format": FORMAT, "files": files})


def read_proofs(data: bytes) -> tuple[dict[int, InclusionProof], dict[int, list[bytes]]]:
    """Inclusion proofs by index, consistency proofs by the older size.

    Raises:
        ValueError, LogError: it is malformed.
    """
    said = json.loads(data)
    proofs = [InclusionProof.from_json(proof) for proof in said["inclusion"]]
    older = {
        int(proof["size"]): [base64.b64decode(h, validate=True) for h in proof["hashes"]]
        for proof in said["consistency"]
    }
    if canonical(said) != data:
        raise ValueError("it is not in canonical form")
    return {proof.index: proof for proof in proofs}, older


def _consistency(log: Log, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Proofs that the tree extends every checkpoint the log kept: who holds an older one can compare."""
    kept = {read_checkpoint(note).size for note in log.storage.checkpoints()}
    return [
        {"size": size, "hashes": [_text(h) for h in log.consistency_proof(size, checkpoint.size)]}
        for size in sorted(kept)
        if 0 < size < checkpoint.size
    ]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _maybe(text: str | None) -> bytes | None:
    return None if text is None else _bytes(text)
