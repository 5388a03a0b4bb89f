"""When a DAG run ends, the scheduler tells the lineage how each try of each task ended.

Loaded by the plugin. It may never hold up or fail the scheduler: it reads what the scheduler has at hand and
leaves the sending to the OpenLineage provider's own process. What it fails to tell a reconciliation tells later.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from airflow.listeners import hookimpl

_log = logging.getLogger(__name__)


@hookimpl  # type: ignore[untyped-decorator]
def on_dag_run_success(dag_run: Any, msg: str) -> None:  # noqa: ARG001 - named by Airflow
    """A DAG run ended well."""
    _tell(dag_run)


@hookimpl  # type: ignore[untyped-decorator]
def on_dag_run_failed(dag_run: Any, msg: str) -> None:  # noqa: ARG001 - named by Airflow
    """A DAG run failed."""
    _tell(dag_run)


def _tell(dag_run: Any) -> None:
    try:
        from airflow.providers.openlineage import conf

        if conf.is_disabled():
            return
        from airflow.providers.openlineage.plugins.listener import (
            get_openlineage_listener,
            resolve_dag_emission_policy,
        )

        if resolve_dag_emission_policy(dag_run.dag_id, dag=dag_run.dag).emit:
            get_openlineage_listener().submit_callable(send, ended(dag_run))
    except Exception:
        _log.warning("the end of a DAG run could not be told to the lineage", exc_info=True)


def ended(dag_run: Any) -> Any:
    """What the scheduler knows of a DAG run that it just ended, read in its own transaction."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    from governance.airflow.reconciling import DagRunEnd, TaskTryEnd

    session = object_session(dag_run)
    found: list[TaskTryEnd] = []
    if session is None:
        raise LookupError("the DAG run is of no session")
    for table in (TaskInstanceHistory, TaskInstance):
        asked = select(table.task_id, table.map_index, table.try_number, table.state, table.pid).where(
            table.dag_id == dag_run.dag_id, table.run_id == dag_run.run_id
        )
        for task_id, map_index, try_number, state, pid in session.execute(asked):
            found.append(TaskTryEnd(task_id, map_index, try_number, state, pid is not None))
    # A try that was deferred stands in both; what the task instance says is newer.
    tries = {(one.task_id, one.map_index, one.try_number): one for one in found}
    return DagRunEnd(
        dag_run.dag_id,
        dag_run.run_id,
        dag_run.logical_date or dag_run.run_after,
        dag_run.end_date,
        str(dag_run.state),
        dag_run.clear_number,
        tuple(tries.values()),
    )


def send(end: Any) -> None:
    """In the provider's process: by its client, whose transport keeps what it cannot send."""
    from governance.airflow.reconciling import account

    _client().emit(account(end))


@cache
def _client() -> Any:
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter

    return OpenLineageAdapter().get_or_create_openlineage_client()
