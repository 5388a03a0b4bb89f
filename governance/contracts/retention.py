"""How long a version is kept, from ODCS' ``slaProperties``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from governance.contracts.documents import Pointer
from governance.contracts.faults import did_you_mean
from governance.contracts.reading import entries, text

_DAYS: Final = {
    "d": 1, "day": 1, "days": 1, "w": 7, "week": 7, "weeks": 7,
    "m": 30, "mo": 30, "month": 30, "months": 30, "y": 365, "yr": 365, "year": 365, "years": 365,
}  # fmt: skip


def retention_days(root: Mapping[str, Any], say: Callable[[Pointer, str], None]) -> int | None:
    """The days of the ``retention`` entry; ``say`` is told of each fault and where it stands."""
    days: int | None = None
    for index, entry in enumerate(entries(root, "slaProperties")):
        if text(entry, "property") != "retention":
            continue
        at: Pointer = ("slaProperties", index)
        value, unit = entry.get("value"), text(entry, "unit")
        if days is not None:
            say(at, "`retention` is written twice; remove one")
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 36_500:
            say(
                (*at, "value"),
                "`retention` must be a whole number above 0; write e.g. `value: 3, unit: y`",
            )
        elif unit is None or unit.lower() not in _DAYS:
            near = did_you_mean(unit or "", ["d", "w", "m", "y"])
            say((*at, "unit"), f"`retention` has no unit of time; {near}")
        else:
            days = value * _DAYS[unit.lower()]
    return days
