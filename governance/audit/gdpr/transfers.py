"""Register of transfers to third countries: GDPR Art. 44 to 49, with Art. 30(1)(e) and 13(1)(f).

One row is an importer and a purpose: who may receive by the pinned policies, who did, on which instrument. What
stays in the European Economic Area is counted, never listed; a country that nobody declared is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from governance.audit.activity import pinned
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
from governance.audit.declarations import PolicyLeaf, items, part, words
from governance.audit.gdpr.art30_observed import classifications
from governance.audit.law import EEA, SAFEGUARDS
from governance.audit.newest import newest_organisation, newest_policy, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind, counted
from governance.audit.trail import Proof, Trail

COLUMNS = (
    Column("importer", "Importer", "Art. 30(1)(e)"),
    Column("country", "Third country", "Art. 44, 45"),
    Column("purpose", "Purpose", "Art. 5(1)(b)"),
    Column("instrument", "Instrument", "Art. 45, 46, 47, 49"),
    Column("assessment", "Transfer impact assessment", "Art. 46(1); C-311/18"),
    Column("onward", "Onward transfers", "Art. 44"),
    Column("categories", "Categories of data", "Art. 30(1)(c)"),
    Column("transfers", "Transfers made", "Art. 5(2)"),
    Column("runs", "Runs that made what was transferred", "Art. 5(2)"),
)

Key = tuple[str, str]


@dataclass(slots=True)
class Importer:
    """An importer for a purpose. ``said`` is what ``policy`` declares of it; ``sent`` are its disclosures."""

    name: str
    purpose: str
    policy: PolicyLeaf | None
    said: dict[str, Any] | None
    processor: bool = False
    sent: list[Proof] = field(default_factory=list)

    def stated(self, name: str) -> str | None:
        """What the policy says, else what the newest disclosure does."""
        last = part(self.sent[-1].facts, "recipient") if self.sent else {}
        return words(self.said, name) or words(last, name)

    @property
    def title(self) -> str:
        return self.stated("title") or self.name

    @property
    def policy_cite(self) -> list[int]:
        return [self.policy.index] if self.policy else []

    @property
    def cites(self) -> list[int]:
        return [*self.policy_cite, *(p.index for p in self.sent)]


def importers(trail: Trail, dataset: str | None = None) -> list[Importer]:
    """Every recipient by purpose, declared by the newest policy or met in a disclosure, and every processor."""
    found: dict[Key, Importer] = {}
    newest = newest_policy(trail)
    for name, allowed in (newest.recipients() if newest and dataset is None else {}).items():
        for purpose in map(str, items(allowed, "purposes")):
            found[name, purpose] = Importer(name, purpose, newest, allowed)
    for proof in trail.disclosures:
        if dataset not in (None, str(proof.facts.get("dataset"))):
            continue
        name, purpose = str(part(proof.facts, "recipient").get("name")), str(proof.facts.get("purpose"))
        run = trail.run_of(proof.context)
        policy = trail.policy(pinned(run, "policy")) if run else None
        said = policy.recipients().get(name) if policy else None
        at = found.setdefault((name, purpose), Importer(name, purpose, policy, said))
        # What counts is what was pinned when it was sent.
        at.policy, at.said = (policy, said) if policy is not None else (at.policy, at.said)
        at.sent.append(proof)
    every = [found[key] for key in sorted(found)]
    for held in map(part, items(newest.organisation if newest else None, "processors")):
        name, service = str(held.get("name")), words(held, "service") or "processing on behalf"
        every.append(Importer(name, service, newest, held, True))
    return every


def draft(trail: Trail, _period: tuple[str, str] | None, dataset: str | None = None) -> Draft:
    """The register as of the trail's end: of one dataset, or of all."""
    every = importers(trail, dataset)
    abroad = [i for i in every if i.stated("country") not in EEA]
    sent = [p for i in every for p in i.sent]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({str(p.facts.get("dataset")) for i in abroad for p in i.sent}),
            "purposes": sorted({i.purpose for i in abroad if not i.processor}),
            "contains": "Every recipient and processor outside the European Economic Area that the newest pinned "
            "policy declares or that the egress step sent data to. Transfers by other means are not in it.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=[_row(trail, i) for i in abroad],
        exceptions=[r for i in abroad for r in _exceptions(i)],
        unknowns=[],
        examined={
            "importers": len(every),
            "within_the_eea": len(every) - len(abroad),
            "transfers": sum(len(i.sent) for i in abroad),
            "disclosures": len(sent),
            "by_country": {
                country: sum((i.stated("country") or "not declared") == country for i in abroad)
                for country in sorted({i.stated("country") or "not declared" for i in abroad})
            },
        },
        statements=(
            "Where a recipient keeps or sends on what it received is not observed; it is as declared, or unknown.",
        ),
        supports=frozenset(_supports(trail, every)),
    )


def _supports(trail: Trail, every: list[Importer]) -> Iterable[int]:
    yield from newest_support(trail)
    for importer in every:
        yield from importer.cites
        for proof in importer.sent:
            if (run := trail.run_of(proof.context)) is not None:
                yield run.opened.index


def _row(trail: Trail, i: Importer) -> Row:
    value = {
        "name": i.title,
        "role": "processor" if i.processor else "recipient",
        "address": i.stated("address"),
    }
    strange = not i.processor and (i.said is None or i.purpose not in items(i.said, "purposes"))
    known = declared(value, i.cites) if not i.sent else observed(value, i.cites)
    cells = {
        "importer": conflicting(value, i.cites, "the pinned policy does not allow it for this purpose")
        if strange
        else known,
        "country": (
            declared(i.stated("country"), i.cites)
            if i.stated("country")
            else unknown("no country is declared", i.cites)
        ),
        "purpose": declared(i.purpose, i.cites),
        "instrument": _instrument(i),
        "assessment": _said(i, "transferImpactAssessment", "no transfer impact assessment is declared"),
        "onward": _said(i, "onwardTransfers", "nothing is declared of onward transfers"),
        "categories": (
            observed(
                sorted({n for p in i.sent for n in classifications(p)} - {"none"}), (p.index for p in i.sent)
            )
            if i.sent
            else unknown("nothing was sent yet", i.cites)
        ),
        "transfers": _transfers(i),
        "runs": _runs(trail, i),
    }
    return Row(f"{i.name}/{i.purpose}", f"{i.title} for {i.purpose}", cells)


def _instrument(i: Importer) -> Cell:
    said = words(i.said, "safeguard") or (words(i.said, "instrument") if i.processor else None)
    used = sorted({str(part(p.facts, "recipient").get("safeguard")) for p in i.sent})
    if i.sent and used != [str(said)]:
        value = {"declared": said, "recorded": used}
        return conflicting(
            value, i.cites, "the instrument recorded with a disclosure is not the one the policy declares"
        )
    if said is None:
        return unknown("no instrument is declared", i.cites)
    value = {"instrument": said, "article": SAFEGUARDS.get(said)}
    return observed(value, i.cites) if i.sent else declared(value, i.cites)


def _said(i: Importer, member: str, missing: str) -> Cell:
    said = words(i.said, member)
    return unknown(missing, i.policy_cite) if said is None else declared(said, i.policy_cite)


def _transfers(i: Importer) -> Cell:
    if i.processor:
        return unknown("the log does not record what a processor is given", i.cites)
    value = [
        {
            "at": p.facts.get("disclosed_at"),
            "dataset": p.facts.get("dataset"),
            "version": p.facts.get("version"),
            "rows": p.facts.get("rows"),
            "subjects": p.facts.get("subjects"),
        }
        for p in i.sent
    ]
    return (
        observed(value, i.cites, None if value else "none is in the log") if i.cites else unknown("no policy")
    )


def _runs(trail: Trail, i: Importer) -> Cell:
    runs = {run.opened.index: run for p in i.sent if (run := trail.run_of(p.context)) is not None}
    if not i.sent:
        return unknown("nothing was sent yet", i.cites)
    if not runs:
        return unknown("no run made what was sent", i.cites)
    value = [{"run": r.opened.context.get("run_id"), "version": r.version} for _, r in sorted(runs.items())]
    return observed(value, runs)


def _exceptions(i: Importer) -> Iterable[Remark]:
    name = f"{i.title} for {i.purpose}"
    instrument = _instrument(i)
    if instrument.basis is Basis.CONFLICTING:
        yield remark(
            "instrument-conflict", f"{name}: {instrument.note}.", i.cites, basis=Basis.CONFLICTING, count=1
        )
    elif instrument.basis is Basis.UNKNOWN and i.sent:
        yield remark(
            "transfer-without-instrument",
            f"{counted(len(i.sent), 'transfer')} to {name} without an instrument of Chapter V.",
            (p.index for p in i.sent),
        )
    if i.sent and (i.said is None or i.purpose not in items(i.said, "purposes")):
        yield remark(
            "transfer-not-allowed",
            f"{counted(len(i.sent), 'transfer')} to {name}, which the pinned policy does not allow.",
            i.cites,
            basis=Basis.CONFLICTING,
            count=len(i.sent),
        )
    if words(i.said, "safeguard") == "derogation" and len(i.sent) > 1:
        yield remark(
            "derogation-repeated",
            f"{counted(len(i.sent), 'transfer')} to {name} on a derogation, which is for occasional transfers (Art. 49(1)).",
            (p.index for p in i.sent),
        )


REPORT = ReportKind(
    kind="transfers",
    title="Register of transfers to third countries",
    law="Regulation (EU) 2016/679 (GDPR), Articles 44 to 49",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=present,
    parameters=frozenset({"dataset"}),
)
