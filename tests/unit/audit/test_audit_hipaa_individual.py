"""The accounting for one individual: their disclosures, exclusions by ground, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_hipaa_story import hipaa_world, leaf, looked_up
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report, verify_bundle

KIND, SUBJECT = "hipaa-528-individual", "0f" * 16
Made = Callable[..., MadeReport]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = hipaa_world(tmp_path_factory.mktemp("individual"))
    request = {"request": "ACC-1", "at": "2026-04-05T02:00:00.000000Z", "by": "someone.else"}
    opened = {"kind": "accounting", "regime": "HIPAA", "domain": "patient", "received_at": request["at"]}
    leaf(world, "request+json", "admin:cli", **request, step="opened", **opened)
    agency = {"recipient": "state-oversight", "until": "2027-01-01T00:00:00.000000Z", "statement": "written"}
    leaf(world, "request+json", "admin:cli", **request, step="suspended", **agency)
    # As the look-up of the individual does; the log's last entry is in every report.
    looked_up(world, "someone.else", "accounting request ACC-1")
    return world


def made(log: World, folder: Path, **more: Any) -> MadeReport:
    asked = {
        "subject": SUBJECT,
        "disclosures": [f"d{1:024x}", f"d{2:024x}"],
        "unsure": [f"d{3:024x}"],
        **more,
    }
    return make_report(log, KIND, folder, asked=asked, bundle=True)


def codes(record: dict[str, Any], which: str) -> set[str]:
    return {said["code"] for said in record[which]}


def test_it_lists_their_disclosures_and_counts_what_is_excluded(log: World, tmp_path: Path) -> None:
    report = made(log, tmp_path, request="ACC-1")
    record = report.record
    sent = {
        f["facts"]["disclosure_id"]: f["facts"] for _, stage, f in true_facets(log) if stage == "disclose"
    }
    expected = [name for name in (f"d{1:024x}", f"d{2:024x}") if sent[name]["accounting"]["applies"]]
    assert [row["id"] for row in record["rows"]] == expected
    assert [(o["ground"], o["disclosures"]) for o in record["omitted"]] == [("authorization", 1)]
    examined = record["population"]["examined"]
    assert (examined["disclosures"], examined["listed"], examined["excluded"]) == (2, 1, 1)
    assert examined["membership_unknown"] == sum(sent[n]["accounting"]["applies"] for n in [f"d{3:024x}"])
    doubtful = made(log, tmp_path, disclosures=[], unsure=list(sent)).record["population"]["examined"]
    assert doubtful["membership_unknown"] == sum(f["accounting"]["applies"] for f in sent.values()) == 1
    [row] = record["rows"]
    assert list(row["cells"]) == ["date", "recipient", "address", "description", "purpose", "ground", "held"]
    assert row["cells"]["held"]["basis"] == "declared" and "not in the log" in row["cells"]["held"]["note"]
    assert [series["disclosures"] for series in record["series"]] == [1]
    assert codes(record, "exceptions") == set()
    assert report.bundle and verify_bundle(report.bundle, log.vkey).ok


def test_what_cannot_be_told_is_unknown_and_not_listed(log: World, tmp_path: Path) -> None:
    record = make_report(log, KIND, tmp_path, asked={"subject": SUBJECT, "unsure": [f"d{1:024x}"]}).record
    assert record["rows"] == []
    [said] = [r for r in record["unknowns"] if r["code"] == "membership-unknown"]
    assert "Northlake Institute" in said["text"] and "2026-03-02" in said["text"]


def test_nobody_else_and_no_suspension_stands_in_it(log: World, tmp_path: Path) -> None:
    report = made(log, tmp_path, request="ACC-1")
    text = report.json.read_text("utf-8") + report.html.read_text("utf-8")
    for name in (
        "someone.else",
        "state-oversight",
        "ines",
        "newcomer",
        "clinical-reader",
        "<script",
    ):
        assert name not in text, name
    assert {entry["principal"] for entry in report.record["entries"]} <= {"evidence", "admin", "audit"}
    # What is said of suspensions is said to everybody.
    plain = made(log, tmp_path / "plain").record["statements"]
    about = [[said for said in each if "suspended" in said] for each in (report.record["statements"], plain)]
    assert about[0] == about[1]
    assert text.count("suspended") == sum(said.count("suspended") for said in about[0]) * 2
    steps = [e["index"] for e in report.record["entries"] if e["media_type"].endswith("request+json")]
    assert len(steps) == 1


def test_six_years_back_and_a_request_nobody_opened(log: World, tmp_path: Path) -> None:
    record = made(log, tmp_path, request="ACC-9", disclosures=["d" + "0" * 24]).record
    assert codes(record, "exceptions") == {"disclosure-unknown", "request-unknown"}
    assert record["period"]["from"].startswith("2020-04-05")
    narrow = make_report(
        log,
        KIND,
        tmp_path,
        period="2026-04-01/2026-04-30",
        asked={"subject": SUBJECT, "disclosures": [f"d{1:024x}"]},
    ).record
    assert narrow["rows"] == [] and narrow["population"]["examined"]["outside_period"] == 1
