"""The register of residues, and its table in the documentation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance.rights.residues import RESIDUES, How, register_page, remaining, residue_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "erasure.md"
BEGIN, END = "<!-- the register: generated -->\n", "\n<!-- end of the register -->"


def test_the_documentation_has_the_register() -> None:
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    tail = rest[rest.index(END) :]
    page = f"{head}{BEGIN}{register_page()}{tail}"
    if os.environ.get("GOVERNANCE_REGENERATE"):
        PAGE.write_text(page, "utf-8")
    assert PAGE.read_text("utf-8") == page


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("datasets/patients/segments/v1-ab/part-00000.parquet", How.ROWS),
        ("datasets/patients/quarantine/v1-ab/part-00000.parquet", How.ROWS),
        ("datasets/patients/quarantine/v1.ab/reasons.json", How.BYTES),
        ("vault/vault.sqlite-wal", How.VAULT),
        ("store/log.sqlite", How.LOG),
        ("store/archives/0-9.zst", How.LOG),
        ("erasure/DSR-1.sealed", How.NOT),
        ("policy.yaml", How.BYTES),
        ("cache/rows.parquet", None),
        ("datasets/patients/export.csv", None),
        ("policy.yaml.bak", None),
    ],
)
def test_a_path_is_registered_or_it_is_not(path: str, how: How | None) -> None:
    found = residue_of(path)
    assert (found.how if found else None) is how


def test_every_entry_is_complete_and_what_remains_has_a_ground() -> None:
    for each in RESIDUES:
        assert each.places
        assert all((each.holds, each.key, each.ends, each.erased))
    assert {row["place"] for row in remaining()} == {each.places[0] for each in RESIDUES if each.remains}
