"""Register of consumers' requests and opt-out state: CCPA, 11 CCR 7101 and 7102.

First each request, then the figures of 7102 for each kind, then each purpose with its opt-outs. Requests are stated by
people; clocks are computed; what went out after an opt-out is what evidence shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from governance.audit.ccpa import opt_outs as ccpa_opt_outs
from governance.audit.ccpa import register as ccpa_register
from governance.audit.ccpa.register import NATURES, Consumer, Register
from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, remark
from governance.audit.declarations import items
from governance.audit.newest import newest_organisation, newest_policy, newest_support
from governance.audit.portions.ordered import in_order
from governance.audit.portions.spans import kept, looked_back, out_of_reach
from governance.audit.record import Draft, ReportKind, counted, listed
from governance.audit.trail import Trail
from governance.model.retention import Period as Span

KEPT = Span(months=24)
"""11 CCR 7101(a)."""

COLUMNS = (
    *ccpa_register.COLUMNS,
    Column(
        "figures",
        "Received, complied with in whole or in part, denied; days to the response",
        "11 CCR 7102(a)(1)",
    ),
    *ccpa_opt_outs.COLUMNS,
)


def draft(trail: Trail, asked: tuple[str, str] | None) -> Draft:
    """The register of the last 24 months, or of the period asked; clocks and opt-outs as of the trail's end."""
    period = looked_back(trail, asked, KEPT, "11 CCR 7101(a): kept for at least 24 months")
    register = ccpa_register.register(trail, period)
    purposes = ccpa_opt_outs.opt_outs(trail)
    batches = ccpa_opt_outs.batches(trail)
    told_of = _has_others(trail)
    recorded = [(b.index, b.at) for b in batches if b.opened and b.at is not None]
    policy_kept, enough = kept(trail, KEPT)
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({run.dataset for o in purposes for run in o.runs}),
            "purposes": [o.name for o in purposes if o.name != ccpa_opt_outs.EVERY],
            "contains": "Every request under the CCPA that the register in the log has: those received in the period, and "
            "earlier ones that were open in it. Opt-outs are those of the consent ledger, up to the log's end.",
        },
        period=period,
        columns=COLUMNS,
        rows=[
            *(ccpa_register.row_of(c, told_of, recorded) for c in register.inside),
            *([_figures(register)] if register.received else []),
            *(ccpa_opt_outs.row_of(o) for o in purposes),
        ],
        exceptions=[
            *_exceptions(register.inside, told_of),
            *_not_applied(register.inside, recorded),
            *ccpa_opt_outs.exceptions(purposes),
            *_kept_too_short(policy_kept, enough),
        ],
        unknowns=[
            *out_of_reach(trail, period, "Requests"),
            *_unreadable(register),
            *ccpa_opt_outs.unknowns(purposes),
        ],
        examined={
            "requests": register.every + register.other_regimes,
            "under_the_ccpa": register.every,
            "in_period": len(register.inside),
            "received_in_period": len(register.received),
            "other_regimes": register.other_regimes,
            "opt_outs_recorded": sum(b.opened for b in batches),
            "by_signal": sum(counts["gpc"] for b in batches for counts in b.counts.values()),
            "opt_ins_recorded": sum(counts["closed"] for b in batches for counts in b.counts.values()),
        },
        statements=(
            "A request goes by the name under which it is filed; who made it is not in the log. What people did for it is "
            "stated by them, not observed.",
            "Public holidays lengthen no clock here, so a deadline shown is never later than the law's.",
            "Whether a disclosure is a sale or sharing (Cal. Civ. Code 1798.140) is not decided here: every disclosure for "
            "a purpose that an opt-out stops is looked at.",
        ),
        supports=frozenset(
            (
                *newest_support(trail),
                *register.steps,
                *ccpa_opt_outs.supports(trail, purposes),
                *(proof.index for proof in (*trail.erasures, *trail.disclosures)),
                *(index for index, _ in trail.tombstones),
            )
        ),
    )


def _has_others(trail: Trail) -> bool:
    """Whether anybody else may hold data: a processor by the policy, or a recipient by evidence."""
    policy = newest_policy(trail)
    return bool(trail.disclosures or (policy and items(policy.organisation, "processors")))


def _figures(register: Register) -> Row:
    """The table of 7102(a)(1): one line a kind, also where there was none."""
    value = [
        {"nature": nature, **_counts([c for c in register.received if c.nature == nature])}
        for nature in dict.fromkeys(NATURES.values())
    ]
    cell = declared(value, ccpa_register.cited(register.received))
    return Row("figures", "Figures of all requests received in the period", {"figures": cell})


def _counts(same: list[Consumer]) -> dict[str, Any]:
    decisions = [c.request.decision for c in same]
    days = sorted(c.days for c in same if c.days is not None)
    half = len(days) // 2
    middle = days[half : half + 1] if len(days) % 2 else days[half - 1 : half + 1]
    return {
        "received": len(same),
        "complied_in_whole": decisions.count("granted"),
        "complied_in_part": decisions.count("partly-granted"),
        "denied": decisions.count("refused"),
        "withdrawn": decisions.count("withdrawn"),
        "open": decisions.count(None),
        "median_days": f"{sum(middle) / len(middle):.1f}" if middle else None,
        "mean_days": f"{sum(days) / len(days):.1f}" if days else None,
    }


def _exceptions(inside: list[Consumer], told_of: bool) -> Iterable[Remark]:
    for code, what, found in (
        (
            "request-overdue",
            "answered after it was due",
            [c for c in inside if c.late and c.request.decision],
        ),
        (
            "request-overdue",
            "not answered, and overdue",
            [c for c in inside if c.late and not c.request.decision],
        ),
        (
            "confirmation-late",
            "not confirmed within 10 business days of receipt (11 CCR 7021(a))",
            [c for c in inside if c.confirmed_late],
        ),
        (
            "denied-without-basis",
            "denied in whole or in part, and no basis is stated",
            [c for c in inside if c.denied and not c.request.reason and not c.request.holds],
        ),
        (
            "nobody-told",
            "complied with, and no service provider, contractor or third party is stated to have been told",
            [c for c in inside if told_of and c.complied and c.nature != "know" and not c.request.told],
        ),
        (
            "request-steps-conflict",
            "the register has steps that do not fit; the first stands",
            [c for c in inside if c.request.conflicting],
        ),
    ):
        for nature in dict.fromkeys(c.nature for c in found):
            same = [c for c in found if c.nature == nature]
            yield remark(
                code,
                f"{counted(len(same), 'request')} to {nature} ({listed(c.request.name for c in same)}): {what}.",
                ccpa_register.cited(same),
                basis=Basis.CONFLICTING if code == "request-steps-conflict" else Basis.DECLARED,
                count=len(same),
            )


def _not_applied(inside: list[Consumer], recorded: list[Any]) -> Iterable[Remark]:
    late = [
        c
        for c in inside
        if c.request.kind == "opt-out"
        and (c.complied or c.late)
        and not any(at >= c.request.received_at for _, at in recorded)
    ]
    if late:
        yield remark(
            "opt-out-not-applied",
            f"{counted(len(late), 'request')} to opt out ({listed(c.request.name for c in late)}), and the consent ledger "
            "recorded no opt-out since.",
            ccpa_register.cited(late),
            count=len(late),
        )


def _kept_too_short(policy_kept: Cell, enough: bool | None) -> Iterable[Remark]:
    if enough is False:
        yield remark(
            "kept-too-short",
            f"The policy lets bodies of the log be pruned before {KEPT} has passed (11 CCR 7101(a)).",
            policy_kept.cites,
            basis=Basis.DECLARED,
            count=1,
        )


def _unreadable(register: Register) -> Iterable[Remark]:
    if register.unreadable:
        yield remark(
            "request-unreadable",
            f"The meaning of {counted(len(register.unreadable), 'entry', 'entries')} in the register: no step of a request.",
            register.unreadable,
            basis=Basis.UNKNOWN,
        )


_ORDER = {
    "figures": (
        *("nature", "received", "complied_in_whole", "complied_in_part", "denied", "withdrawn", "open"),
        *("median_days", "mean_days"),
    ),
    "records": ("opened", "gpc", "ending", "closed"),
    "due": ("at", "state", "extended", "law"),
    "confirmed": ("by", "at", "late"),
}
"""Members in the order the law has them."""


_SAID = {
    "opened": "Opt-outs",
    "gpc": "Of which by signal",
    "ending": "Of which end by themselves",
    "closed": "Opt-ins",
    "median_days": "Median days",
    "mean_days": "Mean days",
}

REPORT = ReportKind(
    kind="ccpa-requests",
    title="Register of consumers' requests and opt-outs",
    law="California Consumer Privacy Act, Cal. Civ. Code 1798.100 ff.; 11 CCR 7101, 7102",
    template_version=1,
    takes_period=True,
    draft=draft,
    present=in_order(_ORDER, _SAID),
)
