"""Minimum necessary by role: what was given counted again, and every departure from what the policy declares."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from audit_hipaa_story import KIND, WAIVED, hipaa_world, leaf
from audit_story import CLINICAL, released
from audit_world import World

from governance.audit import MadeReport, make_report, verify_bundle

NORTHLAKE = "northlake-research/research"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> World:
    return hipaa_world(tmp_path_factory.mktemp("necessary"))


@pytest.fixture(scope="module")
def made(log: World, tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    return make_report(log, "hipaa-502b", tmp_path_factory.mktemp("made"), bundle=True, forms=["csv", "pdf"])


def cells(record: dict[str, Any], row: str) -> dict[str, Any]:
    [found] = [r["cells"] for r in record["rows"] if r["id"] == row]
    return found


def facets(log: World) -> list[dict[str, Any]]:
    found = []
    for index in range(log.log.size()):
        try:
            run = json.loads(log.log.entry(index).body or b"")["run"]["facets"]
        except (ValueError, KeyError, TypeError):
            continue
        found += [facet for key, facet in run.items() if key.startswith("governance_")]
    return found


def test_acts_counted_again(log: World, made: MadeReport) -> None:
    every = facets(log)
    clinical = [
        f["facts"]
        for f in every
        if f["stage"] == "disclose" and f["facts"]["dataset"] == "clinical_encounters"
    ]
    keys = [f for f in every if f["stage"] == "key_grant" and f["facts"]["state"] == "released"]
    reads = [json.loads(log.log.entry(i).leaf)["media_type"] for i in range(log.log.size())].count(
        f"{KIND}read+json"
    )
    examined = made.record["population"]["examined"]
    assert (examined["disclosures"], examined["key_releases"], examined["governed_reads"]) == (
        len(clinical), len(keys), reads,
    )  # fmt: skip
    assert examined["not_phi"] == 1
    expected = Counter(f"{f['recipient']['name']}/{f['purpose']}" for f in clinical)
    expected.update(f"{f['facts']['workload']}/{f['context']['purpose']}" for f in keys)
    expected["pipeline/research"] += reads
    shown = {row["id"]: row["cells"]["times"]["value"] for row in made.record["rows"]}
    assert {
        row: sum(v for v in said.values() if isinstance(v, int)) for row, said in shown.items()
    } == expected


def test_more_than_declared_is_told_by_name(made: MadeReport) -> None:
    row = cells(made.record, NORTHLAKE)
    assert row["comparison"]["basis"] == "conflicting" and row["comparison"]["value"] == ["health_condition"]
    assert row["necessary"]["value"] == {"categories": ["age", "medical_record_number"]}
    assert row["protocol"]["value"] == {"protocol": "MN-7"}
    given = {each["category"]: each["columns"] for each in row["given"]["value"]}
    assert given["age"] == ["age: age_cap"] and given["medical_record_number"] == [
        "patient_pseudonym: pseudonym"
    ]
    [told] = [r for r in made.record["exceptions"] if r["code"] == "more-than-declared"]
    assert "health_condition" in told["text"] and told["basis"] == "conflicting"


def test_a_key_gives_every_column_of_its_sensitivity(made: MadeReport) -> None:
    row = cells(made.record, "clinical-etl/research")
    assert [each["category"] for each in row["given"]["value"]] == [
        "free_text",
        "health_condition",
        "medical_record_number",
    ]
    assert row["comparison"]["basis"] == "observed" and row["comparison"]["value"] == []
    [bare] = [r for r in made.record["exceptions"] if r["code"] == "protocol-missing"]
    assert bare["text"].startswith("clinical-etl for research")


def test_exemptions_are_counted_and_held_to_their_ground(made: MadeReport) -> None:
    examined = made.record["population"]["examined"]
    assert examined["exempt_by_exemption"] == {
        "treatment": 0,
        "individual": 0,
        "authorization": 1,
        "secretary": 0,
        "required_by_law": 0,
        "compliance": 0,
    }
    assert cells(made.record, "northlake-research/model_training")["exemption"]["value"]["law"] == (
        "45 CFR 164.502(b)(2)(iii)"
    )
    [doubt] = [r for r in made.record["exceptions"] if r["code"] == "exemption-not-borne-out"]
    assert "clinical-reader" in doubt["text"]
    assert cells(made.record, "clinical-reader/model_training")["exemption"]["basis"] == "conflicting"


def test_what_went_beyond_and_what_is_exempt_counted_again(log: World, made: MadeReport) -> None:
    """From the policy's text and the evidence of the one run whose data was given."""
    bodies = [log.log.entry(i) for i in range(log.log.size())]
    [policy] = [yaml.safe_load(b.body or b"") for b in bodies if b"policy+yaml" in b.leaf]
    every = facets(log)
    [columns] = [
        {
            c["column"]: (c["classification"], c.get("sensitivity"))
            for c in f["facts"]["columns"]
            if not c.get("dropped")
        }
        for f in every
        if f["stage"] == "protect"
        and f["context"].get("dataset") == "clinical_encounters"
        and "columns" in f["facts"]
    ]
    acts = [
        (f["facts"]["recipient"]["name"], f["facts"]["purpose"], set(f["facts"]["columns"]), True)
        for f in every
        if f["stage"] == "disclose" and f["facts"]["dataset"] == "clinical_encounters"
    ]
    for f in every:
        if f["stage"] == "key_grant" and f["facts"]["state"] == "released":
            levels = {key.rpartition(".")[2] for key in f["facts"]["keys"]}
            opened = {name for name, (_, sensitivity) in columns.items() if sensitivity in levels}
            acts.append((f["facts"]["workload"], f["context"]["purpose"], opened, False))
    reads = [json.loads(b.body or b"") for b in bodies if b"read+json" in b.leaf]
    acts += [("pipeline", r["purpose"], set(r["columns"]), False) for r in reads]
    declared = {(said["role"], said["purpose"]): said for said in policy["minimumNecessary"]}
    beyond = exempt = undeclared = 0
    for role, purpose, given, sent in acts:
        said = declared.get((role, purpose))
        ground = policy["purposes"][purpose].get("hipaa")
        claimed = (said or {}).get("exemption")
        excused = (
            claimed == ground if claimed else ground == "authorization" or (sent and ground == "treatment")
        )
        allowed = set((said or {}).get("classifications", [columns[name][0] for name in given]))
        listed = (
            (policy["recipients"].get(role) or {}).get("columns", {}).get("clinical_encounters")
            if sent
            else None
        )
        more = {columns[name][0] for name in given} - allowed or given - set(
            given if listed is None else listed
        )
        exempt += excused
        beyond += bool(more) and not excused
        undeclared += said is None and not excused
    examined = made.record["population"]["examined"]
    assert (
        (examined["beyond"], examined["exempt"], examined["undeclared"])
        == (beyond, exempt, undeclared)
        == (1, 1, 1)
    )


def test_what_nobody_declared_is_unknown(made: MadeReport) -> None:
    row = cells(made.record, "pipeline/research")
    assert {key: row[key]["basis"] for key in ("necessary", "protocol", "comparison")} == dict.fromkeys(
        ("necessary", "protocol", "comparison"), "unknown"
    )
    assert "who read is not recorded" in row["role"]["note"]
    assert made.record["population"]["examined"]["undeclared"] == 1


def test_it_verifies_and_an_altered_comparison_does_not(log: World, made: MadeReport, tmp_path: Path) -> None:
    from governance.audit.bundle import manifest, sign
    from governance.audit.checking import container
    from governance.model.canonical import canonical

    assert made.bundle and verify_bundle(made.bundle, log.vkey).ok
    members = dict(container.read(made.bundle).members)
    record = json.loads(members["record.json"])
    cells(record, NORTHLAKE)["comparison"] |= {"value": [], "basis": "observed"}
    members["record.json"] = canonical(record)
    members["manifest.json"] = manifest(members)
    members["signature.json"] = sign(members["manifest.json"], log.root)
    path = tmp_path / "altered.zip"
    path.write_bytes(container.pack(members))
    verdict = verify_bundle(path, log.vkey)
    assert verdict.first_failure and "comparison" in verdict.first_failure


@pytest.mark.parametrize(
    "hostile",
    [
        "minimumNecessary: nothing",
        "minimumNecessary: [1, {role: 2}, {role: northlake-research, purpose: research, classifications: all}]",
        "minimumNecessary: [{role: northlake-research, purpose: research, exemption: because}]",
    ],
)
def test_a_hostile_policy_leaf_declares_nothing(tmp_path: Path, hostile: str) -> None:
    world = World(tmp_path / "log")
    opened = {
        "policy": world.policy(lambda text: text + f"\n{hostile}\n"),
        "contract": world.contract("clinical_encounters"),
    }
    run = world.open("clinical_encounters", "model_training", run_id="r", **opened)
    released(run, CLINICAL)
    world.disclose(run, 1, "research", WAIVED, recipient={"name": "northlake-research", "title": "<b>=N</b>"})
    leaf(world, "read+json", "evidence:pipeline", dataset=7, version=None, purpose=[], columns="all")
    made = make_report(world, "hipaa-502b", tmp_path / "out", bundle=True)
    assert "<b>" not in made.html.read_text("utf-8")
    assert cells(made.record, NORTHLAKE)["comparison"]["basis"] in ("unknown", "conflicting")
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
