"""A small world in a real log, written by the real recorder. Keys and clock are fixed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from governance.lineage.naming import openlineage_run_id
from governance.lineage.recorder import OpenLineageRecorder
from governance.log import (
    CONSENT_BATCH,
    CONTRACT,
    GENESIS,
    OPENLINEAGE_EVENT,
    POLICY,
    CheckpointSigner,
    Log,
    NewEntry,
    open_storage,
    vkey_of,
)
from governance.model.canonical import canonical, digest, timestamp
from governance.model.evidence import Evidence, Stage, StageRecord
from tests import signing_key

ORIGIN = "governance.example/meridian"
PRODUCER = "https://github.com/airflow-governance/airflow-governance/tree/0.1.0"
FROZEN = Path(__file__).resolve().parents[2] / "golden" / "audit"
"""Policy and contracts as they were when the golden records were made."""


class Key(signing_key.Key):
    """A key with a name, from which it is made."""

    def __init__(self, name: str) -> None:
        super().__init__(name.encode().ljust(32, b"."))

    @property
    def text(self) -> str:
        return base64.b64encode(self.public_key).decode()


@dataclass
class World:
    """What a report is made of: ``log`` and ``vkey``; the rest builds it."""

    folder: Path
    start: datetime = datetime(2026, 3, 2, 8, tzinfo=UTC)
    ticks: int = 0
    log: Log = field(init=False)
    root: Key = field(default_factory=lambda: Key("evidence root"))

    @property
    def keyring(self) -> World:
        return self

    @property
    def evidence_signer(self) -> Key:
        return self.root

    def __post_init__(self) -> None:
        signer = Key("log")
        storage = open_storage(str(self.folder / "store"), create=True, origin=ORIGIN)
        memory = self.folder / "signer" / "memory.note"
        memory.parent.mkdir(parents=True)
        self.vkey = vkey_of(ORIGIN, signer.public_key)
        self.log = Log(storage, signer=CheckpointSigner(signer, ORIGIN, memory), clock=self.clock)
        self.put(
            canonical(
                {
                    "origin": ORIGIN,
                    "log_public_key": self.vkey,
                    "evidence_public_key": self.root.text,
                    "created_at": timestamp(self.start),
                }
            ),
            GENESIS,
            "admin:cli",
        )
        self.log.checkpoint()

    def clock(self) -> datetime:
        self.ticks += 1
        return self.start + timedelta(minutes=self.ticks)

    def put(self, body: bytes, media_type: str, principal: str) -> int:
        return self.log.append([NewEntry(body, media_type, principal)])[0]

    def event(self, event: Mapping[str, Any], principal: str = "ingest:airflow") -> int:
        return self.put(json.dumps(event).encode(), OPENLINEAGE_EVENT, principal)

    def policy(self, edit: Callable[[str], str] = lambda text: text) -> tuple[int, str]:
        body = edit((FROZEN / "policy.yaml").read_text("utf-8")).encode()
        return self.put(body, POLICY, "evidence:pipeline"), digest(body)

    def contract(self, dataset: str, edit: Callable[[str], str] = lambda text: text) -> tuple[int, str]:
        body = edit((FROZEN / f"{dataset}.odcs.yaml").read_text("utf-8")).encode()
        return self.put(body, CONTRACT, "evidence:pipeline"), digest(body)

    def batch(self, position: int, rows: int) -> int:
        body = {
            "ledger": "l1",
            "position": position,
            "segment": digest(f"segment {position}".encode()),
            "source": digest(f"file {position}".encode()),
            "recorded_at": timestamp(self.start),
            "rows": rows,
            "duplicates": 0,
            "backdated": 0,
            "backdated_after_seconds": 86400,
            "actions": {"grant": rows},
        }
        return self.put(canonical(body), CONSENT_BATCH, "admin:cli")

    def open(
        self,
        dataset: str,
        purpose: str,
        *,
        policy: tuple[int, str],
        contract: tuple[int, str],
        run_id: str,
        kind: str = "training",
        uri: str | None = None,
        previous: str | None = None,
    ) -> Run:
        version = "v" + digest(f"{dataset} {run_id}".encode()).removeprefix("sha256:")[:24]
        context = {
            "dataset": dataset,
            "kind": kind,
            "version": version,
            "run_id": run_id,
            "map_index": -1,
            "attempt": digest(run_id.encode())[7:15],
            "purpose": purpose,
            "opened_at": timestamp(self.clock()),
            "contract_digest": contract[1],
            "policy_digest": policy[1],
            "source_digest": digest(dataset.encode()),
            "consent_position": 2,
        }
        run = Run(self, context, Key(run_id))
        run.started(Stage.OPEN)
        run.prove(
            Stage.OPEN,
            {
                "source": {
                    "kind": "parquet",
                    "uri": uri or f"/lake/raw/{dataset}",
                    "digest": context["source_digest"],
                    "files": [{"name": "part-0.parquet", "size": 4096, "digest": digest(b"part 0")}],
                },
                "contract": {
                    "dataset": dataset,
                    "title": None,
                    "version": "1.2.0",
                    "digest": contract[1],
                    "log_index": contract[0],
                },
                "policy": {"digest": policy[1], "log_index": policy[0]},
                "run_public_key": run.key.text,
                "consent_position": 2,
                "previous_version": previous,
                "engine": {"governance": "0.1.0", "python": "3.11", "pyarrow": "26.0", "duckdb": "2.0"},
            },
            signer=self.root,
        )
        run.completed(Stage.OPEN)
        return run

    def disclose(
        self, run: Run, number: int, purpose: str, accounting: Mapping[str, Any], **facts: Any
    ) -> int:
        """Record a disclosure of ``run``'s version, signed by the root key."""
        return run.prove(
            Stage.DISCLOSE,
            {
                "disclosure_id": f"d{number:024x}",
                "recipient": {
                    "name": "northlake-research",
                    "title": "Northlake Institute for Clinical Research",
                    "address": "45 Lakeshore Road, Madison, WI 53703, USA",
                    "country": "US",
                    "safeguard": "standard_contractual_clauses",
                    "hipaa_role": "research",
                },
                "purpose": purpose,
                "description": "Encounters with diagnosis codes, for outcomes research",
                "columns": ["patient_pseudonym", "age", "diagnosis_code"],
                "classifications": ["age", "health_condition", "medical_record_number"],
                "rows": 40,
                "withheld": 3,
                "subjects": 12,
                "dataset": run.context["dataset"],
                "version": run.context["version"],
                "manifest_digest": run.manifest,
                "files_digest": digest(f"files {number}".encode()),
                "disclosed_at": timestamp(self.clock()),
                "accounting": dict(accounting),
                **facts,
            },
            signer=self.root,
        )


@dataclass
class Run:
    """One governed run, recorded by the real recorder."""

    world: World
    context: dict[str, Any]
    key: Key
    principal: str = "evidence:pipeline"
    drift: timedelta = timedelta()

    @property
    def manifest(self) -> str:
        return digest(self.context["version"].encode())

    @property
    def recorder(self) -> OpenLineageRecorder:
        dataset, context = self.context["dataset"], self.context
        return OpenLineageRecorder(
            self.world.log,
            producer=PRODUCER,
            namespace="governance",
            job=lambda stage: f"{dataset}.{stage.value}",
            run_id=lambda stage: openlineage_run_id(
                namespace="governance",
                dataset=dataset,
                run_id=context["run_id"],
                map_index=-1,
                stage=stage.value,
                attempt=context["attempt"],
            ),
            lifecycle=True,
            clock=lambda: self.world.clock() + self.drift,
            principal=self.principal,
        )

    def started(self, stage: Stage) -> None:
        self.recorder.started(stage, self.context)

    def prove(self, stage: Stage, facts: Mapping[str, Any], signer: Key | None = None, **lineage: Any) -> int:
        record = StageRecord(Evidence(stage, facts), self.context, **lineage)
        return self.recorder.record(record, signer or self.key)

    def completed(self, stage: Stage) -> None:
        self.recorder.completed(stage, self.context, StageRecord(Evidence(stage), self.context))

    def failed(self, stage: Stage, code: str, message: str) -> None:
        self.recorder.failed(stage, self.context, code, message)

    def stage(self, stage: Stage, facts: Mapping[str, Any]) -> int:
        self.started(stage)
        index = self.prove(stage, facts)
        self.completed(stage)
        return index

    def classify(self, columns: Sequence[Mapping[str, Any]]) -> int:
        return self.stage(Stage.CLASSIFY, {"rows": 100, "full_scan": True, "columns": list(columns)})

    def consent(self, *, backdated: int = 0) -> int:
        return self.stage(
            Stage.CONSENT,
            {
                "rows": 100,
                "allowed": 70,
                "denied": 30,
                "by_reason": {"allowed": 70, "no_consent": 18, "consent_withdrawn": 12},
                "position": 2,
                "instant": self.context["opened_at"],
                "regimes": {"gdpr": 60, "hipaa": 40},
                "subjects": {"distinct": 25, "allowed": 18, "denied": 7},
                "backdated": {"subjects": backdated},
            },
        )

    def protect(self, columns: Sequence[Mapping[str, Any]], **facts: Any) -> int:
        file = {
            "path": "segments/s1/part.parquet",
            "size": 4096,
            "digest": digest(b"segment"),
            "role": "data",
        }
        return self.stage(
            Stage.PROTECT,
            {
                "rows_in": 100,
                "rows_denied": 30,
                "rows_quarantined": 6,
                "rows_out": 64,
                "quarantined_by_rule": {"age is plausible": 6},
                "columns": list(columns),
                "segments": [
                    {
                        "segment_id": "s1",
                        "partition": {},
                        "rows": 64,
                        "files": [file],
                        "key_ids": {"restricted": "k1", "confidential": "k2"},
                    }
                ],
                "quarantine": None,
                "schema": [{"name": "patient_pseudonym", "type": "string"}],
                **facts,
            },
        )

    def validate(self, *, success: bool = True) -> int:
        return self.stage(
            Stage.VALIDATE,
            {
                "success": success,
                "rows": 64,
                "results": [],
                "checks": [
                    {"check": "row_counts_reconcile", "success": True, "detail": "100 = 64 + 30 + 6"},
                    {
                        "check": "no_denied_subject_present",
                        "success": True,
                        "detail": "64 rows decided again",
                    },
                    {
                        "check": "nothing_opens_without_its_key",
                        "success": True,
                        "detail": "1 file refused to open without a key",
                    },
                ],
            },
        )

    def release(self, state: str, **facts: Any) -> int:
        return self.prove(
            Stage.RELEASE,
            {
                "state": state,
                "manifest_digest": self.manifest if state in ("released", "intended") else None,
                "manifest_path": None,
                "previous_version": None,
                "consent_position": 2,
                "late_withdrawals": 0,
                "checkpoint": None,
                "rows": 64 if state == "released" else 0,
                "reasons": [],
                "recovered": False,
                **facts,
            },
        )
