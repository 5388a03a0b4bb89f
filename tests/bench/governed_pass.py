"""The governed pass whole, and its tasks each in a process of its own, against a plain copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.bench import dataset
from tests.bench.experiment import OUT, Call, Experiment, Figure, Floor, Goal, cpu, peak, value_of, wall
from tests.bench.measuring import measure

TASKS = ("classify", "consent", "protect", "validate", "release")


def whole(rows: int, denied_third: bool) -> dict[str, Any]:
    """``run_pass`` on a home that has released nothing: opening, all stages, release."""
    from governance.model.evidence import Stage
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import run_pass
    from governance.pipeline.workspace import Workspace

    root = dataset.fresh_home(rows, denied_third, "pass")

    def work() -> dict[str, Any]:
        workspace = Workspace.open(dataset.settings_at(root))
        result = run_pass(
            workspace,
            local_recorder(workspace, dataset.NAME, "bench"),
            contract_path=root / f"{dataset.NAME}.odcs.yaml",
            source=str(dataset.source(rows)),
            purpose=dataset.PURPOSE,
            run_id="bench",
        )
        counts = result.facts[Stage.PROTECT]
        return {key: counts[key] for key in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")}

    result = measure(work)
    expected = dataset.denied(rows) if denied_third else 0
    if (result["rows_in"], result["rows_denied"]) != (rows, expected):
        raise AssertionError(f"a pass that did not do the work: {result}")
    written = sum(f.stat().st_size for f in (root / "datasets").rglob("*.parquet"))
    shutil.rmtree(root)
    return {**result, "bytes_out": written}


def open_task(rows: int, denied_third: bool) -> dict[str, Any]:
    """The first task: pins source, contract, policy and position."""
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import open_pass
    from governance.pipeline.workspace import Workspace

    root = dataset.fresh_home(rows, denied_third, "tasks")

    def work() -> dict[str, Any]:
        workspace = Workspace.open(dataset.settings_at(root))
        reference = open_pass(
            workspace,
            local_recorder(workspace, dataset.NAME, "bench"),
            contract_path=root / f"{dataset.NAME}.odcs.yaml",
            source=str(dataset.source(rows)),
            purpose=dataset.PURPOSE,
            run_id="bench",
        )
        (root / "reference.json").write_text(json.dumps(reference.to_json()))
        return {}

    return _named(measure(work), "open")


def task(stage: str) -> dict[str, Any]:
    """A later task, resumed by reference in a new process, as Airflow runs it."""
    from governance.model.evidence import Stage
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import STEPS
    from governance.pipeline.step import RunReference, resume
    from governance.pipeline.workspace import Workspace

    root = Path(OUT / "work" / "tasks")

    def work() -> dict[str, Any]:
        workspace = Workspace.open(dataset.settings_at(root))
        reference = RunReference.from_json(json.loads((root / "reference.json").read_text()))
        context = resume(workspace, reference, local_recorder(workspace, dataset.NAME, "bench"))
        STEPS[Stage(stage)](context)
        return {}

    return _named(measure(work), stage)


def _named(result: dict[str, Any], stage: str) -> dict[str, Any]:
    return {**result, f"{stage}_cpu_s": result["cpu_s"], f"{stage}_wall_s": result["wall_s"]}


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    size = rows or (1_000_000 if quick else 10_000_000)
    floor = Floor(("copy", str(dataset.source(size)), str(OUT / "work" / "copy")))
    context = {"rows": size, "columns": 9}
    made = []
    for denied in (False, True):
        suffix = ".third_denied" if denied else ""
        arguments = {"rows": size, "denied_third": denied}
        made.append(
            Experiment(
                f"pass{suffix}",
                Call("governed_pass:whole", arguments),
                [
                    Figure(f"pass{suffix}.cpu", "s", cpu, Goal("ratio", 2.0), floor=cpu),
                    Figure(f"pass{suffix}.wall", "s", wall, Goal("ratio", 1.6), floor=wall),
                    Figure(f"pass{suffix}.memory", "MiB", peak, Goal("value", 1536, unit="MiB"), floor=peak),
                    Figure(f"pass{suffix}.written", "MB", value_of("bytes_out", 1e6)),
                ],
                floor=floor,
                before=[Call("dataset:make_home", arguments)],
                pairs=3,
                context=context,
            )
        )
    arguments = {"rows": size, "denied_third": False}
    made.append(
        Experiment(
            "tasks",
            [
                Call("governed_pass:open_task", arguments),
                *(Call("governed_pass:task", {"stage": s}) for s in TASKS),
            ],
            [
                Figure("tasks.cpu", "s", cpu, Goal("ratio", 3.0), floor=cpu),
                Figure("tasks.wall", "s", wall, floor=wall),
                Figure("tasks.memory", "MiB", peak, Goal("value", 1536, unit="MiB")),
                *(
                    Figure(f"tasks.{stage}.cpu", "s", value_of(f"{stage}_cpu_s"), floor=cpu)
                    for stage in ("open", *TASKS)
                ),
            ],
            floor=floor,
            before=[Call("dataset:make_home", arguments)],
            pairs=3,
            context=context,
        )
    )
    return made
