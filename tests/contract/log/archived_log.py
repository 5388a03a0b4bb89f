"""A log of which a part lies in archives."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

from governance.log import OPENLINEAGE_EVENT, Log, NewEntry, verify_log
from governance.log.archives.archive import Selection, archive
from governance.log.verify import LogReport

LATER = datetime(2027, 1, 1, tzinfo=UTC)
WHO = "admin:dpo"


def event(number: int) -> NewEntry:
    # Long and incompressible, so that a byte in the middle of a file lies in a body.
    pad = random.Random(number).randbytes(400).hex()
    return NewEntry(json.dumps({"event": number, "pad": pad}).encode(), OPENLINEAGE_EVENT, "ingest:airflow")


def in_two_archives(log: Log, folder: Path) -> Log:
    """Entries 0 to 19 and 20 to 39 in an archive each; 40 and 41 name them, 42 to 44 are new."""
    log.append([event(number) for number in range(40)])
    archive(log, folder, Selection(LATER), ground="old", authoriser=WHO, rows=20)
    log.append([event(number) for number in range(100, 103)])
    log.checkpoint()
    return log


def verify(log: Log) -> LogReport:
    """Verify with the log's own key."""
    return verify_log(log.storage, log._signer.vkey)  # type: ignore[union-attr]


def reopened(log: Log) -> Log:
    """The same store as another process would open it."""
    return Log(log.storage, signer=log._signer, clock=log._clock)
