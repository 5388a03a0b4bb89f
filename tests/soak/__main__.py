"""Mixed load on a real server while its parts are killed at random; then everything is checked.

    python -m tests.soak [--minutes 10] [--storage sqlite|postgres] [--rate 1000] [--seed N] [--keep DIR]

Writers post single events and batches, append to the log and emit through outboxes; readers ask. Every
few seconds the server, PostgreSQL or a writer is killed with SIGKILL and started again. At the end
every acknowledged event is in the log once, the log verifies against the key made at the start, and the
server answers as one does whose index was rebuilt. ``--rate`` bounds the events a second of all writers
together, so that what a soak of hours wrote can still be checked in minutes; 0 is as fast as they can.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
from contextlib import suppress
from pathlib import Path

from tests.soak.chaos import Postgres, Process, get, governance, server, wait_for, writer
from tests.soak.checking import Verdict, check

_WRITERS = ("http", "http", "batch", "log", "outbox")
_READS = (
    "/api/v1/namespaces",
    "/api/v1/jobs?limit=20",
    "/api/v1/namespaces/warehouse/datasets?limit=20",
    "/api/v1/lineage?nodeId=dataset:warehouse:table_01&depth=5",
    "/api/v1/audit/completeness",
)


def soak(folder: Path, storage: str, seconds: float, rate: float, seed: int) -> Verdict:
    """Load, kill, check. ``folder`` must be one that the PostgreSQL server's user may enter."""
    dice = random.Random(seed)
    home = folder / "home"
    postgres = Postgres(folder / "postgres") if storage == "postgres" else None
    store = postgres.url if postgres else str(folder / "store")
    (folder / "kek.json").parent.mkdir(parents=True, exist_ok=True)
    made = governance(home, "keys", "init", "--origin", "soak.example/log", "--store", store, "--json")
    token = governance(
        home, "token", "create", "--scopes", "ingest,read,audit", "--name", "soak", "--store", store
    ).strip()
    url = f"http://127.0.0.1:{_free_port()}"
    parts = [server(folder, store, int(url.rpartition(":")[2]), home)]
    parts[0].start()
    wait_for(url)
    for number, kind in enumerate(_WRITERS):
        outbox = str(folder / f"outbox-{number}")
        pause = str(len(_WRITERS) / rate if rate else 0.0)
        target = {"url": url, "token": token, "store": store, "outbox": outbox, "pause": pause}
        parts.append(writer(folder, number, kind, target, home))
        parts[-1].start()
    try:
        _kill_at_random(parts, postgres, url, token, seconds, dice)
        for part in parts[1:]:
            part.stop()
        _drain(folder, home, store)
        wait_for(url)
        verdict = check(folder, store, json.loads(made)["log_public_key"], url, token)
        verdict.faults.extend(_ended_alone(parts))
        return verdict
    finally:
        for part in parts:
            part.stop()
        if postgres:
            postgres.stop()


def _kill_at_random(
    parts: list[Process], postgres: Postgres | None, url: str, token: str, seconds: float, dice: random.Random
) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _read_for(dice.uniform(1, 6), url, token, dice)
        victim = dice.choice([*parts, *([postgres] if postgres else [])])
        victim.kill()
        if isinstance(victim, Process):
            print(f"killed {victim.name}", file=sys.stderr, flush=True)
        else:
            print("killed PostgreSQL", file=sys.stderr, flush=True)
            _read_for(dice.uniform(0, 2), url, token, dice)
        victim.start()
        if victim is parts[0]:
            wait_for(url)


def _read_for(seconds: float, url: str, token: str, dice: random.Random) -> None:
    """Ask; while PostgreSQL is away the server may say 503, but never 500."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            get(url + dice.choice(_READS), token)
        except urllib.error.HTTPError as refused:
            if refused.code not in (404, 503):
                raise AssertionError(f"{refused.url} answered {refused.code}") from None
        except OSError:
            pass
        time.sleep(0.05)


def _drain(folder: Path, home: Path, store: str) -> None:
    for outbox in folder.glob("outbox-*"):
        governance(home, "outbox", "drain", "--outbox", str(outbox), "--store", store)


def _ended_alone(parts: list[Process]) -> list[str]:
    """A part that nobody killed must not have ended."""
    return [f"{part.name} ended by itself with {part.ended_alone}" for part in parts if part.ended_alone]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1_000, help="Events a second in all; 0: no bound.")
    parser.add_argument("--storage", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument(
        "--seed", type=int, default=None, help="The dice of the kills; printed when not given."
    )
    parser.add_argument("--keep", type=Path, help="Work here and leave everything there.")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if chosen.seed is None else chosen.seed
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="governance-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}", file=sys.stderr, flush=True)
    verdict = soak(folder, chosen.storage, chosen.minutes * 60, chosen.rate, seed)
    print(json.dumps({"storage": chosen.storage, "seed": seed, **vars(verdict)}, indent=2))
    if chosen.keep is None and not verdict.faults:
        with suppress(OSError):
            shutil.rmtree(folder)
    sys.exit(1 if verdict.faults else 0)


if __name__ == "__main__":
    main()
