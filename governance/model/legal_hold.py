"""A ground on which rows are kept although their subject asks for erasure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class LegalHold:
    """``datasets`` and ``domains`` it names, all where empty; ``until`` is its last day, in UTC."""

    regime: str
    ground: str
    datasets: tuple[str, ...]
    domains: tuple[str, ...]
    until: date | None

    def covers(self, dataset: str, domain: str, day: date) -> bool:
        """Whether it keeps the rows of a dataset with subjects of a domain on a day."""
        return (
            (not self.datasets or dataset in self.datasets)
            and (not self.domains or domain in self.domains)
            and (self.until is None or day <= self.until)
        )
