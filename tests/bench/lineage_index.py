"""The lineage index: catching up with the log, and opening a snapshot of it.

Beside catching up stands the least that any reader in Python does: reading the same entries from the same
store and parsing their JSON. Events are 4.5 KB, three a run, of 5,000 tasks; producers repeat the facets of
their jobs and datasets, and once more with no facet ever repeated.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, peak, per_second, value_of
from tests.bench.measuring import measure

_TASKS = 5_000
_PRODUCER = "https://github.com/apache/airflow/tree/providers-openlineage/2.6.0"
_SCHEMA = "https://openlineage.io/spec/facets/1-0-1/Facet.json#/$defs/Facet"


def _facet(distinct: str, **members: Any) -> dict[str, Any]:
    return {"_producer": _PRODUCER + distinct, "_schemaURL": _SCHEMA, **members}


def _dataset(name: str, columns: int, distinct: str, source: str | None = None) -> dict[str, Any]:
    fields = [{"name": f"column_{n}", "type": "VARCHAR"} for n in range(columns)]
    facets = {
        "schema": _facet(distinct, fields=fields),
        "dataSource": _facet(distinct, name="postgres://db:5432", uri="postgres://db:5432/analytics"),
    }
    if source is not None:
        how = {"type": "DIRECT", "subtype": "IDENTITY", "description": "", "masking": False}
        facets["columnLineage"] = _facet(
            distinct,
            fields={
                f"column_{n}": {
                    "inputFields": [
                        {
                            "namespace": "postgres://db:5432",
                            "name": source,
                            "field": f"column_{n}",
                            "transformations": [how],
                        }
                    ]
                }
                for n in range(5)
            },
        )
    return {"namespace": "postgres://db:5432", "name": name, "facets": facets}


def body(number: int, repeated: bool) -> bytes:
    """The event of that number: START, RUNNING and COMPLETE of a run of one task after the other."""
    run, phase = divmod(number, 3)
    distinct = "" if repeated else f"#{number}"
    task, name = run % _TASKS, hashlib.md5(str(run).encode(), usedforsecurity=False).hexdigest()
    run_id = f"{name[:8]}-{name[8:12]}-7{name[13:16]}-8{name[17:20]}-{name[20:]}"
    before, after = f"analytics.table_{task}", f"analytics.table_{task + 1}"
    event = {
        "eventType": ("START", "RUNNING", "COMPLETE")[phase],
        "eventTime": f"2026-10-{1 + run % 28:02}T{run % 24:02}:{run // 24 % 60:02}:{phase:02}.{number % 10**6:06}Z",
        "producer": _PRODUCER,
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {
            "runId": run_id,
            "facets": {
                "nominalTime": _facet(distinct, nominalStartTime="2026-10-01T00:00:00Z"),
                "parent": _facet(
                    distinct,
                    run={"runId": run_id[:-4] + "ffff"},
                    job={"namespace": "prod", "name": f"dag_{task // 20}"},
                ),
                "processing_engine": _facet(distinct, version="3.3.2", name="Airflow"),
            },
        },
        "job": {
            "namespace": "prod",
            "name": f"dag_{task // 20}.task_{task}",
            "facets": {
                "jobType": _facet(distinct, jobType="TASK", integration="AIRFLOW", processingType="BATCH"),
                "sql": _facet(distinct, query=f"INSERT INTO {after} SELECT * FROM {before}"),
                "ownership": _facet(distinct, owners=[{"name": "data-team", "type": "MAINTAINER"}]),
            },
        },
        "inputs": [_dataset(before, 4, distinct)],
        "outputs": [_dataset(after, 6, distinct, before)],
    }
    return json.dumps(event).encode()


def _store(events: int, repeated: bool) -> Path:
    return OUT / f"lineage-log-{events}-{'repeated' if repeated else 'distinct'}"


def _log(folder: Path, *, create: bool = False) -> Any:
    from governance.log import Log, open_storage

    storage = open_storage(str(folder), create=create, origin="governance.example/bench")
    return Log(storage, signer=None, clock=lambda: datetime.now(UTC))


def make_log(events: int, repeated: bool) -> dict[str, Any]:
    """A SQLite store of that many events."""
    from governance.log import OPENLINEAGE_EVENT, NewEntry

    folder = _store(events, repeated)
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        log = _log(partial, create=True)
        for start in range(0, events, 1_000):
            stop = min(start + 1_000, events)
            bodies = (body(number, repeated) for number in range(start, stop))
            log.append([NewEntry(b, OPENLINEAGE_EVENT, "ingest:bench") for b in bodies])
        log.close()
        partial.rename(folder)
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def catch_up(events: int, repeated: bool) -> dict[str, Any]:
    """An empty index catches up with the whole log."""
    import pyarrow as pa

    from governance.lineage.index.index import Index

    # At the first array PyArrow imports pandas where it is there, and imports are not counted.
    pa.array([])
    log, kept = _log(_store(events, repeated)), []
    result = measure(lambda: kept.append(Index.build(log)))
    [counted] = kept[0].query("SELECT count(*) AS n FROM events")
    if counted["n"] != events or kept[0].query("FROM entries WHERE fault IS NOT NULL"):
        raise AssertionError("events were lost")
    return {**result, "rows": events}


def read_and_parse(events: int, repeated: bool) -> dict[str, Any]:
    """The same entries from the same store, each parsed by the standard library, nothing kept."""
    log = _log(_store(events, repeated))

    def work() -> dict[str, Any]:
        for entry in log.entries():
            json.loads(entry.body)
        return {}

    return {**measure(work), "rows": events}


@dataclass(frozen=True)
class _Entry:
    index: int
    leaf: bytes
    body: bytes


class _Generated:
    """A log that makes its entries as they are read: a store of a million events is 6 GB."""

    origin = "governance.example/bench"
    storage = SimpleNamespace(nodes=lambda nodes: [bytes(32)] * len(nodes), redactions=list, archives=list)

    def __init__(self, events: int) -> None:
        self._events = events

    def size(self) -> int:
        return self._events

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[_Entry]:
        leaf = json.dumps(
            {
                "received_at": "2026-11-24T00:00:00.000000Z",
                "principal": "ingest:bench",
                "media_type": "application/vnd.openlineage.event+json",
                "size": 4_500,
            }
        ).encode()
        for index in range(start, self._events if stop is None else stop):
            yield _Entry(index, leaf, body(index, repeated=True))


def make_snapshot(events: int) -> dict[str, Any]:
    """A snapshot of an index of that many events."""
    from governance.lineage.index.index import Index
    from governance.lineage.index.snapshot import open_snapshot, write_snapshot

    folder, log = OUT / f"lineage-snapshot-{events}", _Generated(events)
    index = open_snapshot(folder, log)
    if index is None:
        index = Index.build(log)
        write_snapshot(index, folder, log)
    index.close()
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def open_and_ask(events: int) -> dict[str, Any]:
    """Open the snapshot, every file's digest checked, and ask for one dataset; then for all runs."""
    from governance.lineage.index.index import Index
    from governance.lineage.index.snapshot import open_snapshot

    folder, log, kept = OUT / f"lineage-snapshot-{events}", _Generated(events), []

    def opening() -> None:
        index = open_snapshot(folder, log)
        if index is None:
            raise AssertionError("the snapshot was refused")
        kept.append(index)

    opened = measure(opening)
    index: Index = kept[0]
    dataset = measure(lambda: kept.append(index.dataset("postgres://db:5432", "analytics.table_7")))
    runs = measure(
        lambda: kept.append(
            index.query("SELECT state, count(*) AS n FROM runs_at($as_of) GROUP BY ALL ORDER BY n DESC")
        )
    )
    if kept[1] is None or kept[2][0] != {"state": "COMPLETE", "n": events // 3}:
        raise AssertionError("the index does not hold what was written")
    stored = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    return {
        **opened,
        "open_s": opened["wall_s"],
        "dataset_s": dataset["wall_s"],
        "runs_s": runs["wall_s"],
        "stored": stored / events,
    }


def experiments(quick: bool) -> list[Experiment]:
    events, million = (30_000, 90_000) if quick else (240_000, 1_000_000 // 3 * 3)
    return [
        *(
            Experiment(
                f"lineage_index.{name}",
                Call("lineage_index:catch_up", {"events": events, "repeated": repeated}),
                [
                    Figure(
                        f"lineage_index.catch_up.{name}", "events/s", per_second("rows"),
                        Goal("value", 20_000, at_most=False, unit="events/s"),
                        peer=per_second("rows"),
                    ),
                    Figure(f"lineage_index.memory.{name}", "MiB", peak, peer=peak),
                ],
                peer=Call("lineage_index:read_and_parse", {"events": events, "repeated": repeated}),
                before=[Call("lineage_index:make_log", {"events": events, "repeated": repeated})],
                context={"events": events, "facets": name},
            )
            for name, repeated in (("repeated", True), ("distinct", False))
        ),
        Experiment(
            "lineage_index.snapshot",
            Call("lineage_index:open_and_ask", {"events": million}),
            [
                Figure("lineage_index.open", "s", value_of("open_s"), Goal("value", 2, unit="s")),
                Figure("lineage_index.dataset_from_snapshot", "s", value_of("dataset_s")),
                Figure("lineage_index.all_runs_from_snapshot", "s", value_of("runs_s")),
                Figure("lineage_index.stored", "B/event", value_of("stored")),
            ],
            before=[Call("lineage_index:make_snapshot", {"events": million})],
            context={"events": million},
        ),
    ]  # fmt: skip
