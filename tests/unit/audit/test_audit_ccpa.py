"""The CCPA register: counted again from the bodies, every exception once, nothing hostile gets through."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from audit_california_story import HOSTILE, california, opened, step
from audit_story import regenerate
from audit_world import FROZEN, World
from jsonschema import Draft202012Validator
from test_audit_records import cells, codes, golden
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report, verify_bundle
from governance.log import CONSENT_BATCH
from governance.model.resources import schemas
from governance.model.statements import REQUEST

KIND = "ccpa-requests"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return california(tmp_path_factory.mktemp("california"))


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    return make_report(world, KIND, tmp_path_factory.mktemp("ccpa"), bundle=True, forms=["csv"])


def leaves(world: World, kind: str) -> list[dict[str, Any]]:
    """Bodies of a media type, in log order."""
    found = []
    for index in range(world.log.size()):
        entry = world.log.entry(index)
        if json.loads(entry.leaf)["media_type"] == f"application/vnd.governance.{kind}+json":
            found.append(json.loads(entry.body or b"{}"))
    return found


def test_the_record_is_the_golden_one(world: World, made: MadeReport) -> None:
    path = FROZEN / "ccpa-requests-register.json"
    if regenerate():
        path.write_text(golden(made.record), "utf-8")
    assert golden(made.record) == path.read_text("utf-8")
    schema = json.loads((schemas() / "report.schema.json").read_text("utf-8"))
    assert [
        e.message for e in Draft202012Validator(schema).iter_errors(json.loads(made.json.read_bytes()))
    ] == []
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_every_request_counted_again(world: World, made: MadeReport) -> None:
    steps = [s for s in leaves(world, "request") if isinstance(s.get("reason", ""), str)]
    asked = {s["request"]: s for s in steps if s["step"] == "opened" and s["regime"] == "CCPA"}
    answers: dict[str, dict[str, Any]] = {}
    for s in steps:
        if s["step"] == "decided":
            answers.setdefault(s["request"], s)
    end = datetime.fromisoformat(made.record["as_of"]["last_entry_received"])
    start = end.replace(year=end.year - 2)

    def instant(said: dict[str, Any], name: str) -> datetime:
        return datetime.fromisoformat(said[name])

    received = {n: s for n, s in asked.items() if instant(s, "received_at") >= start}
    still = {n for n in asked if n not in answers or instant(answers[n], "at") >= start}
    rows = {
        row["title"].rpartition(", to ")[0] for row in made.record["rows"] if row["id"].startswith("request ")
    }
    assert rows == set(received) | still and "CA-9" not in rows
    examined = made.record["population"]["examined"]
    assert (examined["under_the_ccpa"], examined["received_in_period"]) == (len(asked), len(received))
    assert examined["in_period"] == len(set(received) | still)
    others = {s["request"] for s in steps if s["step"] == "opened" and s["regime"] != "CCPA"}
    assert (examined["other_regimes"], examined["requests"]) == (len(others), len(asked) + len(others))
    by_purpose = [c for b in leaves(world, "consent-batch") for c in b.get("opt_outs", {}).values()]
    for figure, count in (
        ("opt_outs_recorded", "opened"),
        ("by_signal", "gpc"),
        ("opt_ins_recorded", "closed"),
    ):
        assert examined[figure] == sum(c[count] for c in by_purpose)

    names = {
        "erasure": "delete",
        "rectification": "correct",
        "access": "know",
        "portability": "know",
        "limit": "limit",
    }
    table = {r["nature"]: r for r in cells(made.record, "figures")["figures"]["value"]}
    assert len(table) == 5
    for nature, line in table.items():
        same = [
            n for n, s in received.items() if names.get(s["kind"], "opt out of sale or sharing") == nature
        ]
        decided = Counter(answers[n]["decision"] for n in same if n in answers)
        assert line["received"] == len(same) and line["open"] == len(same) - decided.total()
        assert (line["complied_in_whole"], line["complied_in_part"]) == (
            decided["granted"],
            decided["partly-granted"],
        )
        assert line["denied"] == decided["refused"]
        days = [
            (instant(answers[n], "at") - instant(asked[n], "received_at")).days for n in same if n in answers
        ]
        assert line["median_days"] == (f"{statistics.median(days):.1f}" if days else None)
        assert line["mean_days"] == (f"{statistics.mean(days):.1f}" if days else None)


def test_opt_outs_and_what_went_past_them_counted_again(world: World, made: MadeReport) -> None:
    batches = leaves(world, "consent-batch")
    total = Counter(
        {p: sum(b["opt_outs"].get(p, {}).get("opened", 0) for b in batches) for p in ("*", "model_training")}
    )
    row = cells(made.record, "opt-outs model_training")
    assert row["records"]["value"]["opened"] == total["model_training"] == 6
    ended = sum(c["closed"] + c["ending"] for b in batches for c in b["opt_outs"].values())
    assert row["in_force"]["value"] == {
        "at_least": max(total.values()) - ended,
        "at_most": total.total(),
        "ledger_position": 3,
    }
    assert cells(made.record, "opt-outs *")["signals"]["value"] == {"for_every_purpose": 32}
    found = true_facets(world)
    newest = [f["facts"]["by_reason"].get("opted_out", 0) for _, stage, f in found if stage == "consent"][-1]
    assert row["applied"]["value"][0]["rows"] == newest == 9
    past = {f["context"]["run_id"]: f["context"]["version"] for _, stage, f in found if stage == "open"}
    assert [each["version"] for each in row["after"]["value"]["released"]] == [
        past[name] for name in ("stale", "undecided", "found")
    ]


def test_every_exception_happens_once(made: MadeReport) -> None:
    told = [(r["code"], r["count"]) for r in made.record["exceptions"]]
    assert sorted(told) == sorted(
        [
            ("request-overdue", 1),  # CA-5 late
            ("request-overdue", 2),  # CA-2 and CA-8 unanswered
            ("confirmation-late", 2),
            ("denied-without-basis", 1),
            ("nobody-told", 1),
            ("request-steps-conflict", 1),
            ("opt-out-not-applied", 1),
            *[("released-after-opt-out", 1)] * 3,
        ]
    )
    unknown = codes(made.record, "unknowns")
    assert (unknown["request-unreadable"], unknown["opt-outs-at-disclosure"], unknown["before-the-log"]) == (
        1,
        1,
        1,
    )


def test_what_a_request_says(made: MadeReport) -> None:
    first = cells(made.record, "request CA-1")
    assert first["backups"]["basis"] == first["done"]["basis"] == "observed"
    assert first["backups"]["value"].startswith("unreadable")
    assert [t["role"] for t in first["told"]["value"]] == ["service-provider", "third-party"]
    assert (first["due"]["value"]["state"], first["confirmed"]["value"]["late"]) == ("in time", False)
    assert cells(made.record, "request CA-4")["denial"]["basis"] == "unknown"
    assert cells(made.record, "request CA-5")["told"]["value"][0]["impossible"] == "it was dissolved"
    assert cells(made.record, "request CA-6")["done"]["basis"] == "unknown"


def test_hostile_names_stay_text(made: MadeReport) -> None:
    page = made.html.read_text("utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    [table] = made.forms
    for line in table.read_text("utf-8-sig").splitlines():
        assert not any(field.lstrip('"').startswith(("=", "+", "@")) for field in line.split(",")), line
    assert HOSTILE.split("<")[0].replace('"', '""') in table.read_text("utf-8-sig")


def test_a_period_and_a_log_without_requests(world: World, tmp_path: Path) -> None:
    asked = make_report(world, KIND, tmp_path / "p", bundle=True, period="2023-01-01/2023-12-31")
    assert asked.record["population"]["examined"]["received_in_period"] == 2
    assert asked.bundle and verify_bundle(asked.bundle, world.vkey).ok
    future = make_report(world, KIND, tmp_path / "f", period="2026-03-01/2030-01-01").record
    assert "after-the-checkpoint" in codes(future, "unknowns")
    empty = World(tmp_path / "empty")
    assert make_report(empty, KIND, tmp_path / "e").record["rows"] == []


def test_a_policy_that_lets_the_log_be_pruned_too_early(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    policy = world.policy(lambda text: text + "\nretention: {GDPR: {atLeast: P6M, atMost: P1Y}}\n")
    world.open(
        "customer_profiles",
        "model_training",
        policy=policy,
        contract=world.contract("customer_profiles"),
        run_id="r",
    )
    opened(world, "CA-1", "opt-out")
    record = make_report(world, KIND, tmp_path / "o").record
    assert "kept-too-short" in codes(record, "exceptions")


def test_strange_leaves_are_told_and_break_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    opened(world, "CA-1", "erasure")
    for body in ({"step": 1}, [1], {"request": "CA-1", "step": "decided", "at": "x", "evidence": 7}, {}):
        world.put(json.dumps(body).encode(), REQUEST, "admin:cli")
    step(world, "CA-1", "suspended", written=True)  # a step that this report does not read
    odd = {"position": 1, "recorded_at": 7, "opt_outs": {"*": {"opened": 2**60, "gpc": "x"}, "odd": 3}}
    world.put(json.dumps(odd).encode(), CONSENT_BATCH, "admin:cli")
    made = make_report(world, KIND, tmp_path / "o", bundle=True)
    # The list is not even an object: nobody can tell what it is.
    assert codes(made.record, "unknowns")["request-unreadable"] == 3
    assert codes(made.record, "unknowns")["entry-unreadable"] == 1
    assert cells(made.record, "request CA-1")["nature"]["value"] == "delete"
    assert cells(made.record, "opt-outs *")["in_force"]["value"]["at_most"] == 0
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
