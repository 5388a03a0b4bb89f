"""How sensitive classifications are, by the policy that stands in the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_POLICY = "application/vnd.governance.policy+yaml"
_NEWEST_POLICY = f"""
    SELECT max(log_index) AS log_index FROM entry_rows
    WHERE media_type = '{_POLICY}' AND NOT missing AND log_index < $as_of
        AND (principal LIKE 'evidence:%' OR principal LIKE 'admin:%')
"""


class Index(Protocol):
    """What is needed of :class:`governance.lineage.index.index.Index`."""

    def arrow(self, sql: str, parameters: dict[str, Any]) -> Any:
        """The rows of one SELECT."""


class Bodies(Protocol):
    """What is needed of the log."""

    def entry(self, index: int) -> Any:
        """An entry with its ``body``."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Sensitivities, least first, and that of each classification; both of one policy."""

    order: tuple[str, ...] = ()
    of: Mapping[str, str] | None = None

    @classmethod
    def at(cls, index: Index, log: Bodies, as_of: int) -> Levels:
        """Those of the newest policy in the log; empty if there is none."""
        place = index.arrow(_NEWEST_POLICY, {"as_of": as_of})["log_index"][0].as_py()
        body = None if place is None else log.entry(place).body
        if body is None:
            return cls()
        import yaml

        try:
            said = yaml.load(body, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
            levels = {name: rule["sensitivity"] for name, rule in said["classifications"].items()}
            return cls(tuple(said["sensitivities"]), levels)
        except (yaml.YAMLError, LookupError, TypeError, AttributeError):
            return cls()

    def level(self, classification: str) -> str | None:
        """Its sensitivity: the highest if the policy does not list it, ``None`` without a policy."""
        if not self.order or self.of is None:
            return None
        return self.of.get(classification, self.order[-1])

    def most(self, classifications: Iterable[str]) -> str | None:
        """The highest sensitivity among some classifications; the lowest of none."""
        if not self.order:
            return None
        return max((self.level(c) or "" for c in classifications), key=self._rank, default=self.order[0])

    def lowers(self, before: Iterable[str], after: str) -> bool:
        """Whether ``after`` is less sensitive than the most sensitive of ``before``; so too if nobody knows."""
        rest = [] if after == "none" else [after]
        return not self.order or self._rank(self.most(rest)) < self._rank(self.most(before))

    def _rank(self, level: str | None) -> int:
        return self.order.index(level) if level in self.order else len(self.order)
