"""How a step runs: what it is handed, how its evidence reaches the log before its result counts."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from governance.contracts import load_contract
from governance.detect.detectors.custom import load_detectors
from governance.detect.detectors.registry import Detectors, builtin
from governance.errors import ContractError, GovernanceError, StorageError
from governance.model.canonical import canonical, digest, parse, timestamp
from governance.model.contract import Contract, LoadMode
from governance.model.evidence import Evidence, Recorder, Stage, StageRecord
from governance.model.key_grant import Claim, Operation
from governance.model.policy import Policy
from governance.model.run import OpenedRun
from governance.pipeline.memory import PassMemory
from governance.pipeline.pinned import read_pinned
from governance.pipeline.workspace import Workspace
from governance.protect.outputs import QUARANTINE
from governance.storage import Storage

Progress = Callable[[str, int], None]
"""Called with a stage's name and the rows it has read so far."""

_TYPES = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


AHEAD = 2
"""Batches that are decoded while a stage works on the one before."""

_KEPT_MS = 10_000

SCHEMA = "schema.arrow"
"""In a run's staging folder: the Arrow schema of its source, so that no step has to find it again."""


def silent(_stage: str, _rows: int) -> None:
    """No progress shown."""


@dataclass(frozen=True, slots=True)
class RunReference:
    """Where a run's staging folder is. Travels through XCom; holds names and ids only."""

    dataset: str
    version: str
    attempt: str

    @property
    def folder(self) -> str:
        return f"staging/{self.version}/{self.attempt}"

    def to_json(self) -> dict[str, str]:
        return {"dataset": self.dataset, "version": self.version, "attempt": self.attempt}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> RunReference:
        return cls(data["dataset"], data["version"], data["attempt"])


@dataclass(frozen=True)
class RunContext:
    """What every step after the opening is handed."""

    workspace: Workspace
    recorder: Recorder
    storage: Storage
    contract: Contract
    policy: Policy
    run: OpenedRun
    reference: RunReference
    progress: Progress = silent
    memory: PassMemory | None = None

    def facts(self, stage: Stage) -> dict[str, Any]:
        """The facts an earlier step left.

        Raises:
            StorageError: GOV-741 when that step has not run for this attempt.
        """
        return dict(self._left(stage)["facts"])

    def log_index(self, stage: Stage) -> int:
        """Where the evidence of an earlier step stands in the log."""
        return int(self._left(stage)["log_index"])

    def has_run(self, stage: Stage) -> bool:
        """Whether a step has left its facts, for this attempt."""
        return self.storage.exists(f"{self.reference.folder}/{stage}.json")

    def _left(self, stage: Stage) -> dict[str, Any]:
        path = f"{self.reference.folder}/{stage}.json"
        if not self.has_run(stage):
            raise StorageError(
                "GOV-741",
                f"{stage} has not run for version {self.run.version} of {self.run.dataset}",
                f"run {stage} first; in Airflow, clear the tasks from {stage} on",
            )
        left: dict[str, Any] = parse(self.storage.read(path))
        return left

    def keep(self, stage: Stage, facts: Mapping[str, Any], log_index: int) -> None:
        self.storage.write(
            f"{self.reference.folder}/{stage}.json",
            canonical({"facts": dict(facts), "log_index": log_index}),
        )

    @cached_property
    def source_schema(self) -> pa.Schema:
        """The source's columns as they were when the run opened."""
        return pa.ipc.read_schema(pa.py_buffer(self.storage.read(f"{self.reference.folder}/{SCHEMA}")))

    @cached_property
    def detectors(self) -> Detectors:
        """What the run's scans know: the package's detectors and those the policy named when it opened.

        Raises:
            ContractError: GOV-112 when one of the files changed since, GOV-113 when it is gone.
        """
        pinned = dict(self.run.detectors)
        return load_detectors(list(pinned), pinned=pinned) if pinned else builtin()

    def read_source(self, stage: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream the pinned source, verified, counting rows for the progress display."""
        rows = 0
        kept = self.memory.source.kept(columns) if self.memory else None
        for batch in self._source(columns) if kept is None else kept:
            rows += batch.num_rows
            yield batch
            self.progress(stage, rows)

    def _source(self, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        batches = read_pinned(
            self.workspace,
            self.storage,
            self.run.source,
            types=source_types(self.contract),
            columns=columns,
            known=self.source_schema,
        )
        return self.memory.source.keeping(batches) if self.memory and columns is None else batches


def source_types(contract: Contract) -> dict[str, pa.DataType]:
    """Types for text formats; a Parquet source keeps its own."""
    return {c.source_name: _TYPES[c.logical_type] for c in contract.columns if c.logical_type in _TYPES}


def event_context(run: OpenedRun) -> dict[str, Any]:
    """What each evidence event repeats of the opening, so that it stands alone."""
    return {
        "dataset": run.dataset,
        "kind": run.kind,
        "version": run.version,
        "run_id": run.run_id,
        "map_index": run.map_index,
        "attempt": run.attempt,
        "purpose": run.purpose,
        "opened_at": timestamp(run.opened_at),
        "contract_digest": run.contract_digest,
        "policy_digest": run.policy_digest,
        "source_digest": run.source.digest,
        "consent_position": run.consent_position,
    }


def resume(
    workspace: Workspace, reference: RunReference, recorder: Recorder, progress: Progress = silent
) -> RunContext:
    """Load an opened run by reference.

    Raises:
        StorageError: GOV-741 when there is no such run.
        ContractError: GOV-112 when the policy changed since the run opened.
    """
    _return_pages()
    storage = workspace.dataset_storage(reference.dataset)
    path = f"{reference.folder}/run.json"
    if not storage.exists(path):
        raise StorageError(
            "GOV-741",
            f"no opened run {reference.version} of {reference.dataset}",
            "open the run first; in Airflow, clear the run's tasks from open on",
        )
    run = OpenedRun.from_json(parse(storage.read(path)))
    contract = f"{reference.folder}/contract.odcs.yaml"
    policy = workspace.pinned_policy(run.policy_digest)
    for what, pinned, found in (
        ("contract", run.contract_digest, digest(storage.read(contract))),
        ("policy", run.policy_digest, policy.digest),
    ):
        if pinned != found:
            raise ContractError(
                "GOV-112",
                f"the {what} changed after run {run.run_id} of {run.dataset} pinned it",
                "start a new run; in Airflow, clear the run's tasks from open on",
            )
    workspace.claim(Claim.of_run(Operation.SEAL, run.to_json()))
    compiled = load_contract(
        contract,
        data=storage.read(contract),
        suites=lambda name: storage.read(f"{reference.folder}/{name}"),
        validated=run.contract_digest,
    )
    if run.source.kind == QUARANTINE:
        # Rows that were set aside join what is released; they never take its place.
        compiled = replace(compiled, mode=LoadMode.APPEND)
    return RunContext(workspace, recorder, storage, compiled, policy, run, reference, progress)


def _return_pages() -> None:
    """Take another allocator than Arrow's default, which touches ever fresh pages where batch follows batch.

    At a million rows that is half a second of CPU and 130 MiB. What was chosen by hand stays.
    """
    if pa.default_memory_pool().backend_name == "mimalloc":
        with contextlib.suppress(NotImplementedError):  # it is not built in everywhere
            pa.set_memory_pool(pa.jemalloc_memory_pool())
            # Pages that the next batch fills are not given back in between.
            pa.jemalloc_set_decay_ms(_KEPT_MS)


@contextlib.contextmanager
def reported(recorder: Recorder, stage: Stage, context: Mapping[str, Any]) -> Iterator[None]:
    """Report a failure of ``stage`` to the lineage store and let it go on.

    Raises:
        GovernanceError: the step's own, or GOV-999 in place of any other exception: a library's
            message may quote the value it choked on, and task logs are read by many.
    """
    recorder.started(stage, context)
    try:
        yield
    except Exception as cause:
        fault = cause if isinstance(cause, GovernanceError) else _withheld(stage, cause)
        # The first fault is what the user must see, even where the store is what is down.
        with contextlib.suppress(GovernanceError):
            recorder.failed(stage, context, fault.code, fault.message)
        if fault is cause:
            raise
        raise fault from None


def _withheld(stage: Stage, cause: Exception) -> GovernanceError:
    frames = traceback.extract_tb(cause.__traceback__)
    ours = [f for f in frames if "governance" in Path(f.filename).parts] or list(frames)
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "an unknown place"
    return GovernanceError(
        "GOV-999",
        f"unexpected {type(cause).__name__} in {stage} at {where}",
        "report this place and type; run the step on a copy without personal data to see the text",
    )


def prove(context: RunContext, stage: Stage, record: StageRecord) -> int:
    """Put signed evidence into the log, then leave the facts for the next step."""
    signer = context.workspace.keyring.run_signer(context.run.version, context.run.attempt)
    index = context.recorder.record(record, signer)
    context.keep(stage, record.evidence.facts, index)
    return index


def stage_record(context: RunContext, stage: Stage, facts: Mapping[str, Any], **lineage: Any) -> StageRecord:
    return StageRecord(Evidence(stage, facts), event_context(context.run), **lineage)
