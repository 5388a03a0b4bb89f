"""A plan: the checks of a run's opening, one look at the source, who could read, and what is in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from governance import sources, validate
from governance.contracts import columns_match, load_contract
from governance.detect.learned import ready
from governance.errors import GovernanceError
from governance.model.canonical import timestamp
from governance.model.contract import Contract, RuleScope
from governance.pipeline.deidentifying import deidentified
from governance.pipeline.open import released_columns, require_purpose
from governance.pipeline.preview.look import CLASSIFY_BY as CLASSIFY_BY
from governance.pipeline.preview.look import SourceLook
from governance.pipeline.preview.readers import readers
from governance.pipeline.step import source_types
from governance.pipeline.workspace import Workspace
from governance.protect.transforms import transform

FORMAT = 1


@dataclass
class _Plan:
    """A plan as far as it came; what is in the way is gathered, not raised."""

    facts: dict[str, Any]
    refusals: list[dict[str, str]] = field(default_factory=list)

    def holds(self, check: Callable[[], object]) -> bool:
        """Whether ``check`` raised nothing; what it raised becomes a refusal."""
        try:
            check()
        except GovernanceError as fault:
            self.refuse(fault)
            return False
        return True

    def refuse(self, fault: GovernanceError) -> None:
        self.refusals.append({"code": fault.code, "message": fault.message, "remedy": fault.remedy})

    def told(self) -> dict[str, Any]:
        return {**self.facts, "passes": not self.refusals, "refusals": self.refusals}


def plan_run(
    workspace: Workspace, *, contract_path: Path, source: str, purpose: str, classify_by: str = "sample"
) -> dict[str, Any]:
    """What :func:`governance.pipeline.run.run_pass` would do now, as ``schemas/plan.schema.json`` has it.

    What would stop the run stands in ``refusals`` with its code; a refusal that leaves nothing to look at
    ends the plan there. Rules on the version itself can only be judged once it is written.

    Args:
        classify_by: one of :data:`CLASSIFY_BY`.
    """
    policy = workspace.policy
    plan = _Plan(
        {
            "format": FORMAT,
            "dataset": contract_path.name.split(".")[0],
            "purpose": purpose,
            "planned_at": timestamp(workspace.clock()),
            "policy_digest": policy.digest,
        }
    )
    try:
        contract = load_contract(contract_path, policy)
    except GovernanceError as fault:
        plan.refuse(fault)
        return plan.told()
    plan.facts["dataset"] = contract.dataset
    plan.facts["contract"] = {"version": contract.version, "digest": contract.digest}
    plan.facts["anonymity"] = contract.anonymity is not None
    allowed = plan.holds(lambda: require_purpose(contract, policy, purpose))
    plan.holds(lambda: ready(ner=policy.text_ner, crf=policy.text_crf))
    plan.holds(lambda: released_columns(contract))
    plan.holds(lambda: deidentified(contract, policy, workspace.clock(), None))
    try:
        snapshot = sources.pin(source)
        schema = sources.schema(snapshot, types=source_types(contract))
        columns_match(contract, schema.names)
        validate.check([r for r in contract.rules if r.scope is RuleScope.SOURCE], schema)
        written = _written_schema(contract, schema)
        validate.check([r for r in contract.rules if r.scope is RuleScope.PROTECTED], written)
    except GovernanceError as fault:
        plan.refuse(fault)
        return plan.told()
    plan.facts["source"] = {"uri": snapshot.uri, "kind": snapshot.kind, "digest": snapshot.digest}
    if allowed:
        looked = SourceLook(workspace, contract, purpose, snapshot, schema, classify_by)
        try:
            plan.facts.update(looked.seen(plan.holds))
        except GovernanceError as fault:
            plan.refuse(fault)
    plan.facts["readers"] = readers(contract, policy, purpose, plan.facts.get("columns", []))
    return plan.told()


def _written_schema(contract: Contract, source: pa.Schema) -> pa.Schema:
    """What the version would look like. Raises GOV-305 for a transform that does not fit its column."""
    fields = []
    for column in contract.columns:
        chosen = transform(column.protection.method)
        kind = chosen.output_type(source.field(column.source_name).type, column.protection.arguments)
        if chosen.released:
            fields.append((column.name, kind))
    return pa.schema(fields)
