"""What a certificate of erasure has to say first: what departs from the law or the policy, and what nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

from governance.audit.cells import Basis, Remark, remark
from governance.audit.coverage import Coverage, coverage
from governance.audit.declarations import items, part
from governance.audit.gdpr.art17_request import Erasure, count_of
from governance.audit.record import counted, listed
from governance.lineage.reading import instant_of


def exceptions(e: Erasure) -> Iterable[Remark]:
    """The exceptions of a request."""
    name = f"Request {e.request}"
    asked = e.asked
    if asked is None:
        yield remark(
            "erasure-not-proven",
            f"{name} has a tombstone in the log and no step of it is proven.",
            e.cites,
            basis=Basis.DECLARED,
            count=1,
        )
        return
    if asked.facts.get("subjects") and (
        e.tombstone is None or asked.facts.get("tombstone") != e.tombstone[0]
    ):
        yield remark(
            "tombstone-missing",
            f"{name}: the tombstone its evidence names is not in the log.",
            e.cites,
            count=1,
        )
    due = instant_of(asked.facts.get("due_at"))
    end = instant_of(e.ended.received_at if e.ended else e.trail.last_received)
    if due and end and end > due:
        said = "was finished after" if e.ended else "is not finished and is past"
        yield remark(
            "erasure-late",
            f"{name} {said} the policy's time limit.",
            [asked.index, *([e.ended.index] if e.ended else [])],
            count=1,
        )
    last = e.of("searched")[-1:]
    if last and count_of(last[0], "found"):
        yield remark(
            "subjects-found",
            f"{name}: subjects were still found in {counted(count_of(last[0], 'found'), 'listed place')}.",
            [last[0].index],
            count=count_of(last[0], "found"),
        )
    for step in e.of("destroyed"):
        if (rest := count_of(step, "keys") - count_of(step, "refused")) > 0:
            yield remark(
                "key-still-opens",
                f"{name}: {counted(rest, 'destroyed key')} still opened.",
                [step.index],
                count=rest,
            )
    for step, run in e.runs():
        if run is None or run.release("released") is None:
            yield remark(
                "rewritten-not-released",
                f"{name}: the version of {step.facts.get('dataset')} written without the subjects was not released.",
                [step.index],
                count=1,
            )
    if again := e.replayed():
        yield remark(
            "tombstone-replayed",
            f"{name}: a subject vault from before it was found, as a backup brings one back, and was brought up to it "
            "before anything was read.",
            again,
        )
    yield from _copies(e, coverage(e.trail))
    if e.held:
        holds = [part(h) for h in items((e.ended or asked).facts, "holds")]
        grounds = listed(str(h.get("ground")) for h in holds) or "a legal hold"
        yield remark(
            "erasure-held",
            f"{name}: rows of {counted(e.held, 'subject')} are kept, restricted (Art. 18): {grounds}.",
            [(e.ended or asked).index],
            basis=Basis.DECLARED,
            count=e.held,
        )


def _copies(e: Erasure, found: Coverage) -> Iterable[Remark]:
    """Copies that were found where this erasure did not reach."""
    name = f"Request {e.request}"
    if found.index is None:
        return
    touched = {str(said.get("dataset")) for said in e.said("datasets")}
    if number := found.copies(touched):
        yield remark(
            "coverage-gap",
            f"{name}: {counted(number, 'file')} of {listed(touched)} lie outside the pipeline, where nothing was erased.",
            [found.index],
            count=number,
        )
    if e.request in items(found.said, "wrapped_keys"):
        yield remark(
            "key-backup-found",
            f"{name}: a backup of its destroyed keys exists, sealed: what they opened is not erased.",
            [found.index],
            count=1,
        )


def unknowns(e: Erasure) -> Iterable[Remark]:
    """The unknowns of a request."""
    if e.asked is None:
        return
    name, cite = f"request {e.request}", [e.asked.index]
    if e.state == "pending":
        reasons = listed(str(p) for p in items(e.destruction, "pending"))
        yield remark(
            "destruction-pending",
            f"Whether the keys of {name} are destroyed at the provider: {reasons or 'not confirmed'}.",
            [e.of("destroyed")[-1].index],
            basis=Basis.UNKNOWN,
        )
    names = {str(r.get("recipient")) for r in e.said("recipients")}
    if names:
        yield remark(
            "recipients-not-told",
            f"Whether {listed(names)} were told of {name} and erased what they hold (Art. 19).",
            cite,
            basis=Basis.UNKNOWN,
            count=len(names),
        )
    if derived := e.said("derived"):
        yield remark(
            "derived-not-erased",
            f"What {listed(str(d.get('name')) for d in derived)} keep of the subjects of {name}: models have to be "
            "trained again, datasets made again.",
            cite,
            basis=Basis.UNKNOWN,
            count=len(derived),
        )
