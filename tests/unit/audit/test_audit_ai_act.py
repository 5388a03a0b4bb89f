"""Reports under the AI Act: closures and figures counted again, declarations that conflict, logs that say nothing."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from audit_rights_story import training as lineage_of_a_training
from audit_story import CUSTOMERS, regenerate, released
from audit_training_story import DECLARED, HOSTILE, PIPELINE, declaring, trained, training
from audit_world import FROZEN, World
from jsonschema import Draft202012Validator
from test_audit_records import cells, codes, golden
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report, verify_bundle
from governance.contracts import load_contract, load_policy
from governance.errors import ContractError
from governance.model.resources import schemas
from governance.model.statements import TRAINED

KINDS = ("ai-act-datasheet", "ai-act-log", "ai-act-training-summary")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return training(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, MadeReport]:
    folder = tmp_path_factory.mktemp("ai-act")
    return {kind: make_report(world, kind, folder, bundle=True, forms=["csv"]) for kind in KINDS}


def leaves(world: World, kind: str) -> list[tuple[int, str, dict[str, Any]]]:
    """(index, sender, body) of a media type."""
    found = []
    for index in range(world.log.size()):
        entry = world.log.entry(index)
        envelope = json.loads(entry.leaf)
        if envelope["media_type"] == f"application/vnd.governance.{kind}+json":
            found.append((index, envelope["principal"], json.loads(entry.body or b"{}")))
    return found


def went_into(world: World) -> dict[str, set[str]]:
    """Versions by model, in plain Python: what its trainings name, and what that was made from."""
    landed = {
        str(index): [i["version"] for i in body["inputs"]] for index, _, body in leaves(world, "landing")
    }
    made_from = {
        f["context"]["version"]: landed.get(f["facts"]["source"]["uri"].rpartition("/")[2], [])
        for _, stage, f in true_facets(world)
        if stage == "open"
    }
    found: dict[str, set[str]] = {}
    for _, sender, body in leaves(world, "training"):
        if sender == "evidence:pipeline":
            front = [each["version"] for each in body["inputs"]]
            while front:
                version = front.pop()
                found.setdefault(f"models/{body['model']}", set()).add(version)
                front += made_from.get(version, [])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_is_the_golden_one(world: World, made: dict[str, MadeReport], kind: str) -> None:
    path = FROZEN / f"{kind}-declared.json"
    if regenerate():
        path.write_text(golden(made[kind].record), "utf-8")
    assert golden(made[kind].record) == path.read_text("utf-8")
    schema = json.loads((schemas() / "report.schema.json").read_text("utf-8"))
    record = json.loads(made[kind].json.read_bytes())
    assert [e.message for e in Draft202012Validator(schema).iter_errors(record)] == []
    bundle = made[kind].bundle
    assert bundle and verify_bundle(bundle, world.vkey).ok


def test_what_went_into_each_model_counted_again(world: World, made: dict[str, MadeReport]) -> None:
    wanted = went_into(world)
    found: dict[str, set[str]] = {}
    for row in made["ai-act-datasheet"].record["rows"]:
        system, _, used = row["id"].partition(": ")
        if system.startswith("models/"):
            found.setdefault(system, set()).add(used.rpartition(" ")[2])
    assert found == wanted and len(wanted["models/stays-model"]) == 2
    summed = {
        row["id"]: row["cells"]["size"]["value"] for row in made["ai-act-training-summary"].record["rows"]
    }
    facts = true_facets(world)
    rows = {
        f["context"]["version"]: f["facts"]["rows"]
        for _, stage, f in facts
        if stage == "release" and f["facts"]["state"] == "released"
    }
    for system, versions in wanted.items():
        assert sum(line["rows"] for line in summed[system]) == sum(rows.get(v, 0) for v in versions)


def test_systems_and_trainings_counted_again(world: World, made: dict[str, MadeReport]) -> None:
    told = [(s, b) for _, s, b in leaves(world, "training")]
    wanted, proven = went_into(world), [b for s, b in told if s == PIPELINE]
    models = {b["model"] for b in proven}
    sets = {f["context"]["dataset"] for _, stage, f in true_facets(world) if stage == "open"}
    released_ = Counter(
        f["context"]["dataset"]
        for _, stage, f in true_facets(world)
        if stage == "release" and f["facts"]["state"] == "released"
    )
    for kind in ("ai-act-datasheet", "ai-act-training-summary"):
        examined = made[kind].record["population"]["examined"]
        assert (examined["models"], examined["training_sets"]) == (len(models), len(sets))
        assert examined["versions"] == sum(map(len, wanted.values())) + released_.total()
        assert examined["trainings"] == len(proven)
        assert examined["inputs_outside"] == 0
    assert made["ai-act-log"].record["population"]["examined"]["systems"] == len(models) + len(sets)


def test_a_datasheets_figures_counted_again(world: World, made: dict[str, MadeReport]) -> None:
    by_version: dict[str, dict[str, dict[str, Any]]] = {}
    for _, stage, facet in true_facets(world):
        by_version.setdefault(facet["context"]["version"], {})[stage] = facet["facts"]
    for row in made["ai-act-datasheet"].record["rows"]:
        facts, sheet = by_version[row["id"].rpartition(" ")[2]], row["cells"]
        if "consent" not in facts:
            assert sheet["left_out"]["basis"] == sheet["quantity"]["basis"] == "unknown"
            continue
        reasons = {k: v for k, v in facts["consent"]["by_reason"].items() if k != "allowed"}
        assert {line["reason"]: line["rows"] for line in sheet["left_out"]["value"]} == reasons
        assert sheet["cleaning"]["value"]["kept"] == facts["protect"]["rows_out"]
        methods = Counter(c["method"] for c in facts["protect"]["columns"])
        operations = {o["operation"]: len(o["columns"].split(", ")) for o in sheet["preparation"]["value"]}
        assert operations == methods
        files = [f for s in facts["protect"]["segments"] for f in s["files"] if f["role"] == "data"]
        assert sheet["quantity"]["value"]["bytes_encrypted"] == sum(f["size"] for f in files)


def test_declared_beside_observed(made: dict[str, MadeReport]) -> None:
    [row] = [r for r in made["ai-act-datasheet"].record["rows"] if r["id"].startswith("models/churn")]
    for key in (
        "design",
        "collection",
        "original",
        "labelling",
        "assumptions",
        "suitability",
        "bias",
        "mitigation",
        "gaps",
    ):
        assert row["cells"][key]["basis"] == "declared", key
    assert row["cells"]["used"]["basis"] == "declared"
    assert row["cells"]["intended"]["value"] == "Finding customers who may leave"
    assert row["cells"]["version"]["value"]["described_by"].startswith(
        "governance report attest customer_profiles v"
    )
    churn = cells(made["ai-act-training-summary"].record, "models/churn")
    assert churn["band"]["value"] == {"text": "1 billion to 10 trillion tokens", "tokens": 1_200_000_000}
    assert churn["source_user_data"]["value"][0]["rows"] == 64
    assert churn["source_crawled"]["value"] == [] and churn["source_crawled"]["basis"] == "declared"
    assert churn["provider"]["value"] == {"name": "Meridian Retail SE", "country": "DE"}
    patients = cells(made["ai-act-training-summary"].record, "clinical_encounters")
    assert (
        patients["band"]["basis"]
        == patients["source_crawled"]["basis"]
        == patients["languages"]["basis"]
        == "unknown"
    )
    assert patients["acquired"]["value"] == {"declared": None, "not_after": "2026-03"}


def test_every_departure_is_told(made: dict[str, MadeReport]) -> None:
    datasheet = Counter(r["code"] for r in made["ai-act-datasheet"].record["exceptions"])
    assert datasheet == {
        "training-not-proven": 1,
        "trained-on-unreleased": 1,
        "training-conflict": 2,  # another purpose, another manifest
        "intended-purpose-conflict": 2,  # of both versions of one model
        "declaration-changed": 1,
        "late-withdrawals": 1,
        "run-quarantined": 1,
    }
    summary = Counter(r["code"] for r in made["ai-act-training-summary"].record["exceptions"])
    assert summary["source-conflict"] == summary["continuous-conflict"] == 1
    twice = cells(made["ai-act-training-summary"].record, "models/twice")
    assert twice["source_licensed"]["basis"] == twice["source_user_data"]["basis"] == "conflicting"
    log = Counter(r["code"] for r in made["ai-act-log"].record["exceptions"])
    assert log["run-quarantined"] == log["training-not-proven"] == 1


def test_the_log_extract_counted_again(world: World, made: dict[str, MadeReport], tmp_path: Path) -> None:
    found = true_facets(world)
    trainings = {
        index: {each["dataset"] for each in body["inputs"]}
        for index, sender, body in leaves(world, "training")
        if sender == "evidence:pipeline"
    }
    one = make_report(world, "ai-act-log", tmp_path, asked={"dataset": "clinical_encounters"}).record
    wanted = {index for index, _, f in found if f["context"]["dataset"] == "clinical_encounters"}
    assert {row["id"] for row in one["rows"]} == {f"entry {index}" for index in wanted} | {"retention"}
    churn = make_report(world, "ai-act-log", tmp_path, asked={"dataset": "models/churn"}).record
    own = {
        index
        for index, _, body in leaves(world, "training")
        if body["model"] == "churn" and index in trainings
    }
    wanted = {index for index, _, f in found if f["context"]["dataset"] == "customer_profiles"} | own
    assert {row["id"] for row in churn["rows"]} == {f"entry {index}" for index in wanted} | {"retention"}
    for row in churn["rows"]:
        if "what" in row["cells"]:
            assert f"entry {row['cells']['what']['cites'][0]}" == row["id"]

    record = made["ai-act-log"].record
    examined = record["population"]["examined"]
    assert examined["events"] == len(found) + len(trainings)
    start = datetime.fromisoformat(record["period"]["from"])
    inside = [
        index
        for index in {i for i, _, _ in found} | set(trainings)
        if datetime.fromisoformat(json.loads(world.log.entry(index).leaf)["received_at"]) >= start
    ]
    assert (examined["in_period"], examined["outside_period"]) == (
        len(inside),
        len(found) - len(inside) + len(trainings),
    )
    monitored = sum(stage in ("consent", "validate") for _, stage, _ in found)
    assert examined["post_market_monitoring"] == monitored
    assert examined["operation"] == examined["in_period"], (
        "every run went as it should but for what is a risk too"
    )
    # Of all systems: every training, a quarantine, a late withdrawal, a contract that the run before did not have.
    assert examined["risk_or_modification"] == examined["listed"] == len(trainings) + 3
    assert len(record["rows"]) == examined["listed"] + 1
    assert cells(record, "retention")["kept"]["basis"] == "declared"


def test_a_period_of_the_log(world: World, tmp_path: Path) -> None:
    for period, code in (
        ("2020-01-01/2020-02-01", "before-the-log"),
        ("2026-03-02/2030-01-01", "after-the-checkpoint"),
    ):
        one = make_report(
            world, "ai-act-log", tmp_path, bundle=True, period=period, asked={"dataset": "models/churn"}
        )
        assert code in codes(one.record, "unknowns")
        assert one.bundle and verify_bundle(one.bundle, world.vkey).ok
    none = make_report(world, "ai-act-log", tmp_path, period="2020-01-01/2020-02-01").record
    assert [row["id"] for row in none["rows"]] == ["retention"]


def test_hostile_names_stay_text(made: dict[str, MadeReport]) -> None:
    for report in made.values():
        assert "<script>alert" not in report.html.read_text("utf-8")
        [table] = report.forms
        text = table.read_text("utf-8-sig")
        assert HOSTILE.split("<")[0][1:4] in text
        assert not any(
            field.lstrip('"').startswith(("=", "+", "@"))
            for line in text.splitlines()
            for field in line.split(",")
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["models/nobody", "nobody", HOSTILE])
def test_a_system_that_the_log_does_not_know(tmp_path: Path, kind: str, name: str) -> None:
    world = World(tmp_path / "w")
    made = make_report(world, kind, tmp_path / "o", bundle=True, asked={"dataset": name})
    assert codes(made.record, "unknowns")["system-unknown"] == 1
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_lineage_of_others_names_datasets_and_so_every_version(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    leaf = {"policy": world.policy(), "contract": world.contract("customer_profiles")}
    for run_id in ("a", "b"):
        released(world.open("customer_profiles", "model_training", run_id=run_id, **leaf), CUSTOMERS)
    lineage_of_a_training(world, "customer_profiles")
    asked = {"dataset": "reports/clinical-scores"}
    made = make_report(world, "ai-act-datasheet", tmp_path / "o", bundle=True, asked=asked)
    assert len(made.record["rows"]) == 2
    assert all(row["cells"]["used"]["basis"] == "declared" for row in made.record["rows"])
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
    outside = make_report(world, "ai-act-datasheet", tmp_path / "o", asked={"dataset": "mart/weather"}).record
    assert codes(outside, "unknowns")["trained-on-outside"] == 1 and outside["rows"] == []


def test_segments_that_are_carried_on_went_into_it_too(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    policy = world.policy()
    appending = world.contract("customer_profiles", lambda t: t.replace("loadMode: full", "loadMode: append"))
    full = world.contract("customer_profiles")
    versions: list[str] = []
    for run_id, contract in (("a", full), ("b", full), ("c", appending), ("d", appending)):
        previous = versions[-1] if versions else None
        run = world.open(
            "customer_profiles", "model_training", policy=policy, contract=contract, run_id=run_id, previous=previous
        )  # fmt: skip
        released(run, CUSTOMERS)
        versions.append(run.context["version"])
    trained(world, "m", run)
    made = make_report(world, "ai-act-datasheet", tmp_path / "o", bundle=True, asked={"dataset": "models/m"})
    # d adds to c and c to b, which replaced a.
    assert [row["id"].rpartition(" ")[2] for row in made.record["rows"]] == versions[:0:-1]
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_missing_and_strange_declarations_are_unknown(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    content = "{source: 7, tokens: 99999999999999999999, languages: de}"
    strange = f"      aiAct: {{intendedPurpose: [1], gaps: {{a: 1}}, content: {content}}}\n"
    policy = world.policy(lambda text: text + "\naiSystems: {churn: [1], m: {continuouslyTrained: maybe}}\n")
    contract = world.contract("customer_profiles", declaring(strange))
    run = world.open("customer_profiles", "model_training", policy=policy, contract=contract, run_id="r")
    released(run, CUSTOMERS)
    for model in ("churn", "m"):
        trained(world, model, run)
    trained(world, "empty")
    inputs = [
        3,
        {"dataset": "customer_profiles", "version": [1]},
        {"dataset": "customer_profiles", "version": "v0"},
    ]
    odd = {"model": "odd", "digest": 2**60, "purpose": 2**60, "inputs": inputs}
    world.put(json.dumps(odd).encode(), TRAINED, PIPELINE)
    for kind in KINDS:
        made = make_report(world, kind, tmp_path / "o", bundle=True)
        assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
        for row in made.record["rows"]:
            for key in ("intended", "gaps", "band", "languages", "source_other"):
                assert row["cells"].get(key, {"basis": "unknown"})["basis"] == "unknown", key


def test_contracts_and_policies_are_checked(tmp_path: Path) -> None:
    contract = (schemas() / "examples" / "customer_profiles.odcs.yaml").read_text("utf-8")
    path = tmp_path / "c.odcs.yaml"
    path.write_text(declaring(DECLARED)(contract), "utf-8")
    assert load_contract(path).dataset == "customer_profiles"
    for bad in ("source: stolen", "acquiredUntil: 2026-13", "languages: [German]", "biasExaminations: none"):
        name = bad.partition(":")[0]
        lines = [bad if line.strip().startswith(name) else line for line in DECLARED.splitlines()]
        text = "\n".join(line if line != bad else f"          {bad}" for line in lines) + "\n"
        if bad not in text:
            text = DECLARED.replace("        gaps:", f"        {bad}\n        gaps:")
        path.write_text(declaring(text)(contract), "utf-8")
        with pytest.raises(ContractError, match="GOV-102"):
            load_contract(path)
    policy = (schemas() / "examples" / "policy.yaml").read_text("utf-8")
    path = tmp_path / "policy.yaml"
    path.write_text(policy + "\naiSystems: {churn: {placedOnMarket: soon}}\n", "utf-8")
    with pytest.raises(ContractError, match="GOV-106"):
        load_policy(path)
