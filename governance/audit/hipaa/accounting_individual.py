"""Accounting of disclosures to one individual: 45 CFR 164.528, for whoever asked.

Whom a disclosure holds is not in the log: it is looked up in the membership that is kept of each disclosure, and asked of
the report by internal pseudonym, which leads nowhere once the vault's link is destroyed. So *that* a disclosure holds the
individual is declared; the rest is as in the log. Nobody else stands in it, employees included. What a suspension leaves
out (a)(2) is not asked of the report, and nothing here tells that there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from governance.audit.cells import Basis, Cell, Column, Remark, Row, declared, remark
from governance.audit.declarations import part
from governance.audit.hipaa.accounting import (
    COLUMNS as ACCOUNTING,
)
from governance.audit.hipaa.accounting import (
    Disclosed,
    accounted_period,
    judged,
    omitted,
    row,
    series,
    unreached,
    within,
)
from governance.audit.hipaa.accounting_text import present
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.record import Draft, ReportKind, counted, listed
from governance.audit.trail import Proof, Trail
from governance.model.statements import REQUEST

COLUMNS = (
    *(column for column in ACCOUNTING if column.key != "extent"),
    Column("held", "How it is known to concern you", "164.528(a)(1)"),
)

_LOOKED_UP = "looked up in the membership kept of the disclosure when the report was made; not in the log"


def draft(
    trail: Trail,
    asked: tuple[str, str] | None,
    subject: str = "",
    disclosures: Iterable[str] = (),
    unsure: Iterable[str] = (),
    request: str = "",
) -> Draft:
    """The accounting for the six years before the trail's end, or for the period asked.

    Args:
        subject: the internal pseudonym, in hexadecimal.
        disclosures: ids of those that hold the individual; ``unsure`` those of which it cannot be told.
        request: the accounting request's name in the register.
    """
    period = accounted_period(trail, asked)
    wanted, doubtful = set(disclosures), set(unsure)
    known = {str(p.facts.get("disclosure_id")): p for p in trail.disclosures}
    every = [judged(trail, proof) for name, proof in known.items() if name in wanted]
    inside = [d for d in every if within(d.proof, period)]
    rows = [d for d in inside if d.excluded is None]
    dark = [
        d
        for n, p in known.items()
        if n in doubtful and within(p, period) and not (d := judged(trail, p)).excluded
    ]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({str(d.proof.facts.get("dataset")) for d in inside}),
            "contains": "Disclosures by the egress step, in the period, that hold the individual. Disclosures made by "
            "other means are not in it.",
        },
        period=period,
        columns=COLUMNS,
        rows=[_row(d) for d in rows],
        exceptions=list(_exceptions(trail, wanted | doubtful, known, request)),
        unknowns=[*_unknowns(trail, subject, dark), *unreached(trail, period)],
        examined={
            "disclosures": len(every),
            "outside_period": len(every) - len(inside),
            "listed": len(rows),
            "excluded": len(inside) - len(rows),
            "membership_unknown": len(dark),
        },
        statements=(
            "Which disclosures hold the individual rests on the organisation's own look-up, not on the log.",
            "Where an official asked for it, the accounting of disclosures to a health oversight agency or to law "
            "enforcement may be suspended for a time (164.528(a)(2)).",
        ),
        supports=frozenset(
            [
                *newest_support(trail),
                *(index for d in (*every, *dark) for index in (d.proof.index, *d.supports)),
                *_opened(trail, request),
            ]
        ),
        extra={"series": series(rows), "omitted": omitted(inside)},
    )


def _row(d: Disclosed) -> Row:
    made = row(d)
    cells: dict[str, Cell] = {
        **made.cells,
        "held": declared("Your records are in it", [d.proof.index], _LOOKED_UP),
    }
    return Row(made.id, made.title, {column.key: cells[column.key] for column in COLUMNS})


def _opened(trail: Trail, request: str) -> list[int]:
    """Where the register has the request; later steps are not the individual's to know of."""
    stated = trail.statements.get(REQUEST, [])
    return [
        s.index
        for s in stated
        if request and (s.body.get("request"), s.body.get("step")) == (request, "opened")
    ][:1]


def _exceptions(trail: Trail, asked: set[str], known: dict[str, Proof], request: str) -> Iterator[Remark]:
    if strange := sorted(asked - known.keys()):
        yield remark(
            "disclosure-unknown",
            f"{listed(strange)} hold the individual, and the log has no such disclosure.",
            [trail.size - 1],
            basis=Basis.CONFLICTING,
            count=len(strange),
        )
    if request and not _opened(trail, request):
        yield remark(
            "request-unknown",
            f"The register of requests has no request {request}.",
            [trail.size - 1],
            count=1,
        )


def _unknowns(trail: Trail, subject: str, dark: list[Disclosed]) -> Iterator[Remark]:
    if not subject:
        yield remark(
            "subject-not-named",
            "Whose accounting this is: nobody was named, so nobody was looked up.",
            [trail.size - 1],
            basis=Basis.UNKNOWN,
            count=1,
        )
    by_recipient: dict[str, list[Disclosed]] = {}
    for d in dark:
        to = part(d.proof.facts, "recipient")
        by_recipient.setdefault(str(to.get("title") or to.get("name")), []).append(d)
    for name, same in sorted(by_recipient.items()):
        days = listed((str(d.proof.facts.get("disclosed_at"))[:10] for d in same), 8)
        yield remark(
            "membership-unknown",
            f"Whether {counted(len(same), 'disclosure')} to {name} ({days}) hold the individual: no membership of them can "
            "be asked.",
            (d.proof.index for d in same),
            basis=Basis.UNKNOWN,
        )


REPORT = ReportKind(
    kind="hipaa-528-individual",
    title="Accounting of disclosures to one individual",
    law="45 CFR 164.528 (HIPAA Privacy Rule)",
    template_version=1,
    takes_period=True,
    draft=draft,
    present=present,
    parameters=frozenset({"subject", "disclosures", "unsure", "request"}),
    personal=True,
)
