"""Classifications along column edges: settling all of them, and explaining one column.

The edges are those of ``lineage_graph``: a layered random graph, four edges a column. One column in a hundred is
found to hold one of forty classifications, and one edge in ten masks, a re-scan of which clears half of them.
"""

from __future__ import annotations

import time
from typing import Any

from tests.bench.experiment import Call, Experiment, Figure, value_of, wall
from tests.bench.lineage_graph import _edges
from tests.bench.measuring import measure

_FOUND = 40
_EVERY = 100
_MASKED = 10


def settle(edges: int, probes: int = 40) -> dict[str, Any]:
    """Names, edges and the least sets, from an Arrow table as the index gives it; then answers for columns.

    ``p50`` and ``p95`` are of processor time of one answer.
    """
    import numpy as np

    from governance.lineage.classifications.answers import Explainer
    from governance.lineage.classifications.propagation import Classifications, Finding, Flow, Label, Rescan
    from governance.lineage.classifications.sensitivity_levels import Levels

    nodes, source, target = _edges(edges)
    masking = np.arange(edges) % _MASKED == 0
    facts = _facts(source, target, masking)
    findings = {
        ("bench", f"t{node // 10}", f"c{node % 10}"): [
            Finding(Label(f"class_{node // _EVERY % _FOUND:02}"), "classify", "observed", 0)
        ]
        for node in range(0, nodes, _EVERY)
    }
    again = frozenset(Label(f"class_{number:02}") for number in range(0, _FOUND, 2))
    cleared = frozenset(f"class_{number:02}" for number in range(_FOUND))
    rescan = {f"c{column}": Rescan(0, again, 1_000, None) for column in range(10)}
    rescans = dict.fromkeys(np.flatnonzero(masking).tolist(), rescan)
    detected = {("bench", f"t{node // 10}", f"c{node % 10}"): cleared for node in range(nodes)}
    flows: list[Flow] = []
    result = measure(lambda: flows.append(Flow.of(facts, findings, rescans, {}, detected)))
    flow = flows[-1]
    known = Classifications(edges, flow, findings, rescans, {}, detected, {}, {})
    explainer = Explainer(known, Levels())
    spent = []
    for node in np.random.default_rng(1).integers(0, nodes, probes).tolist():
        begun = time.process_time()
        explainer.column(("bench", f"t{node // 10}", f"c{node % 10}"))
        spent.append((time.process_time() - begun) * 1e3)
    spent.sort()
    held = int((flow.bits != flow.own).any(axis=1).sum())
    return {**result, "derived": held, "p50": spent[len(spent) // 2], "p95": spent[len(spent) * 95 // 100]}


def _facts(source: Any, target: Any, masking: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    count = len(source)
    columns: dict[str, Any] = {}
    for side, node in (("input", source), ("output", target)):
        columns[f"{side}_namespace"] = pa.repeat(pa.scalar("bench"), count)
        columns[f"{side}_name"] = pa.array([f"t{each // 10}" for each in node.tolist()])
        columns[f"{side}_column"] = pa.array([f"c{each % 10}" for each in node.tolist()])
    columns |= {
        "type": pa.repeat(pa.scalar("DIRECT"), count),
        "transformation": pa.repeat(pa.scalar("TRANSFORMATION"), count),
        "description": pa.repeat(pa.scalar("mask"), count),
        "masking": pa.array(masking),
        "observed": pa.array(masking),
        "job_namespace": pa.repeat(pa.scalar("jobs"), count),
        "job_name": pa.repeat(pa.scalar("j"), count),
        "log_index": pa.array(np.arange(count)),
    }
    return pa.table(columns)


def experiments(quick: bool) -> list[Experiment]:
    made = []
    for size in (100_000,) if quick else (100_000, 1_000_000):
        name = f"propagation.{size // 1000}k"
        made.append(
            Experiment(
                name,
                Call("propagation:settle", {"edges": size}),
                [
                    Figure(name, "s", wall),
                    Figure(f"{name}.explain.p50", "ms", value_of("p50")),
                    Figure(f"{name}.explain.p95", "ms", value_of("p95")),
                ],
                pairs=1,
                context={"edges": size, "columns": size // 4},
            )
        )
    return made
