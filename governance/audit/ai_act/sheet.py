"""Cells of a training set's datasheet: what the contract declares, beside what evidence shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from governance.audit.activity import pinned
from governance.audit.ai_act.lineage import System, Used, contract_of, said_in_contract, told_digest
from governance.audit.cells import Cell, conflicting, declared, observed, unknown
from governance.audit.declarations import ContractLeaf, PolicyLeaf, items, part, words
from governance.audit.law import LAWFUL_BASES
from governance.audit.trail import Proof, Trail
from governance.model.evidence import Stage

_MISSING = "the contract declares no {} under aiAct"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A version of a system, with the contract and the policy that its run pinned."""

    trail: Trail
    system: System
    used: Used

    @property
    def contract(self) -> ContractLeaf | None:
        return contract_of(self.trail, self.used.run)

    @property
    def policy(self) -> PolicyLeaf | None:
        return self.trail.policy(pinned(self.used.run, "policy")) if self.used.run else None

    @property
    def opened(self) -> list[int]:
        return (
            [self.used.run.opened.index] if self.used.run else [i for c in self.used.ways.values() for i in c]
        )

    def stage(self, stage: Stage) -> Proof | None:
        return self.used.run.stages.get(stage) if self.used.run else None

    def said(self, member: str, what: str) -> Cell:
        """What the contract declares; its own leaf answers for it."""
        if self.contract is None:
            return unknown("no contract leaf is what a run pinned", self.opened)
        text = words(said_in_contract(self.contract), member)
        cites = [self.contract.index, *self.opened]
        return declared(text, cites) if text else unknown(_MISSING.format(what), cites)


def ways(s: Sheet) -> Cell:
    """How the version got into the system, and whether what the training says of it holds."""
    value = sorted(s.used.ways)
    cites = [i for cited in s.used.ways.values() for i in cited]
    if not s.system.is_model:
        return observed(value, [*cites, *s.opened])
    if not s.used.released:
        return conflicting(value, [*cites, *s.opened], "the log does not show it as released")
    run = s.used.run
    released = run.release("released") if run else None
    for leaf in s.system.trainings:
        said = told_digest(leaf, s.used)
        stated = said.get("manifest_digest")
        if said and released and stated not in (None, released.facts.get("manifest_digest")):
            note = "the training states another manifest digest than was released under that version"
            return conflicting(value, [*cites, leaf.index, released.index], note)
        if said and run and words(leaf.body, "purpose") not in (None, run.purpose):
            note = f"it was trained on for {words(leaf.body, 'purpose')}, and released for {run.purpose}"
            return conflicting(value, [*cites, leaf.index, run.opened.index], note)
    return declared(value, cites, "a task states it, and no run key signed it")


def version(s: Sheet) -> Cell:
    run = s.used.run
    released = run.release("released") if run else None
    if run is None or released is None:
        return unknown("no released version of it is in evidence", s.opened)
    value = {
        "version": run.version,
        "released_at": released.received_at,
        "manifest_digest": released.facts.get("manifest_digest"),
        "described_by": f"governance report attest {run.dataset} {run.version}",
    }
    return observed(
        value,
        [run.opened.index, released.index],
        "the command writes both",
    )


def intended(s: Sheet) -> Cell:
    """The contract's word; where the policy says otherwise of the model, both."""
    own = s.said("intendedPurpose", "intended purpose")
    model = words(s.system.declared, "intendedPurpose")
    if model is None:
        return own
    cites = [*own.cites, *s.system.policy_cite]
    if own.value is None:
        return declared(model, cites, "as the policy says of the model")
    if own.value != model:
        value = {"contract": own.value, "policy": model}
        return conflicting(value, cites, "contract and policy declare different purposes")
    return declared(model, cites)


def origin(s: Sheet) -> Cell:
    if s.used.run is None:
        return unknown("no run that made it is in evidence", s.opened)
    source = part(s.used.run.opened.facts, "source")
    files = [part(f) for f in items(source, "files")]
    value = {k: source.get(k) for k in ("kind", "uri", "digest")}
    return observed(
        {**value, "files": len(files), "bytes": sum(_count(f.get("size")) for f in files)}, s.opened
    )


def processing(s: Sheet) -> Cell:
    """The purpose it was released for, its basis, and how rows were decided by consent."""
    run, consent = s.used.run, s.stage(Stage.CONSENT)
    if run is None:
        return unknown("no run that made it is in evidence", s.opened)
    said = s.policy.purpose(run.purpose) if s.policy else None
    basis = words(part(said, "gdpr"), "basis")
    value: dict[str, Any] = {
        "purpose": run.purpose,
        "description": words(said, "description"),
        "basis": basis,
        "article": f"GDPR {LAWFUL_BASES[basis]}" if basis and basis in LAWFUL_BASES else None,
        "hipaa": words(said, "hipaa"),
    }
    cites = [*s.opened, *([s.policy.index] if s.policy else [])]
    if consent is None:
        return observed(value, cites, "no decision on consent is in evidence")
    decided = {"rows_allowed": consent.facts.get("allowed"), "rows_denied": consent.facts.get("denied")}
    return observed(
        {**value, **decided, "ledger_position": consent.facts.get("position")}, [*cites, consent.index]
    )


def preparation(s: Sheet) -> Cell:
    """Every operation on the rows, with its counts."""
    protect = s.stage(Stage.PROTECT)
    if protect is None:
        return unknown("no protection is in evidence", s.opened)
    methods: dict[str, list[dict[str, Any]]] = {}
    for column in map(part, items(protect.facts, "columns")):
        methods.setdefault(str(column.get("method")), []).append(column)
    value = [
        {
            "operation": method,
            "columns": ", ".join(str(c.get("source_column") or c.get("column")) for c in columns),
            "values_verified": sum(_count(c.get("verified_rows")) for c in columns),
            "values_emptied": sum(_count(c.get("nulled")) for c in columns),
        }
        for method, columns in sorted(methods.items())
    ]
    return observed(value, [*s.opened, protect.index])


def cleaning(s: Sheet) -> Cell:
    protect = s.stage(Stage.PROTECT)
    if protect is None:
        return unknown("no protection is in evidence", s.opened)
    names = {
        "read": "rows_in",
        "denied": "rows_denied",
        "quarantined": "rows_quarantined",
        "kept": "rows_out",
    }
    value = {name: protect.facts.get(key) for name, key in names.items()}
    rules = {str(rule): rows for rule, rows in sorted(part(protect.facts, "quarantined_by_rule").items())}
    return observed({**value, "quarantined_by_rule": rules or None}, [*s.opened, protect.index])


def quantity(s: Sheet) -> Cell:
    run, protect, consent = s.used.run, s.stage(Stage.PROTECT), s.stage(Stage.CONSENT)
    released = run.release("released") if run else None
    if protect is None or released is None:
        return unknown("no released version of it was counted", s.opened)
    files = [part(f) for seg in items(protect.facts, "segments") for f in items(part(seg), "files")]
    value = {
        "rows": released.facts.get("rows"),
        "columns": len(
            [c for c in map(part, items(protect.facts, "columns")) if c.get("dropped") is not True]
        ),
        "distinct_subjects": part(consent.facts, "subjects").get("allowed") if consent else None,
        "bytes_encrypted": sum(_count(f.get("size")) for f in files if f.get("role") == "data"),
    }
    return observed(value, [*s.opened, protect.index, released.index, *([consent.index] if consent else [])])


def content(s: Sheet) -> Cell:
    """Classifications by column count, and how they were found."""
    classify = s.stage(Stage.CLASSIFY)
    if classify is None:
        return unknown("no classification is in evidence", s.opened)
    columns = [part(c) for c in items(classify.facts, "columns")]
    names = Counter(str(c.get("classification")) for c in columns)
    value = {
        "columns_by_classification": dict(sorted(names.items())),
        "columns_read": len(columns),
        "rows_read": classify.facts.get("rows"),
        "every_row_read": classify.facts.get("full_scan") is True,
    }
    return observed(value, [*s.opened, classify.index])


def left_out(s: Sheet) -> Cell:
    """What consent left out, by reason, and whose rules applied; groups of persons are not in evidence."""
    consent = s.stage(Stage.CONSENT)
    if consent is None:
        return unknown("no decision on consent is in evidence", s.opened)
    rows = _count(consent.facts.get("rows"))
    reasons = {k: _count(v) for k, v in part(consent.facts, "by_reason").items() if k != "allowed"}
    value = [
        {"reason": reason, "rows": count, "share": f"{100 * count / rows:.1f} %" if rows else None}
        for reason, count in sorted(reasons.items())
    ]
    subjects = part(consent.facts, "subjects")
    note = (
        f"{subjects.get('denied')} of {subjects.get('distinct')} subjects are left out altogether; evidence counts reasons, "
        "not groups of persons, so whom this shifts the data towards is for people to examine"
    )
    return observed(value, [*s.opened, consent.index], note)


def regimes(s: Sheet) -> Cell:
    consent = s.stage(Stage.CONSENT)
    found = part(consent.facts, "regimes") if consent else {}
    if consent is None or not found:
        return unknown("no decision on consent is in evidence", s.opened)
    value = {str(name): rows for name, rows in sorted(found.items())}
    return observed(value, [*s.opened, consent.index], "rows read, by the law that protects their subject")


def measured(s: Sheet) -> Cell:
    """Rules judged on the version, drift against others, anonymity."""
    validate, protect = s.stage(Stage.VALIDATE), s.stage(Stage.PROTECT)
    if validate is None:
        return unknown("no validation is in evidence", s.opened)
    results = [part(r) for r in items(validate.facts, "results")]
    drift = [r for r in results if r.get("expectation") == "drift"]
    anonymity = part(part(protect.facts if protect else {}, "anonymity"), "measured")
    value: dict[str, Any] = {
        "rules_judged": len(results),
        "rules_failed": sum(r.get("success") is not True for r in results),
        "drift_rules": len(drift),
        "drift_found": sum(r.get("success") is not True for r in drift),
        "least_subjects_in_a_class": anonymity.get("k"),
    }
    note = None if drift else "the contract has no rule on drift"
    return observed(
        value, [*s.opened, validate.index, *([protect.index] if protect and anonymity else [])], note
    )


def special(s: Sheet) -> Cell:
    classify = s.stage(Stage.CLASSIFY)
    if classify is None or s.policy is None:
        return unknown("no classification or policy is in evidence", s.opened)
    kept = {
        str(c.get("source_column")): c
        for c in _columns(s.stage(Stage.PROTECT))
        if c.get("dropped") is not True
    }
    found = [
        {
            "classification": str(c.get("classification")),
            "column": str(c.get("column")),
            "kept": str(c.get("column")) in kept,
        }
        for c in map(part, items(classify.facts, "columns"))
        if s.policy.is_special(str(c.get("classification")))
    ]
    return observed(
        found, [*s.opened, classify.index, s.policy.index], None if found else "none was found in the columns"
    )


def gaps_seen(s: Sheet) -> Cell:
    """What evidence shows to be missing, wrong or not known."""
    found: list[dict[str, Any]] = []
    cites = list(s.opened)

    def add(proof: Proof | None, what: str, count: Any) -> None:
        if proof is not None and _count(count):
            found.append({"what": what, "count": count})
            cites.append(proof.index)

    classify, consent, protect, validate = (
        s.stage(stage) for stage in (Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)
    )
    columns = [part(c) for c in items(classify.facts if classify else {}, "columns")]
    add(
        classify,
        "columns that no detector could name",
        sum(c.get("classification") == "unclassified" for c in columns),
    )
    add(
        classify,
        "columns where contract and findings differ",
        sum(c.get("agreement") == "differs" for c in columns),
    )
    add(classify, "columns read in a sample only", sum(c.get("miss_bound") is not None for c in columns))
    add(consent, "rows left out for want of consent", consent.facts.get("denied") if consent else 0)
    add(protect, "rows set aside by a rule", protect.facts.get("rows_quarantined") if protect else 0)
    add(
        protect,
        "values that could not be read and were emptied",
        sum(_count(c.get("nulled")) for c in _columns(protect)),
    )
    results = [part(r) for r in items(validate.facts if validate else {}, "results")]
    add(validate, "rules that failed on what was written", sum(r.get("success") is not True for r in results))
    missing = [
        stage.value
        for stage, p in zip(_EVIDENT, (classify, consent, protect, validate), strict=True)
        if p is None
    ]
    if len(missing) == len(_EVIDENT):
        return unknown("no stage of its run is in evidence", cites)
    found += [{"what": f"no evidence of {stage}", "count": 1} for stage in missing]
    return observed(found, [*cites, *(p.index for p in (classify, consent, protect, validate) if p)])


_EVIDENT = (Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)


def _columns(protect: Proof | None) -> list[dict[str, Any]]:
    return [part(c) for c in items(protect.facts if protect else {}, "columns")]


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
