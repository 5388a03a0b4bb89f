"""Validate: read the sealed version back and judge it. Reads only, and can only fail it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from governance.detect import TableScanner
from governance.errors import GovernanceError, ValidationError
from governance.model.canonical import parse
from governance.model.classification import HARMLESS, ColumnClassification
from governance.model.contract import LoadMode, RuleScope
from governance.model.dataset import Manifest, Segment
from governance.model.decision import Reason
from governance.model.evidence import Assertion, DatasetLineage, Stage
from governance.pipeline.consent import UNKNOWN_PERSON, ConsentDecision, ReleasedSubjects
from governance.pipeline.manifest import draft_manifest
from governance.pipeline.pointer import released_manifest
from governance.pipeline.protect import DATASETS
from governance.pipeline.quarantine import quarantine_version
from governance.pipeline.standing import (
    VALIDATED_ON,
    judged_apart,
    keep_stood_on,
    may_join,
    present,
    settled,
)
from governance.pipeline.step import RunContext, prove, reported, stage_record
from governance.protect import open_version, unsealed_files, verify_files
from governance.protect.types import schema_of
from governance.validate import Drift, judge
from governance.validate.drift import DRIFT


def validate(context: RunContext, *, late: np.ndarray | None = None) -> dict[str, Any]:
    """Judge the version through its own manifest.

    Raises:
        ValidationError: GOV-402 … GOV-405; the version goes to quarantine with the reasons.
        StorageError: GOV-723 when a file is not what protect wrote.
    """
    stage = Stage.VALIDATE
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        try:
            released = None if context.contract.mode is LoadMode.FULL else present(context)
            facts, lineage = _judged(context, draft_manifest(context, released), late, released)
            record = stage_record(context, stage, facts, inputs=(lineage,))
            prove(context, stage, record)
            keep_stood_on(context, VALIDATED_ON, released)
            require_sound(context, facts)
        except GovernanceError as fault:
            quarantine_version(context, fault)
            raise
        context.recorder.completed(stage, record.context, record)
    return facts


def _judged(
    context: RunContext, manifest: Manifest, late: np.ndarray | None, released: Manifest | None
) -> tuple[dict[str, Any], DatasetLineage]:
    manifest, carried = _to_read_back(context, manifest, late, released)
    presence = _SubjectPresence(context, late)
    schema = schema_of(manifest.body["schema"])
    rescan = _Rescan(context, schema)
    rules = [r for r in context.contract.rules if r.scope is RuleScope.PROTECTED]
    drift = Drift(rules, schema, partial(earlier_profiles, context), partial(_category_key, context))
    rows = 0

    def read_back() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        keys = context.workspace.keyring
        context.workspace.expect_keys(manifest)
        verified = verify_files(context.storage, manifest.segments)
        for segment in manifest.segments:
            only = {segment.segment_id}
            for batch in open_version(
                context.storage, manifest, keys.segment_key, segments=only, verified=verified
            ):
                rows += batch.num_rows
                presence.see(batch)
                rescan.see(batch)
                drift.see(batch)
                context.progress(Stage.VALIDATE, rows)
                yield batch
            presence.end(segment)

    verdict = judge(read_back(), schema, rules)
    checks = [
        _check("row_counts_reconcile", *_reconciled(context, manifest, rows)),
        _check("no_denied_subject_present", *presence.verdict()),
        _check("nothing_opens_without_its_key", *_sealed(context, manifest)),
    ]
    profiles, moved = drift.finish()
    results = [*(dict(r) for r in verdict.results), *moved]
    facts = {
        "success": not any(map(_fails, results)) and all(c["success"] for c in checks),
        "rows": rows,
        "results": results,
        **({"profiles": profiles} if profiles else {}),
        **({"carried": carried} if carried else {}),
        "rescan": rescan.finish(),
        "checks": checks,
    }
    lineage = DatasetLineage(
        DATASETS,
        context.run.dataset,
        version=context.run.version,
        rows=rows,
        assertions=(*verdict.assertions, *(Assertion(DRIFT, r["success"], r["column"]) for r in moved)),
    )
    return facts, lineage


def _to_read_back(
    context: RunContext, manifest: Manifest, late: np.ndarray | None, released: Manifest | None
) -> tuple[Manifest, dict[str, Any] | None]:
    """The version without what it carries, and what that is, where the run that released it read it back."""
    if late is not None or released is None or not (may_join(context) and judged_apart(context)):
        return manifest, None
    before = {segment.segment_id for segment in released.segments}
    own = tuple(segment for segment in manifest.segments if segment.segment_id not in before)
    carried = len(manifest.segments) - len(own)
    if not carried or settled(context, released) is None:
        return manifest, None
    rows = sum(s.rows for s in manifest.segments) - sum(s.rows for s in own)
    said = {"version": released.version, "segments": carried, "rows": rows}
    return replace(manifest, segments=own), said


class _Rescan:
    """Looks for classifications in a sample of the version: what a mask left readable is found again.

    Each column is scanned under its source's name, so that the header speaks for what was there before and only
    values that contradict it take the finding away. What values cannot tell stays found.
    """

    def __init__(self, context: RunContext, schema: pa.Schema) -> None:
        source = {c.name: c.source_name for c in context.contract.columns}
        self._columns = [(name, source.get(name, name)) for name in schema.names]
        renamed = [field.with_name(was) for field, (_, was) in zip(schema, self._columns, strict=True)]
        self._schema = pa.schema(renamed)
        self._scanner = TableScanner(
            self._schema, sample=context.policy.minimum_sample, detectors=context.detectors
        )

    def see(self, batch: pa.RecordBatch) -> None:
        self._scanner.update(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))

    def finish(self) -> list[dict[str, Any]]:
        found = self._scanner.finish()
        return [_found_again(name, was, found) for name, was in self._columns]


def _found_again(name: str, was: str, found: Mapping[str, ColumnClassification]) -> dict[str, Any]:
    """What was found in a column, its nested ones and, where several came from one, all of these."""
    own = [f for key, f in found.items() if key.partition("#")[0] == was or key.startswith(f"{was}.")]
    bounds = [f.miss_bound for f in own if f.miss_bound is not None]
    return {
        "column": name,
        "found": sorted({f.classification for f in own} - {HARMLESS}),
        "contains": sorted({c.classification for f in own for c in f.contains}),
        "values_read": min((f.values_read for f in own), default=0),
        "miss_bound": max(bounds, default=None),
    }


def earlier_profiles(context: RunContext, against: str) -> tuple[str, Mapping[str, Any]] | None:
    """The id and the profiles of an earlier version, as the log has them; ``None`` where there are none.

    Args:
        against: a released version's id, or ``previous``.
    """
    workspace, dataset = context.workspace, context.run.dataset
    if against == "previous" and context.run.previous_version is None:
        return None
    manifest = released_manifest(workspace, dataset, None if against == "previous" else against)
    entry = workspace.log.entry(manifest.body["evidence"][Stage.VALIDATE])
    if entry.body is None:
        return None
    facet = parse(entry.body)["run"]["facets"][f"governance_{Stage.VALIDATE}"]
    return manifest.version, facet["facts"].get("profiles", {})


def _category_key(context: RunContext) -> bytes:
    return context.workspace.keyring.secret(f"drift:{context.run.dataset}")


class _SubjectPresence:
    """Counts released rows whose subject is denied when decided again, and remembers whose rows a segment holds."""

    def __init__(self, context: RunContext, late: np.ndarray | None) -> None:
        self._released = ReleasedSubjects(
            [ConsentDecision.of_run(context, late=late)], context.workspace.vault
        )
        populations = list(self._released.populations.values())
        # Of people of several domains the index is made from the files again.
        self._kept = context.memory.members if context.memory and len(populations) == 1 else None
        self._seen = np.zeros(populations[0], bool)
        self._strangers = self.denied = self.unknown = 0

    def see(self, batch: pa.RecordBatch) -> None:
        reasons, ordinals = self._released.decide(batch)
        people = ordinals.reshape(batch.num_rows, -1)
        self.unknown += int((people[:, 0] < 0).sum())
        self.denied += int((reasons != Reason.ALLOWED).sum())
        if self._kept is not None:
            known = people >= 0
            self._seen[people[known]] = True
            self._strangers += int((people == UNKNOWN_PERSON).sum() + (~known[:, 0]).sum())

    def end(self, segment: Segment) -> None:
        """All rows of a segment were seen."""
        if self._kept is not None and not self._strangers:
            self._kept.keep(segment, self._seen)
        self._seen[:], self._strangers = False, 0

    def verdict(self) -> tuple[bool, str]:
        if self.denied or self.unknown:
            return False, f"{self.denied:,} rows of denied subjects, {self.unknown:,} of unknown ones"
        return True, "every released row was decided again and is allowed"


def _reconciled(context: RunContext, manifest: Manifest, rows: int) -> tuple[bool, str]:
    counts = manifest.body["counts"]
    read = context.facts(Stage.CLASSIFY)["rows"]
    kept = sum(s.rows for s in manifest.segments)
    written = counts["rows_out"]
    parts = written + counts["rows_denied"] + counts["rows_quarantined"]
    text = (
        f"source {read:,} = released {written:,} + denied {counts['rows_denied']:,} "
        f"+ quarantined {counts['rows_quarantined']:,}; read back {rows:,} of {kept:,}"
    )
    return read == counts["rows_in"] == parts and rows == kept, text


def _sealed(context: RunContext, manifest: Manifest) -> tuple[bool, str]:
    opened = unsealed_files(context.storage, manifest)
    if opened:
        return False, f"{len(opened)} files opened without a key"
    return True, f"{sum(len(s.files) for s in manifest.segments)} files refused to open without a key"


def _check(name: str, success: bool, detail: str) -> dict[str, Any]:
    return {"check": name, "success": success, "detail": detail}


def _fails(result: Mapping[str, Any]) -> bool:
    return not result["success"] and result.get("meta", {}).get("severity") != "warning"


_CODES = {
    "row_counts_reconcile": "GOV-405",
    "no_denied_subject_present": "GOV-403",
    "nothing_opens_without_its_key": "GOV-404",
}


def require_sound(context: RunContext, facts: dict[str, Any]) -> None:
    """Stop unless every check and rule held. Release asks again: a step may have been marked as done by hand.

    Raises:
        ValidationError: GOV-402 … GOV-405.
    """
    for check in facts["checks"]:
        if not check["success"]:
            raise ValidationError(
                _CODES[check["check"]],
                f"version {context.run.version} of {context.run.dataset}: {check['detail']}",
                "the version is in quarantine and the previous one stays; start a new run",
            )
    failed = [r for r in facts["results"] if _fails(r)]
    if failed:
        listed = "; ".join(
            f"{r['rule']} ({r['expectation']} on {r.get('column') or 'the table'})" for r in failed
        )
        raise ValidationError(
            "GOV-402",
            f"version {context.run.version} of {context.run.dataset} fails {len(failed)} quality rules: {listed}",
            "the version is in quarantine and the previous one stays; correct the data or the contract's rules",
        )
