"""Cells of the record of processing that signed evidence shows, set against what was declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from governance.audit.activity import Activity
from governance.audit.cells import Basis, Cell, conflicting, declared, observed, unknown
from governance.audit.declarations import items, part, words
from governance.audit.law import EEA, SAFEGUARDS
from governance.audit.trail import Proof
from governance.model.evidence import Stage

_NOTHING = (None, "none", "unclassified")


def purpose(activity: Activity) -> Cell:
    """Observed: a run pinned it, or a disclosure was recorded for it."""
    said = activity.declared_purpose()
    value = {"name": activity.purpose, "description": words(said, "description")}
    cites = [run.opened.index for run in activity.runs] or [p.index for p in activity.disclosures]
    if activity.policy is not None and said is None:
        return conflicting(value, [*cites, activity.policy.index], "the pinned policy does not list it")
    return observed(value, [*cites, *((activity.policy.index,) if activity.policy else ())])


def data_categories(activity: Activity) -> Cell:
    """By classification: level, columns, what became of them, what was declared and what was found."""
    found = activity.proof(Stage.CLASSIFY)
    if found is None or activity.current is None:
        return _disclosed_categories(activity)
    treated = _treatments(activity.proof(Stage.PROTECT))
    groups: dict[str, dict[str, Any]] = {}
    for column in map(part, items(found.facts, "columns")):
        name = str(column.get("classification"))
        if name in _NOTHING and not items(column, "contains"):
            continue
        group = groups.setdefault(
            name, {"category": name, "sensitivity": column.get("sensitivity"), "columns": []}
        )
        if activity.policy is not None:
            group["special"] = activity.policy.is_special(name)
        group["columns"].append(_column(column, treated))
    value = [groups[name] for name in sorted(groups)]
    cites = [found.index, *activity.contract_cite]
    if (protect := activity.proof(Stage.PROTECT)) is not None:
        cites.append(protect.index)
    differing = [c["column"] for g in value for c in g["columns"] if c["basis"] == Basis.CONFLICTING.value]
    if differing:
        return conflicting(value, cites, f"declared and found differ in {', '.join(differing)}")
    return observed(value, cites)


def _column(column: dict[str, Any], treated: dict[str, str]) -> dict[str, Any]:
    said, seen = column.get("declared"), column.get("found")
    if said == seen:
        basis = Basis.OBSERVED
    elif seen in _NOTHING:
        basis = Basis.DECLARED
    else:
        basis = Basis.CONFLICTING
    name = str(column.get("column"))
    return {
        "column": name,
        "released_as": column.get("released_as"),
        "treatment": treated.get(name),
        "declared": said,
        "found": seen,
        "basis": basis.value,
        "contains": [str(part(c).get("classification")) for c in items(column, "contains")],
    }


def _treatments(protect: Proof | None) -> dict[str, str]:
    if protect is None:
        return {}
    columns = map(part, items(protect.facts, "columns"))
    return {str(c.get("source_column")): str(c.get("method")) for c in columns}


def _disclosed_categories(activity: Activity) -> Cell:
    if not activity.disclosures:
        return unknown("no classification is in evidence", activity.opened)
    names = sorted({n for p in activity.disclosures for n in classifications(p) if n not in _NOTHING})
    value: list[dict[str, Any]] = [{"category": name, "sensitivity": None, "columns": []} for name in names]
    return observed(value, (p.index for p in activity.disclosures), "as stated by the disclosures")


def classifications(disclosure: Proof) -> list[str]:
    """The classifications a disclosure names, whichever way it writes them."""
    said = disclosure.facts.get("classifications")
    names = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    return [str(name) for name in names]


def special_categories(activity: Activity) -> Cell:
    """What the contract says about special categories, and which were found."""
    categories = data_categories(activity)
    if categories.value is None or activity.policy is None or activity.contract is None:
        return unknown("no classification, contract or policy is in evidence", activity.opened)
    names = sorted(g["category"] for g in categories.value if activity.policy.is_special(g["category"]))
    cites = [*categories.cites, *activity.policy_cite, *activity.contract_cite]
    value = {"declared": activity.contract.special_category, "found": names}
    if names and not value["declared"]:
        return conflicting(value, cites, "the contract declares no special category")
    if value["declared"] and not names:
        return declared(value, cites, "none was found in the columns")
    return observed(value, cites)


def source(activity: Activity) -> Cell:
    """What the current version was made from."""
    if (run := activity.reference) is None:
        return unknown("no run is in evidence")
    said = part(run.opened.facts, "source")
    value = {k: said.get(k) for k in ("kind", "uri", "digest")} | {"files": len(items(said, "files"))}
    return observed(value, [run.opened.index])


def recipients(activity: Activity) -> Cell:
    """Who may receive the data by the policy, and who did."""
    allowed = {
        name: said
        for name, said in (activity.policy.recipients() if activity.policy else {}).items()
        if activity.purpose in items(said, "purposes")
    }
    received: dict[str, list[Proof]] = {}
    for proof in activity.disclosures:
        received.setdefault(str(part(proof.facts, "recipient").get("name")), []).append(proof)
    value = [
        _recipient(name, allowed.get(name), received.get(name, [])) for name in sorted({*allowed, *received})
    ]
    cites = [*activity.policy_cite, *(p.index for p in activity.disclosures)]
    strangers = sorted(set(received) - set(allowed))
    if activity.policy is None and not received:
        return unknown("no policy leaf is what the run pinned", activity.opened)
    if strangers:
        note = f"the pinned policy does not allow it for this purpose: {', '.join(strangers)}"
        return conflicting(value, cites, note)
    return observed(value, cites) if received else declared(value, cites)


def _recipient(name: str, said: dict[str, Any] | None, received: list[Proof]) -> dict[str, Any]:
    source = said if said is not None else part(received[-1].facts, "recipient")
    return {
        "name": name,
        **{k: source.get(k) for k in ("title", "address", "country", "safeguard")},
        "declared": said is not None,
        "disclosures": len(received),
        "rows": sum(_count(p.facts.get("rows")) for p in received),
    }


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def transfers(activity: Activity) -> Cell:
    """Recipients and processors outside the European Economic Area."""
    found = recipients(activity)
    if found.value is None:
        return found
    abroad = [
        {
            "recipient": r["title"] or r["name"],
            "country": r["country"],
            "safeguard": r["safeguard"],
            "article": SAFEGUARDS.get(r["safeguard"] or ""),
            "disclosures": r["disclosures"],
        }
        for r in found.value
        if r["country"] not in EEA
    ]
    abroad += [
        {
            "recipient": p.get("name"),
            "country": p.get("country"),
            "safeguard": None,
            "article": None,
            "disclosures": 0,
        }
        for p in map(part, items(activity.policy.organisation if activity.policy else None, "processors"))
        if p.get("country") not in EEA
    ]
    without = sorted(str(t["recipient"]) for t in abroad if t["safeguard"] is None)
    if without:
        return Cell(abroad, Basis.UNKNOWN, found.cites, f"no safeguard is declared for {', '.join(without)}")
    made = any(t["disclosures"] for t in abroad)
    return observed(abroad, found.cites) if made else declared(abroad, found.cites)


def security(activity: Activity) -> Cell:
    """What evidence shows of the current version: encryption, masking, checks, consent again."""
    protect, validate = activity.proof(Stage.PROTECT), activity.proof(Stage.VALIDATE)
    if protect is None:
        return unknown("no protection is in evidence", activity.opened)
    columns = [part(c) for c in items(protect.facts, "columns")]
    kept = [c for c in columns if not c.get("dropped")]
    keys = {
        key
        for segment in items(protect.facts, "segments")
        for key in part(segment, "key_ids").values()
        if isinstance(key, str)
    }
    value: dict[str, Any] = {
        "version": protect.context.get("version"),
        "columns_released": len(kept),
        "columns_encrypted": sum(c.get("encrypted") is True for c in kept),
        "columns_dropped": len(columns) - len(kept),
        "keys": len(keys),
        "masking_verified": sorted(str(c.get("column")) for c in kept if c.get("masking") is True),
        "checks": [],
    }
    cites = [protect.index]
    if validate is not None:
        cites.append(validate.index)
        value["checks"] = [
            {k: c.get(k) for k in ("check", "success", "detail")}
            for c in map(part, items(validate.facts, "checks"))
        ]
    released = activity.reference.release("released") if activity.reference else None
    if released is not None:
        cites.append(released.index)
        value["consent_checked_at_release"] = released.facts.get("consent_position")
    if value["columns_encrypted"] < len(kept):
        return conflicting(value, cites, "not every released column is encrypted")
    if any(c["success"] is not True for c in value["checks"]):
        return conflicting(value, cites, "a check of the version failed")
    return observed(value, cites)


def consent(activity: Activity) -> Cell:
    """Rows allowed and denied by reason at the last run, and the position of the ledger it stood on."""
    found = activity.proof(Stage.CONSENT)
    if not activity.runs:
        withheld = sum(_count(p.facts.get("withheld")) for p in activity.disclosures)
        return unknown(
            f"no run had this purpose; {withheld:,} rows were withheld at disclosure for want of consent, by "
            "reasons that are not recorded",
            (p.index for p in activity.disclosures),
        )
    if found is None:
        return unknown("no consent decision for this purpose is in evidence", activity.opened)
    facts = found.facts
    value = {
        "rows": facts.get("rows"),
        "allowed": facts.get("allowed"),
        "denied": facts.get("denied"),
        "by_reason": part(facts, "by_reason"),
        "by_regime": part(facts, "regimes"),
        "subjects": part(facts, "subjects"),
        "ledger_position": facts.get("position"),
        "instant": facts.get("instant"),
    }
    position = facts.get("position")
    batches = [
        index
        for index, body in activity.trail.batches
        if isinstance(position, int)
        and isinstance(body.get("position"), int)
        and body["position"] <= position
    ]
    return observed(value, [found.index, *batches])


def versions(activity: Activity) -> Cell:
    """Every released version of the activity, newest last."""
    released = [(proof, run) for run in activity.runs if (proof := run.release("released")) is not None]
    released.sort(key=lambda pair: pair[0].index)
    if not released:
        seen = [run.opened.index for run in activity.runs] or [p.index for p in activity.disclosures]
        return observed([], seen, "none was released for this purpose")
    value = [
        {
            "version": run.version,
            "manifest_digest": proof.facts.get("manifest_digest"),
            "rows": proof.facts.get("rows"),
            "released_at": proof.received_at,
            "log_index": proof.index,
        }
        for proof, run in released
    ]
    return observed(value, (proof.index for proof, _ in released))


def runs(activity: Activity) -> Cell:
    """How many runs were opened and how they ended."""
    states = [run.state for run in activity.runs]
    value = {"opened": len(states)} | {
        state: states.count(state)
        for state in ("released", "quarantined", "abandoned", "intended", "unfinished")
    }
    cites = [i for run in activity.runs for i in (run.opened.index, *(p.index for p in run.releases))]
    return observed(value, cites or [p.index for p in activity.disclosures])


def departures(activity: Activity) -> Iterable[tuple[str, str, list[int]]]:
    """Where what was observed departs from what was declared: (code, text, citations)."""
    for code, cell in (
        ("classification-conflict", data_categories(activity)),
        ("special-category-conflict", special_categories(activity)),
        ("protection-conflict", security(activity)),
        ("recipient-not-declared", recipients(activity)),
        ("purpose-not-declared", purpose(activity)),
    ):
        if cell.basis is Basis.CONFLICTING:
            yield code, f"{cell.note}.", list(cell.cites)
    for proof in activity.disclosures:
        made = activity.trail.run_of(proof.context)
        if made is None or made.release("released") is None:
            yield (
                "disclosed-unreleased",
                "a disclosure names a version that the log does not show as released.",
                [proof.index],
            )
    yield from _further(activity)


def _further(activity: Activity) -> Iterable[tuple[str, str, list[int]]]:
    versions: dict[str, list[int]] = {}
    for proof in activity.disclosures:
        made = activity.trail.run_of(proof.context)
        if made is not None and made.purpose != activity.purpose:
            key = f"version {made.version} was made for {made.purpose}"
            versions.setdefault(key, [made.opened.index]).append(proof.index)
    for said, cites in sorted(versions.items()):
        yield (
            "further-purpose",
            f"{said} and disclosed for {activity.purpose}: the further purpose has to be justified "
            "(Art. 5(1)(b), 6(4)).",
            cites,
        )
