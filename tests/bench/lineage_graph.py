"""What a node reaches in twenty steps: in memory beside the bare search, and over HTTP.

The edges are those of the floor ``bfs``: a layered random graph, four edges a node.
"""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from tests.bench.experiment import OUT, Call, Experiment, Figure, Floor, Goal, value_of, wall
from tests.bench.measuring import measure

DEPTH = 20
_SEED = 7
_NAMESPACE = "postgres://warehouse:5432"


def _edges(count: int) -> tuple[int, Any, Any]:
    """Nodes, sources and targets, exactly as ``floors.bfs`` draws them."""
    import numpy as np

    rng = np.random.default_rng(_SEED)
    nodes = count // 4
    source = rng.integers(0, nodes, count)
    return nodes, source, np.minimum(source + rng.integers(1, max(2, nodes // 64), count), nodes - 1)


class _Tables:
    """An index's answers to the graph's questions, made up; names are dictionaries so that millions fit."""

    def __init__(self, count: int) -> None:
        import numpy as np
        import pyarrow as pa

        from governance.lineage.graph import graph_rows

        nodes, source, target = _edges(count)
        names = pa.array([f"analytics.layer_{n % 50}.table_{n:07}" for n in range(nodes)])
        spaces = pa.array([_NAMESPACE])

        def spaced(size: int) -> Any:
            return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), spaces)

        def named(ids: Any) -> Any:
            return pa.DictionaryArray.from_arrays(pa.array(ids.astype(np.int32)), names)

        every = np.arange(nodes)
        kind = pa.DictionaryArray.from_arrays(pa.array(np.zeros(nodes, np.int32)), pa.array(["dataset"]))
        self.size = count
        text, number = pa.array([], pa.string()), pa.array([], pa.int64())
        self._tables = {
            graph_rows.NODES: {
                "kind": kind, "namespace": spaced(nodes), "name": named(every), "first_index": pa.array(every)
            },
            graph_rows.DATASET_EDGES: {
                "source_namespace": spaced(count), "source_name": named(source),
                "target_namespace": spaced(count), "target_name": named(target),
                "job_namespace": pa.nulls(count, pa.string()), "job_name": pa.nulls(count, pa.string()),
                "first_index": pa.array(np.arange(count)),
            },
            graph_rows.IO: {
                "direction": text, "job_namespace": text, "job_name": text, "namespace": text, "name": text,
                "first_index": number,
            },
            graph_rows.ALIASES: {
                "alias_namespace": text, "alias_name": text, "namespace": text, "name": text
            },
            graph_rows.CHANGES: {
                "replaced": [False], "renamed": [False], "explicit": [False], "removed": [False]
            },
        }  # fmt: skip

    def arrow(self, sql: str, _parameters: dict[str, Any]) -> Any:
        import pyarrow as pa

        return pa.table(self._tables[sql])


def closure(edges: int, probes: int = 200) -> dict[str, Any]:
    """One closure from the first node, as the floor does it; then many from random ones, also in the past."""
    import random

    from governance.lineage.graph.graph import Graph

    begun = time.perf_counter()
    graph = Graph.of(_Tables(edges))
    built = time.perf_counter() - begun
    view = graph.view()
    first = view.node("dataset", _NAMESPACE, "analytics.layer_0.table_0000000")
    if first is None:
        raise AssertionError("the first node is not there")
    reached: list[int] = []
    result = measure(lambda: reached.append(len(view.closure(first, "downstream", DEPTH, jobs=False)[0])))
    chosen = [random.randrange(len(view.names)) for _ in range(probes)]

    def timed(view: Any) -> list[float]:
        spent = []
        for node in chosen:
            begun = time.perf_counter()
            view.closure(node, "downstream", DEPTH, jobs=False)
            spent.append((time.perf_counter() - begun) * 1e3)
        return sorted(spent)

    return {
        **result,
        "reached": reached[0],
        "build_s": built,
        "names_mib": view.names.nbytes / 2**20,
        "graph_mib": graph.nbytes / 2**20,
        **_percentiles("", timed(view)),
        **_percentiles("past_", timed(graph.view(edges // 2))),
    }


def recursive(edges: int) -> dict[str, Any]:
    """The same closure as a recursive query of DuckDB, over numbers."""
    import duckdb
    import pyarrow as pa

    _, source, target = _edges(edges)
    connection = duckdb.connect(":memory:", config={"threads": 2})
    connection.register("given", pa.table({"near": source, "far": target}))
    connection.execute("CREATE TABLE edges AS SELECT DISTINCT near, far FROM given")
    return measure(
        lambda: {
            "reached": connection.execute(
                """
                WITH RECURSIVE reached(node, depth) USING KEY (node) AS (
                    SELECT 0::BIGINT, 0
                    UNION
                    SELECT e.far, min(r.depth) + 1
                    FROM reached r JOIN edges e ON e.near = r.node
                    LEFT JOIN recurring.reached known ON known.node = e.far
                    WHERE r.depth < $depth AND known.node IS NULL GROUP BY e.far
                )
                SELECT count(*) FROM reached
                """,
                {"depth": DEPTH},
            ).fetchall()[0][0]
        }
    )


def over_http(edges: int, probes: int = 200) -> dict[str, Any]:
    """Impact and pictures of random nodes over a real socket; one job reads each node and writes four."""
    import random

    import uvicorn

    from governance.log import Log, open_storage
    from governance.server.app import build_app
    from governance.server.served import ServedStore
    from governance.server.tokens import create_token

    def now() -> datetime:
        return datetime.now(UTC)

    folder = OUT / "work" / f"graph-{edges}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    storage = open_storage(str(folder / "store"), create=True, origin="governance.example/bench")
    log = Log(storage, signer=None, clock=now)
    nodes = _fill(log, edges)
    half = len(nodes) // 2
    token = create_token(
        log, name="bench", scopes=["read"], namespaces=None, expires_at=None, principal="admin:bench"
    )
    served = ServedStore(log, clock=now)
    begun = time.perf_counter()
    served.graph()
    opened = time.perf_counter() - begun
    server = uvicorn.Server(uvicorn.Config(build_app(served), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    answers: list[int] = []

    def timed(path: str, among: list[int], **query: Any) -> list[float]:
        spent = []
        for _ in range(probes):
            node = f"dataset:{_NAMESPACE}:analytics.table_{random.choice(among):07}"
            asked = urlencode({"nodeId": node, "depth": DEPTH, **query}, quote_via=quote)
            begun = time.perf_counter()
            connection.request("GET", f"/api/v1/{path}?{asked}", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = answer.read()
            spent.append((time.perf_counter() - begun) * 1e3)
            if answer.status != 200:
                raise AssertionError(f"{answer.status}")
            answers.append(len(body))
        return sorted(spent)

    try:
        return {
            **measure(lambda: _percentiles("impact_", timed("impact", nodes, limit=100))),
            **_percentiles("past_", timed("impact", nodes[:half], limit=100, as_of=half)),
            **_percentiles("picture_", timed("lineage", nodes, limit=500)),
            "open_s": opened,
            "answer_kib": max(answers) / 1024,
        }
    finally:
        connection.close()
        server.should_exit = True
        thread.join()
        shutil.rmtree(folder)


def _fill(log: Any, edges: int) -> list[int]:
    """One event for each node that edges leave; those nodes in the order of the log."""
    import numpy as np

    from governance.log import OPENLINEAGE_EVENT, NewEntry

    _, source, target = _edges(edges)
    order = np.argsort(source, kind="stable")
    source, target = source[order], target[order]
    starts = np.flatnonzero(np.concatenate([[True], source[1:] != source[:-1]])).tolist()
    batch = []
    for start, stop in zip(starts, [*starts[1:], len(source)], strict=True):
        number = int(source[start])
        batch.append(NewEntry(_event(number, target[start:stop].tolist()), OPENLINEAGE_EVENT, "ingest:bench"))
        if len(batch) == 2_000:
            log.append(batch)
            batch = []
    if batch:
        log.append(batch)
    return [int(node) for node in source[starts]]


def _event(number: int, targets: list[int]) -> bytes:
    schema = {"fields": [{"name": f"column_{n}", "type": "VARCHAR"} for n in range(4)]}

    def dataset(node: int) -> dict[str, Any]:
        name = f"analytics.table_{node:07}"
        return {"namespace": _NAMESPACE, "name": name, "facets": {"schema": schema}}

    return json.dumps(
        {
            "eventType": "COMPLETE",
            "eventTime": "2026-11-24T08:00:00.000Z",
            "producer": "https://example.com/bench",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": f"00000000-0000-7000-8000-{number:012}"},
            "job": {"namespace": "bench", "name": f"job_{number:07}"},
            "inputs": [dataset(number)],
            "outputs": [dataset(node) for node in sorted(set(targets))],
        },
        separators=(",", ":"),
    ).encode()


def _percentiles(name: str, ordered: list[float]) -> dict[str, float]:
    return {f"{name}p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 95, 99)}


def experiments(quick: bool) -> list[Experiment]:
    made = []
    for size in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000, 8_000_000):
        name = f"graph.closure.{size // 1000}k"
        made.append(
            Experiment(
                name,
                Call("lineage_graph:closure", {"edges": size}),
                [
                    Figure(name, "s", wall, Goal("ratio", 3), floor=wall, peer=wall),
                    *(Figure(f"{name}.p{p}", "ms", value_of(f"p{p}")) for p in (50, 95, 99)),
                    *(Figure(f"{name}.as_of.p{p}", "ms", value_of(f"past_p{p}")) for p in (50, 95, 99)),
                    Figure(f"{name}.build", "s", value_of("build_s")),
                    Figure(f"{name}.memory", "MiB", value_of("graph_mib")),
                ],
                floor=Floor(("bfs", str(size), "--depth", str(DEPTH))),
                peer=Call("lineage_graph:recursive", {"edges": size}) if size <= 1_000_000 else None,
                pairs=3 if size <= 1_000_000 else 1,
                context={"edges": size, "assets": size // 4},
            )
        )
    for size in (100_000,) if quick else (100_000, 1_000_000):
        name = f"graph.http.{size // 1000}k"
        made.append(
            Experiment(
                name,
                Call("lineage_graph:over_http", {"edges": size}),
                [
                    *(
                        Figure(
                            f"{name}.{what}.p{p}",
                            "ms",
                            value_of(f"{key}_p{p}"),
                            Goal("value", 200, unit="ms") if p == 95 else None,
                        )
                        for what, key in (("impact", "impact"), ("as_of", "past"), ("lineage", "picture"))
                        for p in (50, 95, 99)
                    ),
                    Figure(f"{name}.open", "s", value_of("open_s")),
                ],
                pairs=1,
                context={"edges": size, "assets": size // 4},
            )
        )
    return made
