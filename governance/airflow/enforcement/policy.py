"""Airflow's cluster policy: a DAG that breaks a rule is refused where it is parsed, with the reason."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.policies import hookimpl

if TYPE_CHECKING:
    from airflow.sdk import DAG


@hookimpl  # type: ignore[untyped-decorator]
def dag_policy(dag: DAG) -> None:
    """Refuse a DAG with violations.

    A DAG that declares no asset and uses no operator of ours costs an import and is left alone; so is every
    DAG of an Airflow that names no governance home and no governed asset.

    Raises:
        AirflowClusterPolicyViolation: the first violation in full, with its code and line, and how many more.
    """
    if not _concerned(dag):
        return
    from airflow.exceptions import AirflowClusterPolicyViolation

    from governance.airflow.connections import export_settings
    from governance.airflow.enforcement.known import Known
    from governance.airflow.enforcement.rules import violations
    from governance.config import Settings
    from governance.errors import GovernanceError

    export_settings(connections=False)
    try:
        every = violations(dag, Known(Settings.from_environment()))
    except GovernanceError as fault:
        if not _governed(dag):
            return
        raise AirflowClusterPolicyViolation(str(fault)) from None
    for finding in (finding for finding in every if finding.observed):
        logging.getLogger(__name__).warning("%s", finding)
    found = [finding for finding in every if not finding.observed]
    if found:
        more = f" (and {len(found) - 1} more: governance lint {dag.fileloc})" if len(found) > 1 else ""
        raise AirflowClusterPolicyViolation(f"{found[0]}{more}")


def _concerned(dag: DAG) -> bool:
    return any(t.inlets or t.outlets for t in dag.tasks) or _governed(dag)


def _governed(dag: DAG) -> bool:
    """Whether a DAG plainly is about governed data: our operators, or a ``gov:`` asset."""
    for task in dag.tasks:
        kind = task.operator_class if getattr(task, "is_mapped", False) else type(task)
        if any(base.__module__.startswith("governance.airflow") for base in kind.__mro__):
            return True
        for asset in (*task.inlets, *task.outlets):
            if str(getattr(asset, "uri", "")).startswith("gov:"):
                return True
    return False
