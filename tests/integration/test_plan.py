"""A plan tells what a run then does, what would stop it, and leaves every byte where it was."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from governed_home import PURPOSES, Home, edited
from jsonschema import Draft202012Validator

from governance.model.evidence import Stage

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "plan.schema.json").read_text())


def fingerprint(home: Home, *, settle: bool = False) -> dict[str, tuple[int, str]]:
    """Every file below ``home`` with its time of change and content; folders too.

    The home was copied from under open stores: SQLite first moves their write-ahead logs into them.
    """
    if settle:
        home.workspace().close()
    return {
        str(path.relative_to(home.path)): (
            (path.stat().st_mtime_ns, sha256(path.read_bytes()).hexdigest()) if path.is_file() else (0, "")
        )
        for path in sorted(home.path.rglob("*"))
    }


def planned(home: Home, dataset: str, *more: str, code: int, purpose: str | None = None) -> dict:
    arguments = ("--source", str(home.source(dataset)), "--purpose", purpose or PURPOSES[dataset], "--json")
    got, out, err = home.cli("plan", str(home.contract(dataset)), *arguments, *more)
    assert got == code, err
    plan = json.loads(out)
    Draft202012Validator(SCHEMA).validate(plan)
    return plan


@pytest.mark.parametrize("dataset", ["customer_profiles", "clinical_encounters", "support_prompts"])
def test_a_run_does_what_its_plan_said_and_a_plan_writes_nothing(home: Home, dataset: str) -> None:
    before = fingerprint(home, settle=True)
    plan = planned(home, dataset, "--classify", "full", code=0)
    assert fingerprint(home) == before
    facts = home.run(dataset).facts
    protect = facts[Stage.PROTECT]
    assert plan["consent"]["by_reason"] == facts[Stage.CONSENT]["by_reason"]
    assert plan["quarantined_by_rule"] == protect["quarantined_by_rule"]
    assert plan["rows"] == {
        "read": protect["rows_in"],
        "denied": protect["rows_denied"],
        "quarantined": protect["rows_quarantined"],
        "released": protect["rows_out"],
    }
    assert [(s["partition"], s["rows"]) for s in plan["version"]["segments"]] == sorted(
        (s["partition"], s["rows"]) for s in protect["segments"]
    )
    said = {c["column"]: (c["classification"], c["sensitivity"], c["method"]) for c in plan["columns"]}
    done = {
        c["source_column"]: (c["classification"], c["sensitivity"], c["method"]) for c in protect["columns"]
    }
    assert said == done


def test_a_plan_leaves_a_home_with_a_release_as_it_is_too(released: Home) -> None:
    before = fingerprint(released, settle=True)
    plan = planned(released, "customer_profiles", "--classify", "last-run", code=0)
    text = released.cli(
        "plan", str(released.contract("customer_profiles")),
        "--source", str(released.source("customer_profiles")), "--purpose", "model_training",
    )  # fmt: skip
    assert fingerprint(released) == before
    current = released.manifest("customer_profiles").version
    assert plan["classified"] == {"by": "last-run", "values": None, "version": current}
    assert plan["version"]["left_out"]["segments"] == 1
    assert text[0] == 0
    assert "The run would pass. Nothing was written." in text[1]
    assert "vault domain customer" in " ".join(text[1].split())


def test_what_would_stop_the_run_is_said_with_its_code(home: Home) -> None:
    def codes(code: int = 2, **changed: str) -> list[str]:
        plan = planned(home, "customer_profiles", code=code, **changed)
        assert not plan["passes"]
        return [r["code"] for r in plan["refusals"]]

    assert codes(purpose="world_domination") == ["GOV-104"]
    contract = home.contract("customer_profiles")
    whole = contract.read_text()
    # An undeclared IBAN is found in the values; the plan goes on and counts all the same.
    declared = "classification: iban\n        customProperties: [{property: protection, value: drop}]"
    edited(contract, lambda text: text.replace(declared, "classification: none"))
    plan = planned(home, "customer_profiles", code=2)
    assert [r["code"] for r in plan["refusals"]] == ["GOV-107"]
    assert "column iban" in plan["refusals"][0]["message"]
    assert plan["rows"]["released"] > 0
    contract.write_text(whole)
    edited(contract, lambda text: text.replace("physicalName: customer_id", "physicalName: id_of_customer"))
    assert codes()
    contract.write_text("]")
    assert codes() == ["GOV-101"]
    contract.write_text(whole)
    edited(contract, lambda text: text.replace("{min_value: 0}", "{min_value: cheap}"))
    assert codes() == ["GOV-401"]


def test_a_plan_by_the_last_run_needs_one(home: Home) -> None:
    arguments = ("--source", str(home.source("customer_profiles")), "--purpose", "model_training")
    code, _, err = home.cli(
        "plan", str(home.contract("customer_profiles")), *arguments, "--classify", "last-run"
    )
    assert code == 1
    assert "GOV-741" in err
