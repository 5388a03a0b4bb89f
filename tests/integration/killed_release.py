"""Releases a validated version in a process of its own that is killed (SIGKILL) at the named point.

python killed_release.py HOME VERSION ATTEMPT POINT
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from governed_home import Home

from governance.lineage.recorder import OpenLineageRecorder
from governance.pipeline.release import release
from governance.pipeline.step import RunReference
from governance.storage.file import FileStorage

POINTS = (
    "before intended",
    "after intended",
    "before the swap",
    "after the swap",
    "after released",
    "before the marker",
    "after the marker",
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    record, swap, write = OpenLineageRecorder.record, FileStorage.swap_pointer, FileStorage.write

    def recording(self: Any, stage_record: Any, signer: Any) -> int:
        state = stage_record.evidence.facts.get("state")
        if point == f"before {state}":
            die()
        index = record(self, stage_record, signer)
        if point == f"after {state}":
            die()
        return index

    def swapping(self: Any, *arguments: Any) -> None:
        if point == "before the swap":
            die()
        swap(self, *arguments)
        if point == "after the swap":
            die()

    def writing(self: Any, relative: str, data: bytes) -> None:
        marker = relative.endswith(".released.json")
        if point == "before the marker" and marker:
            die()
        write(self, relative, data)
        if point == "after the marker" and marker:
            die()

    OpenLineageRecorder.record = recording  # type: ignore[method-assign]
    FileStorage.swap_pointer = swapping  # type: ignore[method-assign]
    FileStorage.write = writing  # type: ignore[method-assign]


def killed(home: str, reference: RunReference, point: str) -> int:
    """Release in a child; returns the signal that ended it."""
    child = os.fork()
    if not child:
        arm(point)
        release(Home(Path(home)).resumed(reference))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


if __name__ == "__main__":
    version, attempt, *homes = sys.argv[1:]
    reference = RunReference("customer_profiles", version, attempt)
    ends = [killed(home, reference, point) for home, point in zip(homes, POINTS, strict=True)]
    sys.exit(set(ends) != {signal.SIGKILL})
