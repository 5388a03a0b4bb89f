"""The Safe Harbor profile on columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.model.contract import ContractColumn, Protection
from governance.protect import safe_harbor_evidence, safe_harbor_faults


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
        ("free_text", "redact", {"reversible": True}, "leave out `reversible`"),
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


@pytest.mark.parametrize("method", ["token", "ff1", "date_shift"])
@pytest.mark.parametrize("classification", ["none", "email", "date", "free_text", None])
def test_keyed_values_and_shifted_dates_are_refused_whatever_they_hold(
    method: str, classification: str | None
) -> None:
    (fault,) = safe_harbor_faults([column(classification, method, domain="d", erasable=False)])
    assert fault.startswith("c: ")
    assert "drop" in fault


def test_the_evidence_names_every_paragraph_and_the_recall_of_free_text() -> None:
    columns = [
        column("ssn", "drop"),
        column("date", "date_to_year"),
        column("none", "keep"),
        column("free_text", "redact"),
    ]
    found = safe_harbor_evidence(columns, {"source_c": "email"}, ner=False)
    by_paragraph = {entry["paragraph"]: entry["columns"] for entry in found["identifiers"]}
    assert "".join(by_paragraph) == "ABCDEFGHIJKLMNOPQR"
    assert by_paragraph["G"] == [{"column": "c", "classification": "ssn", "method": "drop"}]
    assert by_paragraph["F"] == [{"column": "c", "classification": "email", "method": "keep"}]
    assert found["free_text"]["columns"] == ["c"]
    assert safe_harbor_evidence(columns[:1], {}, ner=False)["free_text"] == {"columns": [], "recall": []}


@pytest.mark.parametrize("page", ["detection.md", "protection.md"])
def test_the_recall_stated_is_the_one_measured(page: str) -> None:
    text = (Path(__file__).parents[3] / "docs" / page).read_text("utf-8")
    rows = {
        line.split("|")[1].split(",")[0].strip(): [
            cell.split(",")[-1].strip() for cell in line.split("|")[2:4]
        ]
        for line in text.splitlines()
        if line.startswith("| ") and line.count("|") >= 4
    }
    columns = [column("free_text", "redact")]
    for place, ner in enumerate((False, True)):
        for measured in safe_harbor_evidence(columns, {}, ner=ner)["free_text"]["recall"]:
            written = rows[measured["set"]][place]
            assert written in (f"{measured['recall']:.3f}".removeprefix("0"), "as the rules")
