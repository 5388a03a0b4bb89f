"""What must be true when the soak has ended."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.soak.chaos import get


@dataclass(frozen=True)
class Verdict:
    """Counts of one soak; ``faults`` is empty when everything held."""

    acknowledged: int
    entries: int
    lost: int
    repeated: int
    faults: list[str]


def check(folder: Path, store: str, vkey: str, url: str, token: str) -> Verdict:
    """Every acknowledged event once, the log verified, the server's answers those of a rebuilt index."""
    from governance.log import Log, open_storage, verify_log

    began = time.monotonic()

    def reached(what: str) -> None:
        print(f"checking: {what} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    storage = open_storage(store)
    log = Log(storage, signer=None, clock=lambda: datetime.now(UTC))
    times: Counter[str] = Counter()
    for entry in log.entries():
        if entry.body is not None and b'"runId"' in entry.body:
            times[json.loads(entry.body)["run"]["runId"]] += 1
    acknowledged = {line for file in folder.glob("*.acks") for line in file.read_text().split("\n")[:-1]}
    lost = [run_id for run_id in acknowledged if times[run_id] == 0]
    repeated = [run_id for run_id, count in times.items() if count > 1]
    faults = [f"{len(lost)} acknowledged events are lost"] if lost else []
    if repeated:
        faults.append(f"{len(repeated)} events are in the log more than once")
    reached(f"{len(acknowledged):,} acknowledged events were looked for")
    report = verify_log(storage, vkey)
    if not report.ok:
        faults += [str(fault.reason) for fault in report.faults]
    reached("the log was verified")
    faults += list(_differences(log, url, token))
    reached("the answers were compared to a rebuilt index's")
    return Verdict(len(acknowledged), log.size(), len(lost), len(repeated), faults)


def _differences(log: Any, url: str, token: str) -> Iterator[str]:
    """Where the server that lived through it all answers otherwise than one over a rebuilt index."""
    from fastapi.testclient import TestClient

    from governance.server.app import build_app
    from governance.server.served import ServedStore

    with TestClient(build_app(ServedStore(log, clock=lambda: datetime.now(UTC)))) as rebuilt:
        rebuilt.headers["authorization"] = f"Bearer {token}"
        for path in _questions(url, token):
            lived, fresh = get(url + path, token), rebuilt.get(path).json()
            if lived != fresh:
                yield f"{path}: the server's answer is not that of a rebuilt index"


def _questions(url: str, token: str) -> Iterator[str]:
    yield "/api/v1/namespaces?limit=1000"
    yield "/api/v1/jobs?limit=1000"
    for offset in range(0, 2_000, 500):
        yield f"/api/v1/namespaces/warehouse/datasets?limit=500&offset={offset}"
    for job in get(f"{url}/api/v1/jobs?limit=1000", token)["jobs"]:
        yield f"/api/v1/namespaces/soak/jobs/{quote(job['name'], safe='')}/runs?limit=200"
    for dataset in get(f"{url}/api/v1/namespaces/warehouse/datasets?limit=5", token)["datasets"]:
        yield f"/api/v1/lineage?nodeId={quote('dataset:warehouse:' + dataset['name'], safe='')}"
