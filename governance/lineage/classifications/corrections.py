"""The corrections of classifications that people recorded, and which one counts for a column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from governance.model.correction import CORRECTION, Column, Correction, read_correction, standing

_MARK = b"governance.classification-correction"


class ReadableLog(Protocol):
    """What is needed of the log."""

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Any]:
        """Entries in log order."""


def corrections_in(log: ReadableLog, stop: int, *, start: int = 0) -> list[Correction]:
    """Every correction in the log's entries from ``start`` to ``stop``, withdrawals included, in log order.

    Of other entries only the envelope is looked at.

    Raises:
        LogError: GOV-501 when the store does not answer, GOV-504 for an envelope that cannot be read.
    """
    found = []
    for entry in log.entries(start, stop):
        if _MARK in entry.leaf and entry.body is not None:
            envelope = entry.envelope
            if envelope.media_type == CORRECTION:
                found.append(read_correction(entry.body, envelope.principal, entry.index))
    return [correction for correction in found if correction is not None]


def correction_of(corrections: Iterable[Correction], where: Column, version: str | None) -> Correction | None:
    """The correction that counts for one column of one version; ``None`` if none stands."""
    meant = [correction for correction in corrections if correction.covers(where)]
    return standing(meant, [where], {where[:2]: version}).get(where)
