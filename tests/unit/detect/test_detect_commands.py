"""`governance classify`: for machines a stable document, for people a table they understand."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from governance.cli import cli
from governance.errors import SourceError
from governance.model.resources import schemas


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    rows = 120
    table = pa.table(
        {
            "plan": ["gold", "blue"] * (rows // 2),
            "note": [
                f"Please call back, my address is p{n}@example.org and I moved recently." for n in range(rows)
            ],
            "sex": ["F", "M"] * (rows // 2),
            "age": [20 + n % 60 for n in range(rows)],
            "mrn": [f"MRN-{n:08d}" for n in range(rows)],
            "religion": ["Catholic", "Muslim", "Jewish"] * (rows // 3),
            "blob": pa.array([bytes([200, n]) for n in range(rows)], pa.binary()),
            "home": [{"city": "Berlin"}] * rows,
        }
    )
    path = tmp_path / "patients.parquet"
    pq.write_table(table, path)
    return path


def test_the_document_is_what_its_schema_says(patients: Path) -> None:
    result = CliRunner().invoke(
        cli, ["classify", str(patients), "--json", "--quasi-identifiers", "--k", "3"], catch_exceptions=False
    )
    document = json.loads(result.stdout)
    schema = json.loads((schemas() / "classification.schema.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(document)
    assert list(document["columns"]) == ["plan", "note", "sex", "age", "mrn", "religion", "blob", "home.city"]
    religion = document["columns"]["religion"]
    assert religion["special_category"] == "religious or philosophical beliefs"
    assert "GDPR Art. 9(1)" in religion["clauses"]
    assert document["columns"]["mrn"]["clauses"][0] == "HIPAA (H)"
    assert document["quasi_identifiers"]["k"] == 3
    assert "quasi_identifiers" not in json.loads(
        CliRunner().invoke(cli, ["classify", str(patients), "--json"]).stdout
    )


def test_people_read_what_needs_them_first(patients: Path) -> None:
    shown = (
        CliRunner()
        .invoke(cli, ["classify", str(patients), "--quasi-identifiers"], catch_exceptions=False)
        .stdout
    )
    lines = shown.splitlines()
    assert lines[0] == "patients.parquet: 120 rows, 8 columns"
    assert lines[2].startswith("blob") and "Not classified" in lines[2]
    assert shown.index("Medical record number") < shown.index("Sex or gender")
    assert "inside: E-mail address" in shown
    assert "Nothing sensitive was found in 1 column: plan" in shown
    assert "Smallest sets of columns that single people out" in shown
    assert "@example.org" not in shown


def test_a_sample_says_what_it_would_have_missed(patients: Path) -> None:
    shown = (
        CliRunner().invoke(cli, ["classify", str(patients), "--sample", "50"], catch_exceptions=False).stdout
    )
    assert "50 of 120; a share above" in shown


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [("x.csv", b"a,b\n1\n", "GOV-702"), ("x.parquet", b"nothing", "GOV-701"), ("x.exe", b"x", "GOV-706")],
)
def test_bad_files_are_refused_with_a_code(tmp_path: Path, name: str, data: bytes, code: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    result = CliRunner().invoke(cli, ["classify", str(path)])
    assert isinstance(result.exception, SourceError)
    assert result.exception.code == code
