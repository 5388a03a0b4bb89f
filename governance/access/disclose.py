"""Disclosure: a released version, or some of its columns, leaves to a named recipient.

Checked against the policy before anything is read, sealed to the recipient's public key (HPKE, RFC
9180: X25519, HKDF-SHA256, AES-256-GCM), and recorded before it becomes visible. Subjects carry
pseudonyms of that recipient's own, so that two recipients cannot join what they hold. An AI service
gets the rows as requests in the clear, because it must read them; here they wait under a key that is kept in memory only.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from governance.access.egress import minimum_necessary, permitted_recipient
from governance.access.exits import STATEMENT, Written, exit_of
from governance.access.read import permitted, released_subjects, wanted_columns
from governance.access.sealing import DisclosureWriter
from governance.errors import AccessError
from governance.model.canonical import canonical, digest, timestamp
from governance.model.contract import Contract
from governance.model.dataset import Manifest
from governance.model.evidence import DatasetLineage, Evidence, Recorder, Stage, StageRecord
from governance.model.key_grant import Claim, Operation
from governance.model.policy import Recipient
from governance.model.run import OpenedRun
from governance.pipeline.disclosed import forget_disclosed, keep_disclosed
from governance.pipeline.people import local
from governance.pipeline.pointer import released_contract, released_manifest
from governance.pipeline.protect import DATASETS
from governance.pipeline.step import event_context
from governance.pipeline.workspace import Workspace
from governance.protect.transforms.identity import hexadecimal

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

# 45 CFR 164.528(a)(1): disclosures an accounting leaves out, by the ground they stand on.
_EXCLUDED = {
    "treatment": "to carry out treatment (164.528(a)(1)(i))",
    "payment": "to carry out payment (164.528(a)(1)(i))",
    "operations": "to carry out health care operations (164.528(a)(1)(i))",
    "authorization": "pursuant to an authorization (164.528(a)(1)(iv))",
}


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What left: ``facts`` as recorded, ``log_index`` of the record, ``directory`` of the files, or their URI.

    ``jobs`` are an AI service's own names of what it was given to do.
    """

    directory: Path | str
    facts: dict[str, Any]
    log_index: int
    jobs: tuple[str, ...] = ()


def disclose(
    workspace: Workspace,
    recorder: Recorder,
    *,
    dataset: str,
    recipient: str,
    purpose: str,
    description: str,
    directory: Path | None = None,
    destination: str | None = None,
    columns: Sequence[str] | None = None,
) -> Disclosure:
    """Write the released version of ``dataset`` for ``recipient`` into a new ``directory``, or into a bucket.

    To a recipient with a ``service`` it is sent as requests instead: then neither is named.

    Args:
        destination: in place of a directory, a URI at or below one of the recipient's destinations; the
            disclosure goes below it, into a folder that has its id.
        columns: by default those that the policy lets the recipient have.

    Raises:
        AccessError: GOV-601 for an unknown recipient; GOV-602 when purpose, country, instrument, key, columns,
            destination or description do not satisfy the policy or the directory exists; GOV-603 when nothing
            is released.
        LogError: GOV-50x when the disclosure cannot be recorded; then nothing becomes visible.
            GOV-608 when an AI service does not take it; by then it is recorded.
        StorageError: GOV-724 when the bucket does not take it; by then it is recorded.
    """
    to = permitted_recipient(workspace.policy, recipient, purpose)
    if not description.strip():
        raise AccessError(
            "GOV-602", "a disclosure needs a description", "say briefly what is disclosed and why"
        )
    manifest = released_manifest(workspace, dataset)
    contract = released_contract(workspace, manifest)
    wanted = wanted_columns(manifest, minimum_necessary(to, manifest, columns))
    disclosure_id = "d" + secrets.token_hex(12)
    way = exit_of(to, disclosure_id, workspace.settings.home, directory, destination)
    claim = Claim.of_run(Operation.DISCLOSE, manifest.body["run"])
    workspace.claim(replace(claim, purpose=purpose, recipient=recipient))
    way.beside.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = way.beside / f".{disclosure_id}.partial"
    partial.mkdir(mode=0o700)
    recorded = False
    try:
        key = secrets.token_bytes(32)
        sent = _write(workspace, manifest, contract, to, purpose, wanted, partial, key)
        written = Written(partial, key, sent["files"], sent["people"])
        facts = _facts(workspace, manifest, contract, to, disclosure_id, purpose, description, wanted, sent)
        facts["destination"] = way.told(written)
        internal = [workspace.vault.internal(domain)[seen] for domain, seen in sent["seen"].items()]
        keep_disclosed(workspace, disclosure_id, np.concatenate(internal), workspace.clock())
        if to.public_key is not None:
            statement = {**facts, "sealed_keys": _sealed(key, to.public_key), "files": sent["files"]}
            _write_statement(partial / STATEMENT, canonical(statement))
        record = StageRecord(
            Evidence(Stage.DISCLOSE, facts),
            event_context(OpenedRun.from_json(manifest.body["run"])),
            inputs=(DatasetLineage(DATASETS, dataset, version=manifest.version),),
            outputs=(DatasetLineage("disclosure", f"{recipient}/{disclosure_id}", rows=sent["rows"]),),
        )
        # From here on the register may say that it left.
        recorded = True
        index = recorder.record(record, workspace.keyring.evidence_signer)
        recorder.completed(Stage.DISCLOSE, record.context, record)
        workspace.log.checkpoint()
        # Recorded first: killed here, the register says more left than did, never less.
        left, jobs = way.leave(written)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if not recorded:
            forget_disclosed(workspace, disclosure_id)
        raise
    return Disclosure(left, facts, index, jobs)


def _write(
    workspace: Workspace,
    manifest: Manifest,
    contract: Contract,
    to: Recipient,
    purpose: str,
    wanted: list[str],
    folder: Path,
    key: bytes,
) -> dict[str, Any]:
    # What the version was made for, and what it is disclosed for: both must still be allowed.
    released = released_subjects(workspace, contract, manifest.body["run"]["purpose"], purpose)
    subject, vault = contract.subject, workspace.vault
    seen = {domain: np.zeros(len(vault.internal(domain)), bool) for domain in subject.every_domain}
    rows = withheld = 0
    with DisclosureWriter(folder, key) as writer:
        for batch, reasons, ordinals in permitted(workspace, manifest, released, wanted):
            withheld += len(reasons) - batch.num_rows
            columns = local(ordinals).reshape(batch.num_rows, -1).T
            for name, domain, people in zip(released.people, subject.domains, columns, strict=True):
                there = people >= 0
                seen[domain][people[there]] = True
                if name in wanted:
                    own = np.zeros((len(people), 16), np.uint8)
                    own[there] = vault.pseudonyms(domain, f"recipient:{to.name}", people[there])
                    batch = _with_pseudonyms(batch, name, own, there)
            rows += batch.num_rows
            writer.write(batch)
        files = writer.close()
    return {
        "rows": rows,
        "withheld": withheld,
        "ledger_position": released.position,
        "subjects": sum(int(each.sum()) for each in seen.values()),
        "people": tuple(released.people),
        "seen": seen,
        "files": [{"path": f.path, "size": f.size, "digest": f.digest, "role": f.role} for f in files],
    }


def _sealed(key: bytes, public_key: str) -> dict[str, str]:
    public = X25519PublicKey.from_public_bytes(base64.b64decode(public_key))
    sealed = SUITE.encrypt(key, public, info=b"governance disclosure v1")
    return {"kem": "hpke-x25519-sha256-aes256gcm", "value": base64.b64encode(sealed).decode()}


def _with_pseudonyms(
    batch: pa.RecordBatch, column: str, pseudonyms: np.ndarray, there: np.ndarray
) -> pa.RecordBatch:
    values = hexadecimal(pseudonyms, there)
    return batch.set_column(batch.schema.get_field_index(column), column, values)


def _facts(
    workspace: Workspace,
    manifest: Manifest,
    contract: Contract,
    to: Recipient,
    disclosure_id: str,
    purpose: str,
    description: str,
    wanted: list[str],
    written: dict[str, Any],
) -> dict[str, Any]:
    classified = {c["column"]: c["classification"] for c in manifest.body["columns"]}
    ground = workspace.policy.purposes[purpose].hipaa_ground
    exclusion = _EXCLUDED.get(ground or "") if contract.covered_entity else "not protected health information"
    return {
        "disclosure_id": disclosure_id,
        "recipient": {
            "name": to.name,
            "title": to.title,
            "address": to.address,
            "country": to.country,
            "safeguard": to.safeguard,
            "hipaa_role": to.hipaa_role,
        },
        "purpose": purpose,
        "description": description.strip(),
        "columns": wanted,
        "classifications": sorted({classified[c] for c in wanted}),
        "rows": written["rows"],
        "withheld": written["withheld"],
        "ledger_position": written["ledger_position"],
        "subjects": written["subjects"],
        "dataset": manifest.dataset,
        "version": manifest.version,
        "manifest_digest": manifest.digest,
        "files_digest": digest(canonical(written["files"])),
        "disclosed_at": timestamp(workspace.clock()),
        "accounting": {"applies": exclusion is None, "exclusion": exclusion, "ground": ground},
    }


def _write_statement(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
