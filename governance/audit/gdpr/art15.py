"""Answer to a request for access: GDPR Art. 15, with the safeguards of 15(2).

One row is a dataset that holds the subject. Whom a version or a disclosure holds is not in the log: it is looked up
through the subject vault and asked of the report by internal pseudonym, which leads nowhere once the vault's link is
destroyed. What is asked so is *declared*; purposes, categories, recipients and times of the named versions are as in
the log. Nobody else stands in it, employees included.
"""

from __future__ import annotations

from collections.abc import Iterable

from governance.audit.activity import Activity, activities
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, observed, remark, unknown
from governance.audit.declarations import items, part
from governance.audit.gdpr import art30_declared, art30_observed
from governance.audit.law import EEA, SAFEGUARDS
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted, listed
from governance.audit.trail import GovernedRun, Proof, Trail

COLUMNS = (
    Column("held", "Whether data about you is processed, and in which versions", "Art. 15(1)"),
    Column("controller", "Controller", "Art. 13(1)(a)"),
    Column("officer", "Whom to ask", "Art. 13(1)(b)"),
    Column("purposes", "Purposes", "Art. 15(1)(a)"),
    Column("categories", "Categories of data", "Art. 15(1)(b)"),
    Column("recipients", "Recipients who received it", "Art. 15(1)(c)"),
    Column("retention", "How long it is kept", "Art. 15(1)(d)"),
    Column("rights", "Your rights", "Art. 15(1)(e)"),
    Column("complaint", "Supervisory authority", "Art. 15(1)(f)"),
    Column("source", "Where it comes from", "Art. 15(1)(g)"),
    Column("automated", "Automated decisions and profiling", "Art. 15(1)(h), 22"),
    Column("safeguards", "Safeguards of transfers to third countries", "Art. 15(2), 46"),
    Column("consultations", "When its keys were given out, and for what", "Art. 15(1); C-579/21"),
    Column("portable", "Whether a machine-readable copy is owed", "Art. 20(1)"),
)

_LOOKED_UP = "looked up through the subject vault when the report was made; not in the log"


def draft(
    trail: Trail,
    _period: tuple[str, str] | None,
    subject: str = "",
    versions: Iterable[str] = (),
    unsure: Iterable[str] = (),
    disclosures: Iterable[str] = (),
) -> Draft:
    """The answer as of the trail's end.

    Args:
        subject: the internal pseudonym, in hexadecimal.
        versions: those that hold the subject, each ``DATASET VERSION``; ``unsure`` those of which it cannot be told.
        disclosures: ids of those that hold the subject.
    """
    asked = [*versions, *unsure]
    runs = {f"{run.dataset} {run.version}": run for run in trail.runs if run.release("released")}
    known = [runs[name] for name in asked if name in runs]
    sent = [p for p in trail.disclosures if p.facts.get("disclosure_id") in set(disclosures)]
    datasets = sorted({run.dataset for run in known})
    found = {
        dataset: [a for a in activities(trail) if a.dataset == dataset and a.policy is not None]
        for dataset in datasets
    }
    rows = [
        _row(
            found[d],
            [r for r in known if r.dataset == d],
            [p for p in sent if p.facts.get("dataset") == d],
            trail,
        )
        for d in datasets
    ]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": datasets,
            "contains": "Every governed dataset of which a released version holds the subject. Sources, and systems "
            "outside the governed pass, answer for themselves.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=rows,
        exceptions=list(_exceptions(trail, asked, runs)),
        unknowns=list(_unknowns(trail, subject, runs, unsure)),
        examined={
            "datasets": len(datasets),
            "versions": len([v for v in versions if v in runs]),
            "versions_unsure": len([v for v in unsure if v in runs]),
            "disclosures": len(sent),
        },
        statements=(
            "Which versions hold the subject rests on the organisation's own look-up, not on the log.",
            "Names of employees who worked on the data are left out; who had keys is told by time and purpose.",
        ),
        supports=frozenset(
            [
                *newest_support(trail),
                *(p.index for p in sent),
                *(index for run in trail.runs if run.dataset in datasets for index in run.indexes()),
                *(p.index for p in trail.disclosures if p.facts.get("dataset") in datasets),
                *(g.index for g in trail.grants if g.context.get("dataset") in datasets),
                *(i for each in found.values() for a in each for i in (*a.policy_cite, *a.contract_cite)),
            ]
        ),
    )


def _row(found: list[Activity], runs: list[GovernedRun], sent: list[Proof], trail: Trail) -> Row:
    made_for = sorted({run.purpose for run in runs} | {str(p.facts.get("purpose")) for p in sent})
    own = [a for a in found if a.purpose in made_for]
    first = next((a for a in own if a.current), own[0] if own else None)
    cites = [i for run in runs for i in (run.opened.index, *(p.index for p in run.releases))]
    cells = {
        "held": declared([{"version": r.version, "made_for": r.purpose} for r in runs], cites, _LOOKED_UP),
        "purposes": _purposes(own, cites),
        "recipients": _recipients(sent, cites),
        "source": _sources(runs),
        "safeguards": _safeguards(sent, cites),
        "consultations": _consultations(trail, runs[0].dataset),
        "portable": _portable(own, cites),
    }
    if first is not None:
        categories = art30_observed.data_categories(first)
        cells |= {
            "controller": art30_declared.controller(first),
            "officer": art30_declared.officer(first),
            "categories": _names(categories),
            "retention": art30_declared.retention(first),
            "rights": art30_declared.rights(first),
            "complaint": _authority(first),
            "automated": art30_declared.automated_decisions(first),
        }
    ordered = {c.key: cells[c.key] for c in COLUMNS if c.key in cells}
    return Row(runs[0].dataset, runs[0].dataset, ordered)


def _purposes(own: list[Activity], cites: list[int]) -> Cell:
    if not own:
        return unknown("the policy that the runs pinned is not in the log", cites)
    value = [
        {
            "purpose": (a.declared_purpose() or {}).get("description") or a.purpose,
            "basis": part(a.declared_purpose() or {}, "gdpr").get("basis"),
        }
        for a in own
    ]
    return declared(value, [i for a in own for i in a.policy_cite])


def _names(categories: Cell) -> Cell:
    value = None if categories.value is None else [str(each["category"]) for each in categories.value]
    return Cell(value, categories.basis, categories.cites, categories.note)


def _recipients(sent: list[Proof], cites: list[int]) -> Cell:
    """Actual recipients by name, not categories (C-154/21)."""
    if not sent:
        return declared([], cites, f"no disclosure holds the subject, as {_LOOKED_UP}")
    value = [
        {
            "recipient": part(p.facts, "recipient").get("title") or part(p.facts, "recipient").get("name"),
            "at": p.facts.get("disclosed_at"),
            "purpose": p.facts.get("purpose"),
            "columns": [str(c) for c in items(p.facts, "columns")],
        }
        for p in sent
    ]
    return observed(value, [p.index for p in sent], f"that these hold the subject was {_LOOKED_UP}")


def _safeguards(sent: list[Proof], cites: list[int]) -> Cell:
    abroad = [
        part(p.facts, "recipient") for p in sent if part(p.facts, "recipient").get("country") not in EEA
    ]
    value = [
        {
            "recipient": to.get("title") or to.get("name"),
            "country": to.get("country"),
            "instrument": to.get("safeguard"),
            "article": SAFEGUARDS.get(str(to.get("safeguard"))),
        }
        for to in abroad
    ]
    if any(row["instrument"] is None for row in value):
        return Cell(
            value, Basis.UNKNOWN, tuple(sorted({p.index for p in sent})), "an instrument is not declared"
        )
    return declared(value, [p.index for p in sent] or cites)


def _sources(runs: list[GovernedRun]) -> Cell:
    names = sorted({str(part(r.opened.facts, "source").get("uri")) for r in runs})
    return observed(names, [r.opened.index for r in runs])


def _consultations(trail: Trail, dataset: str) -> Cell:
    grants = [g for g in trail.grants if g.context.get("dataset") == dataset]
    if not grants:
        return unknown("no grant of a key is in the log; reads with keys at hand are not recorded there")
    value = [{"at": g.received_at, "purpose": g.context.get("purpose")} for g in grants]
    return observed(value, [g.index for g in grants])


def _portable(own: list[Activity], cites: list[int]) -> Cell:
    bases = {part(a.declared_purpose() or {}, "gdpr").get("basis") for a in own}
    if not bases - {None}:
        return unknown("the lawful basis is unknown", cites)
    owed = bool(bases & {"consent", "contract"})
    note = "of what the subject provided or what was observed; not of what was inferred" if owed else None
    return declared(owed, [i for a in own for i in a.policy_cite], note)


def _authority(activity: Activity) -> Cell:
    said = activity.controller() or {}
    named = said.get("supervisoryAuthority")
    if not isinstance(named, str):
        return unknown("the policy names no supervisory authority", activity.policy_cite)
    return declared(named, activity.policy_cite)


def _exceptions(trail: Trail, asked: list[str], runs: dict[str, GovernedRun]) -> Iterable[Remark]:
    if strange := [name for name in asked if name not in runs]:
        yield remark(
            "version-not-released",
            f"{listed(strange)} hold the subject, and the log does not show them as released.",
            [trail.size - 1],
            basis=Basis.CONFLICTING,
            count=len(strange),
        )


def _unknowns(
    trail: Trail, subject: str, runs: dict[str, GovernedRun], unsure: Iterable[str]
) -> Iterable[Remark]:
    if not subject:
        yield remark(
            "subject-not-named",
            "Whether anybody's data is processed: nobody was named, so nobody was looked up.",
            [trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )
    if doubtful := [name for name in unsure if name in runs]:
        yield remark(
            "membership-unknown",
            f"Whether {counted(len(doubtful), 'version')} hold the subject: their keys or indexes cannot be asked.",
            [runs[name].opened.index for name in doubtful],
            basis=Basis.UNKNOWN,
        )


REPORT = ReportKind(
    kind="gdpr-art15",
    title="Answer to a request for access",
    law="Regulation (EU) 2016/679 (GDPR), Articles 15 and 20",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
    parameters=frozenset({"subject", "versions", "unsure", "disclosures"}),
    personal=True,
)
