"""Runs one measured function in this process and prints what it cost, in the floors' own terms.

    python -m tests.bench.measuring MODULE:FUNCTION '{"argument": value}'

A measured function prepares what it needs and then calls :func:`measure` once around the work.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any


def measure(work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """CPU and wall seconds of this process (all its threads, no children) and its peak in MiB.

    Counted exactly as ``floors.py`` does, so that a ratio compares like with like.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    out = work() or {}
    spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    return {**spent, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **out}


def main() -> None:
    module, function = sys.argv[1].split(":")
    arguments = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    print(json.dumps(getattr(import_module(module), function)(**arguments)))


if __name__ == "__main__":
    main()
