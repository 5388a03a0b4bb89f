"""One read of the source as a run would see it: the same functions, and nothing kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance import sources
from governance.detect import TableScanner
from governance.detect.detectors.registry import resolve
from governance.errors import StorageError
from governance.model.canonical import parse, timestamp
from governance.model.contract import Contract, RuleScope
from governance.model.dataset import Manifest, Segment, SourceSnapshot
from governance.model.decision import Reason
from governance.model.evidence import Stage
from governance.model.policy import Policy
from governance.model.run import OpenedRun
from governance.pipeline.classify import compared, require_declared, require_uncontested
from governance.pipeline.consent import ConsentDecision
from governance.pipeline.corrections import corrections_before
from governance.pipeline.deidentifying import deidentified
from governance.pipeline.pointer import current_version, released_manifest
from governance.pipeline.step import RunContext, RunReference, source_types
from governance.pipeline.workspace import Workspace
from governance.protect import carried_segments
from governance.protect.outputs import ABSENT
from governance.protect.transforms import TransformContext, transform
from governance.validate import SourceRules

CLASSIFY_BY = ("sample", "full", "last-run")
"""From how many values columns are classified: the policy's minimum, all, or as the last released run did."""

_UNWRITTEN = "v" + "0" * 24
"""Stands for the version that a plan has no id for: nothing is made under it."""


class _Unrecorded:
    """A plan records nothing; whoever tries to is stopped."""

    def _refused(self, *_: Any) -> NoReturn:
        raise RuntimeError("a plan was asked to record something")

    started = record = completed = failed = _refused


class SourceLook:
    """One read of the source.

    Raises:
        StorageError: GOV-741 when the last run's classification is asked for and there is none.
    """

    def __init__(
        self,
        workspace: Workspace,
        contract: Contract,
        purpose: str,
        snapshot: SourceSnapshot,
        schema: pa.Schema,
        classify_by: str,
    ) -> None:
        self._schema = schema
        self._by = classify_by
        self._previous = _released(workspace, contract.dataset)
        self._context = _context(workspace, contract, purpose, snapshot, self._previous)
        self._counts = _Counts()
        self._last = self._of_last_run() if classify_by == "last-run" else None

    def seen(self, holds: Callable[[Callable[[], object]], bool]) -> dict[str, Any]:
        """What was found, decided and counted; ``holds`` is told of what would stop the run."""
        context = self._context
        policy, contract = context.policy, context.contract
        scanner = None
        if self._last is None:
            sample = None if self._by == "full" else policy.minimum_sample
            scanner = TableScanner(self._schema, sample=sample, detectors=resolve(policy.detectors or None))
        decision = ConsentDecision.of_run(context)
        rules = SourceRules([r for r in contract.rules if r.scope is RuleScope.SOURCE], self._schema)
        rules.prepare(self._read)
        for batch in self._read():
            if scanner is not None:
                scanner.update(batch)
            self._counts.add(batch, decision, rules, contract, context.run.opened_at.year)
        if self._last is not None:
            columns, classified = self._last
        elif scanner is not None:
            people = corrections_before(context.workspace, context.run.corrections_position, remember=False)
            found = scanner.finish()
            columns = [compared(context, column, found, people) for column in contract.columns]
            values = None if self._by == "full" else policy.minimum_sample
            classified = {"by": self._by, "values": values}
        holds(lambda: require_uncontested(context, columns))
        holds(lambda: require_declared(context, columns))
        counted = {c["column"]: c["classification"] for c in columns}
        holds(lambda: deidentified(contract, policy, context.run.opened_at, counted))
        return {
            "classified": classified,
            "columns": [{**column, **_protected(contract, policy, column)} for column in columns],
            "consent": {
                "position": context.run.consent_position,
                "instant": timestamp(context.run.opened_at),
                **self._counts.consent(),
            },
            "rows": self._counts.rows(),
            "quarantined_by_rule": dict(sorted(self._counts.by_rule.items())),
            "version": _version(contract, self._previous, self._counts.partitions),
        }

    def _read(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        types = source_types(self._context.contract)
        return sources.read(self._context.run.source, types=types, columns=columns, known=self._schema)

    def _of_last_run(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        if self._previous is None:
            raise StorageError(
                "GOV-741",
                f"{self._context.contract.dataset} has no released version whose classification could be taken",
                "plan with --classify sample or full",
            )
        run = self._previous.body["run"]
        left = f"{RunReference(run['dataset'], run['version'], run['attempt']).folder}/{Stage.CLASSIFY}.json"
        facts = parse(self._context.storage.read(left))["facts"]
        known = {c["column"]: c for c in facts["columns"]}
        absent = [c.source_name for c in self._context.contract.columns if c.source_name not in known]
        if absent:
            raise StorageError(
                "GOV-741",
                f"version {run['version']} did not classify {', '.join(absent)}",
                "plan with --classify sample or full",
            )
        columns = [
            {**known[c.source_name], "declared": c.classification, "released_as": c.name}
            for c in self._context.contract.columns
        ]
        return columns, {"by": self._by, "values": None, "version": run["version"]}


class _Counts:
    """What would become of the rows."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self.by_rule: Counter[str] = Counter()
        self.partitions: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._quarantined = self._released = 0

    def add(
        self,
        batch: pa.RecordBatch,
        decision: ConsentDecision,
        rules: SourceRules,
        contract: Contract,
        year: int,
    ) -> None:
        ordinals = decision.subjects(batch)
        reasons = decision.decide(ordinals, decision.regimes(batch))
        for code, count in zip(*np.unique(reasons, return_counts=True), strict=True):
            self.by_reason[Reason(int(code)).label] += int(count)
        allowed = reasons == Reason.ALLOWED
        failing = np.zeros(batch.num_rows, bool)
        for name, mask in rules.failing(batch):
            held = mask & allowed
            if count := int(held.sum()):
                self.by_rule[name] += count
            failing |= held
        kept = batch.filter(pa.array(allowed & ~failing))
        self._quarantined += int(failing.sum())
        self._released += kept.num_rows
        if kept.num_rows:
            self._partition(kept, contract, year)

    def consent(self) -> dict[str, Any]:
        rows, allowed = sum(self.by_reason.values()), self.by_reason[Reason.ALLOWED.label]
        return {
            "rows": rows,
            "allowed": allowed,
            "denied": rows - allowed,
            "by_reason": dict(sorted(self.by_reason.items())),
        }

    def rows(self) -> dict[str, int]:
        consent = self.consent()
        return {
            "read": consent["rows"],
            "denied": consent["denied"],
            "quarantined": self._quarantined,
            "released": self._released,
        }

    def _partition(self, kept: pa.RecordBatch, contract: Contract, year: int) -> None:
        if not contract.partition_by:
            self.partitions[()] += kept.num_rows
            return
        named = {c.name: c for c in contract.columns}
        values = {}
        for name in contract.partition_by:
            column = named[name]
            after = transform(column.protection.method).apply(
                kept[column.source_name], _keyless(column.protection.arguments, year)
            )
            after = after.cast(pa.uint8()) if pa.types.is_boolean(after.type) else after
            values[name] = pc.fill_null(after.cast(pa.string()), ABSENT)
        counted = pa.table(values).group_by(list(values)).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            rows = row.pop("count_all")
            self.partitions[tuple((name, row[name]) for name in contract.partition_by)] += rows


def _context(
    workspace: Workspace,
    contract: Contract,
    purpose: str,
    snapshot: SourceSnapshot,
    previous: Manifest | None,
) -> RunContext:
    """A run as it would open now; nothing of it is written."""
    run = OpenedRun(
        dataset=contract.dataset,
        kind=contract.kind.value,
        run_id="plan",
        map_index=-1,
        attempt="0" * 8,
        purpose=purpose,
        opened_at=workspace.clock(),
        source=snapshot,
        contract_digest=contract.digest,
        policy_digest=workspace.policy.digest,
        consent_position=workspace.ledger.position,
        version=_UNWRITTEN,
        previous_version=previous.version if previous else None,
        run_public_key="",
        corrections_position=workspace.log.size(),
        tombstones=workspace.vault.tombstones,
    )
    reference = RunReference(contract.dataset, run.version, run.attempt)
    storage = workspace.dataset_storage(contract.dataset)
    return RunContext(workspace, _Unrecorded(), storage, contract, workspace.policy, run, reference)


def _released(workspace: Workspace, dataset: str) -> Manifest | None:
    return released_manifest(workspace, dataset) if current_version(workspace, dataset) else None


def _protected(contract: Contract, policy: Policy, found: Mapping[str, Any]) -> dict[str, Any]:
    """How a column would be protected, by which keys, and whether the policy finds that enough."""
    column = contract.column(found["column"])
    if column is None:
        raise ValueError(f"a column that the contract does not have: {found['column']}")
    method, arguments = column.protection.method, dict(column.protection.arguments)
    keys = [] if method == "drop" else [f"segment key of {found['sensitivity']}"]
    if method == "pseudonym":
        keys.append(f"vault domain {contract.subject.domain}")
    elif "domain" in arguments:
        keys.append(f"token domain {arguments['domain']}")
    elif column.name in contract.reversible:
        keys.append(f"secrets of {contract.subject.domain} subjects")
    rule = policy.classifications.get(found["classification"])
    enough = rule is None or method in rule.protections
    return {"method": method, "arguments": arguments, "keys": keys, "enough": enough}


def _version(
    contract: Contract, previous: Manifest | None, partitions: Counter[tuple[tuple[str, str], ...]]
) -> dict[str, Any]:
    """Which segments would be written, kept and left out."""
    before = previous.segments if previous else ()
    new = [{"partition": dict(values), "rows": rows} for values, rows in sorted(partitions.items())]
    written = [Segment("", dict(values), rows, (), {}) for values, rows in partitions.items()]
    kept = carried_segments(previous, contract.mode, written)
    return {
        "mode": contract.mode.value,
        "partition_by": list(contract.partition_by),
        "previous": previous.version if previous else None,
        "segments": new,
        "kept": {"segments": len(kept), "rows": sum(s.rows for s in kept)},
        "left_out": {
            "segments": len(before) - len(kept),
            "rows": sum(s.rows for s in before) - sum(s.rows for s in kept),
        },
    }


def _keyless(arguments: Mapping[str, Any], year: int) -> TransformContext:
    """What a transform of a partition column needs: such a column is not sensitive, so no key."""

    def none(*_: Any) -> Any:
        raise ValueError("a partition column asks for a key")

    return TransformContext(np.empty(0, np.int64), none, none, none, arguments, year)
