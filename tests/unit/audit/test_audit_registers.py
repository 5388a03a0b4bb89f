"""Transfers and consent by purpose: figures counted again, every exception once, and logs without declarations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from audit_story import CLINICAL, CUSTOMERS, passed
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import make_report, verify_bundle
from governance.audit.law import EEA
from governance.model.evidence import Stage

LISTED = {"applies": True, "ground": "research_waiver"}


def told(world: World, stage: Stage) -> list[dict[str, Any]]:
    return [facet for _, name, facet in true_facets(world) if name == stage.value]


def test_transfers_counted_again(world: World, tmp_path: Path) -> None:
    record = make_report(world, "transfers", tmp_path).record
    sent = [f["facts"] for f in told(world, Stage.DISCLOSE)]
    abroad = [f for f in sent if f["recipient"]["country"] not in EEA]
    examined = record["population"]["examined"]
    assert (examined["disclosures"], examined["transfers"]) == (len(sent), len(abroad))
    by_row = {row["id"]: len(row["cells"]["transfers"]["value"]) for row in record["rows"]}
    assert by_row == Counter(f"{f['recipient']['name']}/{f['purpose']}" for f in abroad)


def test_decisions_counted_again(world: World, tmp_path: Path) -> None:
    record = make_report(world, "consent-evidence", tmp_path).record
    denied: dict[str, Counter[str]] = {}
    last = {f["context"]["version"]: f for f in told(world, Stage.CONSENT)}
    for facet in last.values():
        reasons = {k: v for k, v in facet["facts"]["by_reason"].items() if k != "allowed"}
        denied.setdefault(facet["context"]["purpose"], Counter()).update(reasons)
    for row in record["rows"]:
        assert (row["cells"]["denied"]["value"] or {}) == denied.get(row["id"], {}), row["id"]
    assert record["population"]["examined"]["decisions"] == len(last)
    codes = {r["code"]: r["count"] for r in record["exceptions"]}
    assert codes == {"late-withdrawals": 3, "backdated-consents": 2, "clock-skew": 1}


def test_the_state_of_compliance_counted_again(world: World, tmp_path: Path) -> None:
    record = make_report(world, "compliance", tmp_path).record
    opened = Counter(f["context"]["dataset"] for f in told(world, Stage.OPEN))
    released = [f for f in told(world, Stage.RELEASE) if f["facts"]["state"] == "released"]
    sent: dict[str, Counter[str]] = {}
    for facet in told(world, Stage.DISCLOSE):
        sent.setdefault(facet["context"]["dataset"], Counter())[facet["facts"]["recipient"]["name"]] += 1
    newest = {f["context"]["dataset"]: f["context"]["version"] for f in released}
    for row in record["rows"]:
        cells = {key: cell["value"] for key, cell in row["cells"].items()}
        assert sum(cells["runs"].values()) == opened[row["id"]]
        assert cells["disclosures"] == sent.get(row["id"], {})
        assert (cells["version"] or {}).get("version") == newest.get(row["id"])
    assert {row["id"] for row in record["rows"]} == set(opened)
    assert record["population"]["examined"]["runs"] == opened.total()


def test_rules_are_counted_as_they_were_judged(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    leaf = {"policy": world.policy(), "contract": world.contract("customer_profiles")}
    run = world.open("customer_profiles", "model_training", run_id="judged", **leaf)
    passed(run, CUSTOMERS)
    results = [{"rule": f"rule {n}", "expectation": "x", "success": n != 2} for n in range(5)]
    run.stage(Stage.VALIDATE, {"success": True, "rows": 64, "results": results, "checks": []})
    run.release("released")
    world.log.checkpoint()
    [row] = make_report(world, "compliance", tmp_path / "out").record["rows"]
    assert row["cells"]["quality"]["value"] == {"success": True, "rules_judged": 5, "rules_failed": 1}


def test_every_released_version_has_its_statement(world: World, tmp_path: Path) -> None:
    record = make_report(world, "deidentification", tmp_path).record
    released = {
        f"{f['context']['dataset']} {f['context']['version']}"
        for f in told(world, Stage.RELEASE)
        if f["facts"]["state"] == "released"
    }
    assert {row["id"] for row in record["rows"]} == released
    methods = {f["context"]["version"]: f["facts"]["columns"] for f in told(world, Stage.PROTECT)}
    # A version that an erasure wrote stands on the evidence of the one before it.
    written = {
        f["facts"]["version"]: f["facts"]["previous_version"]
        for f in told(world, Stage.ERASURE)
        if f["facts"]["state"] == "rewritten" and f["facts"].get("version")
    }
    for row in record["rows"]:
        version = row["id"].split()[1]
        while version not in methods and version in written:
            version = written[version]
        columns = {c["column"]: c["method"] for c in methods.get(version, [])}
        assert (row["cells"]["methods"]["value"] or {}) == columns


@pytest.fixture(scope="module")
def departing(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Sent abroad without an instrument, to a stranger, on another instrument, on a derogation twice."""
    world = World(tmp_path_factory.mktemp("departing"))
    name = "northlake-research"

    def derogating(text: str) -> str:
        text = text.replace("safeguard: standard_contractual_clauses", "safeguard: derogation")
        bare = f"  nowhere-labs:\n    title: <b>=Nowhere</b>\n    purposes: [research]\n  {name}:"
        return text.replace(f"  {name}:", bare)

    opened = {"policy": world.policy(derogating), "contract": world.contract("clinical_encounters")}
    run = world.open("clinical_encounters", "model_training", run_id="r1", **opened)
    run.classify([seen for seen, _ in CLINICAL])
    run.release("released")
    other = world.open("clinical_encounters", "unheard_of", run_id="r2", **opened)
    passed(other, CLINICAL)

    def send(number: int, purpose: str, **to: Any) -> None:
        recipient = {"name": name, "title": "N", "country": "US", "safeguard": "derogation", **to}
        world.disclose(run, number, purpose, LISTED, recipient=recipient)

    send(1, "research")
    send(2, "research")
    send(3, "research", name="nowhere-labs", country=None, safeguard=None)
    send(4, "model_training", safeguard="adequacy_decision")
    send(5, "research", name="stranger", safeguard="adequacy_decision")
    return world


def test_every_departure_of_a_transfer_is_told(departing: World, tmp_path: Path) -> None:
    made = make_report(departing, "transfers", tmp_path, bundle=True)
    assert {r["code"]: r["count"] for r in made.record["exceptions"]} == {
        "derogation-repeated": 2,
        "transfer-without-instrument": 1,
        "instrument-conflict": 1,
        "transfer-not-allowed": 1,
    }
    assert "nowhere-labs/research" in {row["id"] for row in made.record["rows"]}
    assert "<b>" not in made.html.read_text("utf-8")
    assert made.bundle and verify_bundle(made.bundle, departing.vkey).ok


def test_every_departure_of_consent_is_told(departing: World, tmp_path: Path) -> None:
    made = make_report(departing, "consent-evidence", tmp_path, bundle=True)
    assert {r["code"] for r in made.record["exceptions"]} == {
        "consent-not-decided",
        "batches-missing",
        "purpose-not-declared",
    }
    assert made.bundle and verify_bundle(made.bundle, departing.vkey).ok


def test_processing_for_controllers_counted_again(world: World, tmp_path: Path) -> None:
    record = make_report(world, "gdpr-art30-2", tmp_path).record
    opened = Counter(
        (f["context"]["dataset"], f["context"]["purpose"])
        for _, stage, f in true_facets(world)
        if stage == "open"
    )
    sent = Counter((f["facts"]["dataset"], f["facts"]["purpose"]) for f in told(world, Stage.DISCLOSE))
    shown = [p for row in record["rows"] for p in row["cells"]["processing"]["value"]]
    assert {(p["dataset"], p["purpose"]): p["runs"] for p in shown if p["runs"]} == opened
    assert {(p["dataset"], p["purpose"]): p["disclosures"] for p in shown if p["disclosures"]} == sent


def test_processing_for_nobody_is_told(tmp_path: Path) -> None:
    world = World(tmp_path / "log")
    policy = world.policy(lambda text: text.replace("domains: [patient]", "domains: [nobody]"))
    run = world.open(
        "clinical_encounters",
        "model_training",
        policy=policy,
        contract=world.contract("clinical_encounters"),
        run_id="r1",
    )
    passed(run, CLINICAL)
    made = make_report(world, "gdpr-art30-2", tmp_path, bundle=True)
    assert [r["code"] for r in made.record["exceptions"]] == ["controller-not-declared"]
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
