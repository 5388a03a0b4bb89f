"""The rewriting pass on Spark, as its driver sees it: decide subjects, hand over, collect, keep or sweep.

Only what the tasks' results name is kept. What another attempt of a task wrote (a retry, a speculative copy,
a worker that was killed) is removed before the pass returns.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from governance import sources
from governance.config import spark_from
from governance.errors import (
    ConsentError,
    ContractError,
    GovernanceError,
    ProtectionError,
    SettingError,
    SourceError,
    StorageError,
    ValidationError,
)
from governance.model.contract import Contract, Engine
from governance.model.dataset import Segment, SourceSnapshot
from governance.pipeline.consent import ConsentDecision
from governance.pipeline.manifest import segments_of
from governance.pipeline.pinned import SEALED
from governance.pipeline.spark.grants import GrantSocket, SealGrant
from governance.pipeline.spark.handover import Handover
from governance.pipeline.spark.session import installed, session
from governance.pipeline.spark.subjects import gathered
from governance.pipeline.spark.task import RESULT, Share, run_tasks
from governance.pipeline.step import RunContext
from governance.protect import ColumnEvidence, RewritePlan, RewriteResult, SegmentWriter, open_sealed
from governance.protect.outputs import QUARANTINE
from governance.protect.ports import SegmentKeys
from governance.storage import Storage
from governance.validate import SourceRules

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FAULTS = {
    kind.__name__: kind
    for kind in (
        *(ConsentError, ContractError, ProtectionError, SettingError, SourceError, StorageError),
        ValidationError,
    )
}

_HANDOVER = "spark-"

SHARE_BYTES = 256 << 20
"""A share of the source is about so large, unless that gives fewer shares than Spark has cores."""


def runs_on_spark(contract: Contract, source: SourceSnapshot, plan: RewritePlan) -> bool:
    """Whether a run's rewriting pass goes to Spark: by its contract, or by the size of its source.

    Never where the source lies sealed below the dataset's root: only this process may open it.

    Raises:
        ContractError: GOV-102 when the contract asks for Spark and for what only the local pass does.
        SettingError: GOV-901 for ``GOVERNANCE_SPARK_FROM``.
    """
    if contract.engine is Engine.LOCAL or source.kind in SEALED:
        return False
    if contract.subject.others:
        if contract.engine is Engine.AUTO:
            return False
        raise ContractError(
            "GOV-102",
            f"contract {contract.dataset} asks for Spark and for rows about several people",
            "write `engine: local`, or `auto`, which then stays local",
        )
    if contract.reversible:
        if contract.engine is Engine.AUTO:
            return False
        raise ContractError(
            "GOV-102",
            f"contract {contract.dataset} asks for Spark and for tokens of free text that can be turned back",
            "write `engine: local`, or `auto`, which then stays local",
        )
    if contract.engine is Engine.AUTO:
        size = sum(file.size for file in source.files)
        return plan.recode is None and size >= spark_from() and installed()
    if plan.recode is not None:
        raise ContractError(
            "GOV-102",
            f"contract {contract.dataset} asks for Spark and for rows that are generalized together",
            "write `engine: local`, or `auto`, which then stays local",
        )
    return True


def rewrite_on_spark(
    context: RunContext, plan: RewritePlan, decision: ConsentDecision, rules: SourceRules
) -> RewriteResult:
    """Rewrite a run's source on Spark, with the result that :func:`governance.protect.rewrite` would have.

    Segments are one a share and partition; rows that the rules set aside are gathered into one quarantine
    segment. After an error nothing that was written remains.

    Args:
        plan: the local pass's; its functions stay here, what they know is handed to the tasks.
        decision: what ``plan`` decides by.
        rules: what ``plan`` diverts by, prepared.

    Raises:
        What :func:`governance.protect.rewrite` raises. SettingError: GOV-901, GOV-902 for Spark itself.
        GovernanceError: GOV-999 when Spark gave up; its log says why.
    """
    spark = session()
    shares = sources.split(context.run.source, _shares(spark, context.run.source))
    keys, storage = context.workspace.keyring, context.storage
    name = f"{context.run.version}-{secrets.token_hex(4)}"
    path = f"{context.reference.folder}/{_HANDOVER}{name}"
    for earlier in storage.list(context.reference.folder):
        # This attempt was tried before and killed, or still runs somewhere: then that one ends here.
        if earlier.startswith(f"{context.reference.folder}/{_HANDOVER}"):
            storage.remove_tree(earlier)
    key_id = keys.new_segment_key(f"{name}-handover", QUARANTINE)
    handover = Handover(
        gathered(
            context.read_source("subjects", decision.columns), decision, context.contract, plan.pseudonyms
        ),
        rules.repeats,
        {domain: plan.token_key(domain) for domain in _token_domains(plan)},
        context.workspace.settings.policy.read_bytes(),
        plan.clear,
    )
    storage.write(path, handover.seal(keys.segment_key(key_id), path))
    results: list[dict[str, Any]] = []
    kept: list[Segment] = []
    try:
        with GrantSocket() as socket:
            grant = socket.grant(SealGrant(keys, name, key_id))
            share = Share(
                storage.uri, context.reference.folder, path, key_id, socket.path, grant, name, shares
            )
            results = _collected(spark, share)
        result = _merged(results, storage, keys, name)
        kept = [*result.segments, *([result.quarantine] if result.quarantine else [])]
    finally:
        # The hand-over first: an attempt that outlives this removes what it wrote when it finds it gone.
        storage.remove_tree(path)
        _sweep(storage, name, kept)
    return result


def _shares(spark: SparkSession, source: SourceSnapshot) -> int:
    size = sum(file.size for file in source.files)
    return max(spark.sparkContext.defaultParallelism, -(-size // SHARE_BYTES))


def _token_domains(plan: RewritePlan) -> set[str]:
    return {str(c.arguments["domain"]) for c in plan.columns if "domain" in c.arguments}


def _collected(spark: SparkSession, share: Share) -> list[dict[str, Any]]:
    """Every share's result, once; the first refusal is raised."""
    from pyspark.errors import PySparkException

    count = len(share.shares)
    failed = ""
    rows = []
    try:
        numbers = spark.range(0, count, 1, count)
        rows = numbers.mapInArrow(partial(run_tasks, share), RESULT).collect()
    except PySparkException as fault:
        failed = type(fault).__name__
    if failed:
        raise GovernanceError(
            "GOV-999",
            f"Spark gave the pass up ({failed})",
            "the executors' log names the place; every attempt of one share failed there",
        )
    results = [json.loads(bytes(row["result"])) for row in rows]
    for result in results:
        if "fault" in result:
            kind, code, message, remedy = result["fault"]
            raise _FAULTS.get(kind, GovernanceError)(code, message, remedy)
    if len(results) != count:
        raise ValidationError(
            "GOV-405",
            f"{count} shares of the source gave {len(results)} results",
            "this is a fault of the software: report it; nothing was kept",
        )
    return results


def _merged(
    results: Sequence[Mapping[str, Any]], storage: Storage, keys: SegmentKeys, prefix: str
) -> RewriteResult:
    segments = [segment for result in results for segment in segments_of(result["segments"])]
    rows = [sum(counts) for counts in zip(*(result["rows"] for result in results), strict=True)]
    schemas = {result["schema"] for result in results if result["rows"][0]}
    if len(schemas) != 1 or rows[0] != sum(rows[1:]):
        raise ValidationError(
            "GOV-405",
            f"the shares' results do not fit together: {len(schemas)} schemas, {rows[0]:,} rows",
            "this is a fault of the software: report it; nothing was kept",
        )
    aside = segments_of([result["quarantine"] for result in results if result["quarantine"]])
    return RewriteResult(
        segments=tuple(sorted(segments, key=lambda s: (tuple(s.partition.values()), s.segment_id))),
        quarantine=_one(aside, storage, keys, prefix),
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schemas.pop()))),
        rows_in=rows[0],
        rows_out=rows[1],
        rows_denied=rows[2],
        rows_quarantined=rows[3],
        denied_by_reason=_sum(result["denied_by_reason"] for result in results),
        quarantined_by_rule=_sum(result["quarantined_by_rule"] for result in results),
        verified=_verified([result["verified"] for result in results if result["rows"][0]]),
    )


def _one(aside: Sequence[Segment], storage: Storage, keys: SegmentKeys, prefix: str) -> Segment | None:
    """One quarantine segment of those that the shares set aside."""
    if len(aside) < 2:
        return aside[0] if aside else None
    segment_id = f"{prefix}-{secrets.token_hex(8)}"
    writer: SegmentWriter | None = None
    try:
        for segment in aside:
            for batch in _rows(storage, segment, keys):
                if writer is None:
                    writer = SegmentWriter(
                        storage,
                        segment_id,
                        batch.schema,
                        dict.fromkeys(batch.schema.names, QUARANTINE),
                        keys,
                        folder=f"{QUARANTINE}/{segment_id}",
                    )
                writer.write(batch)
        return writer.close() if writer else None
    except BaseException:
        if writer is not None:
            writer.abort()
        raise


def _rows(storage: Storage, segment: Segment, keys: SegmentKeys) -> Iterator[pa.RecordBatch]:
    for file in segment.files:
        if file.role == "data":
            opened = open_sealed(storage.path(file.path), storage.filesystem(), keys.segment_key)
            try:
                yield from opened.iter_batches()
            finally:
                opened.close()


def _verified(seen: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, ColumnEvidence]:
    """A column's evidence over all shares: it masks only if it does in every one of them."""
    return {
        name: ColumnEvidence(
            method=seen[0][name]["method"],
            masking=all(each[name]["masking"] for each in seen),
            rows=sum(each[name]["rows"] for each in seen),
            written=sum(each[name]["written"] for each in seen),
            nulled=sum(each[name]["nulled"] for each in seen),
        )
        for name in seen[0]
    }


def _sum(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in counted:
        total.update(counts)
    return dict(total)


def _sweep(storage: Storage, prefix: str, kept: Sequence[Segment]) -> None:
    """Remove every segment of this pass that is not among ``kept``."""
    folders = {file.path.rpartition("/")[0] for segment in kept for file in segment.files}
    for root in ("segments", QUARANTINE):
        found = {path.rpartition("/")[0] for path in storage.list(root)}
        for folder in sorted(found - folders):
            if folder.startswith(f"{root}/{prefix}-"):
                storage.remove_tree(folder)
