"""Contracts whose rows are about several people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.contracts import from_json, load_contract, to_json
from governance.errors import ContractFindings
from governance.model.policy import Policy

Changed = Callable[..., Path]
SUBJECT = "{column: customer_id, domain: customer, role: customer}"
OTHERS = "{column: customer_id, domain: customer, role: customer, others: [full_name]}"
NAME = """      - name: full_name
        logicalType: string
        classification: person_name
        customProperties: [{property: protection, value: drop}]
"""
PERSON = """      - name: partner_pseudonym
        physicalName: full_name
        logicalType: string
        classification: customer_id
        customProperties: [{property: protection, value: pseudonym}]
"""
FILE = "customer_profiles.odcs.yaml"


def test_further_people_compile_and_come_back(changed: Changed, policy: Policy) -> None:
    contract = load_contract(changed(FILE, (SUBJECT, OTHERS), (NAME, PERSON)), policy)
    assert contract.subject.columns == ("customer_id", "full_name")
    assert from_json(to_json(contract)) == contract


@pytest.mark.parametrize(
    ("replacements", "code", "says"),
    [
        ([(SUBJECT, OTHERS)], "GOV-102", "write protection `pseudonym`"),
        ([(NAME, PERSON)], "GOV-102", "only subjects have pseudonyms"),
        ([(SUBJECT, OTHERS), (NAME, PERSON.replace("pseudonym}", "mask}"))], "GOV-102", "found again"),
        ([(SUBJECT, OTHERS.replace("[full_name]", "[fullname]"))], "GOV-105", "did you mean `full_name`"),
        ([(SUBJECT, OTHERS.replace("[full_name]", "[customer_id]"))], "GOV-105", "already"),
        ([(SUBJECT, OTHERS.replace("[full_name]", "[full_name, full_name]"))], "GOV-102", "twice"),
        ([(SUBJECT, OTHERS.replace("[full_name]", "[]"))], "GOV-102", "others"),
        (
            [(SUBJECT, OTHERS), (NAME, PERSON), ("loadMode: full", "engine: spark")],
            "GOV-102",
            "does not decide rows about several people",
        ),
        (
            [(SUBJECT, OTHERS), (NAME, PERSON), ("loadMode: full", "anonymity: {quasiIdentifiers: [country], k: 2}")],
            "GOV-102",
            "one person's",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    changed: Changed, policy: Policy, replacements: list[tuple[str, str]], code: str, says: str
) -> None:
    with pytest.raises(ContractFindings) as caught:
        load_contract(changed(FILE, *replacements), policy)
    assert caught.value.code == code or any(f"[{code}]" in fault for fault in caught.value.faults)
    assert any(says in fault for fault in caught.value.faults), caught.value.faults
