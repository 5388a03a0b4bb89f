"""Certificate of erasure: GDPR Art. 17 with Art. 5(2), 12(3) and 19.

One row is one request. What was done is what evidence of its steps says; what the certificate cannot
vouch for (recipients, derived datasets, models, backups of keys) is an unknown, never left out.
"""

from __future__ import annotations

from typing import Any

from governance.audit.cells import Cell, Column, Row, conflicting, observed, remark, unknown
from governance.audit.coverage import coverage
from governance.audit.declarations import items, part
from governance.audit.gdpr.art17_remarks import exceptions, unknowns
from governance.audit.gdpr.art17_request import Erasure, copies_of, count_of, erasures
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.plain import present
from governance.audit.record import Draft, Period, ReportKind
from governance.audit.trail import Proof, Trail
from governance.model.erasure import GROUNDS

COLUMNS = (
    Column("request", "Request", "Art. 17(1), 5(2)"),
    Column("decision", "Ground, and exceptions claimed", "Art. 17(1), 17(3)"),
    Column("clock", "Times", "Art. 12(3), 17(1)"),
    Column("subjects", "Subjects", "Art. 17(1)"),
    Column("suppression", "Taken out of use", "Art. 17(1), 18"),
    Column("holdings", "Where they were found", "Art. 17(1)"),
    Column("copies", "Every copy, what was done with it, and its keys", "Art. 17(1); NIST SP 800-88r2"),
    Column("versions", "Versions that took their place", "Art. 5(1)(d)"),
    Column("keys", "Keys destroyed", "NIST SP 800-88r2"),
    Column("verification", "Places searched afterwards", "Art. 5(2)"),
    Column("backups", "Backups", "Art. 17(1)"),
    Column("recipients", "Recipients to tell", "Art. 19"),
    Column("derived", "Datasets, jobs and models made from it", "Art. 17(1)"),
    Column("residue", "What remains, and why", "Art. 17(3)"),
    Column("state", "How far it has come", "Art. 12(3)"),
)

_STATES = ("complete", "pending", "held", "suppressed", "requested", "nothing known", "not proven")


def draft(trail: Trail, _period: tuple[str, str] | None, request: str | None = None) -> Draft:
    """The certificates as of the trail's end: of one request, or of all."""
    found = erasures(trail, request)
    copies = {e.request: copies_of(e) for e in found}
    touched = {str(s.facts.get("dataset")) for e in found for s in e.of("rewritten")}
    touched |= {str(d.get("dataset")) for e in found for d in e.said("datasets")}
    departed = [r for e in found for r in exceptions(e)]
    if request is not None and not found:
        departed.append(
            remark(
                "request-unknown", f"The log knows no erasure request {request}.", [trail.size - 1], count=1
            )
        )
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted(touched),
            "contains": "Every request for erasure that evidence or a tombstone in the log names. Erasures in "
            "sources, at recipients and in models are carried out elsewhere and are not in it.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=[_row(e, copies[e.request]) for e in found],
        exceptions=departed,
        unknowns=[r for e in found for r in unknowns(e)],
        examined={
            "requests": len(found),
            "states": {name: sum(e.state == name for e in found) for name in _STATES},
            "steps": sum(len(e.steps) for e in found),
            "copies": sum(len(each) for each in copies.values()),
            "copies_destroyed": sum(c["executed_at"] is not None for each in copies.values() for c in each),
            "keys_destroyed": sum(count_of(s, "keys") for e in found for s in e.of("destroyed")),
            "recipients": len({str(r.get("recipient")) for e in found for r in e.said("recipients")}),
            "derived": sum(len(e.said("derived")) for e in found),
        },
        statements=(
            "A search finds nothing in the listed places; it does not show that there is no other copy.",
            "Destroying a key erases what it sealed (NIST SP 800-88r2, cryptographic erase) unless a backup of the "
            "key exists; who vouches for that stands with each key.",
        ),
        supports=frozenset(
            [
                *newest_support(trail),
                *([] if (listing := coverage(trail).index) is None else [listing]),
                *(index for e in found for index in (*e.cites, *e.replayed())),
                *(index for run in trail.runs if run.dataset in touched for index in run.indexes()),
            ]
        ),
    )


def _row(e: Erasure, copies: list[dict[str, Any]]) -> Row:
    if e.asked is None:
        why = "only a tombstone stands in the log, and no evidence of a step"
        return Row(
            e.request, f"Request {e.request}", {n: unknown(why, e.cites) for n in ("request", "state")}
        )
    asked, facts = e.asked, e.asked.facts
    destroyed, searched = e.of("destroyed"), e.of("searched")[-1:]
    end = e.ended or asked
    held = [part(each) for each in items(end.facts, "holds")]
    cells = {
        "request": observed({"request": e.request, "domain": facts.get("domain")}, e.cites),
        "decision": observed(
            {
                "ground": facts.get("ground"),
                "provision": GROUNDS.get(str(facts.get("ground"))),
                "legal_holds": held,
            },
            [asked.index, end.index],
        ),
        "clock": observed(
            {
                "requested_at": facts.get("requested_at"),
                "due_at": facts.get("due_at"),
                "suppressed_at": _received(e.of("suppressed")[:1]),
                "keys_destroyed_at": _received(destroyed[-1:]),
                "completed_at": _received([e.ended] if e.ended else []),
            },
            e.cites,
        ),
        "subjects": observed(
            {n: facts.get(n) for n in ("subjects", "unknown", "erased_before")} | {"held": e.held},
            [asked.index, end.index],
        ),
        "suppression": _suppression(e),
        "holdings": observed(e.said("datasets"), [asked.index]),
        "copies": observed(copies, [s.index for s in (asked, *e.of("rewritten"), *destroyed)]),
        "versions": _versions(e),
        "keys": _keys(destroyed),
        "verification": (
            observed([_place(part(p)) for p in items(searched[0].facts, "places")], [searched[0].index])
            if searched
            else unknown("no place was searched yet", [asked.index])
        ),
        "backups": _backups(e),
        "recipients": _recipients(e, asked),
        "derived": observed(
            e.said("derived"),
            [asked.index],
            "named by lineage; what they learned or copied is not erased here",
        ),
        "residue": observed(
            [{k: _shown(v) for k, v in part(each).items()} for each in items(end.facts, "remains")],
            [end.index],
        ),
        "state": _state(e),
    }
    if e.state == "nothing known":
        cells = {n: cells[n] for n in ("request", "decision", "clock", "subjects", "state")}
    return Row(e.request, f"Request {e.request}", cells)


def _state(e: Erasure) -> Cell:
    gaps = [r for r in exceptions(e) if r.code in ("coverage-gap", "key-backup-found")]
    if not gaps:
        return observed(e.state, e.cites)
    cites = [*e.cites, *(index for r in gaps for index in r.cites)]
    return conflicting(
        e.state, cites, "an inventory found copies or keys that it did not reach: not complete"
    )


def _suppression(e: Erasure) -> Cell:
    if not (done := e.of("suppressed")[:1]):
        return unknown("that the subjects were suppressed is not in the log", e.cites)
    value = {
        "method": "tombstone in the log; subject vault sealed anew without the subjects; identifiers refused from then on",
        "tombstone": e.tombstone[0] if e.tombstone else None,
        "at": done[0].received_at,
    }
    return observed(value, [done[0].index, *([e.tombstone[0]] if e.tombstone else [])])


def _versions(e: Erasure) -> Cell:
    runs = e.runs()
    if not runs:
        return observed([], e.cites, "no released version had to be written again")
    value = [
        {
            "dataset": step.facts.get("dataset"),
            "version": step.facts.get("version"),
            "in_place_of": step.facts.get("previous_version"),
            "rows": step.facts.get("rows"),
            "read_back": step.facts.get("verified"),
            "released": run is not None and run.release("released") is not None,
        }
        for step, run in runs
    ]
    return observed(value, [step.index for step, _ in runs] + [i for _, r in runs if r for i in r.indexes()])


def _keys(destroyed: list[Proof]) -> Cell:
    if not destroyed:
        return unknown("no key was destroyed yet")
    value = [
        {
            "at": step.received_at,
            "epoch": step.facts.get("epoch"),
            "keys": step.facts.get("keys"),
            "refused_when_tried": step.facts.get("refused"),
            "confirmed_by_the_provider": part(step.facts, "destruction").get("confirmed"),
            "pending": [str(each) for each in items(part(step.facts, "destruction"), "pending")],
        }
        for step in destroyed
    ]
    return observed(value, [step.index for step in destroyed])


def _backups(e: Erasure) -> Cell:
    destroyed = e.of("destroyed")[-1:]
    if not destroyed:
        return unknown("no key was destroyed: a backup of a segment can be read", e.cites)
    if found := [r for r in exceptions(e) if r.code == "key-backup-found"]:
        cites = [destroyed[0].index, *found[0].cites]
        return conflicting("Keys were destroyed", cites, "a sealed backup of them was found since")
    if e.destruction.get("confirmed") is not True:
        return unknown(
            "the key provider has not confirmed the destruction, so a backup may be readable", e.cites
        )
    return observed(
        "Backups of segments cannot be read: their epoch's key is destroyed, as its provider confirms. The "
        "provider's own backups are its own.",
        [destroyed[0].index],
    )


def _recipients(e: Erasure, asked: Proof) -> Cell:
    told = e.said("recipients")
    cites = [asked.index, *(int(r["log_index"]) for r in told if isinstance(r.get("log_index"), int))]
    cites = [index for index in cites if index < e.trail.size]
    value = [{k: r.get(k) for k in ("recipient", "disclosure_id", "dataset", "version")} for r in told]
    note = (
        "that they were told is not in the log"
        if told
        else "the log shows no disclosure of rows of the subjects"
    )
    return observed(value, cites, note)


def _place(said: dict[str, Any]) -> dict[str, Any]:
    return {k: _shown(said.get(k)) for k in ("place", "searched_for", "read", "found")}


def _shown(value: Any) -> Any:
    return value if isinstance(value, (str, int, type(None))) else [str(v) for v in value if v is not None]


def _received(steps: list[Proof]) -> str | None:
    return steps[0].received_at if steps else None


REPORT = ReportKind(
    kind="gdpr-art17",
    title="Certificate of erasure",
    law="Regulation (EU) 2016/679 (GDPR), Articles 17, 19 and 5(2)",
    template_version=2,
    takes_period=False,
    draft=draft,
    present=present,
    parameters=frozenset({"request"}),
)
