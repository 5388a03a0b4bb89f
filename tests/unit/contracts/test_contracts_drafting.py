"""A drafted contract loads as written, says its evidence, and takes the stricter side."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

from governance.cli import cli
from governance.contracts import load_contract
from governance.contracts.drafting import CONFIRM, DraftColumn, DraftTerm, draft_contract
from governance.errors import ContractError
from governance.model.classification import ColumnClassification, Contained
from governance.model.contract import Contract
from governance.model.policy import Policy

TERMS: Mapping[str, DraftTerm] = {
    "medical_record_number": DraftTerm("Medical record number", "restricted", ("HIPAA (H)",), False, "drop"),
    "email": DraftTerm("E-mail address", "confidential", (), False, "drop"),
    "religion": DraftTerm("Religion", "restricted", ("GDPR Art. 9(1)",), True, "drop"),
    "health_condition": DraftTerm("Health condition", "restricted", (), True, "drop"),
    "date_of_birth": DraftTerm("Date of birth", "confidential", (), False, "date_to_year"),
    "jurisdiction": DraftTerm("State or legal area", "internal", (), False, "keep"),
    "shoe_size": DraftTerm("Shoe size", "internal", (), False, "drop"),
    "free_text": DraftTerm("Free text", "restricted", (), False, "redact"),
    "none": DraftTerm("Nothing sensitive found", "public", (), False, "keep"),
    "unclassified": DraftTerm("Not classified", "restricted", (), False, "drop"),
}


def _column(name: str, classification: str, kind: str = "string", **fields: object) -> DraftColumn:
    found = ColumnClassification(name, classification, 0.97, ("header says so",), 10, 10)
    return DraftColumn(name, kind, (dataclasses.replace(found, **fields),))


def _loaded(tmp_path: Path, text: str, policy: Policy | None) -> Contract:
    path = tmp_path / "draft.odcs.yaml"
    path.write_text(text, "utf-8")
    return load_contract(path, policy)


@pytest.mark.parametrize("with_policy", [True, False])
def test_a_draft_loads_and_takes_the_stricter_side(tmp_path: Path, policy: Policy, with_policy: bool) -> None:
    columns = [
        _column("mrn", "medical_record_number"),
        _column("E-Mail #1", "email"),
        _column("e mail 1", "email"),
        _column("konfession", "religion"),
        _column("diagnosis", "health_condition"),
        _column("born", "date_of_birth", "date"),
        _column("jurisdiction", "jurisdiction"),
        _column("note", "free_text", contains=(Contained("email", 12),)),
        _column("yes", "none"),
        _column("blob", "unclassified"),
        _column("visits", "none", "integer"),
    ]
    rules = policy if with_policy else None
    text = draft_contract("My Data: 2024", columns, TERMS, policy=rules)
    contract = _loaded(tmp_path, text, rules)
    assert contract.dataset == "my_data_2024"
    assert contract.subject.source_name == "mrn"
    assert contract.subject.domain == "patient"
    assert contract.jurisdiction.source_name == "jurisdiction"
    assert contract.covered_entity
    assert not contract.special_category
    methods = {c.source_name: (c.classification, c.protection.method) for c in contract.columns}
    assert methods == {
        "mrn": ("medical_record_number", "pseudonym"),
        "E-Mail #1": ("email", "drop"),
        "e mail 1": ("email", "drop"),
        "konfession": ("religion", "drop"),
        "diagnosis": ("health_condition", "drop"),
        "born": ("date_of_birth", "date_to_year"),
        "jurisdiction": ("jurisdiction", "keep"),
        "note": ("free_text", "redact"),
        "yes": ("none", "keep"),
        "blob": (None, "drop"),
        "visits": ("none", "keep"),
    }
    assert "# Medical record number (restricted; HIPAA (H)), 97% sure: header says so" in text
    assert "# inside: E-mail address in 12 rows" in text
    assert text.count(CONFIRM) >= 6


def test_without_a_jurisdiction_column_the_strictest_law_is_assumed(tmp_path: Path, policy: Policy) -> None:
    text = draft_contract("d", [_column("email", "email")], TERMS, policy=policy)
    contract = _loaded(tmp_path, text, policy)
    assert "GDPR" in policy.jurisdictions[contract.jurisdiction.constant or ""]
    assert all(policy.purposes[name].gdpr_basis for name in contract.purposes)


def test_what_the_policy_does_not_know_is_undeclared_and_dropped(tmp_path: Path, policy: Policy) -> None:
    columns = [_column("email", "email"), _column("size", "shoe_size")]
    contract = _loaded(tmp_path, draft_contract("d", columns, TERMS, policy=policy), policy)
    assert contract.columns[1].classification is None
    assert contract.columns[1].protection.method == "drop"


def test_a_method_that_cannot_take_the_column_gives_way(tmp_path: Path, policy: Policy) -> None:
    columns = [_column("email", "email"), _column("born", "date_of_birth", "integer")]
    text = draft_contract("d", columns, TERMS, policy=policy, fits=lambda method, _: method != "date_to_year")
    assert _loaded(tmp_path, text, policy).columns[1].protection.method == "drop"


def test_who_stands_inside_an_object_is_said_to_be_no_subject_yet() -> None:
    inner = tuple(
        ColumnClassification(f"user.{name}", name, 0.97, ("header says so",), 10, 10)
        for name in ("none", "email")
    )
    text = draft_contract("chat", [_column("turn", "none"), DraftColumn("user", "object", inner)], TERMS)
    assert "user.email identifies a person inside an object" in text
    assert "subject: {column: turn" in text


def test_hostile_column_names_stay_one_scalar(tmp_path: Path) -> None:
    names = [
        "a: b",
        'quo"te',
        "# c",
        "tab\there",
        "line\nbreak",
        "no",
        "0123",
        "ünï",
        "🙂",
        "\x85x",
        "- y",
        "{z}",
        " ",
    ]
    columns = [_column("id", "email"), *(_column(n, "none", evidence=(f"{n}\nevil: true",)) for n in names)]
    text = draft_contract("d", columns, TERMS)
    written = [p.get("physicalName", p["name"]) for p in yaml.safe_load(text)["schema"][0]["properties"]]
    assert written == ["id", *names]
    assert {c.source_name for c in _loaded(tmp_path, text, None).columns} == {"id", *names}


def test_text_that_tells_of_special_categories_needs_a_purpose_that_may(
    tmp_path: Path, policy: Policy
) -> None:
    columns = [_column("email", "email"), _column("note", "free_text", contains=(Contained("religion", 3),))]
    contract = _loaded(tmp_path, draft_contract("d", columns, TERMS, policy=policy), policy)
    assert contract.special_category
    assert contract.columns[1].protection.method == "redact"
    assert all(policy.purposes[name].gdpr_condition for name in contract.purposes)
    without = {n: dataclasses.replace(p, gdpr_condition=None) for n, p in policy.purposes.items()}
    bare = dataclasses.replace(policy, purposes=without)
    contract = _loaded(tmp_path, draft_contract("d", columns, TERMS, policy=bare), bare)
    assert not contract.special_category
    assert contract.columns[1].protection.method == "drop"


def test_a_file_without_any_possible_subject_is_refused(policy: Policy) -> None:
    with pytest.raises(ContractError) as caught:
        draft_contract("d", [_column("konfession", "religion")], TERMS, policy=policy)
    assert caught.value.code == "GOV-105"


def test_a_policy_without_a_lawful_purpose_is_refused(policy: Policy) -> None:
    purposes = {n: dataclasses.replace(p, gdpr_basis=None) for n, p in policy.purposes.items()}
    with pytest.raises(ContractError) as caught:
        draft_contract(
            "d", [_column("email", "email")], TERMS, policy=dataclasses.replace(policy, purposes=purposes)
        )
    assert caught.value.code == "GOV-104"


def _drafted(source: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["contract", "draft", str(source), *options])


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.parquet"
    table = pa.table(
        {
            "customer_id": [f"C-{n:07d}" for n in range(60)],
            "email": [f"p{n}@example.org" for n in range(60)],
            "born": pa.array(range(60), pa.date32()),
            "visits": range(60),
            "home": [{"street": f"{n + 1} Main Street", "city": "Berlin"} for n in range(60)],
            "tags": [["a", "b"]] * 60,
        }
    )
    pq.write_table(table, path)
    return path


def test_draft_writes_a_file_that_check_accepts(people: Path, examples: Path, tmp_path: Path) -> None:
    out, rules = tmp_path / "people.odcs.yaml", str(examples / "policy.yaml")
    written = _drafted(people, "--policy", rules, "--out", str(out))
    assert written.exit_code == 0, written.output
    checked = CliRunner().invoke(cli, ["contract", "check", str(out), "--policy", rules])
    assert checked.exit_code == 0, checked.output
    contract = load_contract(out)
    assert contract.subject.source_name == "customer_id"
    kinds = {c.source_name: (c.logical_type, c.protection.method) for c in contract.columns}
    assert kinds["home"] == ("object", "drop")
    assert kinds["tags"] == ("array", "drop")
    assert kinds["visits"] == ("integer", "keep")
    assert "home.street: Street address" in out.read_text("utf-8")
    assert "Main Street" not in out.read_text("utf-8")
    assert _drafted(people, "--out", str(out)).exit_code == 2
    assert not re.search(r"p\d@example", out.read_text("utf-8"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_other_kinds_of_files(tmp_path: Path, kind: str) -> None:
    source = tmp_path / f"Kunden 2024.{kind}"
    if kind == "csv":
        source.write_text(
            "kunden_id,E-Mail\n" + "".join(f"K{n},a{n}@example.org\n" for n in range(30)), "utf-8"
        )
    else:
        source.write_text(
            "".join(f'{{"kunden_id": "K{n}", "E-Mail": "a{n}@example.org"}}\n' for n in range(30)), "utf-8"
        )
    drafted = _drafted(source)
    assert drafted.exit_code == 0, drafted.output
    contract = _loaded(tmp_path, drafted.stdout, None)
    assert contract.dataset == "kunden_2024"
    assert [(c.name, c.source_name) for c in contract.columns] == [
        ("kunden_id", "kunden_id"),
        ("E_Mail", "E-Mail"),
    ]
