"""Breach assessment: GDPR Art. 33 and 34, and 45 CFR 164.402, for a dataset, a key, or a span of time.

The first row is the incident, the others are what it reaches: released versions, disclosures, and what jobs
outside made. What nothing shows (who did it, whether it was seen) stays unknown: the burden is the entity's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from governance.audit.breach.closure import (
    DESTROYED,
    EXPOSED,
    GOVERNED,
    SEALED,
    UNKNOWN,
    Breach,
    Reached,
    Version,
    assess,
)
from governance.audit.breach.law import CLOCKS
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, observed, remark, unknown
from governance.audit.declarations import items, part
from governance.audit.gdpr.art30_observed import classifications
from governance.audit.newest import newest_organisation, newest_policy, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted, listed
from governance.audit.trail import Proof, Trail
from governance.errors import AuditError
from governance.lineage.reading import instant_of
from governance.model.canonical import timestamp
from governance.model.evidence import Stage

COLUMNS = (
    Column("what", "What", "Art. 33(3)(a)"),
    Column("reached", "How it is reached", "Art. 33(3)(a)"),
    Column("exposure", "Whether it can be read", "Art. 34(3)(a); 164.402 (unsecured)"),
    Column("categories", "Categories of data", "Art. 33(3)(a); 164.402(2)(i)"),
    Column("records", "Records", "Art. 33(3)(a)"),
    Column("subjects", "Distinct subjects", "Art. 33(3)(a)"),
    Column("receiver", "Who has it", "164.402(2)(ii)"),
    Column("nature", "Nature and extent of the data", "164.402(2)(i)"),
    Column("person", "Who used it or received it", "164.402(2)(ii)"),
    Column("viewed", "Whether it was acquired or viewed", "164.402(2)(iii)"),
    Column("mitigation", "What lessens the risk", "Art. 33(3)(d); 164.402(2)(iv)"),
    Column("contact", "Whom to ask", "Art. 33(3)(b)"),
    Column("consequences", "Likely consequences", "Art. 33(3)(c)"),
    Column("clocks", "Who is told, and by when", "Art. 33(1), 34(1); 164.404–410"),
)

_STATES = (EXPOSED, SEALED, DESTROYED, UNKNOWN)


def draft(
    trail: Trail,
    asked: tuple[str, str] | None,
    dataset: str | None = None,
    key: str | None = None,
    discovered: str | None = None,
) -> Draft:
    """The assessment as of the trail's end.

    Raises:
        AuditError: GOV-804 when ``discovered`` is no RFC 3339 instant.
    """
    if discovered is not None and instant_of(discovered) is None:
        raise AuditError("GOV-804", "the time of discovery is no instant", "write it as 2026-03-05T10:00:00Z")
    breach = assess(trail, asked, dataset, key, discovered)
    period = (
        Period(*asked, "The span in which it happened", asked=True)
        if asked
        else Period(trail.first_received, trail.last_received, "Everything up to the end of the period")
    )
    rows = [
        *([_incident(breach)] if breach.reached or asked or dataset or key else []),
        *(_version(breach, v) for v in breach.versions),
        *(_disclosure(p) for p in breach.disclosures),
        *(_outside(r) for r in breach.outside),
    ]
    datasets = sorted({v.run.dataset for v in breach.versions})
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": datasets,
            "contains": "What is lost when the named dataset, key or span is, and everything that lineage in the log "
            "shows to have been made from it. Nothing named is everything. Copies without lineage are not in it.",
        },
        period=period,
        columns=COLUMNS,
        rows=rows,
        exceptions=list(_exceptions(breach)),
        unknowns=list(_unknowns(breach)),
        examined={
            "datasets_reached": sum(r.kind == "dataset" for r in breach.reached),
            "jobs_at_the_end": sum(r.kind == "job" for r in breach.reached),
            "versions": {state: len(breach.of(state)) for state in _STATES},
            "disclosures": len(breach.disclosures),
            "outside": len(breach.outside),
            "key_grants": len(_grants(breach)),
        },
        statements=(
            "A version is counted as sealed while its keys are safe. Whether they are is not in the log: who had "
            "access to the key provider must answer for it.",
            "Subjects are distinct within a version. Versions of one dataset mostly hold the same people: the figure "
            "for several is a range.",
        ),
        supports=frozenset(_supports(breach)),
    )


def _supports(b: Breach) -> Iterable[int]:
    yield from newest_support(b.trail)
    names = {v.run.dataset for v in b.versions}
    for run in b.trail.runs:
        if run.dataset in names:
            yield from run.indexes()
    yield from (step.index for step in b.trail.erasures)
    yield from (grant.index for grant in _grants(b))
    yield from b.cites


def _incident(b: Breach) -> Row:
    exposed = b.of(EXPOSED)
    at_risk = [*exposed, *b.of(UNKNOWN)]
    value = {"dataset": b.dataset, "key": b.key, **{f"versions_{s}": len(b.of(s)) for s in _STATES}}
    value |= {"disclosures": len(b.disclosures), "made_outside": len(b.outside)}
    cells = {
        "what": observed(value, b.cites) if b.cites else unknown("the log shows nothing that it reaches"),
        "categories": _categories(b.versions) if b.versions else unknown("no released version is reached"),
        "records": _records(at_risk),
        "subjects": _subjects(at_risk),
        "nature": _nature(b.versions),
        "person": unknown("who used or received the data without permission is not in the log"),
        "viewed": _viewed(b),
        "mitigation": _mitigation(b),
        "contact": _contact(b),
        "consequences": unknown("likely consequences are for people to judge"),
        "clocks": _clocks(b.discovered),
    }
    named = " and ".join(name for name in (b.dataset, f"key {b.key}" if b.key else None) if name)
    return Row("incident", f"The incident: {named or 'everything governed'}", cells)


def _version(b: Breach, v: Version) -> Row:
    state, why = v.exposure(b.key)
    cites = v.cites + [step.index for step in b.trail.erasures if v.destroyed and v.doomed_by(step)]
    return Row(
        f"{v.run.dataset}/{v.run.version}",
        f"{v.run.dataset} {v.run.version}",
        {
            "what": observed("a released version", [v.released.index]),
            "reached": _way(b, v),
            "exposure": unknown(why, cites) if state == UNKNOWN else observed(state, cites, why),
            "categories": _categories([v]),
            "records": _records([v]),
            "subjects": _subjects([v]),
        },
    )


def _way(b: Breach, v: Version) -> Cell:
    at = next((r for r in b.reached if r.node == (GOVERNED, v.run.dataset)), None)
    if at is None or at.depth == 0:
        return observed("lost itself", [v.released.index])
    return observed({"jobs_away": at.depth, "made_by": at.via}, at.cites)


def _disclosure(p: Proof) -> Row:
    to = part(p.facts, "recipient")
    name = str(to.get("title") or to.get("name"))
    kinds = sorted(set(classifications(p)) - {"none"})
    sealed = unknown("it is in the recipient's hands: whether it was lost there is not in the log", [p.index])
    subjects = p.facts.get("subjects")
    return Row(
        str(p.facts.get("disclosure_id")),
        f"Disclosure to {name}, {str(p.facts.get('disclosed_at'))[:10]}",
        {
            "what": observed(f"a disclosure of {p.facts.get('dataset')} {p.facts.get('version')}", [p.index]),
            "reached": observed("sent by the egress step", [p.index]),
            "exposure": sealed,
            "categories": observed(kinds, [p.index]),
            "records": observed(p.facts.get("rows"), [p.index]),
            "subjects": (
                observed({"at_least": subjects, "at_most": subjects}, [p.index])
                if isinstance(subjects, int)
                else unknown("the number of individuals was not recorded", [p.index])
            ),
            "receiver": observed(
                {k: to.get(k) for k in ("name", "title", "country") if to.get(k)}, [p.index]
            ),
        },
    )


def _outside(r: Reached) -> Row:
    what = (
        "a job that read it and wrote nothing" if r.kind == "job" else "a dataset outside the governed pass"
    )
    why = "nothing shows how it is protected"
    cells = {
        "what": declared(what, r.cites),
        "reached": declared({"jobs_away": r.depth, "made_by": r.via}, r.cites),
        "exposure": unknown(why, r.cites),
        "subjects": unknown("nothing shows whom it holds", r.cites),
    }
    return Row(f"{r.kind}/{'/'.join(r.node)}", f"{r.node[1]} in {r.node[0]}", cells)


def _categories(found: list[Version]) -> Cell:
    names: dict[str, dict[str, Any]] = {}
    cites: list[int] = []
    for v in found:
        for stage in (Stage.CLASSIFY, Stage.PROTECT):
            cites += [v.run.stages[stage].index] if stage in v.run.stages else []
        for column in map(part, items(v.protect.facts if v.protect else {}, "columns")):
            name = str(column.get("classification"))
            if name not in ("none", "None"):
                said = names.setdefault(
                    name, {"category": name, "sensitivity": column.get("sensitivity"), "methods": []}
                )
                said["methods"] = sorted({*said["methods"], str(column.get("method"))})
    if not cites:
        return unknown("no classification is in evidence", [v.released.index for v in found])
    return observed([names[name] for name in sorted(names)], cites)


def _records(found: list[Version]) -> Cell:
    cites = [v.released.index for v in found]
    rows = [v.rows for v in found if v.rows is not None]
    if not found:
        return unknown("no version is shown to be readable")
    if len(rows) < len(found):
        return unknown("not every version's rows are recorded", cites)
    return observed(sum(rows), cites)


def _subjects(found: list[Version]) -> Cell:
    """Within a dataset, versions may hold the same people: the largest at least, all of them at most."""
    if not found:
        return unknown("no version is shown to be readable")
    cites = [p.index for v in found if (p := v.run.stages.get(Stage.CONSENT))]
    fewest: dict[str, int] = {}
    most = 0
    for v in found:
        if v.subjects is None:
            return unknown("not every version's subjects were counted", [*cites, v.released.index])
        fewest[v.run.dataset] = max(fewest.get(v.run.dataset, 0), v.fewest)
        most += v.subjects
    cites += [
        index for v in found for index in (v.released.index, *([v.contract.index] if v.contract else []))
    ]
    return observed({"at_least": max(fewest.values()), "at_most": most}, cites)


def _nature(found: list[Version]) -> Cell:
    methods: dict[str, int] = {}
    cites = []
    for v in found:
        if v.protect is not None:
            cites.append(v.protect.index)
            for column in map(part, items(v.protect.facts, "columns")):
                methods[str(column.get("method"))] = methods.get(str(column.get("method")), 0) + 1
    if not cites:
        return unknown("no protection is in evidence")
    note = "columns by what was done to them; how likely somebody is to be recognised is for people to judge"
    return observed(dict(sorted(methods.items())), cites, note)


def _viewed(b: Breach) -> Cell:
    grants = _grants(b)
    why = "reads outside the key broker leave no trace in the log"
    if not grants:
        return unknown(f"no grant of a key is in the log, and {why}")
    value = [
        {"at": g.received_at, "dataset": g.context.get("dataset"), "state": g.facts.get("state")}
        for g in grants
    ]
    return observed(value, [g.index for g in grants], f"grants of keys; {why}")


def _grants(b: Breach) -> list[Proof]:
    names = {v.run.dataset for v in b.versions}
    return [g for g in b.trail.grants if str(g.context.get("dataset")) in names]


def _mitigation(b: Breach) -> Cell:
    gone = b.of(DESTROYED)
    if not gone:
        return unknown("no key of what is lost was destroyed; what else was done is not in the log")
    cites = [step.index for step in b.trail.erasures if any(v.doomed_by(step) for v in gone)]
    return observed(f"the keys of {counted(len(gone), 'version')} are destroyed", cites)


def _contact(b: Breach) -> Cell:
    if (policy := newest_policy(b.trail)) is None:
        return unknown("the newest run's policy is not in the log")
    found = [part(c) for c in items(policy.organisation, "controllers")]
    value = [
        {
            "controller": c.get("name"),
            "officer": part(c, "dataProtectionOfficer").get("name"),
            "email": part(c, "dataProtectionOfficer").get("email"),
            "authority": c.get("supervisoryAuthority"),
        }
        for c in found
    ]
    return (
        declared(value, [policy.index])
        if value
        else unknown("the policy names no controller", [policy.index])
    )


def _clocks(discovered: str | None) -> Cell:
    at = instant_of(discovered)
    value = [
        {
            "provision": law,
            "told": told,
            "by": by,
            "due_at": timestamp((at + after).astimezone(UTC)) if at and after else None,
        }
        for law, told, by, after in CLOCKS
    ]
    return declared(value, (), None if at else "when it was discovered was not said, so no date is counted")


def _exceptions(b: Breach) -> Iterable[Remark]:
    for v in b.of(EXPOSED):
        yield remark(
            "version-exposed",
            f"{v.run.dataset} {v.run.version} can be read: {v.exposure(b.key)[1]}.",
            v.cites,
            count=1,
        )
    if b.disclosures:
        names = {str(part(p.facts, "recipient").get("name")) for p in b.disclosures}
        yield remark(
            "disclosed-before",
            f"Rows were sent to {listed(names)} in {counted(len(b.disclosures), 'disclosure')}.",
            (p.index for p in b.disclosures),
        )


def _unknowns(b: Breach) -> Iterable[Remark]:
    if not b.reached:
        what = listed(name for name in (b.dataset, b.key) if name) or "the span"
        yield remark(
            "nothing-reached",
            f"Where {what} stands: the log has no lineage and no released version of it.",
            [b.trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )
    if b.outside:
        yield remark(
            "reached-outside",
            f"How {listed(r.node[1] for r in b.outside)} are protected, and whom they hold.",
            (index for r in b.outside for index in r.cites),
            basis=Basis.UNKNOWN,
            count=len(b.outside),
        )


REPORT = ReportKind(
    kind="breach",
    title="Breach assessment",
    law="Regulation (EU) 2016/679 (GDPR), Articles 33 and 34; 45 CFR 164.402",
    template_version=2,
    takes_period=True,
    draft=draft,
    present=present,
    parameters=frozenset({"dataset", "key", "discovered"}),
)
