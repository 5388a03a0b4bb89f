"""The commands around a pass, as a person types them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unittest import mock

import pyarrow.compute as pc
import pytest
from before_and_after import CUSTOMERS
from governed_home import DATASETS, Home


def test_a_home_from_nothing_by_the_commands_of_the_readme(prepared_home: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    sample = Home(prepared_home)
    environment = {
        "GOVERNANCE_KEK": f"file:{tmp_path}/kek.json",
        "GOVERNANCE_POLICY": str(sample.path / "policy.yaml"),
    }
    code, out, err = home.cli("keys", "init", "--origin", "data.example.org/governance", **environment)
    assert code == 0, err
    assert (tmp_path / "kek.json").stat().st_mode & 0o777 == 0o600
    ledger = sample.path / "input" / "consent_ledger.parquet"
    code, out, err = home.cli("consent", "import", ledger, "--json", **environment)
    assert json.loads(out)["position"] == 1, err
    run = (
        "run",
        sample.contract(CUSTOMERS),
        "--purpose",
        "model_training",
        "--source",
        sample.source(CUSTOMERS),
    )
    code, out, err = home.cli(*run, "--json", **environment)
    assert code == 0, err
    result = json.loads(out)
    assert result["rows_in"] == result["rows_out"] + result["rows_denied"] + result["rows_quarantined"]
    code, key, _ = home.cli("log", "key", **environment)
    code, out, err = home.cli("log", "verify", "--key", key.strip(), "--files", **environment)
    assert code == 0, out + err
    assert "self-attested" in out
    code, _, err = home.cli("keys", "init", "--origin", "again", **environment)
    assert (code, "GOV-901" in err) == (1, True)


def test_an_auditor_verifies_with_a_pinned_key_and_no_key_of_the_home(released: Home) -> None:
    key = released.workspace().vkey
    (released.path / "secrets" / "kek.json").unlink()
    code, out, err = released.cli("log", "verify", "--key", key, "--json", GOVERNANCE_KEK="")
    assert code == 0, err
    assert json.loads(out)["ok"]


def test_a_passphrase_that_is_asked_for_must_be_given(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    kek = {"GOVERNANCE_KEK": f"file:{tmp_path}/kek.json"}
    code, _, err = home.cli("keys", "init", "--origin", "o.example/log", "--passphrase", **kek)
    assert (code, "GOV-302" in err) == (1, True)
    assert not (tmp_path / "kek.json").exists()
    code, _, err = home.cli(
        "keys",
        "init",
        "--origin",
        "o.example/log",
        "--passphrase",
        **kek,
        GOVERNANCE_PASSPHRASE="long enough",
    )
    assert code == 0, err
    code, _, err = home.cli("keys", "show", **kek, GOVERNANCE_PASSPHRASE="not this one")
    assert (code, "GOV-302" in err) == (1, True)
    assert "not this one" not in err


def test_a_recipients_key_file_is_never_overwritten(home: Home) -> None:
    kek = home.path / "secrets" / "kek.json"
    before = kek.read_bytes()
    code, _, err = home.cli("keys", "recipient", kek)
    assert (code, "GOV-901" in err) == (1, True)
    assert kek.read_bytes() == before
    code, out, _ = home.cli("keys", "recipient", home.path / "new.key", "--json")
    assert json.loads(out)["public_key"]
    assert (home.path / "new.key").stat().st_mode & 0o777 == 0o600


def test_after_a_rotation_everything_still_opens(released: Home) -> None:
    before = {d: released.rows(d) for d in DATASETS}
    assert released.cli("keys", "rotate")[0] == 0
    assert all(released.rows(d).equals(before[d]) for d in DATASETS)
    released.run(CUSTOMERS)
    assert released.rows(CUSTOMERS).equals(before[CUSTOMERS])


@pytest.mark.parametrize("at", ["2026-01-31", "yesterday", "2026-01-31T12:00:00"])
def test_an_instant_without_a_zone_is_a_wrong_command_line(at: str, released: Home) -> None:
    explain = ("consent", "explain", "C-1", "--domain", "customer", "--purpose", "model_training")
    code, _, err = released.cli(*explain, "--at", at)
    assert (code, "--at" in err) == (2, True)


def test_a_receipt_names_the_versions_that_hold_the_subject(released: Home) -> None:
    import pyarrow.parquet as pq

    ledger = pq.read_table(released.path / "input" / "consent_ledger.parquet")
    given = ledger.filter((pc.field("domain") == "customer") & (pc.field("action") == "grant"))
    asked = ("--domain", "customer", "--purpose", "model_training")
    for subject in given["subject_id"].unique().to_pylist()[:20]:
        code, out, err = released.cli("consent", "receipt", subject, *asked)
        assert code == 0, err
        if covers := json.loads(out)["governance:covers"]:
            break
    assert [one["dataset"] for one in covers] == [CUSTOMERS]
    assert covers[0]["manifest"].startswith("sha256:")
    with mock.patch("sys.stdin", io.StringIO(f"{subject}\n")):
        code, out, err = released.cli("consent", "explain", *asked, "--json")
    assert (code, json.loads(out)["reasons"]["none"]) == (0, "allowed"), err
    with mock.patch("sys.stdin", io.StringIO("")):
        assert released.cli("consent", "explain", "-", *asked)[0] == 2


def test_questions_to_the_lineage_are_answered(released: Home) -> None:
    _, out, _ = released.cli("lineage", "column", CUSTOMERS, "birth_year", "--json")
    edges = {(e["input_column"], e["masking"], e["basis"]) for e in json.loads(out)}
    assert ("birth_date", True, "observed") in edges
    code, out, _ = released.cli("lineage", "column", CUSTOMERS, "birth_year")
    assert (code, "birth_date" in out) == (0, True)
    code, out, _ = released.cli("lineage", "evidence", CUSTOMERS, "--json")
    stages = [row["stage"] for row in json.loads(out)]
    assert stages == ["open", "classify", "consent", "protect", "validate", "release", "release"]
    assert {row["basis"] for row in json.loads(out)} == {"observed"}
