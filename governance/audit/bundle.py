"""The bundle: a record with everything that proves it, in files whose names and bytes are fixed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.audit import standalone
from governance.audit.audience import WHOLE, Audience, hides
from governance.audit.checking.container import pack
from governance.log.envelope import Envelope
from governance.log.log import Entry, Log
from governance.log.note import Checkpoint, VerifierKey, read_checkpoint
from governance.log.proof import InclusionProof
from governance.log.rotation import follow, handovers
from governance.log.tree import leaf_hash
from governance.model.canonical import canonical, digest
from governance.model.evidence import Signer

FORMAT = "governance-bundle/1"
PAYLOAD_TYPE = "application/vnd.governance.bundle-manifest+json"
RECORD, HTML, CHECKPOINT, KEY, PROOFS, MANIFEST, SIGNATURE, HOWTO = (
    "record.json",
    "report.html",
    "checkpoint.txt",
    "key.txt",
    "proofs.json",
    "manifest.json",
    "signature.json",
    "HOWTO.txt",
)
ENTRIES = "entries/"
VERIFIER = "verify.py"
"""A verifier that needs Python and ``cryptography`` only. Bundles of before it have none."""

ROTATIONS = "rotations.json"
"""A list of handovers; the bundle of a log whose key was never rotated has no such file."""

HOWTO_TEXT = """\
How to check this report
========================

You need the log's public key from somewhere other than this bundle: from the organisation's
website, from an earlier report, by telephone. key.txt says which key the bundle claims; whoever
altered the bundle could have altered that too.

    pip install airflow-governance
    governance verify BUNDLE.zip --key PUBLIC-KEY
    governance verify BUNDLE.zip --key PUBLIC-KEY --checkpoint AN-OLDER-CHECKPOINT.txt

Or, without that software, with Python and the package cryptography:

    python verify.py BUNDLE.zip --key PUBLIC-KEY

Take verify.py from elsewhere too, or compare its SHA-256 with the one that is published with the
software: an altered bundle may come with an altered verify.py. It checks everything below but point 5.

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
6. manifest.json lists every file with its SHA-256. signature.json holds an Ed25519 signature by the
   evidence key over the DSSE pre-authentication encoding (https://github.com/secure-systems-lab/dsse)
   of manifest.json, with the payload type that stands beside it. So no entry can be left out, and no
   file exchanged, by anybody but the operator.

Where record.json has a member "audience", the bundle is for others than the organisation: entries whose
body is withheld have none in entries/N.json, or, where the sender is withheld too, the leaf's hash alone.
Points 1, 3 and 6 hold for them as for all; points 2, 4 and 5 cannot be checked without the bodies, so
what such a cell says rests on the operator's signature.

record.json is the report; report.html shows it. Read "statements" for what it cannot prove.
"""


@dataclass(frozen=True, slots=True)
class BundledEntry:
    """An entry of the log as a bundle has it.

    Without body and salt where it was redacted or is withheld. ``leaf``, which names its sender, is empty where that
    is withheld too: then ``leaf_hash`` alone, SHA-256(0x00 ‖ leaf), stands for it.
    """

    index: int
    leaf: bytes
    body: bytes | None
    salt: bytes | None
    leaf_hash: bytes

    @classmethod
    def of(cls, entry: Entry, *, body: bool, sender: bool) -> BundledEntry:
        """An entry with its body, with its envelope alone, or with neither."""
        leaf = entry.leaf if body or sender else b""
        shown = (entry.body, entry.salt) if body else (None, None)
        return cls(entry.index, leaf, *shown, leaf_hash(entry.leaf))

    def to_bytes(self) -> bytes:
        if not self.leaf:
            return canonical({"index": self.index, "leaf_hash": _text(self.leaf_hash)})
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
        members = set(said) if isinstance(said, dict) else set()
        try:
            if members == {"index", "leaf_hash"}:
                entry = cls(said["index"], b"", None, None, _bytes(said["leaf_hash"]))
            elif members == {"index", "leaf", "body", "salt"}:
                leaf = _bytes(said["leaf"])
                entry = cls(said["index"], leaf, _maybe(said["body"]), _maybe(said["salt"]), leaf_hash(leaf))
            else:
                raise TypeError
        except (TypeError, binascii.Error):
            raise ValueError("it is no entry") from None
        if type(entry.index) is not int or entry.to_bytes() != data:
            raise ValueError("it is not in canonical form")
        if (entry.body is None) != (entry.salt is None):
            raise ValueError("it has a body without a salt, or a salt without a body")
        if not entry.leaf:
            return entry
        envelope = Envelope.from_leaf(entry.leaf)
        if entry.body is not None and not envelope.covers(entry.salt or b"", entry.body):
            raise ValueError("its body is not the one its leaf commits to")
        return entry


def make_bundle(
    log: Log,
    vkey: str,
    signer: Signer,
    checkpoint: Checkpoint,
    record: Mapping[str, Any],
    html: bytes,
    entries: Sequence[Entry],
    audience: Audience = WHOLE,
) -> bytes:
    """Pack a record, as :func:`governance.audit.audience.shown_to` made it for ``audience``.

    Args:
        vkey: the log's key as it is now; the bundle names the one of the checkpoint.
        signer: the evidence key, which the log's genesis names.
        entries: those that ``record["entries"]`` lists.

    Raises:
        AuditError: GOV-804 when it would be too large. LogError: GOV-504 when an entry has no proof.
    """
    key, rotations = _rotations(log, vkey, checkpoint)
    members = {
        RECORD: canonical(record),
        HTML: html,
        CHECKPOINT: checkpoint.note.encode(),
        KEY: (key + "\n").encode(),
        HOWTO: HOWTO_TEXT.encode(),
        VERIFIER: standalone.source(),
        PROOFS: canonical(
            {
                "inclusion": [log.prove(entry.index, checkpoint).to_json() for entry in entries],
                "consistency": _consistency(log, checkpoint),
            }
        ),
    }
    for entry, described in zip(entries, record["entries"], strict=True):
        shown = described["body"] == "present"
        bundled = BundledEntry.of(entry, body=shown, sender=not hides(audience, described))
        members[f"{ENTRIES}{entry.index}.json"] = bundled.to_bytes()
    members |= rotations
    members[MANIFEST] = manifest(members)
    return pack(members | {SIGNATURE: sign(members[MANIFEST], signer)})


def manifest(members: Mapping[str, bytes]) -> bytes:
    """The list of files with their digests; itself and its signature left out."""
    files = {
        name: digest(data) for name, data in sorted(members.items()) if name not in (MANIFEST, SIGNATURE)
    }
    return canonical({"format": FORMAT, "files": files})


def unlisted(members: Mapping[str, bytes]) -> str:
    """What is wrong with a manifest that is not the one of its members, in words."""
    try:
        said = json.loads(members[MANIFEST])["files"]
        made = json.loads(manifest(members))["files"]
        name = next((n for n in sorted({*made, *said}) if said.get(n) != made.get(n)), None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        name = None
    return f"does not list {name} as it is" if name else "is not as bundles have it"


def sign(listing: bytes, signer: Signer) -> bytes:
    """The signature file over a manifest."""
    return canonical(
        {
            "payloadType": PAYLOAD_TYPE,
            "public_key": _text(signer.public_key),
            "signature": _text(signer.sign(pre_authentication(listing))),
        }
    )


def read_signature(data: bytes) -> tuple[bytes, bytes]:
    """The public key a signature file names, 32 bytes, and the signature.

    Raises:
        ValueError: it is not as :func:`sign` writes it.
    """
    said = json.loads(data)
    if not isinstance(said, dict) or said.get("payloadType") != PAYLOAD_TYPE or canonical(said) != data:
        raise ValueError("it is not in canonical form")
    if set(said) != {"payloadType", "public_key", "signature"}:
        raise ValueError("it is not of the form bundles have")
    return _bytes(said["public_key"]), _bytes(said["signature"])


def signs(public_key: bytes, signature: bytes, listing: bytes) -> bool:
    """Whether a signature is this key's over a manifest (Ed25519, RFC 8032)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, pre_authentication(listing))
    except (InvalidSignature, ValueError):
        return False
    return True


def pre_authentication(listing: bytes) -> bytes:
    """DSSE v1 PAE: ``DSSEv1`` SP LEN(type) SP type SP LEN(body) SP body."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(listing), listing)


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


def _rotations(log: Log, vkey: str, checkpoint: Checkpoint) -> tuple[str, dict[str, bytes]]:
    """The key that speaks for a checkpoint, and the file that leads there from each key before it."""
    held = sorted(handovers(log.storage), key=lambda handover: handover.proof.size)
    terms = follow(VerifierKey.parse(vkey), held)
    key = [term.key for term in terms if term.first <= checkpoint.size][-1]
    found = [handover for handover in held if handover.proof.size <= checkpoint.size]
    return str(key), {ROTATIONS: canonical([h.to_json() for h in found])} if found else {}


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
