"""Runs DAGs through Airflow's own machinery, in this process: ``python -m governance.airflow.rehearse``.

``dag.test()`` runs every task with the task runner, XCom, templates, assets, listeners and the
OpenLineage provider; what it leaves out is the scheduler. A process of its own, because Airflow reads
its environment once, at import.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from governance.airflow.environment import airflow_environment
from governance.config import Settings


def rehearse(folder: str, dag_ids: list[str]) -> dict[str, dict[str, str]]:
    """Run each DAG of a folder once and return the state of every task; stop at the first failure.

    Raises:
        RuntimeError: a DAG file does not import, or a DAG is not there.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = BundleDagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="dags-folder")
    if bag.import_errors:
        raise RuntimeError("\n".join(f"{file}: {text}" for file, text in bag.import_errors.items()))
    sync_bag_to_db(bag, "dags-folder", None)
    states = {}
    for dag_id in dag_ids:
        dag = bag.dags.get(dag_id)
        if dag is None:
            raise RuntimeError(f"no DAG {dag_id} in {folder}")
        run = dag.test()
        states[dag_id] = {
            "dag": str(run.state),
            **{i.task_id: str(i.state) for i in run.get_task_instances()},
        }
        if run.state != "success":
            break
    return states


def main() -> None:
    """``rehearse DAGS_FOLDER DAG_ID…``: print the states last; exit 1 unless all succeeded."""
    folder, *dag_ids = sys.argv[1:]
    os.environ.update(airflow_environment(Settings.from_environment(), Path(folder)))
    logging.captureWarnings(True)
    states = rehearse(folder, dag_ids)
    sys.stdout.write("\n" + json.dumps(states) + "\n")
    sys.exit(0 if [s["dag"] for s in states.values()] == ["success"] * len(dag_ids) else 1)


if __name__ == "__main__":
    main()
