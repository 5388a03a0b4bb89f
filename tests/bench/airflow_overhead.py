"""The whole group as Airflow runs it, against the same tasks doing nothing, and what a governed DAG file costs to parse.

``dag.test()`` runs each task with the task runner, templates, XCom, listeners and the OpenLineage provider's events
into the log, in this one process; the scheduler and a process for each task are left out of both sides alike.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.bench import dataset
from tests.bench.experiment import OUT, Call, Experiment, Figure, Floor, Goal, cpu, value_of, wall
from tests.bench.measuring import measure

GOVERNED = """
from airflow.sdk import DAG
from governance.airflow import governed_dataset

with DAG("{name}", schedule=None):
    governed_dataset("{contract}", purpose="{purpose}", source="{source}")
"""
EMPTY = """
from airflow.sdk import DAG, BaseOperator, TaskGroup

class Nothing(BaseOperator):
    def execute(self, context):
        return None

with DAG("{name}", schedule=None):
    with TaskGroup("group"):
        before = None
        for name in ("open", "classify", "consent", "protect", "validate", "approve", "release"):
            task = Nothing(task_id=name)
            if before is not None:
                before >> task
            before = task
"""


def group(rows: int, governed: bool) -> dict[str, Any]:
    """One run of the DAG, after one of an empty one has loaded what Airflow loads once."""
    root = _home(rows, "governed" if governed else "empty")
    folder = root / "dags"
    _write(folder, "first", EMPTY)
    _write(folder, "measured", GOVERNED if governed else EMPTY, root, rows)
    with _quiet():
        dags = _loaded(root, folder)
        _ran(dags["first"])
        result = measure(lambda: _ran(dags["measured"]))
    if governed and not list((root / "datasets" / dataset.NAME).glob("current.json")):
        raise AssertionError("a group that released nothing")
    shutil.rmtree(root)
    return result


def parse(rows: int) -> dict[str, Any]:
    """CPU seconds that a governed file costs more than a bare one, both parsed by Airflow with the policy in force.

    Every file is parsed in a child, as the DAG processor does it, and the contract is compiled anew the first time only.
    """
    root = _home(rows, "parse")
    folder = root / "dags"
    bare, governed = _write(folder, "bare", EMPTY), _write(folder, "governed", GOVERNED, root, rows)
    with _quiet():
        _environment(root, folder)
        from airflow.dag_processing.dagbag import DagBag

        DagBag(dag_folder=str(bare))
        # As Airflow's DAG processor does before it forks: else a file pays for a look through all that Airflow loaded.
        gc.collect()
        gc.freeze()
        first = _in_a_child(lambda: DagBag(dag_folder=str(governed)))
        spent = {
            name: sorted(_in_a_child(lambda file=file: DagBag(dag_folder=str(file))) for _ in range(5))[2]
            for name, file in (("bare", bare), ("governed", governed))
        }
    shutil.rmtree(root)
    more = spent["governed"] - spent["bare"]
    return {"cpu_s": more, "wall_s": 0.0, "peak_mib": 0.0, "first_s": first, "bare_s": spent["bare"]}


def _home(rows: int, name: str) -> Path:
    root = dataset.fresh_home(rows, False, f"airflow-{name}")
    (root / "contracts").mkdir()
    shutil.copy(root / f"{dataset.NAME}.odcs.yaml", root / "contracts")
    return root


def _write(folder: Path, name: str, text: str, root: Path | None = None, rows: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.py"
    source = str(dataset.source(rows)) if root else ""
    said = {
        "name": name,
        "contract": f"{dataset.NAME}.odcs.yaml",
        "purpose": dataset.PURPOSE,
        "source": source,
    }
    for word, value in said.items():
        text = text.replace(f"{{{word}}}", value)
    file.write_text(text)
    return file


def _environment(root: Path, folder: Path) -> None:
    from governance.airflow.environment import airflow_environment

    os.environ.update(airflow_environment(dataset.settings_at(root), folder))
    logging.disable(logging.CRITICAL)


def _loaded(root: Path, folder: Path) -> dict[str, Any]:
    _environment(root, folder)
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = BundleDagBag(dag_folder=str(folder), bundle_path=folder, bundle_name="dags-folder")
    if bag.import_errors:
        raise AssertionError(str(bag.import_errors))
    sync_bag_to_db(bag, "dags-folder", None)
    return dict(bag.dags)


def _ran(dag: Any) -> None:
    run = dag.test()
    if run.state != "success":
        raise AssertionError(f"{dag.dag_id} ended as {run.state}")


def _in_a_child(work: Any) -> float:
    """CPU seconds of the work in a fork of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(measure(lambda: work() and None)["cpu_s"]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        spent = answer.read()
    os.waitpid(child, 0)
    return float(spent)


@contextlib.contextmanager
def _quiet() -> Any:
    """Airflow's output is not the result that is read from the last line."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
    sys.stdout.flush()


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    made = []
    for size in [rows] if rows else [10_000, 100_000 if quick else 1_000_000]:
        name = f"airflow.group.{size // 1000}k"
        made.append(
            Experiment(
                name,
                Call("airflow_overhead:group", {"rows": size, "governed": True}),
                [
                    Figure(f"{name}.cpu", "s", cpu, floor=cpu, peer=cpu),
                    Figure(f"{name}.wall", "s", wall, floor=wall, peer=wall),
                ],
                floor=Floor(("copy", str(dataset.source(size)), str(OUT / "work" / "copy"))),
                peer=Call("airflow_overhead:group", {"rows": size, "governed": False}),
                before=[Call("dataset:make_home", {"rows": size})],
                pairs=3,
                context={"rows": size, "tasks": 7},
            )
        )
    made.append(
        Experiment(
            "airflow.parse",
            Call("airflow_overhead:parse", {"rows": 10_000}),
            [
                Figure("airflow.parse.more", "s", cpu, Goal("value", 0.1, unit="s")),
                Figure("airflow.parse.bare", "s", value_of("bare_s")),
                Figure("airflow.parse.first", "s", value_of("first_s")),
            ],
            before=[Call("dataset:make_home", {"rows": 10_000})],
            pairs=3,
        )
    )
    return made
