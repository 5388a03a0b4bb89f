"""What is amiss with runs of the governed pass: exceptions first, then what cannot be known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from governance.audit.cells import Basis, Remark, remark
from governance.audit.declarations import items, part
from governance.audit.portions.jobs import tasks_by_job
from governance.audit.record import counted
from governance.audit.trail import GovernedRun, Trail
from governance.model.evidence import Stage

_EVIDENT = (Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)


def run_exceptions(trail: Trail) -> Iterable[Remark]:
    """Runs that did not go as they should, each by itself; failed tasks by job."""
    for run in trail.runs:
        yield from _of_run(run)
    for job, tasks in tasks_by_job(trail.failed):
        codes = sorted({task.code for task in tasks if task.code})
        because = f" with {', '.join(codes)}" if codes else ""
        yield remark(
            "task-failed",
            f"{job} failed{because}: {counted(len(tasks), 'time')}.",
            (task.index for task in tasks),
            basis=Basis.DECLARED,
        )


def _of_run(run: GovernedRun) -> Iterable[Remark]:
    name = f"{run.dataset} {run.version}"
    if (proof := run.release("quarantined")) is not None:
        yield remark(
            "run-quarantined",
            f"{name} was quarantined: {_reasons(proof.facts)}",
            [run.opened.index, proof.index],
            count=1,
        )
    if run.state == "abandoned" and (proof := run.release("abandoned")) is not None:
        yield remark(
            "release-abandoned",
            f"{name} was about to be released and was given up: {_reasons(proof.facts)}",
            [run.opened.index, proof.index],
            count=1,
        )
    intended, released = run.release("intended"), run.release("released")
    if intended is not None and run.state == "intended":
        yield remark(
            "release-intended-only",
            f"{name} was about to be released and the log does not say that it was.",
            [run.opened.index, intended.index],
            count=1,
        )
    if released is None:
        return
    if released.facts.get("recovered") is True:
        yield remark(
            "release-recovered",
            f"{name} was published by a process that died before it said so; the next run recorded it.",
            [released.index],
        )
    if late := _number(released.facts.get("late_withdrawals")):
        yield remark(
            "late-withdrawals",
            f"{name}: {counted(late, 'subject')} withdrew between opening and release; the version was "
            "rewritten without them. The processing before that stays lawful (Art. 7(3)).",
            [run.opened.index, released.index],
            count=late,
        )
    yield from _of_released(run, name, released.index)


def _of_released(run: GovernedRun, name: str, released: int) -> Iterable[Remark]:
    consent, protect = run.stages.get(Stage.CONSENT), run.stages.get(Stage.PROTECT)
    backdated = _number(part(consent.facts if consent else {}, "backdated").get("subjects"))
    if consent is not None and backdated:
        yield remark(
            "backdated-consents",
            f"{name}: the consent of {counted(backdated, 'subject')} was recorded later than it was given; "
            "it counts from when it was recorded.",
            [consent.index],
            count=backdated,
        )
    if missing := [stage.value for stage in _EVIDENT if stage not in run.stages]:
        yield remark(
            "evidence-missing",
            f"{name} was released without evidence of {', '.join(missing)}.",
            [run.opened.index, released],
            count=len(missing),
        )
    validate = run.stages.get(Stage.VALIDATE)
    if validate is not None and validate.facts.get("success") is not True:
        yield remark(
            "released-invalid",
            f"{name} was released although its validation failed.",
            [validate.index, released],
            count=1,
        )
    if protect is not None and not _reconciles(protect.facts):
        yield remark(
            "counts-do-not-reconcile",
            f"{name}: rows read are not rows released, denied and quarantined together.",
            [protect.index],
        )


def run_unknowns(trail: Trail) -> Iterable[Remark]:
    """Runs that were opened and of which nothing tells how they ended."""
    unfinished = [run for run in trail.runs if run.state == "unfinished"]
    for dataset in sorted({run.dataset for run in unfinished}):
        same = [run for run in unfinished if run.dataset == dataset]
        yield remark(
            "run-unfinished",
            f"How {counted(len(same), 'run')} of {dataset} ended: opened, neither released nor quarantined.",
            (run.opened.index for run in same),
            basis=Basis.UNKNOWN,
        )


def _reasons(facts: Any) -> str:
    said = [part(reason) for reason in items(facts, "reasons")]
    return "; ".join(f"{r.get('code')} {r.get('message')}" for r in said) or "no reason is given"


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _reconciles(facts: Any) -> bool:
    counts = [facts.get(k) for k in ("rows_in", "rows_out", "rows_denied", "rows_quarantined")]
    if not all(isinstance(c, int) for c in counts):
        return False
    return bool(counts[0] == sum(counts[1:]))
