"""Events that a destination refused for good, and stretches of outbox files that are no records.

One JSON object a line: ``at``, ``code``, ``reason``, and ``event`` with its ``principal``, or ``bytes`` in
Base64 for what is damaged. Of an event that was redacted only the refusal is kept.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance.durable import sync
from governance.lineage.emission.destination import REDACTED, Refusal
from governance.lineage.emission.framing import Event
from governance.model.canonical import timestamp

FILE = "dead-letters.jsonl"
DAMAGED = "damaged"


class DeadLetters:
    """The dead-letter file of an outbox. Safe beside other processes."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def bury(self, events: Sequence[Event], refused: Sequence[Refusal], damaged: Sequence[bytes]) -> None:
        """Write down what was refused, or is damaged, durably.

        Raises:
            OSError: it could not be written; nothing was.
        """
        if not refused and not damaged:
            return
        at = timestamp(datetime.now(UTC))
        lines: list[Mapping[str, Any]] = []
        for refusal in refused:
            event = events[refusal.position]
            line = {"at": at, "code": refusal.code, "reason": refusal.reason[:2000]}
            if refusal.code != REDACTED:
                line["principal"] = event.principal
                line["event"] = event.body.decode("utf-8", "surrogateescape")
            lines.append(line)
        lines += [
            {
                "at": at,
                "code": DAMAGED,
                "reason": "cut short by a kill, or altered",
                "bytes": base64.b64encode(d).decode(),
            }
            for d in damaged
        ]
        with self._locked() as descriptor:
            end = os.fstat(descriptor).st_size
            text = b"".join(json.dumps(line).encode("ascii") + b"\n" for line in lines)
            try:
                while text:
                    text = text[os.write(descriptor, text) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise

    def counts(self) -> dict[str, int]:
        """How many there are, by code."""
        return dict(Counter(str(line.get("code")) for line in self._lines()))

    def size(self) -> int:
        """Bytes of the file."""
        return self._path.stat().st_size if self._path.exists() else 0

    @contextmanager
    def raised(self) -> Iterator[list[Event]]:
        """The refused events, to be tried again; leave the block without an error and they are gone here.

        Of damaged stretches and redacted events nothing can be tried; they stay.
        """
        if not self._path.exists():
            yield []
            return
        with self._locked() as descriptor:
            lines = list(self._lines())
            yield [
                Event(line["event"].encode("utf-8", "surrogateescape"), line["principal"])
                for line in lines
                if "event" in line
            ]
            kept = b"".join(json.dumps(line).encode("ascii") + b"\n" for line in lines if "event" not in line)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, kept)
            os.fsync(descriptor)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            try:
                read = json.loads(line)
            except ValueError:
                read = None
            yield read if isinstance(read, dict) else {"code": DAMAGED}

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if new:
                sync(self._path.parent)
            yield descriptor
        finally:
            os.close(descriptor)
