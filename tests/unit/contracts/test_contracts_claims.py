"""What contracts ask of their rows together and how they claim to be de-identified; the policy's determinations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.contracts import check, from_json, load_contract, load_policy, to_json
from governance.errors import ContractError, ContractFindings
from governance.model.anonymity import Anonymity, QuasiIdentifier, SensitiveColumn
from governance.model.deidentification import Deidentification
from governance.model.policy import Policy

Changed = Callable[..., Path]
BEFORE = "      loadMode: full\n"
WHOLE = """      anonymity:
        quasiIdentifiers:
          - {column: age, ranges: [5, 10, 20]}
          - {column: zip3, prefixes: [2, 1]}
          - {column: admission_year, ranges: [2.5, 5]}
          - {column: state, tree: {CA: [West, US], NY: [East, US]}}
          - sex
        k: 5
        sensitive: [diagnosis_code]
        l: {distinct: 2, entropy: 1.5}
        t: 0.3
        maxSuppression: 0.02
      deidentification:
        profile: safe_harbor
        noActualKnowledge: {declaredBy: A privacy officer, date: "2026-01-31"}
"""


def said(changed: Changed, text: str) -> Path:
    return changed("clinical_encounters.odcs.yaml", (BEFORE, BEFORE + text))


def sensitive_of(examples: Path) -> str:
    contract = load_contract(examples / "clinical_encounters.odcs.yaml")
    return next(c.name for c in contract.columns if c.classification == "health_condition")


def test_the_whole_of_it_compiles_and_comes_back(changed: Changed, examples: Path, policy: Policy) -> None:
    condition = sensitive_of(examples)
    contract = load_contract(said(changed, WHOLE.replace("diagnosis_code", condition)), policy)
    assert contract.anonymity == Anonymity(
        (
            QuasiIdentifier("age", "ranges", (5, 10, 20)),
            QuasiIdentifier("zip3", "prefixes", (2, 1)),
            QuasiIdentifier("admission_year", "ranges", (2.5, 5)),
            QuasiIdentifier("state", "tree", tree={"CA": ("West", "US"), "NY": ("East", "US")}),
            QuasiIdentifier("sex"),
        ),
        5,
        (SensitiveColumn(condition),),
        2,
        1.5,
        0.3,
        0.02,
    )
    assert [q.top for q in contract.anonymity.quasi_identifiers] == [4, 3, 3, 3, 1]
    assert contract.deidentification == Deidentification("safe_harbor", "A privacy officer", "2026-01-31")
    assert from_json(to_json(contract)) == contract


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        ("column: age, ranges: [5, 10, 20]", "column: age, ranges: [5, 12]", "multiple of the one before"),
        ("prefixes: [2, 1]", "prefixes: [1, 2]", "shorter than the one before"),
        ("prefixes: [2, 1]", "dates: [year, month]", "in this order"),
        ("prefixes: [2, 1]", "prefixes: [2], ranges: [5]", "write one of them"),
        ("column: age,", "column: edad,", "`edad` is not a released column"),
        ("column: age,", "column: patient_pseudonym,", "rows never agree"),
        ("- sex", "- age", "written twice"),
        ("- sex", "- patient_name", "not a released column"),
        ("NY: [East, US]", "NY: [East]", "as many ancestors"),
        ("NY: [East, US]", "NY: [West, Europe]", "two parents"),
        ("sensitive: [diagnosis_code]", "sensitive: [sex]", "quasi-identifier too"),
        ("        sensitive: [diagnosis_code]\n", "", "name them in `sensitive`"),
        ("k: 5", "k: 1", "at least"),
        ("maxSuppression: 0.02", "maxSuppression: 1", "maxSuppression"),
        ("profile: safe_harbor", "profile: safe_harbour", "safe_harbor"),
        ('date: "2026-01-31"', 'date: "2026-02-31"', "is no day"),
        ("\n        noActualKnowledge: {declaredBy: A privacy officer, date: \"2026-01-31\"}", "", "noActualKnowledge"),
        ("profile: safe_harbor", "profile: expert_determination", "write `determination:`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(
    changed: Changed, examples: Path, policy: Policy, replaced: str, by: str, says: str
) -> None:
    assert replaced in WHOLE
    text = WHOLE.replace(replaced, by).replace("diagnosis_code", sensitive_of(examples))
    with pytest.raises(ContractFindings) as caught:
        load_contract(said(changed, text), policy)
    assert any(says in fault for fault in caught.value.faults), caught.value.faults
    assert all(int(fault.split(".yaml:")[1].split(":")[0]) > 26 for fault in caught.value.faults)


DETERMINATION = """
determinations:
  icu:
    expert: Somebody, PhD
    method: k-anonymity against public registers
    decided: "2026-01-31"
    expires: "2028-01-31"
    risk: very small
    document: icu.pdf@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    datasets: [clinical_encounters]
"""


def policy_with(examples: Path, tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text((examples / "policy.yaml").read_text("utf-8") + text, "utf-8")
    return load_policy(path)


def test_a_determination_is_the_policys_and_about_the_dataset(
    changed: Changed, examples: Path, policy: Policy, tmp_path: Path
) -> None:
    claim = "      deidentification: {profile: expert_determination, determination: icu}\n"
    contract = load_contract(said(changed, claim))
    known = policy_with(examples, tmp_path, DETERMINATION)
    assert known.determinations["icu"].document == str(tmp_path / "icu.pdf")
    check(contract, known)
    others = policy_with(examples, tmp_path, DETERMINATION.replace("[clinical_encounters]", "[others]"))
    for unfit, says in ((policy, "is not in the policy"), (others, "is about `others`")):
        with pytest.raises(ContractFindings, match=says):
            check(contract, unfit)


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        ('"2028-01-31"', '"2025-01-31"', "expires before"),
        ('"2026-01-31"', '"2026-1-31"', "is no day"),
        ("icu.pdf@", "../icu.pdf@", "without `..`"),
        ("icu.pdf@", "/icu.pdf@", "without `..`"),
    ],
)
def test_a_determination_that_makes_no_sense(
    examples: Path, tmp_path: Path, replaced: str, by: str, says: str
) -> None:
    with pytest.raises(ContractError, match=says):
        policy_with(examples, tmp_path, DETERMINATION.replace(replaced, by, 1))
