"""Kills Airflow's processes (SIGKILL) from within a governed task, once at each point. Imported by a DAG file.

A point is passed only once: a file of its name in ``KILLED_TASKS`` says that it was, before anything dies.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

FOLDER = "KILLED_TASKS"
SCHEDULER = "scheduler.pid"
POINTS = (
    "open after its evidence",
    "classify before its evidence",
    "consent after its evidence",
    "protect before its evidence",
    "validate with its worker",
    "release before the pointer",
    "release after the pointer",
)
"""The task dies; at ``validate`` its worker too, so that nobody reports it."""

SCHEDULER_DIES = "protect beside its scheduler"
"""The scheduler dies, and the task goes on."""


def once(point: str) -> bool:
    try:
        os.close(os.open(Path(os.environ[FOLDER], point), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die(point: str) -> None:
    if not once(point):
        return
    if point.endswith("with its worker"):
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_scheduler() -> None:
    if once(SCHEDULER_DIES):
        os.kill(int(Path(os.environ[FOLDER], SCHEDULER).read_text()), signal.SIGKILL)


def arm() -> None:
    """Put the points into this process."""
    from governance.lineage.recorder import OpenLineageRecorder
    from governance.storage.file import FileStorage

    record, swap = OpenLineageRecorder.record, FileStorage.swap_pointer

    def recording(self: Any, stage_record: Any, signer: Any) -> int:
        stage = str(stage_record.evidence.stage)
        passed = Path(os.environ[FOLDER], "protect before its evidence").exists()
        for point in POINTS:
            if point in (f"{stage} before its evidence", f"{stage} with its worker"):
                die(point)
        if stage == "protect" and passed:
            kill_scheduler()
        index = record(self, stage_record, signer)
        if f"{stage} after its evidence" in POINTS:
            die(f"{stage} after its evidence")
        return index

    def swapping(self: Any, *arguments: Any) -> None:
        die("release before the pointer")
        swap(self, *arguments)
        die("release after the pointer")

    OpenLineageRecorder.record = recording  # type: ignore[method-assign]
    FileStorage.swap_pointer = swapping  # type: ignore[method-assign]
