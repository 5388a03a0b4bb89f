"""Appending to the log, proving and verifying; floors are the bare tables with the same grouping."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.experiment import (
    OUT,
    Call,
    Experiment,
    Figure,
    Floor,
    Goal,
    per_cpu_second,
    per_second,
    value_of,
)
from tests.bench.measuring import measure
from tests.signing_key import Key

SIZE = 4_608
THREADS = 16


def _log(location: str) -> tuple[Any, Any, Path]:
    """A new log, its signer and the folder it lies in."""
    from governance.log import CheckpointSigner, Log, open_storage

    folder = OUT / "work" / f"log-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    place = location or str(folder / "store")
    storage = open_storage(place, create=True, origin="governance.example/bench")
    signer = CheckpointSigner(Key(), storage.origin, folder / "signer" / "memory.note")
    return Log(storage, signer=signer, clock=lambda: datetime.now(UTC)), signer, folder


@contextmanager
def _filled(events: int, location: str) -> Iterator[tuple[Any, list[Any]]]:
    """A new log and so many distinct entries for it; afterwards all of them are in it, and it is dropped."""
    from governance.log import OPENLINEAGE_EVENT, NewEntry

    schema = f"bench_{secrets.token_hex(4)}"
    if location:
        import psycopg

        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        location = f"{location}{'&' if '?' in location else '?'}options=-csearch_path%3D{schema}"
    log, _, folder = _log(location)
    filler = secrets.token_bytes(SIZE - 8)
    yield (
        log,
        [NewEntry(i.to_bytes(8, "big") + filler, OPENLINEAGE_EVENT, "ingest:bench") for i in range(events)],
    )
    if log.size() != events:
        raise AssertionError("events were lost")
    log.close()
    shutil.rmtree(folder)
    if location:
        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def append(events: int, batch: int, location: str = "") -> dict[str, Any]:
    """Durable appends of distinct bodies, then one signed checkpoint over them."""
    with _filled(events, location) as (log, entries):

        def work() -> dict[str, Any]:
            for start in range(0, events, batch):
                log.append(entries[start : start + batch])
            log.checkpoint()
            return {"rows": events}

        result = measure(work)
    return {**result, "rows_per_s": events / result["wall_s"]}


def group(events: int, threads: int, location: str = "") -> dict[str, Any]:
    """Threads that each submit one entry and wait until it is durable, then the next."""
    from concurrent.futures import ThreadPoolExecutor

    from governance.log import GroupCommit

    with _filled(events, location) as (log, entries):
        groups = []
        append_sealed = log.append_sealed

        def counted(submissions: Any) -> Any:
            groups.append(len(submissions))
            return append_sealed(submissions)

        log.append_sealed = counted
        committing = GroupCommit(log)

        def client(number: int) -> None:
            for entry in entries[number::threads]:
                committing.submit([entry]).result()

        def work() -> dict[str, Any]:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(client, range(threads)))
            return {"rows": events}

        result = measure(work)
        committing.close()
    return {**result, "rows_per_s": events / result["wall_s"], "group": events / len(groups)}


def read(events: int) -> dict[str, Any]:
    """All entries in order, as an index reads them."""
    with _filled(events, "") as (log, entries):
        for start in range(0, events, 500):
            log.append(entries[start : start + 500])
        entries.clear()
        return measure(lambda: {"rows": sum(len(entry.body) == SIZE for entry in log.entries())})


def verify(leaves: int, probes: int = 2_000) -> dict[str, Any]:
    """A whole verification, and proofs for random entries of the same log."""
    import random

    from governance.log import OPENLINEAGE_EVENT, NewEntry, verify_entry, verify_log

    log, signer, folder = _log("")
    body = secrets.token_bytes(256)
    for start in range(0, leaves, 1_000):
        log.append(
            [
                NewEntry(i.to_bytes(8, "big") + body, OPENLINEAGE_EVENT, "ingest:bench")
                for i in range(start, min(leaves, start + 1_000))
            ]
        )
    checkpoint = log.checkpoint()
    chosen = [random.randrange(leaves) for _ in range(probes)]
    proofs: list[Any] = []
    stored = [log.entry(i).leaf for i in chosen]
    proving = measure(lambda: proofs.extend(log.prove(i, checkpoint) for i in chosen))

    def check() -> None:
        for leaf, proof in zip(stored, proofs, strict=True):
            verify_entry(leaf, proof, checkpoint)

    checking = measure(check)
    reports: list[Any] = []
    result = measure(lambda: reports.append(verify_log(log.storage, signer.vkey)))
    if not reports[0].ok:
        raise AssertionError(reports[0].reason)
    log.close()
    shutil.rmtree(folder)
    return {
        **result,
        "rows": leaves,
        "prove_us": proving["cpu_s"] / probes * 1e6,
        "check_us": checking["cpu_s"] / probes * 1e6,
    }


def experiments(quick: bool, rows: int | None, dsn: str | None) -> list[Experiment]:
    made = []
    for batch, events in ((1, 2_000 if quick else 10_000), (100, 10_000 if quick else 100_000)):
        size = ("--batch", str(batch), "--size", str(SIZE))
        floors: list[tuple[str, str, Floor]] = [("sqlite", "", Floor(("sqlite", str(events), *size)))]
        if dsn:
            floors.append(("postgres", dsn, Floor(("postgres", dsn, str(events), *size))))
        for kind, location, floor in floors:
            name = f"log.append.{kind}.{'single' if batch == 1 else f'batch_{batch}'}"
            made.append(
                Experiment(
                    name,
                    Call("log_store:append", {"events": events, "batch": batch, "location": location}),
                    [
                        Figure(
                            name, "events/s", per_second("rows"), Goal("ratio", 0.5, at_most=False),
                            floor=value_of("rows_per_s"),
                        ),
                        Figure(
                            f"{name}.cpu", "events/s", per_cpu_second("rows"), floor=per_cpu_second("rows")
                        ),
                    ],
                    floor=floor,
                    pairs=5,
                    context={"events": events, "bytes": SIZE},
                )
            )  # fmt: skip
    events = 5_000 if quick else 50_000
    kinds = [("sqlite", "", ("sqlite", str(events)))]
    if dsn:
        kinds.append(("postgres", dsn, ("postgres", dsn, str(events))))
    for kind, location, bare in kinds:
        name = f"log.group.{kind}.threads_{THREADS}"
        made.append(
            Experiment(
                name,
                Call("log_store:group", {"events": events, "threads": THREADS, "location": location}),
                [
                    Figure(
                        name, "events/s", per_second("rows"), Goal("ratio", 0.5, at_most=False),
                        floor=value_of("rows_per_s"),
                    ),
                    Figure(f"{name}.group", "events", value_of("group")),
                ],
                floor=Floor((*bare, "--batch", str(THREADS), "--size", str(SIZE))),
                pairs=5,
                context={"events": events, "bytes": SIZE, "floor groups": THREADS},
            )
        )  # fmt: skip
    made.append(
        Experiment(
            "log.read",
            Call("log_store:read", {"events": 20_000 if quick else 200_000}),
            [Figure("log.read", "entries/s", per_cpu_second("rows"), Goal("value", 60_000, at_most=False))],
            pairs=3,
            context={"bytes": SIZE},
        )
    )
    leaves = 50_000 if quick else 1_000_000
    made.append(
        Experiment(
            "log.verify",
            Call("log_store:verify", {"leaves": leaves}),
            [
                Figure("log.verify", "entries/s", per_cpu_second("rows")),
                Figure("log.proof.make", "us", value_of("prove_us")),
                Figure("log.proof.check", "us", value_of("check_us")),
            ],
            pairs=1 if not quick else 3,
            context={"leaves": leaves},
        )
    )
    return made
