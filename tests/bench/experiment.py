"""What a benchmark is, and how it is run: each side in a process of its own, interleaved in pairs.

Nothing heavy is imported here: a child inherits its parent's peak of memory.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out" / "bench"

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A function of a bench module and its arguments; JSON, because it crosses to a process."""

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def command(self) -> list[str]:
        return [
            "-m",
            "tests.bench.measuring",
            f"tests.bench.{self.function}",
            json.dumps(dict(self.arguments)),
        ]


@dataclass(frozen=True)
class Floor:
    """A floor of ``floors.py`` by its command line."""

    arguments: Sequence[str]

    def command(self) -> list[str]:
        return [str(ROOT / "tests" / "bench" / "floors.py"), *self.arguments]


@dataclass(frozen=True)
class Goal:
    """A limit on a figure's ``value``, on its ``ratio`` to the floor or on its ``advantage`` over the peer."""

    on: str
    limit: float
    at_most: bool = True
    unit: str = ""

    def __str__(self) -> str:
        what = {"ratio": "× floor", "advantage": "× peer"}.get(self.on, self.unit)
        return f"{'≤' if self.at_most else '≥'} {self.limit:,.10g} {what}".strip()

    def holds(self, value: float | None) -> bool | None:
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True)
class Figure:
    """One line of the table: how to read it from a side's result. ``peer`` defaults to ``read``."""

    name: str
    unit: str
    read: Callable[[Result], float]
    goal: Goal | None = None
    floor: Callable[[Result], float] | None = None
    peer: Callable[[Result], float] | None = None


@dataclass(frozen=True)
class Experiment:
    """Sides that are run one after the other, so many times, and the figures read from them.

    ``before`` runs once, unmeasured: it makes the data. ``context`` states sizes.
    """

    name: str
    ours: Call | Sequence[Call]
    figures: Sequence[Figure]
    floor: Call | Floor | None = None
    peer: Call | None = None
    before: Sequence[Call] = ()
    pairs: int = 3
    peer_runs: int = 1
    context: Mapping[str, Any] = field(default_factory=dict)


class SideFailed(Exception):
    """A side exited with an error; its standard error is the message."""


def run_side(side: Call | Floor | Sequence[Call]) -> dict[str, Any]:
    """Run a side in a fresh process. Several calls are several processes whose costs add up."""
    if not isinstance(side, Call | Floor):
        parts = [run_side(call) for call in side]
        merged: dict[str, Any] = {}
        for part in parts:
            merged.update(part)
        merged["cpu_s"] = sum(p["cpu_s"] for p in parts)
        merged["wall_s"] = sum(p["wall_s"] for p in parts)
        merged["peak_mib"] = max(p["peak_mib"] for p in parts)
        return merged
    scratch = OUT / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    # The floors use the system's temporary directory: both sides write to the same disk.
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *side.command()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SideFailed(done.stderr.strip()[-1500:] or f"exit {done.returncode}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def run(experiment: Experiment, seconds: float = math.inf) -> list[dict[str, Any]]:
    """Run an experiment and return its lines: medians of the sides, medians of the ratios of the pairs.

    A further pair is begun only where it should end within ``seconds`` of the first one's beginning.
    """
    for call in experiment.before:
        run_side(call)
    ours: list[Result] = []
    floors: list[Result] = []
    begun = time.monotonic()
    for number in range(experiment.pairs):
        if number and (time.monotonic() - begun) * (number + 1) / number > seconds:
            break
        # The order alternates, so that neither side always finds the caches the other one left.
        order = ["ours", "floor"] if number % 2 else ["floor", "ours"]
        for each in order:
            if each == "ours":
                ours.append(run_side(experiment.ours))
            elif experiment.floor is not None:
                floors.append(run_side(experiment.floor))
    peers = [run_side(experiment.peer) for _ in range(experiment.peer_runs)] if experiment.peer else []
    return [_line(figure, experiment, ours, floors, peers) for figure in experiment.figures]


def _line(
    figure: Figure,
    experiment: Experiment,
    ours: Sequence[Result],
    floors: Sequence[Result],
    peers: Sequence[Result],
) -> dict[str, Any]:
    values = [figure.read(r) for r in ours]
    value = statistics.median(values)
    floor = ratio = peer = advantage = None
    spread: list[float] = values
    if figure.floor is not None and floors:
        floor_values = [figure.floor(r) for r in floors]
        floor = statistics.median(floor_values)
        spread = [mine / theirs for mine, theirs in zip(values, floor_values, strict=True)]
        ratio = statistics.median(spread)
    if peers and figure.peer is not None:
        peer = statistics.median([figure.peer(r) for r in peers])
        advantage = value / peer if figure.unit.endswith("/s") else peer / value
    judged = {"value": value, "ratio": ratio, "advantage": advantage}
    return {
        "name": figure.name,
        "value": value,
        "unit": figure.unit,
        "floor": floor,
        "peer": peer,
        "ratio": ratio,
        "spread": [min(spread), max(spread)],
        "goal": str(figure.goal) if figure.goal else None,
        "holds": figure.goal.holds(judged[figure.goal.on]) if figure.goal else None,
        "context": {**experiment.context, "runs": len(values)},
    }


def cpu(result: Result) -> float:
    return float(result["cpu_s"])


def wall(result: Result) -> float:
    return float(result["wall_s"])


def peak(result: Result) -> float:
    return float(result["peak_mib"])


def per_cpu_second(key: str, scale: float = 1.0) -> Callable[[Result], float]:
    """``result[key]`` a second of CPU, in units of ``scale``."""
    return lambda result: float(result[key]) / float(result["cpu_s"]) / scale


def per_second(key: str, scale: float = 1.0) -> Callable[[Result], float]:
    """``result[key]`` a second of wall time, in units of ``scale``."""
    return lambda result: float(result[key]) / float(result["wall_s"]) / scale


def value_of(key: str, scale: float = 1.0) -> Callable[[Result], float]:
    return lambda result: float(result[key]) / scale
