"""Minimum necessary, by role: 45 CFR 164.502(b), 164.514(d).

One row is a role and a purpose: what it was given, against what the policy in force declares for it. Where nobody
declared anything the comparison is unknown, never kept. The exemptions of 164.502(b)(2) are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from governance.audit.cells import (
    Basis,
    Cell,
    Column,
    Remark,
    Row,
    conflicting,
    declared,
    observed,
    remark,
    unknown,
)
from governance.audit.declarations import items, words
from governance.audit.hipaa.given import DISCLOSURE, KEYS, PIPELINE, READ, Given, given
from governance.audit.hipaa.roles_law import EXEMPTIONS
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.period_edges import period_edges
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted, listed
from governance.audit.trail import Trail
from governance.model.evidence import Stage

COLUMNS = (
    Column("role", "Role", "164.514(d)(2)(i)(A)"),
    Column("purpose", "Purpose", "164.502(b)(1)"),
    Column("given", "Categories it was given, and how they were treated", "164.514(d)(2)(i)(B)"),
    Column("times", "How often and when", "164.502(b)(1)"),
    Column("necessary", "What the policy declares as necessary", "164.514(d)(2)(i)(B)"),
    Column("conditions", "Conditions", "164.514(d)(2)(i)(B)"),
    Column("protocol", "Protocol or criteria", "164.514(d)(3)"),
    Column("exemption", "Exemption", "164.502(b)(2)"),
    Column("comparison", "Given beyond what is declared", "164.502(b)(1)"),
)

_UNDECLARED = "the policy declares nothing for this role and purpose"


def draft(trail: Trail, asked: tuple[str, str] | None) -> Draft:
    """What was given in the period asked, or ever."""
    every = [each for each in given(trail) if asked is None or asked[0] <= each.at <= asked[1]]
    phi = [each for each in every if each.is_phi]
    groups: dict[tuple[str, str], list[Given]] = {}
    for each in phi:
        groups.setdefault((each.role, each.purpose), []).append(each)
    found = [groups[key] for key in sorted(groups)]
    exempt = Counter(each.exemption()[0] for each in phi)
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({each.dataset for each in phi}),
            "contains": "Disclosures, keys that the key broker released, and governed reads of protected health "
            "information, by role and purpose. Other ways of using it make no entry.",
        },
        period=Period(
            asked[0] if asked else trail.first_received,
            asked[1] if asked else trail.last_received,
            "45 CFR 164.514(d): what was given in the period",
            asked=asked is not None,
        ),
        columns=COLUMNS,
        rows=[_row(same) for same in found],
        exceptions=[remark_ for same in found for remark_ in _exceptions(same)],
        unknowns=[*_unknowns(phi), *period_edges(trail, asked, "What was given")],
        examined={
            **{how.replace(" ", "_"): sum(e.how == how for e in phi) for how in (DISCLOSURE, KEYS, READ)},
            "not_phi": len(every) - len(phi),
            "undeclared": sum(e.declared() is None and e.exemption()[0] is None for e in phi),
            "beyond": sum(bool(e.beyond()) and e.exemption()[0] is None for e in phi),
            "exempt": sum(number for name, number in exempt.items() if name),
            "exempt_by_exemption": {name: exempt[name] for name in EXEMPTIONS},
        },
        statements=(
            "Whether what the policy declares is in truth the minimum is for people to judge.",
            "A key opens every column of its sensitivity in the segments it is of; that all of them were read is not shown.",
            "Governed reads name the pipeline: who read, and in which role, is not recorded.",
        ),
        supports=frozenset(
            (*newest_support(trail), *(e.index for e in every), *(i for e in every for i in e.supports))
        ),
    )


def _row(same: list[Given]) -> Row:
    last, cites = same[-1], [each.index for each in same]
    name = f"{last.title or last.role} ({last.purpose})"
    said = last.declared()
    policy = [last.policy.index] if last.policy else []
    exemption, doubt = last.exemption()
    return Row(
        f"{last.role}/{last.purpose}",
        name,
        {
            "role": _role(same, cites),
            "purpose": _purpose(last, policy),
            "given": _given(same, cites),
            "times": _times(same, cites),
            "necessary": _necessary(last, said, exemption, policy),
            "conditions": _said(said, "conditions", exemption, policy, "no conditions are declared"),
            "protocol": _protocol(said, exemption, policy),
            "exemption": _exemption(exemption, doubt, policy or cites),
            "comparison": _comparison(same, exemption, cites, policy),
        },
    )


def _role(same: list[Given], cites: list[int]) -> Cell:
    last = same[-1]
    kinds = {DISCLOSURE: "recipient", KEYS: "workload", READ: "readers"}
    kind = ", ".join(sorted({kinds[each.how] for each in same}))
    value = {"name": last.title or last.role, "known_as": last.role, "kind": kind}
    note = "who read is not recorded" if last.role == PIPELINE else None
    return observed(value, cites, note)


def _purpose(last: Given, policy: list[int]) -> Cell:
    said = last.policy.purpose(last.purpose) if last.policy else None
    value = {
        "name": last.purpose,
        "description": words(said, "description"),
        "ground": words(said, "hipaa"),
    }
    if last.policy is not None and said is None:
        return conflicting(value, [last.index, *policy], "the policy in force does not list this purpose")
    return observed(value, [last.index, *policy])


def _given(same: list[Given], cites: list[int]) -> Cell:
    found: dict[str, dict[str, set[str]]] = {}
    for each in same:
        for column, (category, method) in (each.treated or {}).items():
            of = found.setdefault(category, {"columns": set(), "datasets": set()})
            of["columns"].add(f"{column}: {method}" if method else column)
            of["datasets"].add(each.dataset)
    if not found:
        return unknown("no evidence says which columns it was", cites)
    value = [
        {"category": category, "columns": sorted(of["columns"]), "dataset": ", ".join(sorted(of["datasets"]))}
        for category, of in sorted(found.items())
    ]
    shown_by = (e.run.stages.get(Stage.PROTECT) for e in same if e.run)
    return observed(value, [*cites, *(proof.index for proof in shown_by if proof)])


def _times(same: list[Given], cites: list[int]) -> Cell:
    counts = Counter(each.how for each in same)
    value = {how.replace(" ", "_"): counts[how] for how in (DISCLOSURE, KEYS, READ) if counts[how]}
    return observed({**value, "from": same[0].at, "to": same[-1].at}, cites)


def _necessary(last: Given, said: dict[str, Any] | None, exemption: str | None, policy: list[int]) -> Cell:
    columns = last.columns_allowed()
    categories = sorted(map(str, items(said, "classifications")))
    if not categories and columns is None:
        return _exempt(exemption, policy) or unknown(_UNDECLARED, policy)
    value: dict[str, Any] = {"categories": categories} if categories else {}
    return declared(value if columns is None else {**value, "columns": columns}, policy)


def _said(said: dict[str, Any] | None, name: str, exemption: str | None, policy: list[int], why: str) -> Cell:
    stated = words(said, name)
    if stated is not None:
        return declared(stated, policy)
    return _exempt(exemption, policy) or unknown(_UNDECLARED if said is None else why, policy)


def _protocol(said: dict[str, Any] | None, exemption: str | None, policy: list[int]) -> Cell:
    for name in ("protocol", "criteria"):
        if (stated := words(said, name)) is not None:
            return declared({name: stated}, policy)
    if said is None or exemption:
        return _exempt(exemption, policy) or unknown(_UNDECLARED, policy)
    return conflicting(None, policy, "the policy declares the role, and neither a protocol nor criteria")


def _exempt(exemption: str | None, policy: list[int]) -> Cell | None:
    """A cell that an exemption makes idle."""
    return None if exemption is None else declared("not needed: exempt", policy)


def _exemption(exemption: str | None, doubt: str | None, cites: list[int]) -> Cell:
    if doubt is not None:
        return conflicting({"exemption": None}, cites, f"an exemption is claimed and {doubt}")
    if exemption is None:
        return declared("none", cites)
    law, meaning = EXEMPTIONS[exemption]
    return declared({"exemption": exemption, "meaning": meaning, "law": f"45 CFR {law}"}, cites)


def _comparison(same: list[Given], exemption: str | None, cites: list[int], policy: list[int]) -> Cell:
    more = sorted({name for each in same if each.exemption()[0] is None for name in each.beyond()})
    every = sorted({*cites, *(e.policy.index for e in same if e.policy)})
    if more:
        return conflicting(more, every, f"given {listed(more)} beyond what the policy declares")
    if exemption is not None:
        return declared("not needed: exempt", policy)
    judged = [each for each in same if _is_limited(each)]
    if not judged:
        return unknown(_UNDECLARED, every)
    if any(each.treated is None for each in judged):
        return unknown("no evidence says which columns it was", every)
    note = None
    if len(judged) < len(same):
        note = f"{counted(len(same) - len(judged), 'time')} the policy in force declared nothing"
    return observed([], every, note)


def _is_limited(each: Given) -> bool:
    return "classifications" in (each.declared() or {}) or each.columns_allowed() is not None


def _exceptions(same: list[Given]) -> Iterator[Remark]:
    last = same[-1]
    who = f"{last.title or last.role} for {last.purpose}"
    more = [each for each in same if each.beyond() and each.exemption()[0] is None]
    if more:
        names = listed((name for each in more for name in each.beyond()), 8)
        yield remark(
            "more-than-declared",
            f"{who} was given {names}, more than the policy declares, {counted(len(more), 'time')}.",
            _cited(more),
            basis=Basis.CONFLICTING,
            count=len(more),
        )
    bare = [
        each
        for each in same
        if (said := each.declared()) is not None
        and each.exemption() == (None, None)
        and not words(said, "protocol")
        and not words(said, "criteria")
    ]
    if bare:
        yield remark(
            "protocol-missing",
            f"{who} was given data {counted(len(bare), 'time')} by neither protocol nor criteria.",
            _cited(bare),
            count=len(bare),
        )
    claimed = [each for each in same if each.exemption()[1]]
    if claimed:
        yield remark(
            "exemption-not-borne-out",
            f"{who}: an exemption is claimed and {claimed[-1].exemption()[1]}; it is held to the minimum.",
            _cited(claimed),
            basis=Basis.CONFLICTING,
            count=len(claimed),
        )


def _unknowns(phi: list[Given]) -> Iterator[Remark]:
    """Acts of which no evidence says what they gave."""
    dark = [each for each in phi if each.treated is None]
    for role in sorted({each.role for each in dark}):
        same = [each for each in dark if each.role == role]
        yield remark(
            "given-unknown",
            f"Which categories {role} was given {counted(len(same), 'time')}: no evidence of protection tells.",
            (each.index for each in same),
            basis=Basis.UNKNOWN,
        )


def _cited(same: Iterable[Given]) -> list[int]:
    return [i for each in same for i in (each.index, *([each.policy.index] if each.policy else []))]


REPORT = ReportKind(
    kind="hipaa-502b",
    title="Minimum necessary, by role",
    law="45 CFR 164.502(b), 164.514(d) (HIPAA Privacy Rule)",
    template_version=1,
    takes_period=True,
    draft=draft,
    present=present,
)
