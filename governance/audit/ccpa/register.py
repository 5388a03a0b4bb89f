"""Requests of Californian consumers as the register has them: 11 CCR 7101(b), with clocks and who was told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from governance.audit.cells import Cell, Column, Row, conflicting, declared, observed, unknown
from governance.audit.declarations import items
from governance.audit.gdpr.art17_request import Erasure, erasures
from governance.audit.portions.spans import within
from governance.audit.record import Period
from governance.audit.trail import SKEW, Statement, Trail
from governance.errors import GovernanceError
from governance.lineage.reading import instant_of
from governance.model.canonical import timestamp
from governance.model.clocks import StatutoryClock, statutory_clock
from governance.model.request import SubjectRequest, take_step
from governance.model.statements import REQUEST

REGIME = "CCPA"

NATURES = {
    "erasure": "delete",
    "rectification": "correct",
    "access": "know",
    "portability": "know",
    "opt-out": "opt out of sale or sharing",
    "limit": "limit",
}
"""What the regulations call a request, by the register's kind."""

COLUMNS = (
    Column("received", "Date of the request", "11 CCR 7101(b)"),
    Column("nature", "Nature of the request", "11 CCR 7101(b)"),
    Column("manner", "Manner in which it was made", "11 CCR 7101(b)"),
    Column("confirmed", "Receipt confirmed", "11 CCR 7021(a)"),
    Column("verified", "Verification", "11 CCR 7060"),
    Column("due", "Due", "11 CCR 7021(b), 7026(f), 7027(g)"),
    Column("responded", "Date of the response", "11 CCR 7101(b)"),
    Column("response", "Nature of the response", "11 CCR 7101(b)"),
    Column("denial", "Basis of the denial", "11 CCR 7101(b)"),
    Column(
        "told", "Service providers, contractors and third parties told", "11 CCR 7022(b), 7026(f), 7027(g)"
    ),
    Column("done", "What the log shows of its execution", "11 CCR 7022(b)(1), 7026(f)(1)"),
    Column("backups", "Archived and backup systems", "11 CCR 7022(d)"),
)


_UNANSWERED = "it is not answered"


@dataclass(slots=True)
class Consumer:
    """A request with the leaves it was folded from. ``now`` is the trail's end."""

    request: SubjectRequest
    leaves: dict[int, Statement]
    now: datetime | None
    erasures: list[Erasure] = field(default_factory=list)

    @property
    def cites(self) -> list[int]:
        return [int(step["log_index"]) for step in self.request.steps]

    def of(self, step: str) -> list[int]:
        return [int(s["log_index"]) for s in self.request.steps if s.get("step") == step]

    @property
    def nature(self) -> str:
        return NATURES.get(self.request.kind, self.request.kind)

    @property
    def clock(self) -> StatutoryClock | None:
        try:
            return statutory_clock(self.request.regime, self.request.kind)
        except GovernanceError:
            return None

    @property
    def due(self) -> datetime | None:
        return self.request.due_at() if self.clock else None

    @property
    def confirm_by(self) -> datetime | None:
        return self.clock.confirm_by(self.request.received_at) if self.clock else None

    @property
    def late(self) -> bool:
        """Decided after it was due, or not decided and due before the trail's end."""
        at = self.request.decided_at or self.now
        return self.due is not None and at is not None and at > self.due

    @property
    def confirmed_late(self) -> bool:
        """Neither confirmed nor decided within the time to confirm."""
        at = min(filter(None, (self.request.confirmed_at, self.request.decided_at)), default=self.now)
        return self.confirm_by is not None and at is not None and at > self.confirm_by

    @property
    def denied(self) -> bool:
        return self.request.decision in ("refused", "partly-granted")

    @property
    def complied(self) -> bool:
        return self.request.decision in ("granted", "partly-granted")

    @property
    def days(self) -> int | None:
        """Whole days from receipt to the response."""
        if self.request.decided_at is None or self.request.decision == "withdrawn":
            return None
        return (self.request.decided_at - self.request.received_at).days


@dataclass(frozen=True, slots=True)
class Register:
    """``inside`` the period are those received in it, and earlier ones that were open then."""

    inside: list[Consumer]
    received: list[Consumer]
    every: int
    other_regimes: int
    unreadable: list[int]
    steps: list[int]


def register(trail: Trail, period: Period) -> Register:
    """The requests under the CCPA, in the order they were entered."""
    found: dict[str, SubjectRequest] = {}
    leaves: dict[int, Statement] = {}
    unreadable: list[int] = []
    for leaf in trail.statements.get(REQUEST, ()):
        try:
            if not _is_step(leaf):
                raise ValueError
            take_step(found, {**leaf.body, "log_index": leaf.index})
        except (KeyError, ValueError):
            unreadable.append(leaf.index)
        leaves[leaf.index] = leaf
    now = instant_of(trail.last_received)
    by_name = {erasure.request: erasure for erasure in erasures(trail)}
    own = []
    for request in found.values():
        if request.regime == REGIME:
            names = (request.name, *request.evidence)
            matched = [by_name[name] for name in dict.fromkeys(names) if name in by_name]
            own.append(Consumer(request, leaves, now, matched))
    received = [c for c in own if within(c.request.received_at, period)]
    start = instant_of(period.start)
    inside = [
        c
        for c in own
        if within(c.request.received_at, period)
        or (start is not None and c.request.received_at < start and _open_at(c, start))
    ]
    return Register(inside, received, len(own), len(found) - len(own), unreadable, sorted(leaves))


def _open_at(c: Consumer, start: datetime) -> bool:
    return c.request.decided_at is None or c.request.decided_at >= start


_TEXTS = (
    *("request", "step", "at", "kind", "regime", "domain", "received_at", "manner", "result", "method"),
    *("reason", "decision", "recipient", "role", "impossible"),
)
_LISTS = {"evidence": str, "holds": dict}


def _is_step(leaf: Statement) -> bool:
    """Whether the members of a leaf that are read here are of the kinds that the register writes."""
    return all(isinstance(leaf.body.get(name, ""), str) for name in _TEXTS) and all(
        isinstance(said := leaf.body.get(name, []), list) and all(isinstance(each, kind) for each in said)
        for name, kind in _LISTS.items()
    )


def row_of(c: Consumer, told_of: bool, opt_outs: list[tuple[int, datetime]]) -> Row:
    """A request. ``told_of``: somebody else may have the data. ``opt_outs``: batches with opt-outs, and when."""
    return Row(
        f"request {c.request.name}",
        f"{c.request.name}, to {c.nature}",
        {
            "received": _at(c, "opened", c.request.received_at),
            "nature": declared(c.nature, c.of("opened")),
            "manner": (
                declared(c.request.manner, c.of("opened"))
                if isinstance(c.request.manner, str)
                else unknown("the register does not say how it was made", c.of("opened"))
            ),
            "confirmed": _confirmed(c),
            "verified": _verified(c),
            "due": _due(c),
            "responded": _responded(c),
            "response": _response(c),
            "denial": _denial(c),
            "told": _told(c, told_of),
            "done": _done(c, opt_outs),
            "backups": _backups(c),
        },
    )


def _at(c: Consumer, step: str, at: datetime) -> Cell:
    cites = c.of(step)
    value = timestamp(at)
    received = instant_of(c.leaves[cites[-1]].received_at) if cites else None
    if received is not None and at - received > SKEW:
        return conflicting(value, cites, "stated later than the log received it")
    return declared(value, cites)


def _confirmed(c: Consumer) -> Cell:
    by = c.confirm_by
    if by is None:
        return declared(None, c.of("opened"), "no confirmation is asked for")
    value = {"by": timestamp(by), "at": None, "late": c.confirmed_late}
    if c.request.confirmed_at is None:
        if c.request.decided_at is not None and c.request.decided_at <= by:
            return declared(value, c.of("decided"), "answered before it was to be confirmed")
        return unknown(
            f"nobody stated that receipt was confirmed; it was due by {timestamp(by)[:10]}", c.cites
        )
    return declared({**value, "at": timestamp(c.request.confirmed_at)}, c.of("confirmed"))


def _verified(c: Consumer) -> Cell:
    steps = [s for s in c.request.steps if s.get("step") == "identity"]
    if steps:
        value = {"result": c.request.identity, "method": steps[-1].get("method")}
        return declared(value, c.of("identity"))
    if c.request.kind in ("limit", "opt-out"):
        return declared("none is needed", c.of("opened"), "11 CCR 7026(d), 7027(e)")
    return unknown("no check of who asks is stated", c.cites)


def _due(c: Consumer) -> Cell:
    if c.clock is None or c.due is None:
        return unknown("there is no statutory clock for a request of this kind", c.of("opened"))
    state = "late" if c.late else "in time" if c.request.decision else "running"
    value = {"at": timestamp(c.due), "state": state, "extended": c.request.extended, "law": c.clock.law}
    return declared(value, [*c.of("opened"), *c.of("extended"), *c.of("decided")])


def _responded(c: Consumer) -> Cell:
    if c.request.decided_at is None:
        return unknown(_UNANSWERED, c.cites)
    cell = _at(c, "decided", c.request.decided_at)
    return Cell({"at": cell.value, "days": c.days}, cell.basis, cell.cites, cell.note)


def _response(c: Consumer) -> Cell:
    if c.request.decision is None:
        return unknown(_UNANSWERED, c.cites)
    value = {"decision": c.request.decision, "reason": c.request.reason, "evidence": list(c.request.evidence)}
    note = (
        f"{c.request.conflicting} later steps did not fit and changed nothing"
        if c.request.conflicting
        else None
    )
    return declared(value, c.of("decided"), note)


def _denial(c: Consumer) -> Cell:
    if c.request.decision is None:
        return unknown(_UNANSWERED, c.cites)
    if not c.denied:
        return declared(None, c.of("decided") or c.cites, "not denied")
    holds = [{k: str(h.get(k) or "") for k in ("regime", "ground")} for h in c.request.holds]
    if not c.request.reason and not holds:
        return unknown("it was denied, and no basis is stated", c.of("decided"))
    return declared({"reason": c.request.reason, "legal_holds": holds}, c.of("decided"))


def _told(c: Consumer, told_of: bool) -> Cell:
    if c.request.told:
        value = [
            {
                "recipient": str(s.get("recipient")),
                "role": str(s.get("role")),
                "at": str(s.get("at")),
                "impossible": s.get("impossible"),
            }
            for s in c.request.told
        ]
        return declared(value, c.of("told"))
    if c.request.decision is None and c.nature != "know":
        return unknown(_UNANSWERED, c.cites)
    if not c.complied or c.nature == "know":
        return declared(None, c.cites, "nobody had to be told")
    if not told_of:
        return unknown("nobody is stated to have been told; the log knows nobody who was given data", c.cites)
    return unknown("nobody is stated to have been told", c.cites)


def _done(c: Consumer, opt_outs: list[tuple[int, datetime]]) -> Cell:
    if c.erasures:
        value = [
            {
                "request": e.request,
                "state": e.state,
                "copies": sum(len(items(s.facts, "doomed")) for s in e.of("rewritten")),
                "told_to_tell": len(e.said("recipients")),
            }
            for e in c.erasures
        ]
        return observed(value, (index for e in c.erasures for index in e.cites))
    if c.request.kind == "opt-out":
        since = [index for index, at in opt_outs if at >= c.request.received_at]
        if since:
            return observed(
                {"batches_with_opt_outs_since": len(since)},
                since,
                "which of their records is this one the log does not hold",
            )
        return unknown("no opt-out was recorded in the consent ledger since it came", c.cites)
    if c.request.decision is None:
        return unknown(_UNANSWERED, c.cites)
    if not c.complied:
        return declared(None, c.cites, "nothing to carry out")
    return unknown("no evidence of its execution goes by its name", c.cites)


def _backups(c: Consumer) -> Cell:
    if c.request.kind == "erasure" and c.request.decision is None:
        return unknown(_UNANSWERED, c.cites)
    if c.request.kind != "erasure" or not c.complied:
        return declared(None, c.cites, "not a deletion that was granted")
    if not c.erasures:
        return unknown("no evidence of an erasure goes by its name", c.cites)
    confirmed = {e.request: e.destruction.get("confirmed") for e in c.erasures}
    cites = [index for e in c.erasures for index in e.cites]
    if all(said is True for said in confirmed.values()):
        return observed("unreadable: the keys are destroyed, as their provider confirms", cites)
    return observed(
        "deferred until restored or used: the provider has not confirmed that the keys are destroyed", cites
    )


def cited(consumers: Iterable[Consumer]) -> list[int]:
    """Every leaf of these requests."""
    return [index for c in consumers for index in c.cites]
