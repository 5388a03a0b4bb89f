"""The rules a DAG must keep. Each looks at declared things only and says what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governance.airflow.enforcement.assets import Touched, touched
from governance.airflow.enforcement.findings import Finding, line_of
from governance.airflow.enforcement.known import Known
from governance.airflow.group import STAGES
from governance.airflow.operators import (
    DiscloseOperator,
    GovernedOperator,
    GovernedStageOperator,
    OpenRunOperator,
)
from governance.airflow.transformation import GovernedTaskOperator
from governance.errors import GovernanceError

if TYPE_CHECKING:
    from airflow.sdk import DAG

_PARAMETER = re.compile(r"\s*\{\{\s*params\.(\w+)\s*\}\}\s*")
_STAGES = "write governed_dataset(CONTRACT, purpose=…, source=…): its release updates the asset"


def violations(dag: DAG, known: Known) -> list[Finding]:
    """What is wrong with a DAG, in the order of its lines; marked where the policy only observes the dataset.

    Args:
        dag: as parsing made it, before serialization.
        known: what contracts and policy say.
    """
    datasets, roots = known.datasets, known.roots
    found: list[tuple[str | None, Finding]] = []
    for task in dag.tasks:
        reads = list(touched(task.inlets, datasets, roots))
        writes = list(touched(task.outlets, datasets, roots))
        found += _doubtful(dag, task, [*reads, *writes])
        found += _written(dag, task, writes)
        found += _read(dag, task, reads)
        found += _about(None, _trained(dag, task, reads, writes))
        opens = _dataset(argument(task, "contract")) if issubclass(kind_of(task), OpenRunOperator) else None
        found += _about(opens, _permitted(dag, task, known))
    found += _stages(dag)
    observed = known.observed
    return sorted({replace(each, observed=dataset in observed) for dataset, each in found})


_Found = Iterator[tuple[str | None, Finding]]
"""Findings with the dataset that each is about; ``None`` where it is about none."""


def _about(dataset: str | None, found: Iterable[Finding]) -> _Found:
    return ((dataset, each) for each in found)


def _dataset(contract: object) -> str:
    """The dataset of a contract, by its file's name."""
    return str(contract).split("/")[-1].split(".")[0]


def _finding(dag: DAG, task: Any, code: str, message: str, remedy: str, *names: str) -> Finding:
    identity = "" if task is None else str(task.task_id)
    called = [*names, identity.rpartition(".")[2], dag.dag_id] if identity else [*names, dag.dag_id]
    return Finding(dag.fileloc, line_of(dag.fileloc, *called), dag.dag_id, identity, code, message, remedy)


def kind_of(task: Any) -> type:
    """The operator's class, of a mapped task too."""
    return task.operator_class if getattr(task, "is_mapped", False) else type(task)


def _is_stage(task: Any) -> bool:
    """Whether it runs a stage: a class of one's own that does something else in its place is none."""
    kind, stage = kind_of(task), GovernedStageOperator
    return issubclass(kind, stage) and (kind.execute, kind.step) == (stage.execute, stage.step)


def argument(task: Any, name: str) -> Any:
    """An argument of the task, of a mapped one what all instances share."""
    if getattr(task, "is_mapped", False):
        return task.partial_kwargs.get(name)
    return getattr(task, name, None)


def _doubtful(dag: DAG, task: Any, assets: Iterable[Touched]) -> _Found:
    for asset in assets:
        if asset.doubt:
            yield asset.dataset, _finding(
                dag, task, "GOV-642", f"asset {asset.shown}: {asset.doubt}",
                "name governed datasets with dataset_asset(NAME), others with an Asset that has a URI",
            )  # fmt: skip


def _written(dag: DAG, task: Any, writes: Iterable[Touched]) -> _Found:
    for asset in writes:
        if asset.dataset is None:
            continue
        if _is_stage(task) and argument(task, "stage") == "release":
            opening = _opening(task)
            contract = str(argument(opening, "contract")) if opening is not None else ""
            if opening is None or _dataset(contract) == asset.dataset:
                continue
            yield asset.dataset, _finding(
                dag, task, "GOV-641", f"the release of {contract} updates the asset of {asset.dataset}", _STAGES,
                contract,
            )  # fmt: skip
        else:
            yield asset.dataset, _finding(
                dag, task, "GOV-641", f"a task that is no release updates the governed dataset {asset.dataset}",
                _STAGES,
            )  # fmt: skip


def _read(dag: DAG, task: Any, reads: Iterable[Touched]) -> _Found:
    if issubclass(kind_of(task), GovernedOperator):
        return
    for asset in reads:
        if asset.governed:
            yield asset.dataset, _finding(
                dag, task, "GOV-641",
                f"a task without governance reads {asset.dataset or asset.model}",
                "write @task.governed(purpose=…, inputs=[…]), which decrypts for that purpose and logs the read",
            )  # fmt: skip


def _trained(dag: DAG, task: Any, reads: list[Touched], writes: list[Touched]) -> Iterator[Finding]:
    models = [asset.model for asset in writes if asset.model]
    for model in models:
        ungoverned = [asset.shown for asset in reads if not asset.governed]
        if ungoverned or not reads or not issubclass(kind_of(task), GovernedOperator):
            what = ", ".join(ungoverned) or "data it does not declare"
            yield _finding(
                dag, task, "GOV-644", f"model {model} is trained on {what}, which no stage classified",
                "release the data with governed_dataset first and train in @task.governed(inputs=[DATASET])",
            )  # fmt: skip


def _permitted(dag: DAG, task: Any, known: Known) -> Iterator[Finding]:
    kind = kind_of(task)
    if issubclass(kind, OpenRunOperator):
        contract = argument(task, "contract")
        allowed: frozenset[str] | None = None
        if isinstance(contract, str) and "{{" not in contract:
            try:
                allowed = frozenset(known.contract(contract).purposes)
            except GovernanceError as fault:
                yield _finding(
                    dag, task, fault.code, f"contract {contract}: {fault.message}", fault.remedy, contract
                )
        yield from _purposes(dag, task, known, allowed, f"contract {contract}")
    elif issubclass(kind, GovernedTaskOperator):
        yield from _purposes(dag, task, known, None, "")
    elif issubclass(kind, DiscloseOperator):
        recipient = argument(task, "recipient")
        try:
            recipients = known.policy.recipients
        except GovernanceError as fault:
            yield _finding(dag, task, fault.code, fault.message, fault.remedy)
            return
        for name in _values(dag, recipient):
            if name not in recipients:
                yield _finding(
                    dag, task, "GOV-601", f"recipient {name!r} is not in the policy",
                    _closest(name, recipients, "add it to the policy's recipients"), str(name),
                )  # fmt: skip
            else:
                yield from _purposes(dag, task, known, recipients[name], f"recipient {name}")


def _purposes(
    dag: DAG, task: Any, known: Known, allowed: frozenset[str] | None, who: str
) -> Iterator[Finding]:
    try:
        purposes = known.policy.purposes
    except GovernanceError as fault:
        yield _finding(dag, task, fault.code, fault.message, fault.remedy)
        return
    for purpose in _values(dag, argument(task, "purpose")):
        if purpose not in purposes:
            yield _finding(
                dag, task, "GOV-104", f"purpose {purpose!r} is not in the policy",
                _closest(purpose, purposes, "add it to the policy's purposes"), purpose,
            )  # fmt: skip
        elif allowed is not None and purpose not in allowed:
            yield _finding(
                dag, task, "GOV-104", f"{who} does not allow the purpose {purpose!r}",
                f"choose one of {', '.join(sorted(allowed)) or 'none'}, or change what allows it", purpose,
            )  # fmt: skip


def _values(dag: DAG, given: Any) -> Iterator[str]:
    """What an argument can become, as far as the file says: itself, or the choices of a DAG parameter.

    Nothing for another template: the run's opening checks it.
    """
    if not isinstance(given, str):
        return
    if match := _PARAMETER.fullmatch(given):
        parameter = dag.params.get_param(match[1]) if match[1] in dag.params else None
        choices = (parameter.schema.get("enum") or [parameter.value]) if parameter is not None else []
        yield from (str(choice) for choice in choices if choice is not None)
    elif "{{" not in given and "{%" not in given:
        yield given


def _closest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"write {near[0]!r}" if near else otherwise


def _opening(task: Any) -> Any:
    """The task that opened the run a stage works on; ``None`` where the reference is no task's."""
    operator = getattr(argument(task, "reference"), "operator", None)
    return operator if operator is not None and issubclass(kind_of(operator), OpenRunOperator) else None


def _stages(dag: DAG) -> _Found:
    """Every opened run has every stage once, in order, each only after the one before succeeded."""
    steps: dict[str, dict[str, Any]] = {
        t.task_id: {"open": t} for t in dag.tasks if issubclass(kind_of(t), OpenRunOperator)
    }
    for task in dag.tasks:
        if not _is_stage(task):
            continue
        opening, stage = _opening(task), str(argument(task, "stage"))
        if opening is None:
            yield None, _finding(
                dag, task, "GOV-643", f"{stage} works on a run that no task of this DAG opened",
                "hand it the output of the group's own open task, or use governed_dataset",
            )  # fmt: skip
        elif stage in steps[opening.task_id]:
            yield (
                _dataset(argument(opening, "contract")),
                _finding(
                    dag,
                    task,
                    "GOV-643",
                    f"{stage} stands twice on one run",
                    "leave one; or use governed_dataset",
                ),
            )
        else:
            steps[opening.task_id][stage] = task
    for opened in steps.values():
        missing = [stage for stage in STAGES if stage not in opened]
        contract = str(argument(opened["open"], "contract"))
        if missing:
            yield _dataset(contract), _finding(
                dag, opened["open"], "GOV-643", f"the run of {contract} has no {', '.join(missing)}",
                "use governed_dataset, which has every stage", contract,
            )  # fmt: skip
            continue
        for before, after in zip(("open", *STAGES), STAGES, strict=False):
            task = opened[after]
            if opened[before].task_id not in task.get_flat_relative_ids(upstream=True):
                yield _dataset(contract), _finding(
                    dag, task, "GOV-643", f"{after} does not wait for {before}",
                    f"make it downstream of {before}; or use governed_dataset", contract,
                )  # fmt: skip
            rule = getattr(task.trigger_rule, "value", task.trigger_rule)
            if rule not in ("all_success", "none_failed"):
                yield _dataset(contract), _finding(
                    dag, task, "GOV-643", f"{after} runs with trigger rule {rule}",
                    "leave its trigger rule: a stage runs only after the one before succeeded", contract,
                )  # fmt: skip
