"""The review of activity: counted again from the log, what is out of the ordinary, and what nobody recorded."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from audit_hipaa_story import APRIL, FORMULA, KIND, MARCH, SCRIPT, hipaa_world
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report, verify_bundle
from governance.audit.hipaa.activity_kinds import KINDS
from governance.audit.system_activity import LEAVES, STAGES
from governance.log import OPENLINEAGE_EVENT

PERIODS = {"march": "/".join(MARCH), "april": "/".join(APRIL)}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> World:
    return hipaa_world(tmp_path_factory.mktemp("activity"))


@pytest.fixture(scope="module")
def april(log: World, tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    folder = tmp_path_factory.mktemp("april")
    return make_report(log, "hipaa-activity", folder, bundle=True, period=PERIODS["april"], forms=["csv"])


def remarks(record: dict[str, Any], which: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for said in record[which]:
        found.setdefault(said["code"], []).append(said["text"])
    return found


def envelopes(log: World, days: tuple[str, str]) -> list[dict[str, Any]]:
    every = [json.loads(log.log.entry(index).leaf) for index in range(log.log.size())]
    return [e for e in every if days[0] <= e["received_at"][:10] <= days[1]]


@pytest.mark.parametrize(("name", "days"), [("march", MARCH), ("april", APRIL)])
def test_every_entry_of_the_period_is_counted(
    log: World, tmp_path: Path, name: str, days: tuple[str, str]
) -> None:
    made = make_report(log, "hipaa-activity", tmp_path, bundle=True, period=PERIODS[name])
    population = made.record["population"]
    whole, inside = population["whole_log"], envelopes(log, days)
    assert whole["entries_in_period"] == len(inside) > 0
    assert whole["in_period_by_sender"] == dict(Counter(e["principal"] for e in inside))
    assert (
        sum(whole["in_period_by_kind"].values()) == sum(whole["in_period_by_outcome"].values()) == len(inside)
    )
    plain = Counter(e["media_type"].removeprefix(KIND) for e in inside)
    kinds = population["examined"]["by_kind"]
    assert kinds.get("subject_or_body_looked_up", 0) == plain["access+json"]
    assert kinds.get("version_read", 0) == plain["read+json"]
    assert kinds.get("token_made", 0) == plain["token+json"]
    assert made.bundle and verify_bundle(made.bundle, log.vkey).ok


def test_actions_by_kind_and_outcome_counted_again(log: World, tmp_path: Path) -> None:
    kinds: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    by_stage = {"disclose": "disclosure", "key_grant": "keys_asked_for", "release": "release"}
    routine = {"open", "classify", "consent", "protect", "validate"}
    true = {index: (stage, f) for index, stage, f in true_facets(log, everyone=True)}
    for index in range(log.log.size()):
        entry = log.log.entry(index)
        media, body = json.loads(entry.leaf)["media_type"], entry.body or b""
        if media == OPENLINEAGE_EVENT:
            stage, facet = true.get(index, ("", {}))
            event = json.loads(body)
            if stage:
                if stage not in routine:
                    kinds[by_stage[stage]] += 1
                    outcomes[facet["facts"].get("state", "done")] += 1
            elif any(key.startswith("governance_") for key in event["run"]["facets"]):
                kinds["claimed_evidence"] += 1
                outcomes["not_proven"] += 1
            elif event["eventType"] in ("FAIL", "ABORT"):
                kinds["task"] += 1
                outcomes["failed"] += 1
        elif index:
            kinds[LEAVES[media]] += 1
            outcomes["unreadable" if body == b'{"v":' else "done"] += 1
    examined = make_report(log, "hipaa-activity", tmp_path).record["population"]["examined"]
    assert examined == {"actions": kinds.total(), "by_kind": dict(kinds), "by_outcome": dict(outcomes)}


def test_rows_count_what_each_did(log: World, tmp_path: Path) -> None:
    record = make_report(log, "hipaa-activity", tmp_path).record
    asked = []
    for index in range(log.log.size()):
        entry = log.log.entry(index)
        if json.loads(entry.leaf)["principal"] == "evidence:broker":
            [facet] = [f for f in json.loads(entry.body or b"")["run"]["facets"].values() if "facts" in f]
            asked.append((facet["facts"]["workload"], facet["facts"]["state"]))
    rows = {row["id"]: row["cells"] for row in record["rows"]}
    for workload in ("clinical-etl", "clinical-reader"):
        expected = Counter(state for who, state in asked if who == workload)
        assert rows[f"keys_asked_for {workload}"]["outcomes"]["value"] == dict(expected)
    assert rows["subject_or_body_looked_up ines"]["times"]["value"]["entries"] == 2
    assert rows["subject_or_body_looked_up ines"]["reasons"]["value"] == [{"reason": "DSR-7", "times": 1}]
    assert rows["subject_or_body_looked_up ines"]["reasons"]["note"] == "1 entry states none"
    assert rows["version_read evidence:pipeline"]["who"]["basis"] == "unknown"
    for row in record["rows"]:
        for cell in row["cells"].values():
            assert cell["cites"], row["id"]


def test_march_is_all_in_order_but_for_what_it_names(log: World, tmp_path: Path) -> None:
    record = make_report(log, "hipaa-activity", tmp_path, period=PERIODS["march"]).record
    found = remarks(record, "exceptions")
    assert found["keys-refused"] == ["The key broker refused keys to clinical-reader 2 times: purpose (2)."]
    assert found["reason-missing"] == ["ines looked up subjects or bodies 1 time and stated no reason."]
    assert set(found) == {"keys-refused", "reason-missing", "refusal-not-enforced"}
    # The log begins within the period: nobody can be new, and nothing was to be reviewed before.
    assert "before-the-log" in remarks(record, "unknowns")


def test_april_names_who_is_new_late_and_forged(april: MadeReport) -> None:
    found = remarks(april.record, "exceptions")
    assert found["first-seen"] == [
        "audit:newcomer was never seen before the period.",
        f"{SCRIPT} was never seen before the period.",
    ]
    [late] = found["out-of-hours"][:1]
    assert "outside 07:00 to 19:00 UTC" in late and len(found["out-of-hours"]) == 2
    assert "evidence-not-proven" in found and "task-failed" in found
    assert found["review-not-signed"] == ["No signed review of activity covers 2026-03-02 to 2026-03-31."]
    unknowns = remarks(april.record, "unknowns")
    assert len(unknowns["not-recorded"]) == 3 and "hours-not-declared" not in unknowns


def test_every_kind_of_leaf_has_a_name() -> None:
    """Of leaves; what signs bundles and manifests is no entry of the log."""
    import governance

    code = "".join(p.read_text("utf-8") for p in Path(governance.__file__).parent.rglob("*.py"))
    found = set(re.findall(r'"(application/vnd\.governance\.[a-z-]+\+[a-z]+)"', code))
    assert sorted(found - set(LEAVES)) == [f"{KIND}bundle-manifest+json", f"{KIND}manifest+json"]
    assert set(LEAVES.values()) - {"log_opened"} <= set(KINDS) and set(STAGES.values()) <= set(KINDS)


def test_names_run_nothing_and_pseudonyms_stay_out(april: MadeReport, log: World) -> None:
    page = april.html.read_text("utf-8")
    assert SCRIPT not in page and "&lt;script&gt;" in page
    assert "5e" * 16 not in page + april.json.read_text("utf-8")
    [table] = april.forms
    cells = [cell for line in csv.reader(table.open(encoding="utf-8-sig")) for cell in line]
    assert any(FORMULA in cell for cell in cells)
    assert not any(cell.lstrip().startswith(("=", "+", "@")) for cell in cells)


def test_periods_before_and_after_the_log(log: World, tmp_path: Path) -> None:
    for period, code in (
        ("2025-01-01/2025-12-31", "before-the-log"),
        ("2027-01-01/2027-01-31", "after-the-checkpoint"),
    ):
        made = make_report(log, "hipaa-activity", tmp_path / code, bundle=True, period=period)
        assert made.record["rows"] == [] and code in remarks(made.record, "unknowns")
        assert made.record["population"]["whole_log"]["entries_in_period"] == 0
        assert made.bundle and verify_bundle(made.bundle, log.vkey).ok


def test_a_dropped_refusal_is_noticed(april: MadeReport, log: World, tmp_path: Path) -> None:
    """The rows come from the entries, so an entry that is left out is missed."""
    from governance.audit.bundle import manifest, sign
    from governance.audit.checking import container

    made = make_report(log, "hipaa-activity", tmp_path, bundle=True, period=PERIODS["march"])
    assert made.bundle
    members = dict(container.read(made.bundle).members)
    record = json.loads(members["record.json"])
    [row] = [r for r in record["rows"] if r["id"] == "keys_asked_for clinical-reader"]
    dropped = max(row["cells"]["who"]["cites"])
    del members[f"entries/{dropped}.json"]
    proofs = json.loads(members["proofs.json"])
    proofs["inclusion"] = [p for p in proofs["inclusion"] if p["index"] != dropped]
    from governance.model.canonical import canonical

    members["proofs.json"] = canonical(proofs)
    members["manifest.json"] = manifest(members)
    members["signature.json"] = sign(members["manifest.json"], log.root)
    altered = tmp_path / "altered.zip"
    altered.write_bytes(container.pack(members))
    assert not verify_bundle(altered, log.vkey).ok
