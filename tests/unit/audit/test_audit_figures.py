"""Figures of the older kinds that no other test counts: again in plain Python, from the bodies in the log."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import make_report
from governance.audit.law import EEA
from governance.log import CONSENT_BATCH, POLICY


@pytest.fixture(scope="module")
def facets(world: World) -> list[tuple[int, str, dict[str, Any]]]:
    return true_facets(world)


def figures(world: World, kind: str, out: Path, **asked: str) -> dict[str, Any]:
    record = make_report(world, kind, out, asked=asked or None).record
    return dict(record["population"]["examined"])


def bodies(world: World, media_type: str) -> list[bytes]:
    leaves = [world.log.entry(index) for index in range(world.log.size())]
    return [e.body or b"" for e in leaves if json.loads(e.leaf)["media_type"] == media_type]


def newest_policy(world: World, facets: list[tuple[int, str, dict[str, Any]]]) -> dict[str, Any]:
    opened = [facet for _, stage, facet in facets if stage == "open"]
    entry = world.log.entry(opened[-1]["facts"]["policy"]["log_index"])
    assert json.loads(entry.leaf)["media_type"] == POLICY
    return dict(yaml.safe_load(entry.body or b""))


def test_compliance(world: World, facets: Any, tmp_path: Path) -> None:
    found = figures(world, "compliance", tmp_path)
    released = {
        f["context"]["dataset"] for _, s, f in facets if s == "release" and f["facts"]["state"] == "released"
    }
    assert found["in_use"] == len(released)
    assert found["erasure_steps"] == sum(stage == "erasure" for _, stage, _ in facets)
    assert found["keys_refused"] == sum(
        stage == "key_grant" and f["facts"]["state"] == "refused" for _, stage, f in facets
    )
    assert set(found["coverage"].values()) == {0}, "no inventory is in this log"


def test_consent_evidence(world: World, facets: Any, tmp_path: Path) -> None:
    found = figures(world, "consent-evidence", tmp_path)
    declared = newest_policy(world, facets)["purposes"]
    met = {f["context"]["purpose"] for _, stage, f in facets if stage == "open"}
    met |= {f["facts"]["purpose"] for _, stage, f in facets if stage == "disclose"}
    batches = [json.loads(body) for body in bodies(world, CONSENT_BATCH)]
    actions: Counter[str] = Counter()
    for batch in batches:
        actions.update(batch["actions"])
    assert found["purposes"] == len(met | set(declared))
    assert found["on_consent"] == sum(
        said["gdpr"]["basis"] == "consent" for name, said in declared.items() if name in met | set(declared)
    )
    assert (found["batches"], found["records"]) == (len(batches), sum(b["rows"] for b in batches))
    assert found["records_by_action"] == actions
    assert figures(world, "gdpr-art30", tmp_path)["consent_batches"] == len(batches)


def test_deidentification(world: World, facets: Any, tmp_path: Path) -> None:
    found = figures(world, "deidentification", tmp_path)
    claims = [f["facts"].get("deidentification") for _, stage, f in facets if stage == "protect"]
    profiles = Counter(claim["profile"] for claim in claims if claim)
    assert found["claimed"] == profiles.total()
    assert found["safe_harbor"] == profiles["safe_harbor"]
    assert found["expert_determination"] == profiles["expert_determination"]


def test_erasures(world: World, facets: Any, tmp_path: Path) -> None:
    steps = [f["facts"] for _, stage, f in facets if stage == "erasure"]
    rewritten = {name for s in steps if s["state"] == "rewritten" for name in s["doomed"]}
    by_request: set[tuple[str, str]] = set()
    for _, stage, facet in facets:
        if stage == "erasure" and facet["facts"]["state"] == "destroyed":
            for request in facet["context"]["requests"]:
                own = {
                    name
                    for _, s, f in facets
                    if s == "erasure"
                    and f["facts"]["state"] == "rewritten"
                    and request in f["context"]["requests"]
                    for name in f["facts"]["doomed"]
                }
                by_request |= {
                    (request, name) for name in facet["facts"]["doomed"] if name in own & rewritten
                }
    assert figures(world, "gdpr-art17", tmp_path)["copies_destroyed"] == len(by_request)


def test_processing_for_controllers(world: World, facets: Any, tmp_path: Path) -> None:
    found = figures(world, "gdpr-art30-2", tmp_path)
    policy = newest_policy(world, facets)
    domains = {d: c["name"] for c in policy["organisation"]["controllers"] for d in c["domains"]}
    activities = {(f["context"]["dataset"], f["context"]["purpose"]) for _, s, f in facets if s == "open"}
    activities |= {(f["facts"]["dataset"], f["facts"]["purpose"]) for _, s, f in facets if s == "disclose"}
    of = {"clinical_encounters": "patient", "customer_profiles": "customer", "support_prompts": "customer"}
    controllers = {domains.get(of[dataset]) for dataset, _ in activities}
    assert found["activities"] == len(activities)
    assert found["controllers"] == len(controllers - {None})
    assert found["activities_without_controller"] == sum(domains.get(of[d]) is None for d, _ in activities)


def test_transfers(world: World, facets: Any, tmp_path: Path) -> None:
    found = figures(world, "transfers", tmp_path)
    policy = newest_policy(world, facets)
    places = {
        (name, purpose): said["country"]
        for name, said in policy["recipients"].items()
        for purpose in said["purposes"]
    }
    for _, stage, facet in facets:
        if stage == "disclose":
            recipient = facet["facts"]["recipient"]
            places.setdefault((recipient["name"], facet["facts"]["purpose"]), recipient["country"])
    every = [*places.values(), *(p["country"] for p in policy["organisation"]["processors"])]
    abroad = Counter(country for country in every if country not in EEA)
    assert found["importers"] == len(every)
    assert found["within_the_eea"] == len(every) - abroad.total()
    assert found["by_country"] == abroad


def test_breach(world: World, facets: Any, tmp_path: Path) -> None:
    found = figures(world, "breach", tmp_path, dataset="clinical_encounters")
    reads: dict[tuple[str, str], set[str]] = {}
    writes: dict[str, set[tuple[str, str]]] = {}
    for index in range(world.log.size()):
        try:
            event = json.loads(world.log.entry(index).body or b"")
            job = event["job"]["name"]
        except (ValueError, KeyError, TypeError):
            continue
        for node in event.get("inputs") or []:
            reads.setdefault((node["namespace"], node["name"]), set()).add(job)
        for node in event.get("outputs") or []:
            writes.setdefault(job, set()).add((node["namespace"], node["name"]))
    reached, front, ends = {("gov", "clinical_encounters")}, [("gov", "clinical_encounters")], set()
    while front:
        for job in reads.get(front.pop(), ()):
            more = writes.get(job, set()) - reached
            ends |= set() if writes.get(job) else {job}
            reached |= more
            front += more
    stages = {f"{f['context'].get('dataset')}.{s}" for _, s, f in facets}
    assert found["datasets_reached"] == len(reached)
    assert found["jobs_at_the_end"] == len(ends - stages)
    assert found["outside"] == sum(ns not in ("gov", "disclosure") for ns, _ in reached) + len(ends - stages)
    assert found["key_grants"] == sum(
        stage == "key_grant" and f["context"].get("dataset") == "clinical_encounters"
        for _, stage, f in facets
    )
