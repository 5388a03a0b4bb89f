"""Every figure of every kind has a recount: a new one fails here until it has."""

from __future__ import annotations

import importlib
import inspect
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from test_audit_figures import figures
from test_audit_recount import facets, true_facets

from governance.audit import REPORTS
from governance.audit.record import make_record
from governance.audit.trail import read_trail

RECOUNTED = {
    "ai-act-datasheet": {
        "ai_act::systems_and_trainings_counted_again": "models training_sets versions trainings inputs_outside"
    },
    "ai-act-log": {
        "ai_act::systems_and_trainings_counted_again": "systems",
        "ai_act::the_log_extract_counted_again": "events in_period listed outside_period risk_or_modification "
        "post_market_monitoring operation",
    },
    "ai-act-training-summary": {
        "ai_act::systems_and_trainings_counted_again": "models training_sets versions trainings inputs_outside"
    },
    "breach": {
        "figures::breach": "datasets_reached jobs_at_the_end outside key_grants",
        "every_figure::what_a_breach_reaches": "versions disclosures",
    },
    "ccpa-requests": {
        "ccpa::every_request_counted_again": "requests under_the_ccpa in_period received_in_period other_regimes "
        "opt_outs_recorded by_signal opt_ins_recorded"
    },
    "compliance": {
        "figures::compliance": "in_use erasure_steps keys_refused coverage",
        "every_figure::what_most_kinds_count": "datasets runs disclosures",
    },
    "consent-evidence": {
        "figures::consent_evidence": "purposes on_consent batches records records_by_action",
        "registers::decisions_counted_again": "decisions",
    },
    "deidentification": {
        "figures::deidentification": "claimed safe_harbor expert_determination",
        "every_figure::what_most_kinds_count": "versions",
    },
    "dpia": {"dpia::the_figures_counted_again": "activities runs disclosures flows"},
    "gdpr-art15": {"access::figures_counted_again": "datasets versions versions_unsure disclosures"},
    "gdpr-art17": {
        "erasures::the_figures_counted_again": "requests states steps copies keys_destroyed derived recipients",
        "figures::erasures": "copies_destroyed",
    },
    "gdpr-art30": {
        "recount::evidence_by_stage": "evidence_by_stage evidence_declared_only",
        "recount::runs_and_their_ends": "runs",
        "figures::consent_evidence": "consent_batches",
        "every_figure::what_most_kinds_count": "activities datasets disclosures",
    },
    "gdpr-art30-2": {
        "figures::processing_for_controllers": "controllers activities activities_without_controller",
        "every_figure::what_most_kinds_count": "disclosures",
    },
    "hipaa-502b": {
        "hipaa_necessary::acts_counted_again": "disclosures key_releases governed_reads not_phi",
        "hipaa_necessary::what_went_beyond_and_what_is_exempt_counted_again": "beyond exempt undeclared",
        "hipaa_necessary::exemptions_are_counted_and_held_to_their_ground": "exempt_by_exemption",
    },
    "hipaa-528": {
        "recount::disclosures": "listed excluded",
        "sceptic::11_an_accounting_lists_research_and_counts_what_it_omits": "excluded_by_ground",
        "records::a_period_lists_only_its_days": "outside_period",
        "every_figure::what_most_kinds_count": "disclosures declared_only",
    },
    "hipaa-528-individual": {
        "hipaa_individual::it_lists_their_disclosures_and_counts_what_is_excluded": "disclosures listed excluded "
        "membership_unknown",
        "hipaa_individual::six_years_back_and_a_request_nobody_opened": "outside_period",
    },
    "hipaa-activity": {
        "hipaa_activity::actions_by_kind_and_outcome_counted_again": "actions by_kind by_outcome"
    },
    "transfers": {
        "figures::transfers": "importers within_the_eea by_country",
        "registers::transfers_counted_again": "disclosures transfers",
    },
}
"""By kind: the test that counts again, and what."""

WHOLE = {
    "recount::entries_by_kind_and_tasks": "entries by_media_type bodies_redacted tasks",
    "recount::runs_and_their_ends": "runs",
    "every_figure::the_whole_log": "bodies_unreadable evidence_observed evidence_declared_only disclosures "
    "consent_batches tasks",
    "hipaa_activity::every_entry_of_the_period_is_counted": "entries_in_period in_period_by_sender in_period_by_kind "
    "in_period_by_outcome",
}


def _source(test: str) -> str:
    module, name = test.split("::")
    return inspect.getsource(getattr(importlib.import_module(f"test_audit_{module}"), f"test_{name}"))


@pytest.fixture(scope="module")
def records(world: World) -> dict[str, dict[str, Any]]:
    """Of every kind, all from one reading of the log."""
    checkpoint = world.log.checkpoint()
    trail = read_trail((world.log.entry(i) for i in range(checkpoint.size)), checkpoint.size)
    named: dict[str, dict[str, Any]] = {k: {"subject": "0f" * 16} for k, r in REPORTS.items() if r.personal}
    named["breach"] = {"dataset": "clinical_encounters"}
    return {
        kind: make_record(report, trail, checkpoint, world.log.entry, asked=named.get(kind))
        for kind, report in REPORTS.items()
    }


@pytest.mark.parametrize("kind", sorted(REPORTS))
def test_every_figure_has_a_recount(records: dict[str, dict[str, Any]], kind: str) -> None:
    population = records[kind]["population"]
    for table, shown in ((RECOUNTED[kind], population["examined"]), (WHOLE, population["whole_log"])):
        named = {figure for said in table.values() for figure in said.split()}
        assert set(shown) <= named, "count it again in a test and name the test here"
        assert table is WHOLE or named == set(shown)
        for test, said in table.items():
            source = _source(test)
            assert [f for f in said.split() if f'"{f}"' not in source] == [], test


def test_what_most_kinds_count(world: World, records: dict[str, dict[str, Any]]) -> None:
    true = true_facets(world)
    opened = [f["context"] for _, stage, f in true if stage == "open"]
    sent = [f["facts"] for _, stage, f in true if stage == "disclose"]
    released = {
        (f["context"]["dataset"], f["context"]["version"])
        for _, stage, f in true
        if stage == "release" and f["facts"]["state"] == "released"
    }
    expected = {
        "activities": len(
            {(c["dataset"], c["purpose"]) for c in opened} | {(s["dataset"], s["purpose"]) for s in sent}
        ),
        "datasets": len({c["dataset"] for c in opened}),
        "runs": len(opened),
        "disclosures": len(sent),
        "versions": len(released),
        "declared_only": sum(stage == "disclose" for _, stage, *_ in facets(world)) - len(sent),
    }
    found = {kind: record["population"]["examined"] for kind, record in records.items()}
    for kind, tests in RECOUNTED.items():
        for figure in tests.get("every_figure::what_most_kinds_count", "").split():
            assert found[kind][figure] == expected[figure], (kind, figure)


def test_what_a_breach_reaches(world: World, tmp_path: Path) -> None:
    found = figures(world, "breach", tmp_path, dataset="clinical_encounters")
    own = [
        f["context"] for _, s, f in true_facets(world) if s == "release" and f["facts"]["state"] == "released"
    ]
    versions = {c["version"] for c in own if c["dataset"] == "clinical_encounters"}
    doomed = {
        name
        for _, stage, f in true_facets(world)
        if stage == "erasure" and f["facts"]["state"] == "destroyed"
        for name in f["facts"]["doomed"]
    }
    gone = len(versions & doomed)
    assert found["versions"] == {
        "exposed": 0,
        "sealed": len(versions) - gone,
        "destroyed": gone,
        "unknown": 0,
    }
    assert found["disclosures"] == sum(
        stage == "disclose" and f["facts"]["dataset"] == "clinical_encounters"
        for _, stage, f in true_facets(world)
    )


def test_the_whole_log(world: World, records: dict[str, dict[str, Any]]) -> None:
    true, unreadable = true_facets(world), 0
    states: dict[str, set[str]] = {"START": set(), "END": set()}
    failed: list[str] = []
    for index in range(world.log.size()):
        entry = world.log.entry(index)
        if json.loads(entry.leaf)["media_type"].endswith("event+json") and entry.body is not None:
            try:
                event = json.loads(entry.body)
            except ValueError:
                unreadable += 1
                continue
            kind = event.get("eventType")
            if kind in ("START", "COMPLETE", "FAIL", "ABORT"):
                states["START" if kind == "START" else "END"].add(event["run"]["runId"])
            if kind in ("FAIL", "ABORT"):
                failed.append(event["run"]["runId"])
    media = Counter(json.loads(world.log.entry(i).leaf)["media_type"] for i in range(world.log.size()))
    expected = {
        "bodies_unreadable": unreadable,
        "evidence_observed": dict(sorted(Counter(stage for _, stage, _ in true).items())),
        "evidence_declared_only": len(facets(world)) - len(true),
        "disclosures": sum(stage == "disclose" for _, stage, _ in true),
        "consent_batches": media["application/vnd.governance.consent-batch+json"],
        "tasks": {
            "started": len(states["START"]),
            "ended": len(states["END"]),
            "started_without_end": len(states["START"] - states["END"]),
            "failed": len(failed),
        },
    }
    for kind, record in records.items():
        whole = record["population"]["whole_log"]
        assert {name: whole[name] for name in expected} == expected, kind
