"""Opt-outs by purpose: what the ledger's batches state, what runs left out, and what went out all the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from governance.audit.activity import pinned
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, observed, remark, unknown
from governance.audit.declarations import items, part
from governance.audit.newest import newest_policy
from governance.audit.record import counted
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.lineage.reading import instant_of
from governance.model.evidence import Stage

EVERY = "*"
"""The ledger's word for all purposes."""

COLUMNS = (
    Column("records", "Opt-outs recorded in the consent ledger", "Cal. Civ. Code 1798.120, 1798.135"),
    Column("in_force", "Opt-outs in force", "Cal. Civ. Code 1798.120"),
    Column("signals", "Opt-out preference signals (GPC)", "11 CCR 7025"),
    Column("applied", "Rows left out by runs because their consumer had opted out", "11 CCR 7026(f)(1)"),
    Column(
        "after", "Released or disclosed after an opt-out was recorded, without regard to it", "11 CCR 7026(f)"
    ),
)

_COUNTS = ("opened", "gpc", "ending", "closed")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of the ledger that has opt-outs or opt-ins. ``counts`` by purpose; none where it does not say."""

    index: int
    position: int
    at: datetime | None
    opened: int
    counts: dict[str, dict[str, int]]

    def for_purpose(self, name: str) -> int:
        """Opt-outs that concern a purpose; all of them where the batch does not say which."""
        if not self.counts:
            return self.opened
        return sum(self.counts.get(purpose, {}).get("opened", 0) for purpose in {name, EVERY})


@dataclass(slots=True)
class OptOuts:
    """A purpose that an opt-out stops, its batches, its released runs, and disclosures for it."""

    name: str
    stops: int | None
    batches: list[Batch]
    runs: list[GovernedRun] = field(default_factory=list)
    sent: list[tuple[Proof, GovernedRun | None]] = field(default_factory=list)

    @property
    def cites(self) -> list[int]:
        """What the state rests on; the policy where the ledger has nothing."""
        return [b.index for b in self.batches] or ([self.stops] if self.stops is not None else [])

    def total(self, count: str, *purposes: str) -> int:
        return sum(b.counts.get(p, {}).get(count, 0) for b in self.batches for p in purposes)

    @property
    def unsaid(self) -> int:
        """Opt-outs in batches that do not say for which purpose."""
        return sum(b.opened for b in self.batches if not b.counts)

    def unseen(self, run: GovernedRun) -> list[Batch]:
        """Batches in the log before a run was opened, that the position it was decided at does not cover."""
        position = decided_at(run)
        return [
            b
            for b in self.batches
            if b.index < run.opened.index
            and b.for_purpose(self.name)
            and (position is None or b.position > position)
        ]

    def ignored(self) -> list[tuple[GovernedRun, str, list[int]]]:
        """Released runs that went past an opt-out: the run, why, and what shows it."""
        found: list[tuple[GovernedRun, str, list[int]]] = []
        for run in self.runs:
            consent, validate = run.stages.get(Stage.CONSENT), run.stages.get(Stage.VALIDATE)
            own = [run.opened.index, *(p.index for p in run.releases)]
            known = [b.index for b in self.batches if b.index < run.opened.index and b.for_purpose(self.name)]
            if consent is None and known:
                found.append((run, "no decision on consent is in evidence", [*own, *known]))
            elif unseen := self.unseen(run):
                said = counted(sum(b.for_purpose(self.name) for b in unseen), "opt-out")
                why = f"its consent was decided without {said} that were recorded before it was opened"
                found.append((run, why, [*own, *(b.index for b in unseen)]))
            elif (
                consent is not None
                and _left_out(consent)
                and validate is not None
                and _found_denied(validate)
            ):
                why = "validation found denied consumers in what was written"
                found.append((run, why, [*own, consent.index, validate.index]))
        return found

    def doubtful(self) -> list[tuple[Proof, list[Batch]]]:
        """Disclosures after opt-outs that nothing shows were looked at for them."""
        found = []
        for proof, run in self.sent:
            position = stated_position(proof)
            if position is None:
                position = decided_at(run) if run else None
            later = [
                b
                for b in self.batches
                if b.index < proof.index
                and b.for_purpose(self.name)
                and (position is None or b.position > position)
            ]
            if later:
                found.append((proof, later))
        return found


def decided_at(run: GovernedRun) -> int | None:
    """The last position of the ledger that a run looked at: that of its decision, or of its release."""
    consent = run.stages.get(Stage.CONSENT)
    stated = [consent.facts.get("position")] if consent else []
    stated += [p.facts.get("consent_position") for p in run.releases]
    positions = [p for p in stated if isinstance(p, int) and not isinstance(p, bool)]
    return max(positions, default=None)


def stated_position(disclosure: Proof) -> int | None:
    """Where in the ledger a disclosure was decided; older evidence does not say."""
    said = disclosure.facts.get("ledger_position")
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def batches(trail: Trail) -> list[Batch]:
    """Batches of the ledger with opt-outs or opt-ins, in log order."""
    found = []
    for index, body in trail.batches:
        said = {
            str(purpose): {c: _count(part(counts).get(c)) for c in _COUNTS}
            for purpose, counts in part(body, "opt_outs").items()
        }
        opened = _count(part(body, "actions").get("opt_out"))
        if said or opened:
            position = _count(body.get("position"))
            found.append(Batch(index, position, instant_of(body.get("recorded_at")), opened, said))
    return found


def opt_outs(trail: Trail) -> list[OptOuts]:
    """One a purpose that an opt-out stops by the newest policy, was recorded for, or was heeded for; by name."""
    every, policy = batches(trail), newest_policy(trail)
    found: dict[str, OptOuts] = {}

    def at(name: str, stops: int | None = None) -> OptOuts:
        return found.setdefault(name, OptOuts(name, stops, every))

    for name, said in part(policy.root if policy else None, "purposes").items():
        if part(said).get("ccpaOptOut") is not False and policy is not None:
            at(str(name), policy.index)
    for batch in every:
        for name in batch.counts:
            at(name)
    for run in trail.runs:
        consent = run.stages.get(Stage.CONSENT)
        if _stopped(trail, run) or (consent and _left_out(consent)):
            purpose = at(run.purpose)
            if run.release("released"):
                purpose.runs.append(run)
    for proof in trail.disclosures:
        name = str(proof.facts.get("purpose"))
        if name in found:
            found[name].sent.append((proof, trail.run_of(proof.context)))
    return [found[name] for name in sorted(found)]


def _stopped(trail: Trail, run: GovernedRun) -> bool:
    policy = trail.policy(pinned(run, "policy"))
    said = policy.purpose(run.purpose) if policy else None
    return said is not None and said.get("ccpaOptOut") is not False


def row_of(o: OptOuts) -> Row:
    title = "Every purpose at once" if o.name == EVERY else f"Opt-outs from {o.name}"
    return Row(
        f"opt-outs {o.name}",
        title,
        {
            "records": _records(o),
            "in_force": _in_force(o),
            "signals": _signals(o),
            "applied": _applied(o),
            "after": _after(o),
        },
    )


def _records(o: OptOuts) -> Cell:
    if not o.cites:
        return unknown("no batch of the ledger and no policy is in the log")
    value = {count: o.total(count, o.name) for count in _COUNTS}
    note = f"{o.unsaid:,} more in batches that do not say for which purpose" if o.unsaid else None
    return observed(value, o.cites, note)


def _in_force(o: OptOuts) -> Cell:
    """Between bounds: an opt-in ends one opt-out at most, and one that ends by itself may have ended."""
    names = {o.name, EVERY}
    if o.unsaid:
        return unknown(f"{o.unsaid:,} opt-outs are in batches that do not say for which purpose", o.cites)
    if not o.cites:
        return unknown("no batch of the ledger and no policy is in the log")
    opened = {name: o.total("opened", name) for name in names}
    ended = sum(o.total("closed", name) + o.total("ending", name) for name in names)
    most = sum(opened.values())
    least = max(0, max(opened.values()) - ended)
    position = max((b.position for b in o.batches), default=0)
    value = {"at_least": least, "at_most": most, "ledger_position": position}
    note = (
        "consumers are not in the log; which of them opted out the ledger answers" if least != most else None
    )
    return observed(value, o.cites, note)


def _signals(o: OptOuts) -> Cell:
    if not o.cites:
        return unknown("no batch of the ledger and no policy is in the log")
    value = {"for_every_purpose": o.total("gpc", EVERY)}
    if o.name != EVERY:
        value = {"for_this_purpose_alone": o.total("gpc", o.name), **value}
    return observed(value, o.cites)


def _applied(o: OptOuts) -> Cell:
    rows = [
        {
            "dataset": run.dataset,
            "version": run.version,
            "rows": _left_out(consent),
            "ledger_position": decided_at(run),
        }
        for run in o.runs
        if (consent := run.stages.get(Stage.CONSENT)) is not None
    ]
    newest = {str(row["dataset"]): row for row in rows}
    cites = [p.index for run in o.runs if (p := run.stages.get(Stage.CONSENT)) is not None]
    if not cites:
        return (
            declared(None, o.cites, "an opt-out of every purpose is applied under each of them")
            if o.name == EVERY
            else unknown("no released run for it has a decision on consent in evidence", o.cites)
        )
    note = f"the newest version of each dataset; {counted(len(rows), 'released run')} in all"
    return observed([newest[name] for name in sorted(newest)], cites, note)


def _after(o: OptOuts) -> Cell:
    ignored, doubtful = o.ignored(), o.doubtful()
    cites = [*o.cites, *(i for run in o.runs for i in run.indexes()), *(p.index for p, _ in o.sent)]
    if o.name == EVERY:
        return declared(None, o.cites, "see each purpose")
    if not cites:
        return unknown("no batch of the ledger and no policy is in the log")
    value = {
        "released": [
            {"dataset": run.dataset, "version": run.version, "what": why} for run, why, _ in ignored
        ],
        "disclosures_in_doubt": len(doubtful),
    }
    return observed(value, cites)


def exceptions(found: list[OptOuts]) -> Iterable[Remark]:
    for o in found:
        for run, why, cites in o.ignored():
            yield remark(
                "released-after-opt-out",
                f"{run.dataset} {run.version} was released for {o.name}, from which consumers had opted out: {why}.",
                cites,
                count=1,
            )


def unknowns(found: list[OptOuts]) -> Iterable[Remark]:
    for o in found:
        if doubtful := o.doubtful():
            withheld = sum(_count(proof.facts.get("withheld")) for proof, _ in doubtful)
            missed = {b.index: b.for_purpose(o.name) for _, later in doubtful for b in later}
            yield remark(
                "opt-outs-at-disclosure",
                f"Whether {counted(len(doubtful), 'disclosure')} for {o.name} held any of "
                f"{counted(sum(missed.values()), 'opt-out')} that were recorded before: "
                f"{counted(withheld, 'row')} were withheld, decided {_where(proof for proof, _ in doubtful)}.",
                [*(proof.index for proof, _ in doubtful), *missed],
                basis=Basis.UNKNOWN,
                count=len(doubtful),
            )


def _where(disclosures: Iterable[Proof]) -> str:
    stated = {stated_position(proof) for proof in disclosures}
    if None in stated:
        return "at a position of the ledger that is not stated" + (" for each" if len(stated) > 1 else "")
    return "at a position of the ledger before theirs"


def supports(trail: Trail, found: list[OptOuts]) -> Iterable[int]:
    """What the state rests on, for a checker."""
    yield from (index for index, _ in trail.batches)
    for run in trail.runs:
        yield from run.indexes()
        for what in ("policy", "contract"):
            index = pinned(run, what).get("log_index")
            if isinstance(index, int) and 0 <= index < trail.size:
                yield index
    for o in found:
        yield from (proof.index for proof, _ in o.sent)


def _left_out(consent: Proof) -> int:
    return _count(part(consent.facts, "by_reason").get("opted_out"))


def _found_denied(validate: Proof) -> bool:
    return any(
        part(check).get("check") == "no_denied_subject_present" and part(check).get("success") is not True
        for check in items(validate.facts, "checks")
    )


def _count(value: object) -> int:
    # A batch is no evidence: what no ledger can hold would not fit into a record either.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else 0
