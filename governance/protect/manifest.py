"""The signed statement of what a version is.

A manifest binds (dataset, version) to every file's size and digest, key material included, which
Parquet encryption alone does not: swapping one encrypted file and its keys for another reads
cleanly. The body is canonical JSON (RFC 8785) in a DSSE envelope (secure-systems-lab/dsse,
protocol v1.0.2), signed Ed25519; its digest is what release, evidence and approval cite.

A version is a set of segments. Versions share segments (``append``), leave some out
(``replace-partition``) or replace one by its rewritten successor (erasure): each is a new manifest
that names the segments it stands on, wherever they were first written.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.errors import StorageError
from governance.model.canonical import canonical_parsed, digest
from governance.model.contract import LoadMode
from governance.model.dataset import Manifest, Segment, SegmentFile
from governance.model.evidence import Signer
from governance.model.run import OpenedRun

PAYLOAD_TYPE = "application/vnd.governance.manifest+json"
FORMAT = 1

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PATH = re.compile(r"segments(?:/[A-Za-z0-9_][A-Za-z0-9._-]*){2,}")
_REQUIRED = {
    "v": int, "dataset": str, "kind": str, "version": str, "run": dict, "schema": list, "columns": list,
    "segments": list, "counts": dict, "contract_digest": str, "policy_digest": str, "consent_position": int,
}  # fmt: skip


def build_manifest(
    run: OpenedRun,
    *,
    segments: Sequence[Segment],
    schema: Sequence[Mapping[str, str]],
    columns: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Any],
    checkpoint: str | None,
    extra: Mapping[str, Any] | None = None,
) -> Manifest:
    """State what a version is. Pure: nothing is read.

    Args:
        run: what was pinned when the run opened.
        segments: all the version stands on, those it shares with earlier versions first.
        schema: ``{"name", "type"}`` per released column, in order; types as Arrow writes them.
        columns: facts per column: name, classification, sensitivity, method, masking …
        counts: ``rows_in``, ``rows_denied``, ``rows_quarantined``, ``rows_out`` of this run.
        checkpoint: the log's signed checkpoint when the manifest is signed; ``None`` in a draft.
        extra: further members; none may take a name used here.

    Raises:
        ValueError: two segments have one id, or ``extra`` collides.
    """
    ids = [segment.segment_id for segment in segments]
    if len(set(ids)) < len(ids):
        raise ValueError("a segment is listed twice")
    body: dict[str, Any] = {
        "v": FORMAT,
        "dataset": run.dataset,
        "kind": str(run.kind),
        "version": run.version,
        "previous_version": run.previous_version,
        "run": run.to_json(),
        "contract_digest": run.contract_digest,
        "policy_digest": run.policy_digest,
        "consent_position": run.consent_position,
        "schema": [{"name": c["name"], "type": c["type"]} for c in schema],
        "columns": [dict(c) for c in columns],
        "segments": [_segment_json(segment) for segment in segments],
        "rows": sum(segment.rows for segment in segments),
        "counts": dict(counts),
        "checkpoint": checkpoint,
    }
    if taken := set(body) & set(extra or {}):
        raise ValueError(f"extra members collide: {', '.join(sorted(taken))}")
    payload = canonical_parsed({**body, **(extra or {})})
    return Manifest(run.dataset, run.version, tuple(segments), json.loads(payload), digest(payload))


def carried_segments(
    previous: Manifest | None, mode: LoadMode, written: Sequence[Segment]
) -> tuple[Segment, ...]:
    """The segments a new version shares with the previous one.

    ``full`` shares none, ``append`` all, ``replace-partition`` those of partitions not written now.
    """
    if previous is None or mode is LoadMode.FULL:
        return ()
    if mode is LoadMode.APPEND:
        return previous.segments
    replaced = {tuple(sorted(segment.partition.items())) for segment in written}
    return tuple(s for s in previous.segments if tuple(sorted(s.partition.items())) not in replaced)


def sign_manifest(manifest: Manifest, signer: Signer) -> bytes:
    """The DSSE envelope of a manifest, as canonical JSON."""
    payload = canonical_parsed(manifest.body)
    signature = signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return _envelope(payload, signer.public_key, signature)


def load_manifest(
    data: bytes,
    public_key: bytes,
    *,
    dataset: str | None = None,
    version: str | None = None,
    expected_digest: str | None = None,
) -> Manifest:
    """Verify an envelope and read the manifest in it.

    The envelope must be, byte for byte, what :func:`sign_manifest` writes: one signature, canonical
    form. So no byte of it can change unnoticed.

    Args:
        data: the envelope.
        public_key: the dataset's pinned Ed25519 key, 32 bytes; never one found beside the data.
        dataset: refuse another dataset's manifest.
        version: refuse another version's manifest: a rolled-back or swapped one.
        expected_digest: refuse any other manifest, e.g. than the one the pointer names.

    Raises:
        StorageError: GOV-722.
    """
    payload = _opened(data, public_key)
    try:
        manifest = _manifest_of(payload)
        sound = _is_sound(manifest) and canonical_parsed(manifest.body) == payload
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _refused("it is signed, but not a manifest of this format") from None
    if not sound:
        raise _refused("it is signed, but not a manifest of this format")
    if dataset is not None and manifest.dataset != dataset:
        raise _refused(f"it describes dataset {manifest.dataset}, not {dataset}")
    if version is not None and manifest.version != version:
        raise _refused(f"it describes version {manifest.version}, not {version}")
    if expected_digest is not None and manifest.digest != expected_digest:
        raise _refused(f"it is another one than {expected_digest}")
    return manifest


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: ``DSSEv1 LEN(type) type LEN(body) body``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, public_key: bytes, signature: bytes) -> bytes:
    # Canonical JSON as it stands: a manifest of a thousand segments is too long to look through for escapes again.
    return b'{"payload":"%b","payloadType":"%b","signatures":[{"keyid":"%b","sig":"%b"}]}' % (
        base64.b64encode(payload),
        PAYLOAD_TYPE.encode(),
        digest(public_key).encode(),
        base64.b64encode(signature),
    )


def _opened(data: bytes, public_key: bytes) -> bytes:
    try:
        envelope = json.loads(data)
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        exact = _envelope(payload, public_key, signature) == data
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            signature, pre_authentication_encoding(PAYLOAD_TYPE, payload)
        )
    except InvalidSignature:
        raise _refused("its signature is not of the dataset's key over these bytes") from None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, binascii.Error):
        raise _refused("it is not a DSSE envelope") from None
    if not exact:
        raise _refused("its envelope was altered around the signed payload, or names another key")
    return payload


def _manifest_of(payload: bytes) -> Manifest:
    body = json.loads(payload)
    return Manifest(
        dataset=body["dataset"],
        version=body["version"],
        segments=tuple(_segment_of(segment) for segment in body["segments"]),
        body=body,
        digest=digest(payload),
    )


def _is_sound(manifest: Manifest) -> bool:
    body = manifest.body
    if any(not isinstance(body[name], kind) for name, kind in _REQUIRED.items()) or body["v"] != FORMAT:
        return False
    run = OpenedRun.from_json(body["run"])
    if (run.dataset, run.version) != (manifest.dataset, manifest.version):
        return False
    if any(type(segment.rows) is not int or segment.rows < 0 for segment in manifest.segments):
        return False
    files = [file for segment in manifest.segments for file in segment.files]
    if len({file.path for file in files}) < len(files):
        return False
    return all(
        _PATH.fullmatch(file.path)
        and _DIGEST.fullmatch(file.digest)
        and type(file.size) is int
        and file.size >= 0
        and file.role in ("data", "key_material")
        for file in files
    )


def _segment_json(segment: Segment) -> dict[str, Any]:
    return {
        "segment_id": segment.segment_id,
        "partition": dict(segment.partition),
        "rows": segment.rows,
        "files": [
            {"path": f.path, "size": f.size, "digest": f.digest, "role": f.role} for f in segment.files
        ],
        "key_ids": dict(segment.key_ids),
    }


def _segment_of(data: Mapping[str, Any]) -> Segment:
    return Segment(
        segment_id=data["segment_id"],
        partition=dict(data["partition"]),
        rows=data["rows"],
        files=tuple(SegmentFile(**file) for file in data["files"]),
        key_ids=dict(data["key_ids"]),
    )


def _refused(why: str) -> StorageError:
    return StorageError(
        "GOV-722",
        f"the manifest is refused: {why}",
        "restore the manifest from the storage's own copy, or check which public key is pinned",
    )
