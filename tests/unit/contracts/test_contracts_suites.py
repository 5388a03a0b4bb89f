"""A suite saved by Great Expectations is a contract's rules, bound by its digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.contracts import load_contract
from governance.contracts.compiled import from_json, to_json
from governance.errors import ContractError
from governance.model.canonical import digest
from governance.model.contract import RuleScope

EXAMPLE = Path(__file__).parents[3] / "schemas" / "examples" / "customer_profiles.odcs.yaml"
LAST = "    quality:\n      - name: the version holds rows\n"


def saved(*expectations: tuple[str, dict]) -> bytes:
    """As ``ExpectationSuite.to_json_dict()`` of Great Expectations 1.x writes one."""
    body = [
        {
            "id": None,
            "type": kind,
            "kwargs": {"batch_id": None, **arguments},
            "meta": {"profiler_details": 1},
            "severity": "critical",
        }
        for kind, arguments in expectations
    ]
    return json.dumps(
        {"name": "s", "id": None, "expectations": body, "meta": {}, "notes": None, "suite_parameters": {}}
    ).encode()


def contract(folder: Path, suite: bytes | None, said: str | None = None, scope: str = "protected") -> Path:
    if suite is not None:
        (folder / "checks.json").write_bytes(suite)
    named = said or f"checks.json@{digest(suite or b'')}"
    entry = f"      - type: custom\n        engine: greatExpectations\n        implementation: {{suite: '{named}'}}\n"
    entry += f"        customProperties: [{{property: scope, value: {scope}}}]\n"
    text = EXAMPLE.read_text()
    assert text.count(LAST) == 1
    path = folder / "c.odcs.yaml"
    path.write_text(text.replace(LAST, LAST.replace("quality:\n", "quality:\n" + entry)))
    return path


TIER = ("expect_column_values_to_be_in_set", {"column": "loyalty_tier", "value_set": ["gold"], "mostly": 0.1})
ROWS = ("expect_table_row_count_to_be_between", {"min_value": 1, "max_value": None})


def test_expectations_of_a_suite_are_rules(tmp_path: Path) -> None:
    suite = saved(TIER, ROWS)
    loaded = load_contract(contract(tmp_path, suite))
    rules = [r for r in loaded.rules if r.name.startswith("checks.json")]
    assert [(r.expectation, dict(r.arguments)) for r in rules] == [TIER, (ROWS[0], {"min_value": 1})]
    assert {r.scope for r in rules} == {RuleScope.PROTECTED}
    assert loaded.suites == (("checks.json", digest(suite)),)
    assert from_json(to_json(loaded)) == loaded


def test_a_suite_is_read_where_the_contract_was_pinned(tmp_path: Path) -> None:
    suite = saved(ROWS)
    path = contract(tmp_path, suite)
    (tmp_path / "checks.json").unlink()
    again = load_contract("c.odcs.yaml", data=path.read_bytes(), suites={"checks.json": suite}.__getitem__)
    assert any(r.name.startswith("checks.json") for r in again.rules)
    for_reading = load_contract("c.odcs.yaml", data=path.read_bytes())
    assert for_reading.suites == again.suites


@pytest.mark.parametrize(
    ("suite", "said", "scope", "words"),
    [
        (
            saved(ROWS) + b" ",
            f"checks.json@{digest(saved(ROWS))}",
            "protected",
            "is not the one the contract names",
        ),
        (None, f"checks.json@sha256:{'0' * 64}", "protected", "is not beside the contract"),
        (saved(ROWS), "checks.json", "protected", "with its digest"),
        (saved(ROWS), f"../checks.json@{digest(saved(ROWS))}", "protected", "with its digest"),
        (b"[]", None, "protected", "no expectation suite"),
        (b"{", None, "protected", "no expectation suite"),
        (saved(("expect_the_moon", {})), None, "protected", "`expect_the_moon` is not an expectation"),
        (
            saved((TIER[0], {"column": "loyalty_teir", "value_set": []})),
            None,
            "protected",
            "expectation 1: column `loyalty_teir`",
        ),
        (
            saved((TIER[0], {"column": "loyalty_tier", "value_set": {"$PARAMETER": "x"}})),
            None,
            "protected",
            "parameters have no values",
        ),
        (saved(ROWS), None, "source", "cannot divert rows"),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_where_it_is_named(
    tmp_path: Path, suite, said, scope, words
) -> None:
    with pytest.raises(ContractError) as caught:
        load_contract(contract(tmp_path, suite, said, scope))
    assert words in str(caught.value)
    assert "c.odcs.yaml:" in str(caught.value)
