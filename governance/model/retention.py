"""How long something is kept: calendar periods, and what each regime asks."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_PERIOD = re.compile(r"P(?=[0-9])(?:([0-9]{1,3})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,5})D)?")


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar period, ISO 8601 §5.5.2.2: ``P6Y``, ``P18M``, ``P90D``, ``P1Y6M``."""

    years: int = 0
    months: int = 0
    days: int = 0

    @classmethod
    def parse(cls, text: str) -> Period:
        """Raises ValueError when it is no such period, or an empty one."""
        matched = _PERIOD.fullmatch(text)
        if matched is None:
            raise ValueError("not a period such as P6Y, P18M or P90D")
        period = cls(*(int(part or 0) for part in matched.groups()))
        if period == cls():
            raise ValueError("an empty period")
        return period

    def before(self, instant: datetime) -> datetime:
        """``instant`` less this period; what was recorded earlier is older than the period.

        A day that the month does not have becomes its last one (29 February less one year: 28 February).
        """
        months = instant.year * 12 + instant.month - 1 - self.years * 12 - self.months
        year, month = divmod(months, 12)
        day = min(instant.day, calendar.monthrange(year, month + 1)[1])
        return instant.replace(year=year, month=month + 1, day=day) - timedelta(days=self.days)

    def __str__(self) -> str:
        parts = ((self.years, "Y"), (self.months, "M"), (self.days, "D"))
        return "P" + "".join(f"{count}{unit}" for count, unit in parts if count)


@dataclass(frozen=True, slots=True)
class Retention:
    """What a regime asks: kept for ``at_least``, and not longer than ``at_most``; None where it is silent."""

    regime: str
    at_least: Period | None
    at_most: Period | None
