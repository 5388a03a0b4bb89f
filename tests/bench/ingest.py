"""Events over HTTP until they are durable; floors are the bare table with the same grouping and the same HTTP
stack with an empty handler, whichever is slower.

The client is raw sockets in this process, the same for both sides; the server is a process of its own, measured
once it has done what it does after its start (compiling the rules of conformance, drawing the graph).
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT, ROOT, Call, Experiment, Figure, Goal, per_second, value_of
from tests.bench.measuring import measure

SIZE = 4_608
_MARK = "00000000-0000-0000-0000-000000000000"


def template() -> tuple[bytes, bytes]:
    """An event of :data:`SIZE` bytes around its run id: two datasets with schemas and column lineage."""
    facet = {"_producer": "https://example.com/bench", "_schemaURL": "https://example.com/bench/facet.json"}
    fields = [{"name": f"column_{n}", "type": "VARCHAR", "description": "a column"} for n in range(14)]
    lineage = {
        f"column_{n}": {
            "inputFields": [{"namespace": "postgres://db:5432", "name": "public.in", "field": f"c{n}"}]
        }
        for n in range(14)
    }
    schema = {"schema": facet | {"fields": fields}}
    event = {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-24T08:00:00.000Z",
        "producer": "https://example.com/bench",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": _MARK, "facets": {"processing_engine": facet | {"version": "1"}}},
        "job": {"namespace": "bench", "name": "ingest", "facets": {"sql": facet | {"query": ""}}},
        "inputs": [{"namespace": "postgres://db:5432", "name": "public.in", "facets": schema}],
        "outputs": [
            {
                "namespace": "postgres://db:5432",
                "name": "public.out",
                "facets": schema | {"columnLineage": facet | {"fields": lineage}},
            }
        ],
    }
    missing = SIZE - len(json.dumps(event, separators=(",", ":")))
    event["job"]["facets"]["sql"]["query"] = "x" * missing  # type: ignore[index]
    before, after = json.dumps(event, separators=(",", ":")).encode().split(_MARK.encode())
    return before, after


def requests(events: int, batch: int, token: str) -> list[list[bytes]]:
    """The bodies of each request, in parts to be joined, and its head."""
    before, after = template()
    made = []
    for start in range(0, events, batch):
        bodies = [
            before + str(uuid.uuid4()).encode() + after for _ in range(start, min(events, start + batch))
        ]
        body = bodies[0] if batch == 1 else b"[" + b",".join(bodies) + b"]"
        path = "lineage" if batch == 1 else "lineage/batch"
        head = (
            f"POST /api/v1/{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append([head.encode(), body])
    return made


def drive(port: int, work: list[list[bytes]], clients: int) -> None:
    """Send every request over ``clients`` connections, each waiting for its answer.

    Raises:
        AssertionError: an answer is not 201 or 204.
    """
    pending = iter(work)
    ready = selectors.DefaultSelector()
    open_ = 0
    for _ in range(clients):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (parts := next(pending, None)) is None:
            peer.close()
            continue
        peer.sendall(b"".join(parts))
        ready.register(peer, selectors.EVENT_READ)
        open_ += 1
    while open_:
        for key, _ in ready.select():
            peer = key.fileobj
            answer = peer.recv(4_096)  # type: ignore[union-attr]
            if answer[9:12] not in (b"201", b"204"):
                raise AssertionError(answer[:300])
            if (parts := next(pending, None)) is None:
                ready.unregister(peer)
                peer.close()  # type: ignore[union-attr]
                open_ -= 1
            else:
                peer.sendall(b"".join(parts))  # type: ignore[union-attr]


@contextmanager
def server(*command: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a server that prints its URL first."""
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        yield int(url.rsplit(":", 1)[1]), process.pid
    finally:
        process.terminate()
        process.wait(60)


def take(events: int, batch: int, clients: int, location: str) -> dict[str, Any]:
    """Our service over a new store."""
    from governance.log import Log, open_storage
    from governance.pipeline.workspace import now
    from governance.server.tokens import create_token

    folder = OUT / "tmp" / f"ingest-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store, schema = str(folder / "store"), f"bench_{os.getpid()}"
    if location:
        import psycopg

        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        store = f"{location}{'&' if '?' in location else '?'}options=-csearch_path%3D{schema}"
    log = Log(open_storage(store, create=True), signer=None, clock=now)
    token = create_token(
        log, name="bench", scopes=["ingest"], namespaces=None, expires_at=None, principal="admin:bench"
    )
    work = requests(events, batch, token)
    warm = requests(clients * batch * 5, batch, token)
    with server("governance.cli", "serve", "--store", store, "--port", "0") as (port, pid):
        drive(port, warm, clients)
        _settle(pid)
        before = _cpu(pid)
        result = measure(lambda: drive(port, work, clients))
        spent = _cpu(pid) - before
    if log.size() != 1 + events + clients * batch * 5:
        raise AssertionError("events were lost")
    log.close()
    if location:
        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    shutil.rmtree(folder)
    return {**result, "rows": events, "rows_per_s": events / result["wall_s"], "server_cpu_s": spent}


def floor(events: int, batch: int, clients: int, location: str) -> dict[str, Any]:
    """The bare table with the same grouping, and the HTTP stack alone: the slower one, and what both cost."""
    size = ("--batch", str(batch * clients), "--size", str(SIZE))
    bare = ("postgres", location, str(events), *size) if location else ("sqlite", str(events), *size)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "bench" / "floors.py"), *bare],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    table = json.loads(done.stdout)
    work = requests(events, batch, "gov_0000000000000000_" + "0" * 43)
    with server("tests.bench.empty_server") as (port, pid):
        drive(port, work[: clients * 5], clients)
        before = _cpu(pid)
        result = measure(lambda: drive(port, work, clients))
        spent = _cpu(pid) - before
    http = events / result["wall_s"]
    return {
        **result,
        "rows": events,
        "table": table["rows_per_s"],
        "http": http,
        "slower": min(table["rows_per_s"], http),
        "both_cpu_s": table["cpu_s"] + spent,
    }


def _settle(pid: int) -> None:
    """Wait until a server that nobody asks anything rests."""
    before = -1.0
    while (now := _cpu(pid)) - before > 0.02:
        before = now
        time.sleep(0.5)


def _cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def experiments(quick: bool, rows: int | None, dsn: str | None) -> list[Experiment]:
    made = []
    for kind, location in (("sqlite", ""), *((("postgres", dsn),) if dsn else ())):
        for batch, clients in ((1, 1), (1, 16), (100, 1), (100, 16)):
            events = rows or (2_000 if batch == 1 else 20_000) * (1 if quick else 5)
            shape = {"events": events, "batch": batch, "clients": clients, "location": location}
            name = f"ingest.{kind}.{'single' if batch == 1 else f'batch_{batch}'}.clients_{clients}"
            made.append(
                Experiment(
                    name,
                    Call("ingest:take", shape),
                    [
                        Figure(
                            name, "events/s", per_second("rows"), Goal("ratio", 0.5, at_most=False),
                            floor=value_of("slower"),
                        ),
                        # A waiting queue of other processes is in the figure above, not in this one.
                        Figure(
                            f"{name}.cpu", "us", lambda result: result["server_cpu_s"] / result["rows"] * 1e6,
                            floor=None if location else lambda result: result["both_cpu_s"] / result["rows"] * 1e6,
                        ),
                    ],
                    floor=Call("ingest:floor", shape),
                    pairs=3,
                    context={"events": events, "bytes": SIZE, "clients": clients},
                )
            )  # fmt: skip
    return made
