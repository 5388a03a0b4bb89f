"""Wrong contracts, policies, ledgers, keys and stores: refused, nothing lost, and the next run works."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from before_and_after import (
    CANARY,
    CUSTOMERS,
    Before,
    ledger_rows,
    refuse_run,
)
from governed_home import Home, edited, refused

from governance.model.canonical import canonical, parse
from governance.pipeline.classify import classify
from governance.pipeline.ledger import import_consent
from governance.pipeline.run import STEPS


def test_an_unknown_purpose_is_refused(released: Home) -> None:
    refuse_run(released, CUSTOMERS, "GOV-104", purpose="world_peace")


def test_a_purpose_the_contract_does_not_allow_is_refused(released: Home) -> None:
    refuse_run(released, CUSTOMERS, "GOV-104", purpose="treatment")


def changed_contract(home: Home, old: str, new: str) -> Path:
    copy = home.path / "contracts" / "changed.odcs.yaml"
    shutil.copy(home.contract(CUSTOMERS), copy)
    return edited(copy, lambda text: text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("name: loyalty_tier", "name: loyalty_rank", "GOV-103"),
        ("subject: {column: customer_id", "subject: {column: client_id", "GOV-105"),
        ("customProperties: [{property: protection, value: mask}]", "", "GOV-102"),
        (
            "classification: email\n        customProperties: [{property: protection, value: mask}]",
            "classification: none",
            "GOV-107",
        ),
        (
            "classification: email\n        customProperties: [{property: protection, value: mask}]",
            "classification: email\n        customProperties: [{property: protection, value: keep}]",
            "GOV-108",
        ),
        (
            "classification: iban\n        customProperties: [{property: protection, value: drop}]",
            "classification: none",
            "GOV-107",
        ),
        ("apiVersion: v3.1.0", "apiVersion: [", "GOV-101"),
        ("kind: training", "kind: guessing", "GOV-102"),
        ("purposes: [model_training]", "purposes: [fortune_telling]", "GOV-104"),
    ],
)
def test_a_wrong_contract_stops_the_run(old: str, new: str, code: str, released: Home) -> None:
    contract = changed_contract(released, old, new)
    fault = refuse_run(released, CUSTOMERS, code, contract_path=contract)
    assert fault.remedy


@pytest.mark.parametrize(
    "old",
    [
        "classification: jurisdiction\n        customProperties: [{property: protection, value: keep}]",
    ],
)
def test_a_version_on_which_consent_could_not_be_decided_again_is_refused(old: str, released: Home) -> None:
    contract = changed_contract(released, old, old.replace("keep", "drop"))
    fault = refuse_run(released, CUSTOMERS, "GOV-102", contract_path=contract)
    assert "decided again" in fault.message


def test_a_policy_or_contract_edited_during_the_run_stops_it(released: Home) -> None:
    before = Before(released, CUSTOMERS)
    context = released.open(CUSTOMERS)
    classify(context)
    policy = released.path / "policy.yaml"
    original = policy.read_text("utf-8")
    edited(policy, lambda text: text.replace("lateWithdrawalRewrites: 3", "lateWithdrawalRewrites: 4"))
    with refused("GOV-112"):
        released.again(context)
    policy.write_text(original, "utf-8")
    copy = released.root(CUSTOMERS) / context.reference.folder / "contract.odcs.yaml"
    edited(copy, lambda text: text.replace("value: mask", "value: drop"))
    with refused("GOV-112"):
        released.again(context)
    before.is_untouched()
    before.and_a_good_run_succeeds()


def test_editing_the_contract_file_does_not_reach_a_run_that_is_under_way(released: Home) -> None:
    context = released.open(CUSTOMERS)
    edited(released.contract(CUSTOMERS), lambda text: text.replace("value: mask", "value: drop"))
    for step in STEPS.values():
        step(released.again(context))
    assert "email" in released.rows(CUSTOMERS).column_names


def test_overlapping_intervals_are_refused_and_the_ledger_stays(released: Home, tmp_path: Path) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    file = tmp_path / "overlap.parquet"
    grants = [("model_training", "grant", start + timedelta(days=n), None) for n in (0, 30)]
    pq.write_table(ledger_rows(CANARY, *grants), file)
    before = Before(released, CUSTOMERS)
    position = released.workspace().ledger.position
    with refused("GOV-202", free_of=(CANARY,)):
        import_consent(released.workspace(), file)
    assert released.workspace().ledger.position == position
    code, out, err = released.cli("consent", "import", file)
    assert (code, "GOV-202" in err, CANARY in out + err) == (1, True, False)
    before.is_untouched()
    pq.write_table(ledger_rows(CANARY, grants[0]), file)
    assert import_consent(released.workspace(), file).position == position + 1
    before.and_a_good_run_succeeds()


def test_without_a_key_nothing_runs_and_nothing_is_lost(released: Home) -> None:
    kek = released.path / "secrets" / "kek.json"
    before = Before(released, CUSTOMERS)
    kek.rename(kek.with_suffix(".away"))
    with refused("GOV-301"):
        released.workspace()
    code, _, err = released.cli("keys", "show")
    assert (code, "GOV-301" in err) == (1, True)
    kek.with_suffix(".away").rename(kek)
    before.is_untouched()
    before.and_a_good_run_succeeds()


def test_another_key_is_refused(released: Home, prepared_home: Path) -> None:
    from governance.keys.providers.file import create_file_key

    kek = released.path / "secrets" / "kek.json"
    kek.rename(kek.with_suffix(".away"))
    create_file_key(kek)
    with refused("GOV-301", "GOV-302", "GOV-303"):
        released.workspace()


def test_a_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    from governance.config import Settings
    from governance.keys.providers.file import create_file_key
    from governance.pipeline.workspace import Workspace

    kek = tmp_path / "kek.json"
    create_file_key(kek, passphrase=lambda: "correct horse")

    def settings(passphrase: str) -> Settings:
        return Settings.from_environment(
            environment={
                "GOVERNANCE_HOME": str(tmp_path / "home"),
                "GOVERNANCE_KEK": f"file:{kek}",
                "GOVERNANCE_PASSPHRASE": passphrase,
            }
        )

    Workspace.create(settings("correct horse"), origin="test.example/passphrase")
    with refused("GOV-302", free_of=(CANARY, "correct horse")):
        Workspace.open(settings(CANARY))
    assert Workspace.open(settings("correct horse")).log.size() == 1


def test_another_homes_store_is_refused(released: Home, tmp_path: Path) -> None:
    from governance.keys.providers.file import create_file_key
    from governance.pipeline.workspace import Workspace

    other = Home(tmp_path / "other")
    (other.path / "secrets").mkdir(parents=True)
    create_file_key(other.path / "secrets" / "kek.json")
    Workspace.create(other.settings, origin="governance.example/meridian")
    before = Before(released, CUSTOMERS)
    code, _, err = released.cli(
        "run",
        released.contract(CUSTOMERS),
        *("--purpose", "model_training", "--source", released.source(CUSTOMERS)),
        GOVERNANCE_STORE=str(other.path / "store"),
    )
    assert code == 1
    assert "GOV-502" in err
    before.is_untouched()
    before.and_a_good_run_succeeds()


def test_a_dataset_root_of_another_log_is_refused(released: Home) -> None:
    before = Before(released, CUSTOMERS)
    root = released.root(CUSTOMERS) / "root.json"
    original = root.read_bytes()
    root.write_bytes(canonical({**parse(original), "log_origin": "elsewhere.example/log"}))
    with refused("GOV-502"):
        released.run(CUSTOMERS)
    root.write_bytes(original)
    before.is_untouched()
    before.and_a_good_run_succeeds()
