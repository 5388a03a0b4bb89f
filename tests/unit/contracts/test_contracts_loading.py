"""Files that are right: what they compile to."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.contracts import (
    check,
    compile_to,
    explain,
    from_json,
    load_compiled,
    load_contract,
    load_policy,
    to_json,
)
from governance.contracts.expectations import EXPECTATIONS
from governance.errors import ContractError, ContractFindings
from governance.model.contract import DatasetKind, LoadMode, Rule, RuleScope
from governance.model.policy import Policy

Changed = Callable[..., Path]

NAMES = ("clinical_encounters", "customer_profiles", "support_prompts", "minimal")


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_load_and_hold_against_the_policy(name: str, examples: Path, policy: Policy) -> None:
    path = examples / f"{name}.odcs.yaml"
    contract = load_contract(path, policy)
    check(contract, policy)
    assert contract == load_contract(path)
    assert contract.digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert pickle.loads(pickle.dumps(contract)) == contract  # noqa: S301
    assert all(row.enough for row in explain(contract, policy))


def test_the_clinical_example_compiles(examples: Path) -> None:
    contract = load_contract(examples / "clinical_encounters.odcs.yaml")
    assert contract.dataset == "clinical_encounters"
    assert contract.kind is DatasetKind.TRAINING
    assert contract.mode is LoadMode.FULL
    assert (contract.subject.source_name, contract.subject.domain, contract.subject.role) == (
        "mrn",
        "patient",
        "patient",
    )
    assert contract.jurisdiction.source_name == "jurisdiction"
    assert contract.covered_entity
    assert contract.special_category
    assert contract.retention_days == 6 * 365
    mrn = contract.column("mrn")
    assert mrn is not None
    assert (mrn.name, mrn.protection.method, mrn.required) == ("patient_pseudonym", "pseudonym", True)
    charge = contract.column("total_charge")
    assert charge is not None
    assert charge.protection.arguments == {"width": 500}
    assert Rule(
        "mrn is required", "expect_column_values_to_not_be_null", {"column": "mrn"}, RuleScope.SOURCE
    ) in (contract.rules)
    pseudonym = next(r for r in contract.rules if r.name == "every row has its pseudonym")
    assert pseudonym.arguments == {"column": "patient_pseudonym"}
    assert pseudonym.scope is RuleScope.PROTECTED


def test_the_policy_compiles(policy: Policy, examples: Path) -> None:
    data = (examples / "policy.yaml").read_bytes()
    assert policy.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert policy.jurisdictions["NO"] == ("GDPR",)
    assert policy.jurisdictions["US-TX"] == ()
    assert policy.purposes["support_inference"].hipaa_ground is None
    assert policy.purposes["model_training"].gdpr_condition == "explicit_consent"
    assert policy.sensitivity("none") == "public"
    assert policy.sensitivity("never heard of") == "restricted"
    assert {d for c in policy.organisation["controllers"] for d in c["domains"]} == {"patient", "customer"}
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301


def test_a_key_file_beside_the_policy_is_the_recipients_key(changed: Changed) -> None:
    path = changed("policy.yaml")
    assert load_policy(path).recipients["northlake-research"].public_key is None
    key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    (path.parent / "northlake-research.pub").write_text(key + "\n")
    assert load_policy(path).recipients["northlake-research"].public_key == key
    (path.parent / "northlake-research.pub").write_text("not a key")
    with pytest.raises(ContractError, match="is not a public key") as raised:
        load_policy(path)
    assert raised.value.code == "GOV-106"
    assert "not a key" not in str(raised.value).replace("is not a public key", "")


def test_other_methods_can_be_registered(changed: Changed) -> None:
    path = changed("policy.yaml", ("protections: [drop, constant, mask]", "protections: [drop, shuffle]"))
    with pytest.raises(ContractFindings, match="`shuffle` is not a protection"):
        load_policy(path)
    from governance.contracts import METHODS

    assert load_policy(path, [*METHODS, "shuffle"]).classifications["person_name"].protections == (
        "drop",
        "shuffle",
    )


ODCS_RULES = {
    "            metric: nullValues\n            mustBe: 0\n": (
        "expect_column_values_to_not_be_null",
        {"column": "articles_read"},
    ),
    "            metric: duplicateValues\n            mustBe: 0\n": (
        "expect_column_values_to_be_unique",
        {"column": "articles_read"},
    ),
    "            metric: invalidValues\n            mustBe: 0\n"
    "            arguments: {validValues: [1, 2]}\n": (
        "expect_column_values_to_be_in_set",
        {"column": "articles_read", "value_set": [1, 2]},
    ),
    "            metric: rowCount\n            mustBeBetween: [1, 9]\n": (
        "expect_table_row_count_to_be_between",
        {"min_value": 1, "max_value": 9},
    ),
    "            metric: rowCount\n            mustBeGreaterThan: 1\n": (
        "expect_table_row_count_to_be_between",
        {"min_value": 1, "strict_min": True},
    ),
    "            type: custom\n            engine: great-expectations\n"
    "            implementation: {type: expect_column_sum_to_be_between, kwargs: {max_value: 5}}\n": (
        "expect_column_sum_to_be_between",
        {"column": "articles_read", "max_value": 5},
    ),
}
MINIMAL_COLUMN = "      - {name: articles_read, logicalType: integer, classification: none}\n"
LONG_COLUMN = (
    "      - name: articles_read\n        logicalType: integer\n        classification: none\n        quality:\n"
    "          - name: r\n"
)


@pytest.mark.parametrize("rule", ODCS_RULES)
def test_odcs_rules_become_expectations(rule: str, changed: Changed) -> None:
    contract = load_contract(changed("minimal.odcs.yaml", (MINIMAL_COLUMN, LONG_COLUMN + rule)))
    expectation, arguments = ODCS_RULES[rule]
    assert contract.rules == (Rule("r", expectation, arguments, RuleScope.PROTECTED),)


def test_odcs_constraints_become_source_rules(changed: Changed) -> None:
    column = (
        "      - {name: articles_read, physicalName: n, logicalType: integer, classification: none,\n"
        "         primaryKey: true,\n"
        "         logicalTypeOptions: {minimum: 0, exclusiveMaximum: 9}}\n"
    )
    contract = load_contract(changed("minimal.odcs.yaml", (MINIMAL_COLUMN, column)))
    assert [(r.expectation, r.arguments) for r in contract.rules] == [
        ("expect_column_values_to_not_be_null", {"column": "n"}),
        ("expect_column_values_to_be_unique", {"column": "n"}),
        (
            "expect_column_values_to_be_between",
            {"column": "n", "min_value": 0, "max_value": 9, "strict_max": True},
        ),
    ]
    assert {r.scope for r in contract.rules} == {RuleScope.SOURCE}


def test_partitions_come_in_key_order(changed: Changed, policy: Policy) -> None:
    path = changed(
        "clinical_encounters.odcs.yaml",
        (
            "classification: country",
            "classification: country\n        partitioned: true\n        partitionKeyPosition: 2",
        ),
        (
            "      - name: department\n",
            "      - name: department\n        partitioned: true\n        partitionKeyPosition: 1\n",
        ),
        ("loadMode: full", "loadMode: replace-partition"),
    )
    contract = load_contract(path, policy)
    assert contract.partition_by == ("department", "country")
    assert contract.mode is LoadMode.REPLACE_PARTITION


def test_a_column_without_classification_may_pass_and_is_named(changed: Changed, policy: Policy) -> None:
    column = (
        "      - {name: articles_read, logicalType: integer, "
        "customProperties: [{property: protection, value: keep}]}\n"
    )
    contract = load_contract(changed("minimal.odcs.yaml", (MINIMAL_COLUMN, column)), policy)
    assert contract.columns[1].classification is None
    row = explain(contract, policy)[1]
    assert (row.enough, row.classification, row.sensitivity) == (False, "(undeclared)", "restricted")


def test_check_without_a_file_names_the_columns(changed: Changed, policy: Policy) -> None:
    path = changed(
        "minimal.odcs.yaml", ("value: pseudonym", "value: keep"), ("[model_training]", "[training]")
    )
    contract = load_contract(path)
    with pytest.raises(ContractFindings) as raised:
        check(contract, policy)
    assert raised.value.faults == (
        "purpose `training` is not in the policy; did you mean `model_training`? [GOV-104]",
        "column `email` is `email` (confidential) and `keep` leaves it encrypted only; "
        "write `mask` or `pseudonym` [GOV-108]",
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_form_is_equal(name: str, examples: Path) -> None:
    path = examples / f"{name}.odcs.yaml"
    contract = load_contract(path)
    assert from_json(to_json(contract)) == contract
    assert compile_to(path) == to_json(from_json(compile_to(path)))


def test_the_cache_follows_the_file(changed: Changed, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = changed("minimal.odcs.yaml")
    first = load_compiled(path, cache)
    (entry,) = cache.iterdir()
    assert load_compiled(path, cache) == first
    entry.write_bytes(b"{}")
    assert load_compiled(path, cache) == first
    assert from_json(entry.read_bytes()) == first
    path.write_text(path.read_text().replace("1.0.0", "1.0.1"))
    assert load_compiled(path, cache).version == "1.0.1"
    assert len(list(cache.iterdir())) == 2
    path.write_text("a: [")
    with pytest.raises(ContractError) as raised:
        load_compiled(path, cache)
    assert raised.value.code == "GOV-101"


def test_a_cache_that_cannot_be_written_is_no_fault(examples: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert load_compiled(examples / "minimal.odcs.yaml", blocked).dataset == "newsletter_readers"


def test_what_is_not_a_compiled_contract_is_refused() -> None:
    for data in (b"", b"[]", b"{}", b'{"format":"governance.contract/3"}', b"\xff", b"[" * 100_000):
        with pytest.raises(ContractError) as raised:
            from_json(data)
        assert raised.value.code == "GOV-102"


def test_a_compiled_contract_needs_no_odcs_package(examples: Path, tmp_path: Path) -> None:
    path = examples / "minimal.odcs.yaml"
    load_compiled(path, tmp_path)
    script = (
        "import sys\n"
        "import governance.contracts\n"
        "light = {'yaml', 'jsonschema', 'pydantic', 'open_data_contract_standard'} & set(sys.modules)\n"
        "from governance.contracts import load_compiled\n"
        f"contract = load_compiled({str(path)!r}, {str(tmp_path)!r})\n"
        "heavy = {'jsonschema', 'pydantic', 'open_data_contract_standard'} & set(sys.modules)\n"
        "print(contract.dataset, sorted(light), sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.split("\n")[0] == "newsletter_readers [] []"


def test_the_expectations_are_those_of_great_expectations() -> None:
    gx = pytest.importorskip("great_expectations.expectations.core")
    theirs = {
        getattr(kind, "expectation_type", None): kind
        for kind in vars(gx).values()
        if isinstance(kind, type) and kind.__name__.startswith("Expect")
    }
    for name, expectation in EXPECTATIONS.items():
        assert name in theirs, name
        assert set(expectation.arguments) <= set(theirs[name].__fields__), name


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_a_run_pinned_compile_to_the_same_without_schemas(
    name: str, examples: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = examples / f"{name}.odcs.yaml"
    contract = load_contract(path)

    def asked(*_: object) -> None:
        raise AssertionError("a schema was asked for")

    monkeypatch.setattr("governance.contracts.structure._validator", asked)
    monkeypatch.setattr("governance.contracts.compiling._by_package", asked)
    assert load_contract(path, validated=contract.digest) == contract
    assert load_policy(examples / "policy.yaml", validated=policy.digest) == policy
    with pytest.raises(AssertionError, match="a schema was asked for"):
        load_contract(path, validated=policy.digest)


def test_other_bytes_than_those_that_were_pinned_are_validated(changed: Changed, examples: Path) -> None:
    pinned = load_contract(examples / "minimal.odcs.yaml").digest
    other = changed("minimal.odcs.yaml", ("kind: DataContract", "kind: Data"))
    with pytest.raises(ContractFindings):
        load_contract(other, validated=pinned)
