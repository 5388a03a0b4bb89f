"""Checks a sign-off offline: statement → evidence key → the log's first entry → checkpoint → pinned key."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from governance.audit.bundle import ROTATIONS, BundledEntry
from governance.audit.checking.container import Failed
from governance.audit.checking.verification import Verdict, verify_bundle
from governance.audit.reading import read_record
from governance.audit.rotations import check_rotations, read_rotations, terms_of
from governance.audit.sign_off import facts_of, pre_authentication, read_sign_off, record_digest
from governance.audit.trail import read_trail
from governance.audit.versions import PAYLOAD_TYPE
from governance.errors import GovernanceError
from governance.lineage.naming import as_sent
from governance.lineage.signatures import Observed, verify_evidence
from governance.log.note import Checkpoint, VerifierKey
from governance.log.proof import InclusionProof, verify_entry
from governance.log.rotation import open_checkpoint
from governance.log.witnesses.trust import Trust, Vouched
from governance.model.canonical import canonical
from governance.model.evidence import Stage

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError)


def verify_sign_off(
    path: Path, vkey: str | None, *, report: Path | None = None, trust: Trust | None = None
) -> Verdict:
    """Check a sign-off with nothing but itself, a key, and the report where it is at hand.

    Args:
        vkey: the log's public key, from elsewhere; without it nothing is shown of who signed.
        report: the record or the bundle that was signed off; a bundle's own proofs are another question.
        trust: the witnesses that are pinned.

    Raises:
        AuditError: GOV-801 when a file is not what it should be. LogError: GOV-506 when ``vkey`` is no public key.
    """
    if vkey is not None:
        VerifierKey.parse(vkey)
    file, said = read_sign_off(path)
    record = None if report is None else read_record(report)
    lines: list[str] = []
    vouched = Vouched(None, (), (), ())
    failure: str | None = None
    try:
        checkpoint, terms_first = _checkpoint(file, vkey)
        vouched = (trust or Trust()).vouched([checkpoint])
        key, facts, index = _evidence(file, checkpoint, terms_first)
        _signature(file, key)
        if as_sent(facts_of(said)) != facts:
            raise Failed("dsse", "is not the statement that the log has the digest of")
        about = said["predicate"]
        lines += [
            f"{about['report']['title']}, {str(about['period']['from'])[:10]} to {str(about['period']['to'])[:10]}: "
            f"signed off by {about['reviewer']} on {about['reviewed_at'][:10]}, {about['decision']}.",
            f"The statement is signed by the log's evidence key and stands as entry {index:,} of {checkpoint.origin}.",
        ]
        if record is None:
            lines.append(
                f"It is of the record {about['report']['digest']}; no report was given to compare it with."
            )
        elif record_digest(record) != about["report"]["digest"]:
            raise Failed(
                report.name if report else "",
                "is not the record that was signed off: it is another, or altered",
            )
        else:
            lines.append("The report given is the one that was signed off, byte for byte in canonical form.")
        lines.append("Who the reviewer is, and that the report was read, rests on the operator's word.")
    except Failed as fault:
        failure = str(fault)
    except GovernanceError as fault:
        failure = f"{path.name}: {fault.message}"
    except _MALFORMED:
        failure = f"{path.name}: is not of the form sign-offs have"
    return Verdict(
        ok=failure is None and vkey is not None,
        pinned=vkey is not None,
        self_attested=vouched.size is None,
        rows_checked=0,
        first_failure=failure,
        lines=tuple(lines),
        by=vouched.phrase,
    )


def verify_reviewed(
    path: Path,
    vkey: str | None,
    sign_offs: Sequence[Path],
    *,
    older_checkpoint: str | None = None,
    trust: Trust | None = None,
) -> Verdict:
    """Check a bundle and the sign-offs of it, or a sign-off alone; one verdict, of which every part must hold.

    A record alone cannot be checked; it is compared with its sign-offs.

    Raises:
        AuditError, LogError: as :func:`verify_sign_off`.
    """
    if path.suffix == ".json" and not sign_offs:
        return verify_sign_off(path, vkey, trust=trust)
    parts = [verify_sign_off(each, vkey, report=path, trust=trust) for each in sign_offs]
    if path.suffix != ".json":
        parts.insert(0, verify_bundle(path, vkey, older_checkpoint=older_checkpoint, trust=trust))
    failed = next((part.first_failure for part in parts if part.first_failure), None)
    weakest = next((part for part in parts if part.self_attested), parts[0])
    return replace(
        parts[0],
        ok=all(part.ok for part in parts),
        self_attested=weakest.self_attested,
        by=weakest.by,
        first_failure=failed,
        lines=tuple(line for part in parts for line in part.lines),
    )


def _checkpoint(file: Mapping[str, Any], vkey: str | None) -> tuple[Checkpoint, str]:
    """The checkpoint under the pinned key, and the log's first key."""
    carried = read_rotations({ROTATIONS: canonical(file["rotations"])} if file["rotations"] else {})
    terms = terms_of(file["key"], vkey or file["key"], carried)
    checkpoint = open_checkpoint(file["checkpoint"], terms)
    consistency = {
        int(proof["size"]): [base64.b64decode(h, validate=True) for h in proof["hashes"]]
        for proof in file["consistency"]
    }
    check_rotations(carried, checkpoint, consistency)
    return checkpoint, str(terms[0].key)


def _evidence(
    file: Mapping[str, Any], checkpoint: Checkpoint, first_key: str
) -> tuple[bytes, Mapping[str, Any], int]:
    """The evidence key, the facts of the sign-off's entry, and where it stands."""
    entries = [BundledEntry.from_bytes(canonical(said)) for said in file["entries"]]
    proofs = [InclusionProof.from_json(said) for said in file["proofs"]]
    if len(entries) != 2 or [p.index for p in proofs] != [e.index for e in entries] or entries[0].index != 0:
        raise Failed("entries", "are not the log's first and the sign-off's")
    for entry, proof in zip(entries, proofs, strict=True):
        verify_entry(entry.leaf, proof, checkpoint)
    genesis = read_trail(entries[:1], 1)
    if genesis.log_key != first_key or genesis.evidence_key is None:
        raise Failed("entries", "the first names another key for the log, or no evidence key")
    verdict = verify_evidence(entries[1], evidence_public_key=genesis.evidence_key)
    if not isinstance(verdict, Observed) or verdict.stage is not Stage.SIGN_OFF:
        raise Failed("entries", "the second is no signed evidence of a sign-off")
    return genesis.evidence_key, verdict.facts, entries[1].index


def _signature(file: Mapping[str, Any], key: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    envelope = file["dsse"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    [signature] = envelope["signatures"]
    if envelope["payloadType"] != PAYLOAD_TYPE or base64.b64decode(signature["keyid"], validate=True) != key:
        raise Failed("dsse", "is not signed by the evidence key that the log's first entry names")
    try:
        held = Ed25519PublicKey.from_public_bytes(key)
        held.verify(base64.b64decode(signature["sig"], validate=True), pre_authentication(payload))
    except InvalidSignature:
        raise Failed("dsse", "its signature does not hold") from None
