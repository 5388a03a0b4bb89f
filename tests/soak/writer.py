"""One writer of the soak: sends events until it is killed, and notes what was acknowledged.

    python -m tests.soak.writer KIND ACKS TARGET

An event counts as acknowledged once its run id is in the file ACKS, flushed to the disk. What is sent
and not acknowledged is sent again with the same bytes, as clients do, so the store sees duplicates.
``TARGET`` is a JSON object: ``url`` and ``token`` of the server, ``store``, ``outbox``, and ``pause``, the
seconds to rest after each event.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_DATASETS = 40
_TYPES = ("START", "RUNNING", "COMPLETE", "FAIL", "ABORT", "OTHER")
_SCHEMA_URL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


def event() -> tuple[str, dict[str, Any]]:
    """A run id that no other event has, and its event: a few of 40 datasets in, one out."""
    run_id = str(uuid.uuid4())
    names = [f"table_{random.randrange(_DATASETS):02}" for _ in range(3)]
    schema = {
        "_producer": "urn:soak",
        "_schemaURL": "https://openlineage.io/spec/facets/1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
        "fields": [{"name": f"column_{i}", "type": "string"} for i in range(20)],
    }
    return run_id, {
        "eventType": random.choice(_TYPES),
        "eventTime": datetime.now(UTC).isoformat(),
        "run": {"runId": run_id, "facets": {}},
        "job": {"namespace": "soak", "name": f"job_{random.randrange(_DATASETS):02}", "facets": {}},
        "inputs": [{"namespace": "warehouse", "name": n, "facets": {}} for n in names[:2]],
        "outputs": [{"namespace": "warehouse", "name": names[2], "facets": {"schema": schema}}],
        "producer": "urn:soak",
        "schemaURL": _SCHEMA_URL,
    }


class Acknowledged:
    """The file of acknowledged run ids: durable before the next event is sent."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, run_ids: list[str]) -> None:
        os.write(self._descriptor, "".join(f"{run_id}\n" for run_id in run_ids).encode())
        os.fdatasync(self._descriptor)


def _post(target: dict[str, str], path: str, body: bytes) -> None:
    request = urllib.request.Request(
        target["url"] + path,
        body,
        {"Content-Type": "application/json", "Authorization": f"Bearer {target['token']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        if answer.status == 200 and json.load(answer)["failed_events"]:
            raise AssertionError("a conforming event was refused")


def _over_http(target: dict[str, str]) -> Iterator[list[str]]:
    while True:
        run_id, made = event()
        body = json.dumps(made).encode()
        _until_taken(lambda body=body: _post(target, "/api/v1/lineage", body))
        yield [run_id]


def _in_batches(target: dict[str, str]) -> Iterator[list[str]]:
    while True:
        made = [event() for _ in range(random.randrange(1, 100))]
        body = json.dumps([e for _, e in made]).encode()
        _until_taken(lambda body=body: _post(target, "/api/v1/lineage/batch", body))
        yield [run_id for run_id, _ in made]


def _into_the_log(target: dict[str, str]) -> Iterator[list[str]]:
    from governance.errors import GovernanceError
    from governance.log import OPENLINEAGE_EVENT, Log, NewEntry, open_storage

    log = _patiently(
        lambda: Log(open_storage(target["store"]), signer=None, clock=lambda: datetime.now(UTC)),
        (GovernanceError,),
    )
    while True:
        made = [event() for _ in range(random.randrange(1, 10))]
        entries = [NewEntry(json.dumps(e).encode(), OPENLINEAGE_EVENT, "ingest:soak-log") for _, e in made]
        _patiently(lambda entries=entries: log.append(entries), (GovernanceError,))
        yield [run_id for run_id, _ in made]


def _through_an_outbox(target: dict[str, str]) -> Iterator[list[str]]:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

    client = OpenLineageClient(
        config={
            "transport": {
                "type": "governance.lineage.transport.OutboxTransport",
                "store": target["store"],
                "outbox": target["outbox"],
                "principal": "ingest:soak-outbox",
            }
        }
    )
    while True:
        run_id, made = event()
        client.emit(
            RunEvent(
                eventType=RunState[made["eventType"]],
                eventTime=made["eventTime"],
                run=Run(run_id),
                job=Job("soak", made["job"]["name"]),
                producer=made["producer"],
                inputs=[InputDataset(d["namespace"], d["name"]) for d in made["inputs"]],
                outputs=[OutputDataset(d["namespace"], d["name"]) for d in made["outputs"]],
            )
        )
        yield [run_id]


def _until_taken(send: Callable[[], None]) -> None:
    """Repeat until the server answers 2xx; a 4xx is a fault of the soak or the server and ends it."""
    while True:
        try:
            return send()
        except urllib.error.HTTPError as refused:
            if refused.code != 503:
                raise
            time.sleep(0.1)
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
        except Exception as broken:  # a connection cut in the middle of an answer
            if "http.client" not in type(broken).__module__:
                raise
            time.sleep(0.1)


def _patiently(work: Callable[[], Any], faults: tuple[type[Exception], ...]) -> Any:
    while True:
        try:
            return work()
        except faults:
            time.sleep(0.2)


KINDS: dict[str, Callable[[dict[str, str]], Iterator[list[str]]]] = {
    "http": _over_http,
    "batch": _in_batches,
    "log": _into_the_log,
    "outbox": _through_an_outbox,
}


def main() -> None:
    kind, path, target = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    acknowledged, pause = Acknowledged(path), float(target["pause"])
    for run_ids in KINDS[kind](target):
        acknowledged.note(run_ids)
        time.sleep(pause * len(run_ids))


if __name__ == "__main__":
    main()
