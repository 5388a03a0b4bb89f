"""The rewriting pass on Spark against the local one: what starting costs, what a row costs, from when it pays."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import dataset
from tests.bench.experiment import Call, Experiment, Figure, value_of

CORES = 16
"""The cluster that ``pays_from`` is computed for: executors' cores, all of them free."""


def both(rows: int) -> dict[str, Any]:
    """``protect`` of one run: locally, then on ``local[*]`` cold and again warm, in one process."""
    from governance.model.contract import Engine
    from governance.model.evidence import Stage
    from governance.pipeline.classify import classify
    from governance.pipeline.consent import consent
    from governance.pipeline.local import local_recorder
    from governance.pipeline.protect import protect
    from governance.pipeline.run import open_pass
    from governance.pipeline.spark.session import session
    from governance.pipeline.step import resume
    from governance.pipeline.workspace import Workspace

    root = dataset.fresh_home(rows, False, "spark")
    workspace = Workspace.open(dataset.settings_at(root))
    recorder = local_recorder(workspace, dataset.NAME, "bench")
    reference = open_pass(
        workspace,
        recorder,
        contract_path=root / f"{dataset.NAME}.odcs.yaml",
        source=str(dataset.source(rows)),
        purpose=dataset.PURPOSE,
        run_id="bench",
    )
    context = resume(workspace, reference, recorder)
    classify(context)
    consent(context)
    on_spark = replace(context, contract=replace(context.contract, engine=Engine.SPARK))
    local = _cost(lambda: protect(context))
    start = _cost(session)
    cold = _cost(lambda: protect(on_spark))
    warm = _cost(lambda: protect(on_spark))
    facts = on_spark.facts(Stage.PROTECT)
    if (facts["engine"], facts["rows_in"]) != ("spark", rows):
        raise AssertionError(f"a pass that did not do the work: {facts['engine']}, {facts['rows_in']}")
    shutil.rmtree(root)
    fixed = start["wall_s"] + max(cold["wall_s"] - warm["wall_s"], 0.0)
    # On a cluster the tasks' processor time is shared by its cores; the driver's own is not.
    saved = local["wall_s"] - warm["driver_s"] - warm["tasks_s"] / CORES
    return {
        **{name: local[name] for name in ("cpu_s", "wall_s")},
        "peak_mib": 0.0,
        "start_s": start["wall_s"],
        "first_s": max(cold["wall_s"] - warm["wall_s"], 0.0),
        "spark_wall_s": warm["wall_s"],
        "spark_us_a_row": 1e6 * (warm["driver_s"] + warm["tasks_s"]) / rows,
        "driver_us_a_row": 1e6 * warm["driver_s"] / rows,
        "local_us_a_row": 1e6 * local["cpu_s"] / rows,
        "pays_from": rows * fixed / saved if saved > 0 else float("inf"),
        "tasks": len(facts["segments"]),
    }


def _cost(work: Callable[[], object]) -> dict[str, float]:
    wall, own, others = time.perf_counter(), time.process_time(), _descendants_cpu()
    work()
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - own,
        "driver_s": time.process_time() - own,
        "tasks_s": _descendants_cpu() - others,
    }


def _descendants_cpu() -> float:
    """Processor seconds of all processes below this one, those that ended and were waited for included."""
    parents, spent = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            spent[int(folder.name)] = sum(map(int, fields[11:15]))
    below = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= new
    return sum(spent[pid] for pid in below - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    size = rows or (500_000 if quick else 10_000_000)
    return [
        Experiment(
            "spark",
            Call("spark_engine:both", {"rows": size}),
            [
                Figure("spark.start", "s", value_of("start_s")),
                Figure("spark.first_pass", "s", value_of("first_s")),
                Figure("spark.wall", "s", value_of("spark_wall_s"), peer=value_of("wall_s")),
                Figure("spark.cpu_per_row", "µs", value_of("spark_us_a_row")),
                Figure("spark.driver_cpu_per_row", "µs", value_of("driver_us_a_row")),
                Figure("spark.local_cpu_per_row", "µs", value_of("local_us_a_row")),
                Figure("spark.local_wall", "s", value_of("wall_s")),
                Figure(f"spark.pays_from_rows_{CORES}_cores", "M rows", value_of("pays_from", 1e6)),
            ],
            before=[Call("dataset:make_home", {"rows": size, "denied_third": False})],
            pairs=1,
            context={"rows": size, "columns": 9, "master": "local[*]", "cores": os.cpu_count()},
        )
    ]
