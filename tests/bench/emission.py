"""Emitting while the destination is down, against a bare fsynced append of the same bytes.

Both take turns in one process, event by event: the disk of a shared machine slows down for seconds at a
time, and sides that ran one after the other would compare two different disks.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
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


def _latencies(taken: list[int], name: str) -> dict[str, float]:
    taken.sort()
    return {
        f"{name}_p50_us": taken[len(taken) // 2] / 1e3,
        f"{name}_p99_us": taken[len(taken) * 99 // 100] / 1e3,
    }


def _folder() -> Path:
    folder = OUT / "work" / f"emission-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder


def emit(events: int, service: str, mode: str) -> dict[str, Any]:
    """Events through the client, while nobody listens (``dead``) or nobody answers (``hanging``)."""
    from openlineage.client import OpenLineageClient
    from openlineage.client.serde import Serde

    from governance.lineage.emission.outbox import Outbox

    folder = _folder()
    made = [_event(number) for number in range(events)]
    bodies = [Serde.to_json(event).encode() for event in made]
    bare = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    appended: list[int] = []
    emitted: list[int] = []
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

        def work() -> None:
            for event, body in zip(made, bodies, strict=True):
                begun = time.perf_counter_ns()
                os.write(bare, body)
                os.fsync(bare)
                between = time.perf_counter_ns()
                client.emit(event)
                emitted.append(time.perf_counter_ns() - between)
                appended.append(between - begun)

        result = measure(work)
        client.close(0)
    os.close(bare)
    if Outbox(folder / "outbox").status().waiting != events:
        raise AssertionError("events were lost")
    shutil.rmtree(folder)
    # The first emits of a process load modules and, sent first, wait once: not what is asked here.
    figures = {
        **_latencies(emitted[events // 20 :], "emit"),
        **_latencies(appended[events // 20 :], "append"),
    }
    return {**result, **figures, "times": figures["emit_p99_us"] / figures["append_p99_us"], "rows": events}


def experiments(quick: bool) -> list[Experiment]:
    events = 3_000 if quick else 20_000
    return [
        Experiment(
            name,
            Call("emission:emit", {"events": events, "service": service, "mode": mode}),
            [
                Figure(f"{name}.p99", "x append p99", value_of("times"), Goal("value", 3.0, unit="× append")),
                *(
                    Figure(f"{name}.{side}.{which}", "us", value_of(f"{side}_{which}_us"))
                    for side in ("emit", "append")
                    for which in ("p50", "p99")
                ),
            ],
            pairs=3,
            context={"events": events, "bytes": SIZE},
        )
        for mode, service in (("outbox", "dead"), ("outbox", "hanging"), ("send-first", "dead"))
        for name in (f"emission.{mode}.{service}",)
    ]
