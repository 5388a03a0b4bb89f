"""Until when a request has to be answered: periods by regime and kind, from ``schemas/statutory-clocks.yaml``.

A law that changes, or a regime that comes, changes the file and no code. Periods run by the instant, which is
never later than the end of the day that the laws count to; public holidays lengthen none.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from governance.errors import SettingError
from governance.model.resources import schemas

FILE = "statutory-clocks.yaml"
_PERIOD = re.compile(r"P([1-9][0-9]{0,3})([DMYB])")
_FRIDAY = 4


@dataclass(frozen=True, slots=True)
class StatutoryClock:
    """``period`` from receipt and ``extension`` from its end: ``P1M``, ``P30D``, ``P15B`` for business days.

    ``confirmation`` is within what receipt of the request is to be confirmed, where the law asks for it.
    """

    regime: str
    kind: str
    period: str
    extension: str | None
    law: str
    paused_until_verified: bool
    confirmation: str | None = None

    def due(self, received_at: datetime, *, verified_at: datetime | None, extended: bool) -> datetime | None:
        """When an answer is due; ``None`` while the clock waits for who asks to be verified."""
        start = received_at
        if self.paused_until_verified:
            if verified_at is None:
                return None
            start = max(start, verified_at)
        due = _after(start, self.period)
        return _after(due, self.extension) if extended and self.extension else due

    def confirm_by(self, received_at: datetime) -> datetime | None:
        """Until when receipt is to be confirmed; ``None`` where no law asks for it."""
        return _after(received_at, self.confirmation) if self.confirmation else None


def statutory_clock(regime: str, kind: str) -> StatutoryClock:
    """The clock of a kind of request under a regime.

    Raises:
        SettingError: GOV-901 when there is none.
    """
    clocks = load_clocks(schemas() / FILE)
    found = clocks.get((regime, kind))
    if found is None:
        known = ", ".join(sorted(k for r, k in clocks if r == regime)) or "nothing"
        raise SettingError(
            "GOV-901",
            f"there is no statutory clock for a request of kind {kind!r} under {regime}",
            f"under {regime} there is {known}; {FILE} holds them all",
        )
    return found


@cache
def load_clocks(path: Path) -> Mapping[tuple[str, str], StatutoryClock]:
    """Every clock of a file by regime and kind.

    Raises:
        SettingError: GOV-901 when the file is not one of clocks.
    """
    import yaml

    try:
        said: Any = yaml.safe_load(path.read_text("utf-8"))
        clocks = {}
        for row in said["clocks"]:
            for kind in row["kinds"]:
                clock = StatutoryClock(
                    row["regime"], kind, row["period"], row.get("extension"), row["law"],
                    bool(row["pausedUntilVerified"]), row.get("confirmation"),
                )  # fmt: skip
                for period in filter(None, (clock.period, clock.extension, clock.confirmation)):
                    if not _PERIOD.fullmatch(period):
                        raise ValueError(period)
                if (clock.regime, kind) in clocks:
                    raise ValueError(kind)
                clocks[clock.regime, kind] = clock
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, UnicodeError):
        raise SettingError(
            "GOV-901", f"{path.name} is not a file of statutory clocks", "restore the one that is shipped"
        ) from None
    return clocks


def _after(start: datetime, period: str) -> datetime:
    matched = _PERIOD.fullmatch(period)
    assert matched is not None  # noqa: S101 - checked as the file was read
    count, unit = int(matched[1]), matched[2]
    if unit == "D":
        return start + timedelta(days=count)
    if unit == "B":
        day = start
        while count:
            day += timedelta(days=1)
            count -= day.weekday() <= _FRIDAY
        return day
    months = start.year * 12 + start.month - 1 + count * (12 if unit == "Y" else 1)
    year, month = divmod(months, 12)
    # A month without that date ends with its last day (Regulation 1182/71, Art. 3(2)(c)).
    return start.replace(
        year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1])
    )
