"""Expectation suites of Great Expectations 1.x (JSON) that a contract names by file and digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from governance.model.canonical import digest

Suites: TypeAlias = Callable[[str], bytes]
"""A suite's file name → its bytes. Raises ``OSError`` or a ``GovernanceError`` when it is not there."""

_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*\.json)@(sha256:[0-9a-f]{64})")
_NOT_ARGUMENTS: Final = frozenset({"batch_id", "catch_exceptions", "result_format", "severity"})


class NoSuite(Exception):
    """What is wrong with a suite; says nothing of data."""


@dataclass(frozen=True, slots=True)
class Suite:
    """``name`` is a file beside the contract, ``digest`` that of its bytes."""

    name: str
    digest: str

    @classmethod
    def named(cls, said: object) -> Suite:
        """From ``FILE.json@sha256:…``, as a contract writes it. Raises :class:`NoSuite`."""
        found = _NAMED.fullmatch(said) if isinstance(said, str) else None
        if found is None:
            raise NoSuite(
                "a suite is a file beside the contract with its digest; write `suite: checks.json@sha256:…` "
                "(`sha256sum checks.json`)"
            )
        return cls(found[1], found[2])

    def read(self, suites: Suites) -> Iterator[tuple[str, dict[str, Any]]]:
        """Its expectations, as (name, arguments). Raises :class:`NoSuite`."""
        try:
            data = suites(self.name)
        except OSError:
            raise NoSuite(f"the suite `{self.name}` is not beside the contract; put it there") from None
        if digest(data) != self.digest:
            raise NoSuite(
                f"the suite `{self.name}` is not the one the contract names; write `{self.name}@{digest(data)}`, "
                "or restore it"
            )
        try:
            said = json.loads(data)["expectations"]
            if not isinstance(said, list):
                raise TypeError
            yield from [(str(each["type"]), _arguments(dict(each.get("kwargs") or {}))) for each in said]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise NoSuite(
                f"`{self.name}` is no expectation suite of Great Expectations 1.x; save it from there again"
            ) from None


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    if any(isinstance(value, dict) and "$PARAMETER" in value for value in given.values()):
        raise NoSuite("a suite's parameters have no values here; write the values")
    return {name: value for name, value in given.items() if value is not None and name not in _NOT_ARGUMENTS}
