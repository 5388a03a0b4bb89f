"""Measure against the floors: ``python -m tests.bench [--quick] [--only NAME] [--rows N]``.

Writes ``out/bench.json`` after each experiment, keeping the figures that were not measured this time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import (
    airflow_overhead,
    classification,
    column_scores,
    consent_index,
    emission,
    erasure,
    governed_pass,
    ingest,
    learned_scores,
    lineage_graph,
    lineage_index,
    log_keep,
    log_store,
    membership,
    propagation,
    protection,
    reports,
    spark_engine,
    subject_vault,
    validation,
)
from tests.bench.experiment import ROOT, Experiment, SideFailed, run

FILE = ROOT / "out" / "bench.json"
QUICK_SECONDS = 8.0
"""What the pairs of one experiment may take at quick size: some fifty experiments have ten minutes."""


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a PostgreSQL server while the benchmarks run; none where it cannot be started."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.postgres_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield (server.stdout.readline().strip() if server.stdout else "") or None
    finally:
        server.communicate()


def everything(quick: bool, rows: int | None, dsn: str | None) -> list[Experiment]:
    return [
        *log_store.experiments(quick, rows, dsn),
        *log_keep.experiments(quick),
        *emission.experiments(quick),
        *lineage_graph.experiments(quick),
        *propagation.experiments(quick),
        *lineage_index.experiments(quick),
        *ingest.experiments(quick, rows, dsn),
        *consent_index.experiments(quick, rows),
        *subject_vault.experiments(quick, rows, dsn),
        *protection.experiments(quick, rows),
        *erasure.experiments(quick, rows),
        *membership.experiments(quick),
        *reports.experiments(quick),
        *classification.experiments(quick, rows),
        *column_scores.experiments(quick),
        *learned_scores.experiments(quick),
        *validation.experiments(quick, rows),
        *governed_pass.experiments(quick, rows),
        *spark_engine.experiments(quick, rows),
        *airflow_overhead.experiments(quick, rows),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; all of it under ten minutes")
    parser.add_argument("--only", metavar="NAME", action="append", help="experiments whose name begins so")
    parser.add_argument("--rows", type=int, help="rows of the datasets, in place of the usual size")
    parser.add_argument("--pairs", type=int, help="runs of each side, in place of the usual number")
    parser.add_argument("--list", action="store_true", help="name the experiments and stop")
    parser.add_argument("--markdown", action="store_true", help="print out/bench.json as a table and stop")
    asked = parser.parse_args()

    def wanted(name: str) -> bool:
        return not asked.only or any(name.startswith(prefix) for prefix in asked.only)

    if asked.list:
        print(*(e.name for e in everything(asked.quick, asked.rows, "postgresql://")), sep="\n")
        return 0
    if asked.markdown:
        print(markdown(json.loads(FILE.read_text("utf-8"))))
        return 0
    failed = False
    with postgres() as dsn:
        for experiment in everything(asked.quick, asked.rows, dsn):
            if not wanted(experiment.name):
                continue
            if asked.pairs:
                experiment = _with_pairs(experiment, asked.pairs)
            begun, load = time.monotonic(), os.getloadavg()[0]
            try:
                lines = run(experiment, QUICK_SECONDS if asked.quick and not asked.pairs else math.inf)
            except SideFailed as fault:
                failed = True
                print(f"{experiment.name}: failed\n{fault}", file=sys.stderr)
                continue
            for line in lines:
                line["context"]["load_before"] = round(load, 2)
                print(shown(line), flush=True)
            keep(FILE, lines)
            print(f"{'':34} {time.monotonic() - begun:.0f} s", flush=True)
    return int(failed)


def _with_pairs(experiment: Experiment, pairs: int) -> Experiment:
    from dataclasses import replace

    return replace(experiment, pairs=pairs)


def keep(file: Path, lines: list[dict[str, Any]]) -> None:
    """Put the lines in the place of older ones of the same name."""
    earlier = json.loads(file.read_text("utf-8")) if file.exists() else []
    by_name = {line["name"]: line for line in (*earlier, *lines)}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".tmp")
    partial.write_text(json.dumps(list(by_name.values()), indent=1, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(file)


def markdown(lines: list[dict[str, Any]]) -> str:
    """All lines as a Markdown table; sizes from each line's context."""
    head = ("figure", "size", "value", "unit", "floor", "peer", "ratio (least–most)", "goal", "holds")
    rows = [head, ("---",) * len(head)]
    for line in lines:
        context = line["context"]
        size = next(
            (
                f"{context[k]:,} {k}"
                for k in ("rows", "events", "leaves", "subjects", "values", "MB")
                if k in context
            ),
            "",
        )
        ratio = number(line["ratio"])
        if line["ratio"] is not None:
            ratio += f" ({number(line['spread'][0])}–{number(line['spread'][1])})"
        holds = {True: "yes", False: "**no**", None: ""}[line["holds"]]
        rows.append(
            (
                f"`{line['name']}`", size, number(line["value"]), line["unit"], number(line["floor"]),
                number(line["peer"]), ratio, line["goal"] or "", holds,
            )
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def shown(line: dict[str, Any]) -> str:
    """One line of the table."""
    verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[line["holds"]]
    return (
        f"{line['name']:34} {number(line['value']):>11} {line['unit']:12} floor {number(line['floor']):>9} "
        f"peer {number(line['peer']):>9} ratio {number(line['ratio']):>6}  {line['goal'] or '':18} {verdict}"
    ).rstrip()


if __name__ == "__main__":
    sys.exit(main())
