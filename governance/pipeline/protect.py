"""Protect: the one pass that writes. Denied rows go, failing rows are diverted, the rest is sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import ValidationError
from governance.model.contract import RuleScope
from governance.model.evidence import ColumnEdge, DatasetLineage, Stage, StageRecord
from governance.pipeline.carried import rewrite_carried, stated_segment
from governance.pipeline.classify import require_declared, require_uncontested
from governance.pipeline.consent import ConsentDecision, audience
from governance.pipeline.deidentifying import deidentified
from governance.pipeline.noticing import discard_noticed, handed_over
from governance.pipeline.open import DATASETS as DATASETS
from governance.pipeline.open import source_lineage
from governance.pipeline.people import gathered
from governance.pipeline.pinned import is_derived
from governance.pipeline.planning import beside, planned, recalling, redactor
from governance.pipeline.spark.engine import rewrite_on_spark, runs_on_spark
from governance.pipeline.step import RunContext, prove, reported, stage_record
from governance.pipeline.text_keys import keys_of_text
from governance.protect import ColumnPlan, RewritePlan, RewriteResult, rewrite
from governance.protect.anonymity import Anonymizer
from governance.validate import SourceRules


def protect(context: RunContext, *, late: np.ndarray | None = None) -> dict[str, Any]:
    """Rewrite the source into sealed segments.

    Args:
        late: vault ordinals of subjects who withdrew since the run opened.

    Raises:
        ContractError: GOV-318. ProtectionError: GOV-301 … GOV-306, GOV-317. ValidationError: GOV-405
            when the source no longer gives the counts that consent saw. SourceError: GOV-70x. Nothing half-written stays behind.
    """
    stage = Stage.PROTECT
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        consent_facts = context.facts(Stage.CONSENT)
        require_uncontested(context, context.facts(Stage.CLASSIFY)["columns"])
        require_declared(context, context.facts(Stage.CLASSIFY)["columns"])
        found = {c["column"]: c["classification"] for c in context.facts(Stage.CLASSIFY)["columns"]}
        claimed = deidentified(context.contract, context.policy, context.run.opened_at, found)
        superseded = context.facts(stage) if context.has_run(stage) else None
        columns = _derived(context, planned(context.contract, context.facts(Stage.CLASSIFY)["columns"]))
        decision = ConsentDecision.of_run(context, late=late)
        rules = SourceRules([r for r in context.contract.rules if r.scope is RuleScope.SOURCE])
        rules.prepare(lambda names: context.read_source("check uniqueness", names))
        redact = redactor(
            context.detectors, columns, ner=context.policy.text_ner, crf=context.policy.text_crf
        )
        models = context.policy.text_ner or context.policy.text_crf
        texts = context.memory.texts if context.memory else handed_over(context)
        plan = RewritePlan(
            columns=columns,
            decide=decision,
            people=context.contract.subject.columns,
            divert=rules.failing,
            pseudonyms=_pseudonyms(context),
            token_key=lambda domain: context.workspace.keyring.secret(f"token:{domain}"),
            redact=redact,
            redact_rows=recalling(redact, texts) if texts is not None and not models else None,
            beside=beside(context.detectors, columns),
            text_keys=keys_of_text(context.workspace, context.contract),
            year=context.run.opened_at.year,
            segment_prefix=context.run.version,
            partition_by=context.contract.partition_by,
        )
        anonymizer = Anonymizer(context.contract.anonymity, plan) if context.contract.anonymity else None
        if anonymizer is not None:
            plan = anonymizer.plan()
        if on_spark := runs_on_spark(context.contract, context.run.source, plan):
            result = rewrite_on_spark(context, plan, decision, rules)
        else:
            if anonymizer is not None:
                anonymizer.learn(context.read_source("count combinations"))
            result = rewrite(
                context.read_source(stage),
                plan,
                storage=context.storage,
                keys=context.workspace.keyring,
                # Learned models keep what they are working on in themselves.
                workers=1 if models else None,
            )
            if context.memory is not None:
                context.memory.source.forget()
                # What the allocator keeps for later is not needed later: the stages after this one read less at once.
                pa.default_memory_pool().release_unused()
        facts = {**_facts(result, columns), "engine": "spark" if on_spark else "local"}
        if claimed is not None:
            facts["deidentification"] = claimed
        try:
            if anonymizer is not None:
                facts["anonymity"] = anonymizer.evidence()
            if carried := rewrite_carried(context, facts["segments"], late):
                facts["carried"] = carried
            if late is None and result.rows_denied != consent_facts["denied"]:
                raise ValidationError(
                    "GOV-405",
                    f"consent denied {consent_facts['denied']:,} rows, the rewriting pass {result.rows_denied:,}",
                    "the source or the ledger changed under the run: start a new run",
                )
            record = _proven(context, result, columns, facts)
        except BaseException:
            _remove(context, facts)
            raise
        discard_noticed(context)
        if superseded is not None:
            # What a repetition replaces holds rows that may have to go: late withdrawals.
            _remove(context, superseded)
        context.recorder.completed(stage, record.context, record)
    return facts


def _derived(context: RunContext, columns: tuple[ColumnPlan, ...]) -> tuple[ColumnPlan, ...]:
    """The columns as planned; the subjects of derived rows carry their pseudonyms already."""
    if not is_derived(context.workspace, context.run.dataset, context.run.source):
        return columns
    people = context.contract.subject.columns
    return tuple(
        replace(c, arguments={"derived": True}) if c.source_name in people and c.method == "pseudonym" else c
        for c in columns
    )


def _proven(
    context: RunContext, result: RewriteResult, columns: tuple[ColumnPlan, ...], facts: dict[str, Any]
) -> StageRecord:
    record = stage_record(
        context,
        Stage.PROTECT,
        facts,
        inputs=(source_lineage(context.run, []),),
        outputs=(version_lineage(context, result, columns),),
    )
    prove(context, Stage.PROTECT, record)
    return record


def _remove(context: RunContext, facts: dict[str, Any]) -> None:
    for segment in [*facts["segments"], *facts.get("carried", ())]:
        context.storage.remove_tree(f"segments/{segment['segment_id']}")
    if facts["quarantine"]:
        context.storage.remove_tree(f"quarantine/{facts['quarantine']['segment_id']}")


def version_lineage(
    context: RunContext, result: RewriteResult, columns: tuple[ColumnPlan, ...]
) -> DatasetLineage:
    """The version as OpenLineage sees it: schema, column lineage, counts, classifications."""
    return DatasetLineage(
        DATASETS,
        context.run.dataset,
        fields=tuple((f.name, str(f.type)) for f in result.schema),
        version=context.run.version,
        rows=result.rows_out,
        size=sum(f.size for s in result.segments for f in s.files),
        columns=tuple(
            ColumnEdge(c.name, (c.source_name,), c.method, result.verified[c.name].masking)
            for c in columns
            if c.method != "drop"
        ),
        classifications={c.name: c.classification for c in columns if c.method != "drop"},
        sensitivities={c.name: c.sensitivity for c in columns if c.method != "drop"},
    )


def _pseudonyms(context: RunContext) -> Callable[[np.ndarray], np.ndarray]:
    vault, subject = context.workspace.vault, context.contract.subject
    return lambda people: gathered(subject, people, lambda d, o: vault.pseudonyms(d, audience(d), o), 16)


def _facts(result: RewriteResult, columns: tuple[ColumnPlan, ...]) -> dict[str, Any]:
    return {
        "rows_in": result.rows_in,
        "rows_denied": result.rows_denied,
        "rows_quarantined": result.rows_quarantined,
        "rows_out": result.rows_out,
        "quarantined_by_rule": dict(result.quarantined_by_rule),
        "columns": [
            {
                "column": c.name,
                "source_column": c.source_name,
                "classification": c.classification,
                "sensitivity": c.sensitivity,
                "method": c.method,
                "masking": result.verified[c.name].masking if c.method != "drop" else True,
                "verified_rows": result.verified[c.name].rows if c.method != "drop" else 0,
                "nulled": result.verified[c.name].nulled if c.method != "drop" else 0,
                "encrypted": c.method != "drop",
                "dropped": c.method == "drop",
            }
            for c in columns
        ],
        "segments": [stated_segment(s) for s in result.segments],
        "quarantine": (
            {"segment_id": result.quarantine.segment_id, "rows": result.quarantine.rows}
            if result.quarantine
            else None
        ),
        "schema": [{"name": f.name, "type": str(f.type)} for f in result.schema],
    }
