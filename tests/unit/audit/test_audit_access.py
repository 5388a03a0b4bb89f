"""The answer to a request for access: what the named versions and disclosures say, and nobody else's data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report

SUBJECT = "0f" * 16


@pytest.fixture(scope="module")
def asked(world: World) -> dict[str, Any]:
    """The clinical version, a version nobody released, one of which it cannot be told, and one disclosure."""
    runs = {f["context"]["run_id"]: f["context"] for _, stage, f in true_facets(world) if stage == "open"}

    def named(run_id: str) -> str:
        return f"{runs[run_id]['dataset']} {runs[run_id]['version']}"

    return {
        "subject": SUBJECT,
        "versions": [named("scheduled__1"), named("scheduled__2")],
        "unsure": [named("asset__3")],
        "disclosures": [f"d{1:024x}"],
    }


@pytest.fixture(scope="module")
def answer(world: World, asked: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    return make_report(world, "gdpr-art15", tmp_path_factory.mktemp("access"), asked=asked)


def test_it_lists_actual_recipients_and_the_versions_asked_about(answer: MadeReport) -> None:
    clinical, prompts = answer.record["rows"]
    assert (clinical["id"], prompts["id"]) == ("clinical_encounters", "support_prompts")
    [sent] = clinical["cells"]["recipients"]["value"]
    assert sent["recipient"] == "Northlake Institute for Clinical Research" and sent["purpose"] == "research"
    assert prompts["cells"]["recipients"]["value"] == []
    assert clinical["cells"]["held"]["basis"] == "declared"
    assert "not in the log" in clinical["cells"]["held"]["note"]
    assert clinical["cells"]["safeguards"]["value"][0]["article"] == "Art. 46(2)(c)"
    assert clinical["cells"]["portable"]["value"] is True
    assert {r["code"] for r in answer.record["exceptions"]} == {"version-not-released", "clock-skew"}
    assert "membership-unknown" in {r["code"] for r in answer.record["unknowns"]}


def test_figures_counted_again(world: World, asked: dict[str, Any], answer: MadeReport) -> None:
    facets = true_facets(world)
    published = {
        f"{f['context']['dataset']} {f['context']['version']}"
        for _, stage, f in facets
        if stage == "release" and f["facts"]["state"] == "released"
    }
    held, unsure = published & set(asked["versions"]), published & set(asked["unsure"])
    assert answer.record["population"]["examined"] == {
        "datasets": len({name.split()[0] for name in held | unsure}),
        "versions": len(held),
        "versions_unsure": len(unsure),
        "disclosures": sum(
            f["facts"]["disclosure_id"] in asked["disclosures"]
            for _, stage, f in facets
            if stage == "disclose"
        ),
    }


def test_every_column_has_its_cell(answer: MadeReport) -> None:
    columns = [column["key"] for column in answer.record["columns"]]
    for row in answer.record["rows"]:
        assert list(row["cells"]) == columns


def test_it_names_no_sender(answer: MadeReport) -> None:
    assert {entry["principal"] for entry in answer.record["entries"]} <= {
        "evidence",
        "admin",
        "ingest",
        "rights",
    }
    assert "rights:dpo" not in answer.html.read_text("utf-8") + answer.json.read_text("utf-8")


def test_another_subject_is_another_file(world: World, answer: MadeReport, tmp_path: Path) -> None:
    other = make_report(world, "gdpr-art15", tmp_path, asked={"subject": "aa" * 16, "versions": []})
    assert other.json.name != answer.json.name and other.record["rows"] == []
    assert json.loads(other.json.read_bytes())["asked"]["subject"] == "aa" * 16
