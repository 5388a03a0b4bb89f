"""What the orchestrator says happened against what arrived, per DAG run.

Airflow's provider says nothing of tasks that were killed, that failed before they began, or that wait
for a failed one, and reports a skip as COMPLETE. The truth is in its DAG-level event,
``airflowState.tasksState``, by task; and, where :mod:`governance.airflow.listener` or a reconciliation told it,
in ``airflowTaskTries``, by try and map index. Without either nothing can be concluded: *unknown*.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Completeness(StrEnum):
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RunCompleteness:
    """The verdict on one DAG run.

    ``expected`` counts the tasks, or their tries where the orchestrator told them, that must have reported an
    end, ``received`` those that did, and ``missing`` says what did not arrive, by job name. ``killed`` are those that
    began and failed without a word of their own: missing, or ended by the scheduler, which found them gone.
    ``skipped`` are the tasks that had nothing to report.
    """

    run_id: str
    job_namespace: str | None
    job_name: str | None
    verdict: Completeness
    expected: int
    received: int
    missing: tuple[str, ...]
    killed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


TRIES_FACET = "airflowTaskTries"
"""The run facet with each try of each task; :class:`~governance.lineage.facets.AirflowTaskTriesRunFacet`."""

_REPORTED = {"success": {"COMPLETE"}, "failed": {"FAIL", "ABORT"}}
_SILENT = frozenset({"skipped", "upstream_failed", "removed"})

DAG_RUNS = """
    SELECT r.run_id, r.job_namespace, r.job_name, f.body AS state, t.body AS tries
    FROM runs_at($as_of) r
    LEFT JOIN (
        FROM facets_at($as_of) WHERE scope = 'run' AND facet = 'airflowState'
    ) f ON f.run_id = r.run_id
    LEFT JOIN (
        FROM facets_at($as_of) WHERE scope = 'run' AND facet = 'airflowTaskTries'
    ) t ON t.run_id = r.run_id
    WHERE f.body IS NOT NULL OR t.body IS NOT NULL
        OR EXISTS (FROM facets WHERE scope = 'run' AND facet = 'airflowDagRun' AND run_id = r.run_id
                   AND log_index < $as_of)
    UNION ALL
    SELECT DISTINCT t.parent_run_id, t.parent_job_namespace, t.parent_job_name, NULL, NULL
    FROM runs_at($as_of) t
    JOIN facets f ON f.run_id = t.run_id AND f.scope = 'run' AND f.facet = 'airflow' AND f.log_index < $as_of
    WHERE t.parent_run_id IS NOT NULL
        AND NOT EXISTS (FROM events e WHERE e.run_id = t.parent_run_id AND e.log_index < $as_of)
    ORDER BY ALL
"""
"""DAG runs with the orchestrator's last word, and those known only as their tasks' parent."""

TASK_RUNS = """
    SELECT parent_run_id, run_id, job_name, state, EXISTS (
        FROM facets f WHERE f.run_id = r.run_id AND f.scope = 'run' AND f.facet = 'errorMessage'
            AND f.log_index < $as_of AND contains(f.body, 'reported that the task instance')
    ) AS found_gone
    FROM runs_at($as_of) r
    WHERE parent_run_id IS NOT NULL AND job_name IS NOT NULL
    ORDER BY ALL
"""
"""What arrived of each task, one row a try and map index; whether Airflow's scheduler said FAIL in its place."""


def judge(
    dag_runs: Iterable[Mapping[str, Any]], task_runs: Iterable[Mapping[str, Any]]
) -> list[RunCompleteness]:
    """Compare :data:`DAG_RUNS` with :data:`TASK_RUNS`."""
    arrived: dict[str, list[Mapping[str, Any]]] = {}
    for task in task_runs:
        arrived.setdefault(task["parent_run_id"], []).append(task)
    return [_judged(run, arrived.get(run["run_id"], [])) for run in dag_runs]


def _judged(run: Mapping[str, Any], arrived: Iterable[Mapping[str, Any]]) -> RunCompleteness:
    tries = _tries(run["tries"])
    if tries is not None:
        return _judged_by_try(run, tries, {task["run_id"]: task for task in arrived})
    states = _task_states(run["state"])
    if states is None:
        return _verdict(run, Completeness.UNKNOWN, 0, 0, ())
    seen: dict[str, set[str]] = {}
    gone = set()
    for one in arrived:
        seen.setdefault(one["job_name"], set()).add(one["state"])
        if one["found_gone"]:
            gone.add(one["job_name"])
    expected, missing, killed, skipped, unsure = 0, [], [], [], False
    for task, state in sorted(states.items()):
        job = f"{run['job_name']}.{task}"
        if state in _REPORTED:
            expected += 1
            if not seen.get(job, set()) & _REPORTED[state]:
                missing.append(job)
                if state == "failed" and job in seen:
                    killed.append(job)
            elif state == "failed" and job in gone:
                killed.append(job)
        elif state == "skipped":
            skipped.append(job)
        elif state not in _SILENT:
            unsure = True
    verdict = _of(missing, unsure)
    return _verdict(run, verdict, expected, expected - len(missing), missing, killed, skipped)


def _judged_by_try(
    run: Mapping[str, Any], tries: Iterable[Mapping[str, Any]], arrived: Mapping[str, Mapping[str, Any]]
) -> RunCompleteness:
    expected, missing, killed, skipped, unsure = 0, [], [], [], False
    for one in tries:
        state, index = one["state"], one["mapIndex"]
        job = f"{run['job_name']}.{one['task']}" + (f"[{index}]" if index >= 0 else "")
        if state == "skipped":
            skipped.append(job)
        elif state in _REPORTED:
            # What the scheduler itself calls a success, an empty operator, runs nowhere and reports nothing.
            if state == "success" and not one["ran"] and one["run"] not in arrived:
                continue
            expected += 1
            named = f"{job} try {one['try']}" if one["try"] > 1 or not one["last"] else job
            told = arrived.get(one["run"])
            ended = told is not None and told["state"] in _REPORTED[state]
            if not ended:
                missing.append(named)
            if state == "failed" and told is not None and (told["found_gone"] or not ended):
                killed.append(named)
        elif state not in _SILENT:
            unsure = True
    return _verdict(run, _of(missing, unsure), expected, expected - len(missing), missing, killed, skipped)


def _of(missing: Sequence[str], unsure: bool) -> Completeness:
    if missing:
        return Completeness.INCOMPLETE
    return Completeness.UNKNOWN if unsure else Completeness.COMPLETE


def _verdict(
    run: Mapping[str, Any],
    verdict: Completeness,
    expected: int,
    received: int,
    missing: Sequence[str],
    killed: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> RunCompleteness:
    return RunCompleteness(
        run["run_id"],
        run["job_namespace"],
        run["job_name"],
        verdict,
        expected,
        received,
        tuple(missing),
        tuple(killed),
        tuple(skipped),
    )


_TRY = {"task": str, "mapIndex": int, "try": int, "state": str, "run": str, "ran": bool, "last": bool}


def _tries(facet: str | None) -> list[dict[str, Any]] | None:
    """The facet's tries in order; None where it is missing or not what it should be: anybody may send one."""
    said = (json.loads(facet) or {}).get("tries") if facet else None
    if not isinstance(said, list) or not all(_is_try(one) for one in said):
        return None
    return sorted(said, key=lambda one: (one["task"], one["mapIndex"], one["try"]))


def _is_try(one: Any) -> bool:
    return isinstance(one, dict) and all(type(one.get(name)) is kind for name, kind in _TRY.items())


def _task_states(facet: str | None) -> dict[str, str] | None:
    states = (json.loads(facet) or {}).get("tasksState") if facet else None
    if not isinstance(states, dict):
        return None
    return {task: str(state) for task, state in states.items()}
