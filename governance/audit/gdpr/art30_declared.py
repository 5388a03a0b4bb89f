"""Cells of the record of processing that people declared: from policy and contract leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from governance.audit.activity import Activity, pinned
from governance.audit.cells import Cell, conflicting, declared, unknown
from governance.audit.declarations import items, part, words
from governance.audit.law import CONDITIONS, EEA, LAWFUL_BASES
from governance.audit.trail import GovernedRun

_CONTACT = ("name", "address", "country", "email", "phone")


def _contact(said: Any) -> dict[str, str]:
    return {k: said[k] for k in _CONTACT if isinstance(part(said).get(k), str)}


def _no_policy(activity: Activity) -> Cell:
    return unknown("no policy leaf is what the run pinned", activity.opened)


def _no_controller(activity: Activity) -> Cell:
    if activity.policy is None:
        return _no_policy(activity)
    return unknown(
        "the policy names no controller for the contract's subject domain",
        (*activity.policy_cite, *activity.contract_cite),
    )


def controller(activity: Activity) -> Cell:
    said = activity.controller()
    if said is None:
        return _no_controller(activity)
    cites = (*activity.policy_cite, *activity.contract_cite)
    value = _contact(said) | {
        k: said[k] for k in ("id", "supervisoryAuthority") if isinstance(said.get(k), str)
    }
    tenant = words(activity.contract.root, "tenant") if activity.contract else None
    if tenant is not None and tenant != said.get("id"):
        return conflicting(value, cites, f"the contract says it belongs to {tenant}")
    return declared(value, cites)


def joint_controllers(activity: Activity) -> Cell:
    said = activity.controller()
    if said is None:
        return _no_controller(activity)
    return declared([_contact(c) for c in items(said, "jointControllers")], activity.policy_cite)


def representative(activity: Activity) -> Cell:
    said = activity.controller()
    if said is not None and said.get("country") in EEA and not part(said, "representative"):
        return declared(
            None, activity.policy_cite, "not needed (Art. 27(1)): the controller is established in the EEA"
        )
    return _person(activity, "representative", "the policy names no representative for the controller")


def officer(activity: Activity) -> Cell:
    return _person(
        activity,
        "dataProtectionOfficer",
        "the policy names no data protection officer for the controller",
    )


def _person(activity: Activity, member: str, missing: str) -> Cell:
    said = activity.controller()
    if said is None:
        return _no_controller(activity)
    person = _contact(part(said, member))
    if not person:
        return unknown(missing, activity.policy_cite)
    return declared(person, activity.policy_cite)


def processors(activity: Activity) -> Cell:
    if activity.policy is None:
        return _no_policy(activity)
    listed = [
        _contact(said) | {k: said[k] for k in ("service", "instrument") if isinstance(said.get(k), str)}
        for said in map(part, items(activity.policy.organisation, "processors"))
    ]
    return declared(listed, activity.policy_cite)


def lawful_basis(activity: Activity) -> Cell:
    said = activity.declared_purpose()
    if activity.policy is None:
        return _no_policy(activity)
    basis = words(part(said, "gdpr"), "basis")
    if basis is None:
        return unknown("the policy gives this purpose no lawful basis", activity.policy_cite)
    return declared({"basis": basis, "article": LAWFUL_BASES.get(basis)}, activity.policy_cite)


def special_condition(activity: Activity) -> Cell:
    if activity.policy is None or activity.contract is None:
        return _no_policy(activity)
    cites = (*activity.policy_cite, *activity.contract_cite)
    condition = words(part(activity.declared_purpose(), "gdpr"), "condition")
    if not activity.contract.special_category:
        return declared(
            {"condition": None, "article": None}, cites, "the contract declares no special category"
        )
    if condition is None:
        return unknown(
            "the contract declares special categories, the policy gives this purpose no condition", cites
        )
    return declared({"condition": condition, "article": CONDITIONS.get(condition)}, cites)


def subject_categories(activity: Activity) -> Cell:
    said = activity.controller()
    if said is None:
        return _no_controller(activity)
    named = [name for name in items(said, "subjectCategories") if isinstance(name, str)]
    if not named:
        return unknown("the policy names no categories of data subjects", activity.policy_cite)
    return declared(named, activity.policy_cite)


def retention(activity: Activity) -> Cell:
    if activity.contract is None:
        return unknown("no contract leaf is what the run pinned", activity.opened)
    said = activity.contract.retention()
    if said is None:
        return unknown("the contract sets no retention", activity.contract_cite)
    return declared(said, activity.contract_cite)


def retention_adherence(activity: Activity) -> Cell:
    return unknown(
        "the log records no deletion at the end of the limit, so nothing shows whether it was kept",
        activity.contract_cite,
    )


def security(activity: Activity) -> Cell:
    return _texts(activity, "securityMeasures", "the policy declares no security measures")


def location(activity: Activity) -> Cell:
    return _texts(activity, "regions", "the policy names no regions")


def _texts(activity: Activity, member: str, missing: str) -> Cell:
    if activity.policy is None:
        return _no_policy(activity)
    said = [text for text in items(activity.policy.root, member) if isinstance(text, str)]
    return declared(said, activity.policy_cite) if said else unknown(missing, activity.policy_cite)


def automated_decisions(activity: Activity) -> Cell:
    return unknown("neither policy nor contract has a declaration for it", activity.policy_cite)


def impact_assessment(activity: Activity) -> Cell:
    if activity.policy is None:
        return _no_policy(activity)
    said = activity.policy.assessment(activity.purpose)
    if said is None:
        return unknown("the policy names no impact assessment of this purpose", activity.policy_cite)
    value = {k: said[k] for k in ("reference", "decided", "decision") if isinstance(said.get(k), str)}
    return declared(value, activity.policy_cite)


def interests_assessment(activity: Activity) -> Cell:
    basis = lawful_basis(activity)
    if basis.value is None:
        return unknown("the lawful basis is unknown", basis.cites)
    if basis.value["basis"] != "legitimate_interests":
        return declared(None, basis.cites, "the lawful basis is another")
    return unknown("the policy has no declaration for it", activity.policy_cite)


def rights(activity: Activity) -> Cell:
    if activity.policy is None:
        return _no_policy(activity)
    said = words(activity.policy.organisation, "rights")
    if said is None:
        return unknown("the policy does not say how requests are answered", activity.policy_cite)
    return declared(said, activity.policy_cite)


def changes(activity: Activity) -> Iterable[tuple[str, str, list[int]]]:
    """Declarations that were not the same for every run of the activity: (code, text, citations)."""
    before: tuple[GovernedRun, dict[str, Any]] | None = None
    for run in activity.runs:
        policy = activity.trail.policy(pinned(run, "policy"))
        contract = activity.trail.contract(pinned(run, "contract"))
        if policy is None or contract is None:
            yield (
                "declaration-missing",
                f"the policy or contract that run {run.version} pinned is not a leaf of the log",
                [run.opened.index],
            )
            continue
        said = {
            "lawful basis": part(policy.purpose(activity.purpose), "gdpr"),
            "controller": policy.controller(contract.subject_domain),
            "retention": contract.retention(),
            "special category": contract.special_category,
        }
        if before is not None and (changed := [k for k in said if said[k] != before[1][k]]):
            yield (
                "declaration-changed",
                f"{' and '.join(changed)} declared otherwise from run {run.version} on",
                [before[0].opened.index, run.opened.index, policy.index, contract.index],
            )
        before = (run, said)
