"""Emitting while the destination is down; the floor is a bare fsynced append of the same bytes."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, value_of
from tests.bench.measuring import measure

SIZE = 4_608


def _event(number: int) -> Any:
    """A run event of about 4.5 KB, in the client's classes: two datasets with their schemas."""
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import schema_dataset

    def schema() -> dict[str, Any]:
        fields = [
            schema_dataset.SchemaDatasetFacetFields(
                f"column_{n}", "VARCHAR", description="as the source has it"
            )
            for n in range(20)
        ]
        return {"schema": schema_dataset.SchemaDatasetFacet(fields)}

    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime="2026-11-24T10:00:00Z",
        run=Run(f"01a20b6a-c323-7f68-b456-{number:012d}"),
        job=Job("bench", "job"),
        producer="https://example.org/bench",
        inputs=[InputDataset("bench", "in", facets=schema())],
        outputs=[OutputDataset("bench", "out", facets=schema())],
    )


def _timed(each: Callable[[int], object], events: int) -> dict[str, Any]:
    """Call ``each`` so often and take the latencies of the calls."""
    taken: list[int] = []

    def work() -> None:
        for number in range(events):
            begun = time.perf_counter_ns()
            each(number)
            taken.append(time.perf_counter_ns() - begun)

    for number in range(200):
        each(events + number)
    result = measure(work)
    taken.sort()
    return {
        **result,
        "rows": events,
        "p50_us": taken[events // 2] / 1e3,
        "p99_us": taken[events * 99 // 100] / 1e3,
    }


def _folder() -> Path:
    folder = OUT / "work" / f"emission-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder


def bare(events: int) -> dict[str, Any]:
    """The serialized bytes of the same events, each appended and fsynced."""
    from openlineage.client.serde import Serde

    folder = _folder()
    bodies = [Serde.to_json(_event(number)).encode() for number in range(events + 200)]
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(number: int) -> None:
        os.write(descriptor, bodies[number])
        os.fsync(descriptor)

    result = _timed(append, events)
    os.close(descriptor)
    shutil.rmtree(folder)
    return {**result, "bytes": len(bodies[0])}


def emit(events: int, service: str, mode: str) -> dict[str, Any]:
    """The same events through the client, while nobody listens (``dead``) or nobody answers (``hanging``)."""
    from openlineage.client import OpenLineageClient

    from governance.lineage.outbox import Outbox

    folder = _folder()
    made = [_event(number) for number in range(events + 200)]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if service == "hanging":
            held.listen(64)
        client = OpenLineageClient(
            config={
                "transport": {
                    "type": "governance.lineage.transport.OutboxTransport",
                    "url": f"http://127.0.0.1:{held.getsockname()[1]}",
                    "outbox": str(folder / "outbox"),
                    "mode": mode,
                    "send_timeout": 0.5,
                    "exit_timeout": 0.1,
                }
            }
        )
        result = _timed(lambda number: client.emit(made[number]), events)
        client.close(0)
    if Outbox(folder / "outbox").status().waiting != events + 200:
        raise AssertionError("events were lost")
    shutil.rmtree(folder)
    return result


def experiments(quick: bool) -> list[Experiment]:
    events = 3_000 if quick else 20_000
    return [
        Experiment(
            f"emission.{mode}.{service}",
            Call("emission:emit", {"events": events, "service": service, "mode": mode}),
            [
                Figure(
                    f"emission.{mode}.{service}.{which}", "us", value_of(f"{which}_us"),
                    Goal("ratio", 3.0) if which == "p99" else None, floor=value_of(f"{which}_us"),
                )
                for which in ("p50", "p99")
            ],
            floor=Call("emission:bare", {"events": events}),
            pairs=5,
            context={"events": events, "bytes": SIZE},
        )
        for mode, service in (("outbox", "dead"), ("outbox", "hanging"), ("send-first", "dead"))
    ]  # fmt: skip
