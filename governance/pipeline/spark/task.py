"""What a Spark task does: the same rewriting pass as everywhere, over its share of the pinned source."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from governance import sources
from governance.config import key_broker
from governance.contracts import load_contract, load_policy
from governance.detect.detectors.custom import load_detectors
from governance.detect.detectors.registry import builtin
from governance.errors import GovernanceError, ProtectionError
from governance.keys.broker import BrokeredKeyring
from governance.keys.broker_service import BrokerService
from governance.model.canonical import parse
from governance.model.contract import RuleScope
from governance.model.evidence import Stage
from governance.model.key_grant import Claim, Operation
from governance.model.run import OpenedRun
from governance.pipeline.carried import stated_segment
from governance.pipeline.planning import beside, planned, redactor
from governance.pipeline.spark.grants import GrantedKeys
from governance.pipeline.spark.handover import Handover
from governance.pipeline.spark.subjects import row_regimes
from governance.pipeline.step import SCHEMA, source_types
from governance.protect import RewritePlan, RewriteResult, rewrite
from governance.protect.ports import SegmentKeys
from governance.sources import Part
from governance.storage import Storage, storage_for
from governance.validate import SourceRules

RESULT = "result binary"
"""The schema of a task's only row, as Spark writes it."""


@dataclass(frozen=True, slots=True)
class Share:
    """A task's work, by reference: names and paths, no key and no value. It stands in Spark's plan.

    Args:
        storage: the dataset root's URI.
        staging: the run's folder below it.
        handover: the sealed hand-over's path below it; ``handover_key`` the id of its key.
        socket: where the driver answers for keys, under ``grant``.
        shares: what each task reads of the source.
    """

    storage: str
    staging: str
    handover: str
    handover_key: str
    socket: str
    grant: str
    segment_prefix: str
    shares: tuple[tuple[Part, ...], ...]


def run_tasks(share: Share, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For ``mapInArrow``: rows hold the number of a share, and what comes of each is one row of JSON.

    A refusal that a repetition would not mend is a result too, so that Spark does not repeat it.
    """
    for batch in batches:
        for number in batch.column(0).to_pylist():
            said = json.dumps(_outcome(share, int(number))).encode()
            yield pa.RecordBatch.from_arrays([pa.array([said], pa.binary())], names=["result"])


def _outcome(share: Share, number: int) -> dict[str, Any]:
    failed = ""
    try:
        return stated(Pass(share).run(number))
    except GovernanceError as fault:
        return {"fault": [type(fault).__name__, fault.code, fault.message, fault.remedy]}
    except Exception as fault:
        frame = traceback.extract_tb(fault.__traceback__)[-1]
        failed = f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    # Raised here: Spark writes a traceback to its log and event log, and a library's message may quote a value.
    raise RuntimeError(f"share {number} of the source failed: {failed}")


class Pass:
    """One process's view of the pass."""

    def __init__(self, share: Share) -> None:
        self._share = share

    @cached_property
    def _storage(self) -> Storage:
        return storage_for(self._share.storage)

    @cached_property
    def _run(self) -> OpenedRun:
        return OpenedRun.from_json(parse(self._left("run.json")))

    @cached_property
    def _keys(self) -> SegmentKeys:
        broker, token = key_broker()
        if not broker:
            return GrantedKeys(self._share.socket, self._share.grant)
        keyring = BrokeredKeyring(BrokerService(broker, token))
        keyring.claim(Claim.of_run(Operation.SEAL, self._run.to_json()))
        return keyring

    def run(self, number: int) -> RewriteResult:
        """Rewrite one share.

        Raises:
            What :func:`governance.protect.rewrite` raises; GOV-310 when the pass ended meanwhile. Nothing
            that was written remains then.
        """
        run, share, storage = self._run, self._share, self._storage
        contract = load_contract(
            "contract.odcs.yaml", data=self._left("contract.odcs.yaml"), suites=self._left
        )
        schema = pa.ipc.read_schema(pa.py_buffer(self._left(SCHEMA)))
        handed = Handover.open(
            storage.read(share.handover), self._keys.segment_key(share.handover_key), share.handover
        )
        policy = load_policy("policy.yaml", data=handed.policy)
        pinned = dict(run.detectors)
        detectors = load_detectors(list(pinned), pinned=pinned) if pinned else builtin()
        columns = planned(contract, parse(self._left(f"{Stage.CLASSIFY}.json"))["facts"]["columns"])
        rules = SourceRules([r for r in contract.rules if r.scope is RuleScope.SOURCE])
        rules.adopt(handed.repeats)
        applicable = row_regimes(policy, contract)
        plan = RewritePlan(
            columns=columns,
            decide=lambda batch: handed.subjects.decide(contract, applicable, batch),
            divert=rules.failing,
            pseudonyms=handed.subjects.pseudonyms_of,
            token_key=handed.token_keys.__getitem__,
            redact=redactor(detectors, columns, ner=policy.text_ner, crf=policy.text_crf),
            beside=beside(detectors, columns),
            year=run.opened_at.year,
            segment_prefix=share.segment_prefix,
            partition_by=contract.partition_by,
            clear=handed.clear,
        )
        result = rewrite(
            sources.read(run.source, types=source_types(contract), known=schema, parts=share.shares[number]),
            plan,
            storage=storage,
            keys=self._keys,
        )
        # Written whole before this, or not at all: who ends the pass removes the hand-over, then what no
        # result names. An attempt that outlives its pass therefore leaves nothing.
        if not storage.exists(share.handover):
            remove(storage, result)
            raise ProtectionError(
                "GOV-310",
                f"the pass on Spark that share {number} belongs to has ended",
                "nothing: what this attempt wrote was removed",
            )
        return result

    def _left(self, name: str) -> bytes:
        return self._storage.read(f"{self._share.staging}/{name}")


def remove(storage: Storage, result: RewriteResult) -> None:
    """Remove the segments of a result."""
    for segment in (*result.segments, *([result.quarantine] if result.quarantine else [])):
        for folder in {file.path.rpartition("/")[0] for file in segment.files}:
            storage.remove_tree(folder)


def stated(result: RewriteResult) -> dict[str, Any]:
    """A result as JSON: counts and names, no value."""
    return {
        "segments": [stated_segment(s) for s in result.segments],
        "quarantine": stated_segment(result.quarantine) if result.quarantine else None,
        "schema": base64.b64encode(result.schema.serialize()).decode(),
        "rows": [result.rows_in, result.rows_out, result.rows_denied, result.rows_quarantined],
        "denied_by_reason": dict(result.denied_by_reason),
        "quarantined_by_rule": dict(result.quarantined_by_rule),
        "verified": {name: asdict(evidence) for name, evidence in result.verified.items()},
    }
