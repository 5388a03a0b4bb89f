"""What Airflow says happened in a DAG run, told to the lineage: by its scheduler, or asked for afterwards.

The lineage's own events cannot say that one of them is missing. The account of a DAG run can: it names every
try of every task with its state and with the id under which its events go.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from governance.lineage.completeness import TRIES_FACET

_ENDED = ("success", "failed")
_PAGE = 100
_TIMEOUT = 30
_CLEARED = 20
"""How often a run may have been cleared: each time its events go under another id, and REST does not say which."""


@dataclass(frozen=True, slots=True)
class TaskTryEnd:
    """One try of a task as Airflow has it; ``map_index`` is -1 where unmapped."""

    task_id: str
    map_index: int
    try_number: int
    state: str | None
    ran: bool


@dataclass(frozen=True, slots=True)
class DagRunEnd:
    """A DAG run that ended. ``date`` is its logical date or, without one, when it was due to run."""

    dag_id: str
    run_id: str
    date: datetime
    ended_at: datetime
    state: str
    clear_number: int
    tries: tuple[TaskTryEnd, ...]


def account(end: DagRunEnd) -> Any:
    """The OpenLineage event (OTHER) that tells the lineage of a DAG run what Airflow knows of its tasks."""
    from airflow.providers.openlineage.conf import namespace
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

    from governance.lineage.facets import AirflowTaskTriesRunFacet
    from governance.pipeline.workspace import PRODUCER

    facet: Any = AirflowTaskTriesRunFacet
    last: dict[tuple[str, int], int] = {}
    for one in end.tries:
        key = one.task_id, one.map_index
        last[key] = max(one.try_number, last.get(key, 0))
    tries = [
        {
            "task": one.task_id,
            "mapIndex": one.map_index,
            "try": one.try_number,
            "state": str(one.state or "none"),
            "run": str(
                OpenLineageAdapter.build_task_instance_run_id(
                    dag_id=end.dag_id,
                    task_id=one.task_id,
                    try_number=one.try_number,
                    logical_date=end.date,
                    map_index=one.map_index,
                )
            ),
            "ran": one.ran,
            "last": last[one.task_id, one.map_index] == one.try_number,
        }
        for one in end.tries
    ]
    return RunEvent(
        eventType=RunState.OTHER,
        eventTime=end.ended_at.astimezone(UTC).isoformat(),
        producer=PRODUCER,
        run=Run(
            dag_run_lineage_id(end, end.clear_number),
            facets={TRIES_FACET: facet(tries=tries, producer=PRODUCER)},
        ),
        job=Job(namespace(), end.dag_id),
    )


def dag_run_lineage_id(end: DagRunEnd, clear_number: int) -> str:
    """The id under which the provider sends a DAG run's events; another one each time that it is cleared."""
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter

    made = OpenLineageAdapter.build_dag_run_id(
        dag_id=end.dag_id, logical_date=end.date, clear_number=clear_number
    )
    return str(made)


@dataclass(frozen=True, slots=True)
class AirflowRest:
    """Airflow's REST API, asked with a token that may read DAG runs and task instances."""

    url: str
    token: Callable[[], str]

    def ended(self, since: datetime) -> Iterator[DagRunEnd]:
        """The DAG runs that ended since then, with every try of their tasks, the earliest first.

        Raises:
            OSError: Airflow does not answer, or refuses.
        """
        asked = {"end_date_gte": since.isoformat(), "order_by": "end_date"}
        for run in self._all("/dags/~/dagRuns", "dag_runs", asked):
            if run["state"] in _ENDED:
                yield self._end(run)

    def _end(self, run: dict[str, Any]) -> DagRunEnd:
        path = (
            f"/dags/{quote(run['dag_id'], safe='')}/dagRuns/{quote(run['dag_run_id'], safe='')}/taskInstances"
        )
        tries: list[TaskTryEnd] = []
        for one in self._all(path, "task_instances", {}):
            index = -1 if one["map_index"] is None else one["map_index"]
            if one["try_number"] > 1:
                own = f"{path}/{quote(one['task_id'], safe='')}" + (f"/{index}" if index >= 0 else "")
                told = self._get(f"{own}/tries", {})["task_instances"]
                tries += [_try(before) for before in told if before["try_number"] != one["try_number"]]
            tries.append(_try(one))
        return DagRunEnd(
            run["dag_id"],
            run["dag_run_id"],
            datetime.fromisoformat(run["logical_date"] or run["run_after"]),
            datetime.fromisoformat(run["end_date"]),
            run["state"],
            0,
            tuple(tries),
        )

    def _all(self, path: str, name: str, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            found = self._get(path, {**asked, "limit": str(_PAGE), "offset": str(offset)})[name]
            yield from found
            offset += len(found)
            if len(found) < _PAGE:
                return

    def _get(self, path: str, asked: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url.rstrip('/')}/api/v2{path}?{urlencode(asked)}")  # noqa: S310
        request.add_header("Authorization", f"Bearer {self.token()}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - the operator's URL
            found: dict[str, Any] = json.load(answer)
        return found


def _try(one: dict[str, Any]) -> TaskTryEnd:
    index = -1 if one["map_index"] is None else one["map_index"]
    return TaskTryEnd(one["task_id"], index, one["try_number"], one["state"], one["pid"] is not None)


def reconcile(
    ended: Iterable[DagRunEnd],
    *,
    told: Collection[str],
    known: Collection[str],
    emit: Callable[[Any], object],
) -> list[str]:
    """Tell the lineage of the DAG runs whose account never arrived; it may be repeated.

    Args:
        ended: what Airflow says, e.g. :meth:`AirflowRest.ended`.
        told: the lineage ids of DAG runs whose account is in the log.
        known: the lineage ids of all DAG runs that the log knows, from their own events or their tasks'.
        emit: sends an event and raises when it was not kept.

    Returns:
        the lineage ids of the DAG runs told now.
    """
    done = []
    for end in ended:
        ids = [dag_run_lineage_id(end, clear_number) for clear_number in range(_CLEARED)]
        latest = max((number for number, one in enumerate(ids) if one in known), default=0)
        if ids[latest] not in told:
            event = account(DagRunEnd(**{**_fields(end), "clear_number": latest}))
            emit(event)
            done.append(ids[latest])
    return done


def main() -> None:
    """``URL TOKEN_FILE [HOURS]``: tell the log of the runs that ended in the last hours, 24 by default.

    Run it with Airflow's settings: the OpenLineage namespace is part of the ids.
    """
    import sys
    from contextlib import closing
    from pathlib import Path

    from governance.config import Settings
    from governance.lineage.index.index import Index
    from governance.lineage.transport import PROVIDER_PRINCIPAL, LogConfig, LogTransport
    from governance.pipeline.workspace import Workspace

    home, url, token = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    hours = float(sys.argv[4]) if len(sys.argv) > 4 else 24.0
    settings = Settings.from_environment(home=home)
    with closing(Workspace.open(settings).log) as log:
        index = Index.build(log)
        runs = index.completeness()
        told = index.query("SELECT DISTINCT run_id FROM facets WHERE facet = $facet", {"facet": TRIES_FACET})
        transport = LogTransport(LogConfig(store="", principal=PROVIDER_PRINCIPAL), log)
        done = reconcile(
            AirflowRest(url, lambda: token.read_text("utf-8").strip()).ended(
                datetime.now(UTC) - timedelta(hours=hours)
            ),
            told={row["run_id"] for row in told},
            known={run.run_id for run in runs},
            emit=transport.emit,
        )
    sys.stdout.write(f"{len(done)} DAG runs told\n")


def _fields(end: DagRunEnd) -> dict[str, Any]:
    return {name: getattr(end, name) for name in DagRunEnd.__slots__}


if __name__ == "__main__":
    main()
