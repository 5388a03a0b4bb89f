"""What the orchestrator says happened against what arrived, per DAG run.

Airflow's provider says nothing of tasks that were killed, that failed before they began, or that wait
for a failed one, and reports a skip as COMPLETE. Its DAG-level event carries the truth,
``airflowState.tasksState``. Where that event itself is missing, nothing can be concluded: *unknown*.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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

    ``expected`` counts the tasks that must have reported an end, ``received`` those that did, and
    ``missing`` says what did not arrive, by job name.
    """

    run_id: str
    job_namespace: str | None
    job_name: str | None
    verdict: Completeness
    expected: int
    received: int
    missing: tuple[str, ...]


_REPORTED = {"success": {"COMPLETE"}, "failed": {"FAIL", "ABORT"}}
_SILENT = frozenset({"skipped", "upstream_failed", "removed"})

DAG_RUNS = """
    SELECT r.run_id, r.job_namespace, r.job_name, f.body AS state
    FROM runs_at($as_of) r
    LEFT JOIN (
        FROM facets_at($as_of) WHERE scope = 'run' AND facet = 'airflowState'
    ) f ON f.run_id = r.run_id
    WHERE f.body IS NOT NULL
        OR EXISTS (FROM facets WHERE scope = 'run' AND facet = 'airflowDagRun' AND run_id = r.run_id
                   AND log_index < $as_of)
    UNION ALL
    SELECT DISTINCT t.parent_run_id, t.parent_job_namespace, t.parent_job_name, NULL
    FROM runs_at($as_of) t
    JOIN facets f ON f.run_id = t.run_id AND f.scope = 'run' AND f.facet = 'airflow' AND f.log_index < $as_of
    WHERE t.parent_run_id IS NOT NULL
        AND NOT EXISTS (FROM events e WHERE e.run_id = t.parent_run_id AND e.log_index < $as_of)
    ORDER BY ALL
"""
"""DAG runs with the orchestrator's last word, and those known only as their tasks' parent."""

TASK_RUNS = """
    SELECT parent_run_id, job_name, state FROM runs_at($as_of)
    WHERE parent_run_id IS NOT NULL AND job_name IS NOT NULL
    ORDER BY ALL
"""
"""What arrived of each task, one row a try and map index."""


def judge(
    dag_runs: Iterable[Mapping[str, Any]], task_runs: Iterable[Mapping[str, Any]]
) -> list[RunCompleteness]:
    """Compare :data:`DAG_RUNS` with :data:`TASK_RUNS`."""
    arrived: dict[str, dict[str, set[str]]] = {}
    for task in task_runs:
        arrived.setdefault(task["parent_run_id"], {}).setdefault(task["job_name"], set()).add(task["state"])
    return [_judged(run, arrived.get(run["run_id"], {})) for run in dag_runs]


def _judged(run: Mapping[str, Any], arrived: Mapping[str, set[str]]) -> RunCompleteness:
    states = _task_states(run["state"])
    if states is None:
        return _verdict(run, Completeness.UNKNOWN, 0, 0, ())
    expected, missing, unsure = 0, [], False
    for task, state in sorted(states.items()):
        job = f"{run['job_name']}.{task}"
        if state in _REPORTED:
            expected += 1
            if not arrived.get(job, set()) & _REPORTED[state]:
                missing.append(job)
        elif state not in _SILENT:
            unsure = True
    verdict = (
        Completeness.INCOMPLETE if missing else Completeness.UNKNOWN if unsure else Completeness.COMPLETE
    )
    return _verdict(run, verdict, expected, expected - len(missing), tuple(missing))


def _verdict(
    run: Mapping[str, Any], verdict: Completeness, expected: int, received: int, missing: tuple[str, ...]
) -> RunCompleteness:
    return RunCompleteness(
        run["run_id"], run["job_namespace"], run["job_name"], verdict, expected, received, missing
    )


def _task_states(facet: str | None) -> dict[str, str] | None:
    states = (json.loads(facet) or {}).get("tasksState") if facet else None
    if not isinstance(states, dict):
        return None
    return {task: str(state) for task, state in states.items()}
