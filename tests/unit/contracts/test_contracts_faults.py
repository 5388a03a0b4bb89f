"""What is said about wrong files: the exact words, the exact places, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from governance.contracts import columns_match, load_contract, load_policy
from governance.contracts.documents import MAX_BYTES, MAX_DEPTH
from governance.contracts.faults import closest
from governance.errors import ContractError, ContractFindings
from governance.model.policy import Policy

Changed = Callable[..., Path]

CLINICAL = "clinical_encounters.odcs.yaml"
GOLDEN: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "faults.golden.yaml").read_text("utf-8")
)


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{c['file']}:{c['says'][0]}"[:80] for c in GOLDEN])
def test_every_fault_is_said_in_these_words(case: dict[str, Any], changed: Changed, policy: Policy) -> None:
    path = changed(case["file"], (case["replace"], case["by"]))
    with pytest.raises(ContractFindings) as raised:
        load_policy(path) if path.name == "policy.yaml" else load_contract(path, policy)
    assert [fault.removeprefix(f"{path}:") for fault in raised.value.faults] == case["says"]
    assert raised.value.code == case["code"]


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_every_message_proposes_what_to_write(case: dict[str, Any]) -> None:
    for message in case["says"]:
        assert any(
            sign in message
            for sign in ("write", "did you mean", "remove", "keep", "name it once", "partition by")
        )


def test_faults_of_all_kinds_come_at_once_and_in_file_order(changed: Changed, policy: Policy) -> None:
    path = changed(
        CLINICAL,
        ("purposes: [model_training]", "purposes: [modell_training]"),
        ("column: mrn,", "column: mrm,"),
        ("loadMode: full", "loadmode: full"),
        (
            "classification: ssn\n        customProperties: [{property: protection, value: drop}]",
            "classification: ssn\n        customProperties: [{property: protection, value: keep}]",
        ),
        ("logicalType: integer", "logicalType: int"),
        ("expect_column_max_to_be_between", "expect_column_max"),
    )
    with pytest.raises(ContractFindings) as raised:
        load_contract(path, policy)
    places = [tuple(map(int, f.removeprefix(f"{path}:").split(":")[:2])) for f in raised.value.faults]
    assert places == sorted(places)
    assert len(places) == 6
    assert raised.value.code == "GOV-102"
    assert sum("[GOV-104]" in f for f in raised.value.faults) == 1
    assert sum("[GOV-105]" in f for f in raised.value.faults) == 1
    assert sum("[GOV-108]" in f for f in raised.value.faults) == 1


NOT_YAML = {
    "a: 1\n\tb: 2\n": "2:1: a tab in the indentation; YAML allows spaces only, write spaces",
    "a:\n\t- b": "2:1: a tab in the indentation; YAML allows spaces only, write spaces",
    "a: b: c\n": "1:5: a `:` cannot stand here; put the text in quotes, or align the key",
    "a: [1, 2\nb: 3\n": "1:4: a bracket opened here is not closed; write `]` or `}`, or a comma",
    "a: 'x\nb: 2\n": "1:4: a quote opened here is never closed; close it",
    'a: "\\d"\n': "1:5: an unknown escape in double quotes; use single quotes for patterns",
    "a: %x\n": "1:4: a text cannot start with this character; put it in quotes",
    "a: \x01": "1:4: a control character; remove it",
    "a: b\n- c\n": "2:1: the indentation does not fit the lines above; align it",
    " a: 1\nb: 2\n": "2:1: the indentation does not fit the lines above; align it",
    "a: }\n": "1:4: a value is missing here; write one, in quotes if it begins with a sign",
    "a: | x\n": "1:6: text after `|` or `>`; write it on the next line, or in quotes",
    "- 1\n": "1:1: the file holds no mapping at its top level; "
    "write `key: value` lines, beginning with `apiVersion:`",
    "": "1:1: the file is empty; write `key: value` lines, beginning with `apiVersion:`",
    "a: &x 1\nb: *x\n": "2:4: the alias `*x` is not allowed; write the value out",
    "a: 1\n---\nb: 2\n": "2:1: a second document begins; keep one document in a file",
    "{? {a: 1} : 2}": "1:4: a key must be a plain text; write `key: value`",
    "a: " + "[" * 40_000: f"1:{MAX_DEPTH + 3}: nested deeper than {MAX_DEPTH} levels; flatten it",
}


@pytest.mark.parametrize("text", NOT_YAML, ids=[t[:20] for t in NOT_YAML])
@pytest.mark.parametrize("load", [load_contract, load_policy])
def test_what_is_not_yaml_is_refused_with_its_place(text: str, load: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ContractFindings) as raised:
        load(path)
    assert raised.value.code == "GOV-101"
    assert raised.value.faults == (f"{path}:{NOT_YAML[text]}",)


def test_bytes_that_are_not_utf_8_are_located(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ContractFindings, match=r"c\.yaml:2:7: a byte here is not UTF-8"):
        load_contract(path)


def test_the_ambiguous_is_refused_not_guessed(changed: Changed) -> None:
    path = changed(
        "policy.yaml",
        ('"NO": ', "NO: "),
        ("minimumSample: 10000", "minimumSample: 010000"),
        ("kind: GovernancePolicy", "kind: !!python/name:os.system GovernancePolicy\n<<: {}"),
        ("lateWithdrawalRewrites: 3", "lateWithdrawalRewrites: 1e999"),
    )
    with pytest.raises(ContractFindings) as raised:
        load_policy(path)
    said = "\n".join(raised.value.faults)
    for part in ("bare `NO` for false", 'write "010000"', "python/name:os.system", "merge keys", "too large"):
        assert part in said


def test_large_files_and_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: b\n" * (MAX_BYTES // 5 + 1))
    with pytest.raises(ContractError, match="larger than"):
        load_contract(path)
    path.write_text("a: [" + "1," * 200_000 + "1]")
    with pytest.raises(ContractError, match="more than 100,000 values"):
        load_contract(path)
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    path.write_text(bomb)
    with pytest.raises(ContractError, match="the alias `\\*a` is not allowed"):
        load_contract(path)


def test_a_missing_file_names_its_likeness(examples: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"did you mean .*clinical_encounters\.odcs\.yaml") as raised:
        load_contract(examples / "clinical_encounter.odcs.yaml")
    assert raised.value.code == "GOV-101"
    with pytest.raises(ContractError, match="is a directory"):
        load_contract(tmp_path)
    with pytest.raises(ContractError, match="cannot be read"):
        load_contract("a\0b")


def test_columns_are_compared_with_the_source(examples: Path) -> None:
    contract = load_contract(examples / "minimal.odcs.yaml")
    columns_match(contract, ["articles_read", "email"])
    with pytest.raises(ContractFindings) as raised:
        columns_match(contract, ["email", "article_read", "phone"])
    assert raised.value.code == "GOV-103"
    assert raised.value.faults == (
        "column `articles_read` is in the contract and not in the source; did you mean `article_read`?",
        "column `article_read` is in the source and not in the contract; "
        "write `- {name: article_read, logicalType: …, classification: …}`, dropped if it is not needed",
        "column `phone` is in the source and not in the contract; "
        "write `- {name: phone, logicalType: …, classification: …}`, dropped if it is not needed",
    )


def test_the_closest_name() -> None:
    known = ["authorization", "model_training", "onLateWithdrawal"]
    assert closest("auth", known) == "authorization"
    assert closest("on_late_withdrawal", known) == "onLateWithdrawal"
    assert closest("modeltraining", known) == "model_training"
    assert closest("x", known) is None
