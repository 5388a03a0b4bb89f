"""A log in memory, keys, and the facts of every stage in the shape the pipeline states them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from governance.model.evidence import Assertion, ColumnEdge, DatasetLineage, Stage

PRODUCER = "https://example.org/governance/0.1.0"
DIGEST = "sha256:" + "ab" * 32
VERSION = "v" + "0" * 24

CONTEXT: dict[str, Any] = {
    "dataset": "clinical_encounters",
    "kind": "training",
    "version": VERSION,
    "run_id": "r1",
    "map_index": -1,
    "attempt": "a1",
    "purpose": "model_training",
    "opened_at": "2026-11-24T10:00:00.000000Z",
    "contract_digest": DIGEST,
    "policy_digest": DIGEST,
    "source_digest": DIGEST,
    "consent_position": 2,
}

SOURCE = DatasetLineage(
    "file", "/lake/raw/encounters", (("email", "string"), ("age", "int32")), DIGEST, rows=10, size=99
)
RELEASED = DatasetLineage(
    "gov",
    "clinical_encounters",
    (("email", "string"), ("age", "int32")),
    VERSION,
    rows=7,
    size=4096,
    columns=(
        ColumnEdge("email", ("email",), "mask", True),
        ColumnEdge("age", ("age",), "keep", False),
    ),
    classifications={"email": "email", "age": "age"},
    sensitivities={"email": "confidential"},
)
JUDGED = DatasetLineage(
    "gov",
    "clinical_encounters",
    version=VERSION,
    rows=7,
    assertions=(Assertion("expect_column_values_to_not_be_null", True, "age"), Assertion("row_count", False)),
)


def facts_of(stage: Stage, run_public_key: bytes) -> dict[str, Any]:
    """What a stage would state; with nulls, as stages state them."""
    return _facts(base64.b64encode(run_public_key).decode())[stage]


def _facts(run_public_key: str) -> dict[Stage, dict[str, Any]]:
    file = {"path": "segments/s1/part.parquet", "size": 4096, "digest": DIGEST, "role": "data"}
    return {
        Stage.OPEN: {
            "source": {
                "kind": "parquet",
                "uri": "/lake/raw/encounters",
                "digest": DIGEST,
                "files": [{"name": "a.parquet", "size": 99, "digest": DIGEST}],
            },
            "contract": {
                "dataset": "clinical_encounters",
                "title": None,
                "version": "1.0.0",
                "digest": DIGEST,
                "log_index": 1,
            },
            "policy": {"digest": DIGEST, "log_index": 2},
            "run_public_key": run_public_key,
            "consent_position": 2,
            "previous_version": None,
            "engine": {"governance": "0.1.0", "python": "3.11.9", "pyarrow": "26.0", "duckdb": "2.0"},
        },
        Stage.CLASSIFY: {
            "rows": 10,
            "full_scan": True,
            "columns": [
                {
                    "column": "email",
                    "released_as": "email",
                    "declared": "email",
                    "found": "email",
                    "classification": "email",
                    "sensitivity": "confidential",
                    "confidence": 0.98,
                    "evidence": ["10 of 10 values are addresses"],
                    "values_read": 10,
                    "miss_bound": None,
                    "contains": [{"classification": "phone", "rows": 1}],
                    "agreement": "agrees",
                }
            ],
        },
        Stage.CONSENT: {
            "rows": 10,
            "allowed": 8,
            "denied": 2,
            "by_reason": {"allowed": 8, "withdrawn": 2},
            "position": 2,
            "instant": CONTEXT["opened_at"],
            "regimes": {"gdpr": 10},
            "subjects": {"distinct": 5, "allowed": 4, "denied": 1},
            "backdated": {"subjects": 0},
        },
        Stage.PROTECT: {
            "rows_in": 10,
            "rows_denied": 2,
            "rows_quarantined": 1,
            "rows_out": 7,
            "quarantined_by_rule": {"age_in_range": 1},
            "columns": [
                {
                    "column": "email",
                    "source_column": "email",
                    "classification": "email",
                    "sensitivity": "confidential",
                    "method": "mask",
                    "masking": True,
                    "verified_rows": 7,
                    "nulled": 0,
                    "encrypted": True,
                    "dropped": False,
                }
            ],
            "segments": [
                {
                    "segment_id": "s1",
                    "partition": {},
                    "rows": 7,
                    "files": [file],
                    "key_ids": {"confidential": "k1"},
                }
            ],
            "quarantine": None,
            "schema": [{"name": "email", "type": "string"}],
        },
        Stage.VALIDATE: {
            "success": False,
            "rows": 7,
            "results": [
                {
                    "expectation": "expect_table_row_count_to_be_between",
                    "rule": "enough_rows",
                    "column": None,
                    "success": False,
                    "element_count": None,
                    "unexpected_count": None,
                },
                {
                    "rule": "age_known",
                    "expectation": "expect_column_values_to_not_be_null",
                    "column": "age",
                    "success": True,
                    "expectation_config": {
                        "type": "expect_column_values_to_not_be_null",
                        "kwargs": {"column": "age"},
                        "meta": {},
                    },
                    "result": {"element_count": 7, "unexpected_count": 0, "unexpected_percent": 0.0},
                    "exception_info": {
                        "raised_exception": False,
                        "exception_message": None,
                        "exception_traceback": None,
                    },
                    "meta": {},
                },
            ],
            "checks": [{"check": "row_counts_reconcile", "success": True, "detail": "10 = 7 + 2 + 1"}],
        },
        Stage.APPROVE: {
            "manifest_digest": DIGEST,
            "approver": "ines.alvarado",
            "triggered_by": None,
            "authors": ["data.engineer"],
            "decided_at": "2026-11-24T10:00:00.000000Z",
            "reason": "as agreed",
            "by_way_of": "airflow",
            "sensitivity": "restricted",
            "columns": ["diagnosis"],
        },
        Stage.RELEASE: {
            "state": "released",
            "manifest_digest": DIGEST,
            "manifest_path": f"versions/{VERSION}/a1.manifest.json",
            "previous_version": None,
            "consent_position": 2,
            "late_withdrawals": 0,
            "checkpoint": {"size": 9, "root": "00" * 32},
            "rows": 7,
            "reasons": [],
            "recovered": False,
        },
        Stage.ERASURE: {
            "state": "rewritten",
            "dataset": "clinical_encounters",
            "version": VERSION,
            "previous_version": VERSION,
            "segments": [{"from": "s1", "to": None, "rows": 0, "dropped": 3}],
            "quarantine": [],
            "doomed": ["s1"],
            "rows": 7,
            "verified": True,
        },
        Stage.DISCLOSE: {
            "disclosure_id": "d1",
            "recipient": {
                "name": "Example Research",
                "title": None,
                "address": "1 Main Street",
                "country": "DE",
                "safeguard": None,
                "hipaa_role": "business_associate",
            },
            "purpose": "research",
            "description": None,
            "columns": ["age"],
            "classifications": ["age"],
            "rows": 7,
            "withheld": 0,
            "subjects": 4,
            "dataset": "clinical_encounters",
            "version": VERSION,
            "manifest_digest": DIGEST,
            "files_digest": DIGEST,
            "disclosed_at": "2026-11-24T11:00:00.000000Z",
            "accounting": {"applies": True, "exclusion": None, "ground": "authorization"},
        },
        Stage.KEY_GRANT: {
            "state": "released",
            "grant_id": "0198c0de-0000-4000-8000-000000000001",
            "operation": "seal",
            "workload": "clinical-etl",
            "assurance": "isolated",
            "identity": {
                "issuer": "https://kubernetes.example",
                "subject": "system:serviceaccount:etl:clinical",
            },
            "keys": [f"seg.{VERSION}-00.restricted"],
            "labels": ["token:customer"],
            "run_key": True,
        },
        Stage.SIGN_OFF: {
            "report": {"kind": "hipaa-activity", "template_version": 1, "digest": DIGEST},
            "period": {"from": "2026-01-01T00:00:00.000000Z", "to": None},
            "as_of": {"origin": "governance.example/test", "size": 9, "root": "0" * 64},
            "exceptions": 2,
            "unknowns": 0,
            "reviewer": "j.petersen",
            "reviewed_at": "2026-04-02T08:00:00.000000Z",
            "decision": "follow-up",
            "statement": DIGEST,
        },
    }


def test_data() -> Path:
    """The real events of producers; the test is skipped where they are absent."""
    default = Path(__file__).resolve().parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("GOVERNANCE_TEST_DATA", default)) / "openlineage"
    if not folder.is_dir():
        pytest.skip("real OpenLineage events are not here; set GOVERNANCE_TEST_DATA to their folder")
    return folder


test_data.__test__ = False  # type: ignore[attr-defined]


@dataclass(frozen=True)
class MemoryEntry:
    index: int
    leaf: bytes
    body: bytes | None
    salt: bytes | None = b""


@dataclass
class MemoryLog:
    """The log's protocol without its durability, for tests of what reads a log."""

    received_at: str = "2026-11-24T12:00:00.000000Z"
    _entries: list[MemoryEntry] = field(default_factory=list)
    _seen: dict[tuple[bytes, str, str], int] = field(default_factory=dict)
    broken: bool = False

    def append(self, entries: Sequence[Any]) -> list[int]:
        if self.broken:
            raise OSError("no space left on device")
        return [self._one(e.body, e.media_type, e.principal) for e in entries]

    def _one(self, body: bytes, media_type: str, principal: str) -> int:
        key = (body, media_type, principal)
        if key not in self._seen:
            leaf = {
                "v": 1,
                "received_at": self.received_at,
                "principal": principal,
                "media_type": media_type,
                "size": len(body),
                "digest": "sha256:" + hashlib.sha256(body).hexdigest(),
            }
            self._seen[key] = len(self._entries)
            self._entries.append(MemoryEntry(len(self._entries), json.dumps(leaf).encode(), body))
        return self._seen[key]

    def put(self, body: bytes, principal: str = "ingest:test", media_type: str | None = None) -> int:
        return self._one(body, media_type or "application/vnd.openlineage.event+json", principal)

    def size(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> MemoryEntry:
        return self._entries[index]

    def redact(self, index: int) -> None:
        self.archive(index)
        statement = json.dumps({"v": 1, "index": index}).encode()
        self.put(statement, "operator:cli", "application/vnd.governance.redaction+json")

    def archive(self, index: int) -> None:
        """The body leaves the store and no leaf says why."""
        old = self._entries[index]
        self._entries[index] = MemoryEntry(index, old.leaf, None, None)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[MemoryEntry]:
        yield from self._entries[start:stop]
