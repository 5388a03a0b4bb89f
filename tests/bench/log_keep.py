"""Exporting, archiving and reading back what was archived; no floor: each is work that is done seldom."""

from __future__ import annotations

import secrets
import shutil
from datetime import UTC, datetime
from typing import Any

from tests.bench.experiment import Call, Experiment, Figure, per_cpu_second, value_of
from tests.bench.log_store import _log
from tests.bench.measuring import measure

SIZE = 1_024


def keep(events: int) -> dict[str, Any]:
    """A whole export and its verification, an archive of everything, and both read and verified again."""
    from governance.log import OPENLINEAGE_EVENT, NewEntry, verify_log
    from governance.log.archives.archive import Selection, archive
    from governance.log.export import export_tiles, verify_tiles

    log, signer, folder = _log("")
    for start in range(0, events, 1_000):
        bodies = (secrets.token_hex(SIZE // 2).encode() for _ in range(start, min(events, start + 1_000)))
        log.append([NewEntry(body, OPENLINEAGE_EVENT, "ingest:bench") for body in bodies])
    checkpoint = log.checkpoint()
    size = checkpoint.size
    done: list[bool] = []
    exporting = measure(
        lambda: done.append(export_tiles(log.storage, checkpoint, folder / "out").size == size)
    )
    checking = measure(lambda: done.append(verify_tiles(folder / "out", signer.vkey).ok))
    plain = measure(lambda: done.append(verify_log(log.storage, signer.vkey).ok))
    chosen = Selection(datetime(2999, 1, 1, tzinfo=UTC))
    archiving = measure(
        lambda: done.append(
            bool(archive(log, folder / "archive", chosen, ground="bench", authoriser="admin:bench"))
        )
    )
    reading = measure(lambda: done.append(sum(entry.body is not None for entry in log.entries()) >= size))
    archived = measure(lambda: done.append(verify_log(log.storage, signer.vkey).ok))
    if not all(done):
        raise AssertionError(done)
    log.close()
    shutil.rmtree(folder)
    parts = {
        "export": exporting,
        "tiles_verify": checking,
        "verify": plain,
        "archive": archiving,
        "archive_read": reading,
        "archive_verify": archived,
    }
    return {
        **plain,
        "rows": events,
        **{f"{name}_per_s": events / part["cpu_s"] for name, part in parts.items()},
    }


def experiments(quick: bool) -> list[Experiment]:
    events = 20_000 if quick else 500_000
    names = ("export", "tiles_verify", "archive", "archive_read", "archive_verify")
    return [
        Experiment(
            "log.keep",
            Call("log_keep:keep", {"events": events}),
            [
                Figure("log.verify.1kb", "entries/s", per_cpu_second("rows")),
                *(Figure(f"log.{name}", "entries/s", value_of(f"{name}_per_s")) for name in names),
            ],
            pairs=1 if not quick else 3,
            context={"events": events, "bytes": SIZE},
        )
    ]
