"""The append-only log: RFC 6962 tree, C2SP checkpoints, salted envelopes, two storages."""

from governance.log.envelope import Envelope, salted_digest
from governance.log.group import GroupCommit
from governance.log.log import (
    CONSENT_BATCH,
    CONTRACT,
    GENESIS,
    OPENLINEAGE_EVENT,
    POLICY,
    REDACTION,
    Entry,
    Log,
)
from governance.log.note import Checkpoint, parse_checkpoint, read_checkpoint, vkey_of
from governance.log.proof import InclusionProof, verify_entry
from governance.log.scan import FaultKind, LogFault
from governance.log.sealing import NewEntry
from governance.log.signer import CheckpointSigner
from governance.log.storage import Storage, open_storage
from governance.log.verify import LogReport, verify_log

__all__ = [
    "CONSENT_BATCH",
    "CONTRACT",
    "GENESIS",
    "OPENLINEAGE_EVENT",
    "POLICY",
    "REDACTION",
    "Checkpoint",
    "CheckpointSigner",
    "Entry",
    "Envelope",
    "FaultKind",
    "GroupCommit",
    "InclusionProof",
    "Log",
    "LogFault",
    "LogReport",
    "NewEntry",
    "Storage",
    "open_storage",
    "parse_checkpoint",
    "read_checkpoint",
    "salted_digest",
    "verify_entry",
    "verify_log",
    "vkey_of",
]
