"""Verdicts in Great Expectations' JSON shape, without any value of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from governance.model.contract import Rule
from governance.model.evidence import Assertion

_OURS = ("rule", "expectation", "column")
"""What a result says beside Great Expectations' own shape, so that evidence can be searched by it."""


@dataclass(frozen=True)
class ValidationResult:
    """``results`` holds one JSON object a rule, in the order of the rules."""

    success: bool
    results: tuple[Mapping[str, Any], ...]
    assertions: tuple[Assertion, ...]

    @property
    def statistics(self) -> dict[str, Any]:
        """Counts, as Great Expectations has them."""
        passed = sum(bool(each["success"]) for each in self.results)
        total = len(self.results)
        return {
            "evaluated_expectations": total,
            "successful_expectations": passed,
            "unsuccessful_expectations": total - passed,
            "success_percent": 100.0 * passed / total if total else None,
        }

    def to_json(self) -> dict[str, Any]:
        """The shape of ``ExpectationSuiteValidationResult.to_json_dict()``."""
        return {
            "success": self.success,
            "statistics": self.statistics,
            "results": [
                {name: value for name, value in each.items() if name not in _OURS} for each in self.results
            ],
            "suite_name": "",
            "suite_parameters": {},
            "meta": {},
        }


def collected(verdicts: Sequence[tuple[Rule, bool, Mapping[str, Any]]]) -> ValidationResult:
    """A result from each rule's success and its ``result`` object."""
    results = []
    assertions = []
    for rule, success, result in verdicts:
        column = rule.arguments.get("column")
        results.append(
            {
                "rule": rule.name,
                "expectation": rule.expectation,
                "column": column,
                "success": success,
                "expectation_config": {
                    "type": rule.expectation,
                    "kwargs": {name: _json(value) for name, value in rule.arguments.items()},
                    "meta": {},
                },
                "result": dict(result),
                "exception_info": {
                    "raised_exception": False,
                    "exception_message": None,
                    "exception_traceback": None,
                },
                "meta": {},
            }
        )
        assertions.append(Assertion(rule.expectation, success, column))
    return ValidationResult(all(s for _, s, _ in verdicts), tuple(results), tuple(assertions))


def row_result(rows: int, considered: int, unexpected: int, *, of_missing: bool) -> dict[str, Any]:
    """The counts of a rule on rows. Rules about missing values tell no missing counts."""
    counts = {
        "element_count": rows,
        "unexpected_count": unexpected,
        "unexpected_percent": _percent(unexpected, considered),
    }
    if of_missing:
        return counts
    return {
        **counts,
        "missing_count": rows - considered,
        "missing_percent": _percent(rows - considered, rows),
        "unexpected_percent_total": _percent(unexpected, rows),
        "unexpected_percent_nonmissing": _percent(unexpected, considered),
    }


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


def _json(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
