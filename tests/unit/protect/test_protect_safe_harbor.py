"""The Safe Harbor profile on columns."""

from __future__ import annotations

from typing import Any

import pytest

from governance.model.contract import ContractColumn, Protection
from governance.protect import safe_harbor_faults


def column(classification: str | None, method: str, **arguments: Any) -> ContractColumn:
    return ContractColumn("c", "source_c", "string", classification, Protection(method, arguments))


@pytest.mark.parametrize(
    ("classification", "method", "arguments"),
    [
        ("person_name", "drop", {}),
        ("medical_record_number", "pseudonym", {}),
        ("email", "mask", {}),
        ("date_of_birth", "date_to_year", {}),
        ("date", "date_to_year", {"maximum_age": 80}),
        ("age", "age_cap", {}),
        ("postal_code", "zip3", {}),
        ("jurisdiction", "keep", {}),
        ("country", "keep", {}),
        ("health_condition", "keep", {}),
        ("none", "keep", {}),
        ("free_text", "redact", {}),
        ("ssn", "constant", {"value": "x"}),
    ],
)
def test_satisfied(classification: str, method: str, arguments: dict[str, Any]) -> None:
    assert safe_harbor_faults([column(classification, method, **arguments)]) == ()


@pytest.mark.parametrize(
    ("classification", "method", "arguments", "says"),
    [
        ("date_of_birth", "keep", {}, "(C)"),
        ("date", "truncate", {"length": 7}, "(C)"),
        ("date_of_birth", "date_to_year", {"maximum_age": None}, "maximum_age"),
        ("age", "age_cap", {"maximum": 95}, "maximum"),
        ("age", "bucket", {"width": 10}, "(C)"),
        ("ssn", "mask", {"keep_last": 4}, "(G)"),
        ("postal_code", "truncate", {"length": 3}, "(B)"),
        ("city", "keep", {}, "(B)"),
        ("email", "token", {"domain": "d", "erasable": False}, "164.514(c)"),
        ("none", "token", {"domain": "d", "erasable": False}, "164.514(c)"),
        ("free_text", "keep", {}, "redact"),
        ("unclassified", "keep", {}, "unknown"),
        (None, "keep", {}, "unknown"),
        ("customer_id", "keep", {}, "(R)"),
    ],
)
def test_faults(classification: str | None, method: str, arguments: dict[str, Any], says: str) -> None:
    (fault,) = safe_harbor_faults([column(classification, method, **arguments)])
    assert says in fault
    assert fault.startswith("c: ")


def test_what_the_scan_found_stands_in_for_what_was_not_declared() -> None:
    assert safe_harbor_faults([column(None, "keep")], {"source_c": "none"}) == ()
    assert "(G)" in safe_harbor_faults([column("none", "keep")], {"source_c": "ssn"})[0]
