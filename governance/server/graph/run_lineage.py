"""From a run to the runs that made what it read, and so on, in Marquez's shape."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from governance.server.marquez.asking import Asking, Row, any_of, instant, unknown
from governance.server.marquez.runs import STATES

_RUNS = 10_000

# The version that stood when a run read is the last one written before its first event about it.
_INPUTS = """
    WITH read AS (
        SELECT run_id, namespace, name, min(log_index) AS log_index, min(rank) AS rank
        FROM run_io WHERE {runs} AND direction = 'input' AND log_index < $as_of AND {seen}
        GROUP BY ALL
    ), written AS (
        SELECT w.namespace, w.name, w.run_id, min(w.log_index) AS log_index
        FROM run_io w SEMI JOIN read USING (namespace, name)
        WHERE w.direction = 'output' AND w.run_id IS NOT NULL AND w.log_index < $as_of
        GROUP BY ALL
    )
    SELECT r.run_id, r.namespace, r.name, arg_max(w.run_id, w.log_index) AS produced_by
    FROM read r LEFT JOIN written w
        ON w.namespace = r.namespace AND w.name = r.name AND w.log_index < r.log_index AND w.run_id <> r.run_id
    GROUP BY ALL ORDER BY ALL
"""


def upstream_runs(ask: Asking, run_id: str, depth: int) -> list[Row]:
    """The run and those before it, nearest first: job, run and inputs of each.

    Raises:
        AccessError: GOV-612 when there is no such run, or the caller does not see its job.
    """
    seen: dict[str, Row] = {}
    inputs: dict[str, list[Row]] = defaultdict(list)
    level = [run_id]
    for distance in range(depth + 1):
        found = _runs(ask, level)
        if not distance and not found:
            raise unknown("run")
        seen |= found
        following: dict[str, None] = {}
        for row in _inputs(ask, list(found)) if found else []:
            inputs[row["run_id"]].append(row)
            if row["produced_by"] is not None and row["produced_by"] not in seen:
                following[row["produced_by"]] = None
        level = list(following)[: _RUNS - len(seen)]
        if not level:
            break
    return [_shape(row, inputs[run], seen) for run, row in seen.items()]


def _runs(ask: Asking, run_ids: list[str]) -> dict[str, Row]:
    condition, bound = any_of("run_id", run_ids, "run")
    rows = ask.rows(
        f"FROM runs_at($as_of) WHERE {condition} AND {ask.visible('job_namespace')} ORDER BY job_name, run_id",
        **bound,
    )
    return {row["run_id"]: row for row in rows}


def _inputs(ask: Asking, run_ids: list[str]) -> list[Row]:
    condition, bound = any_of("run_id", run_ids, "run")
    return ask.rows(_INPUTS.format(runs=condition, seen=ask.visible()), **bound)


def _shape(row: Row, inputs: list[Row], seen: dict[str, Any]) -> Row:
    return {
        "job": {"namespace": row["job_namespace"], "name": row["job_name"], "version": None},
        "run": {
            "id": row["run_id"],
            "start": instant(row["started_at"]),
            "end": instant(row["ended_at"]),
            "status": STATES[row["state"]],
        },
        "inputs": [
            {
                "namespace": each["namespace"],
                "name": each["name"],
                "version": None,
                # Of a run that the caller does not see, or that lies further back, nothing is said.
                "producedByRunId": each["produced_by"] if each["produced_by"] in seen else None,
            }
            for each in inputs
        ],
    }
