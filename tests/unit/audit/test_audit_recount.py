"""Every figure counted again in plain Python, from the bodies in the log, by other means than the report's."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from audit_world import World
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.audit import MadeReport
from governance.lineage.signatures import statement


def facets(world: World) -> list[tuple[int, str, dict[str, Any], dict[str, Any], str]]:
    """(index, stage, facet, event, principal) of every event that carries evidence."""
    import base64

    found = []
    for index in range(world.log.size()):
        entry = world.log.entry(index)
        try:
            event = json.loads(entry.body or b"")
            run = event["run"]["facets"]
        except (ValueError, KeyError, TypeError):
            continue
        for key, facet in run.items():
            if key.startswith("governance_"):
                facet["_key"] = base64.b64decode(facet["signature"]["public_key"])
                facet["_value"] = base64.b64decode(facet["signature"]["value"])
                principal = json.loads(entry.leaf)["principal"]
                found.append((index, key.removeprefix("governance_"), facet, event, principal))
    return found


def holds(stage: str, facet: dict[str, Any], event: dict[str, Any], key: bytes) -> bool:
    signed = statement(
        stage=stage,
        context=facet["context"],
        facts=facet["facts"],
        openlineage_run_id=event["run"]["runId"],
        inputs=event.get("inputs") or [],
        outputs=event.get("outputs") or [],
    )
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(facet["_value"], signed)
    except InvalidSignature:
        return False
    return facet["_key"] == key


def true_facets(world: World, everyone: bool = False) -> list[tuple[int, str, dict[str, Any]]]:
    """Those that the evidence key, or the key of a run it opened, signed; ``everyone``: the broker's too."""
    import base64

    keys: dict[str, bytes] = {}
    found = []
    for index, stage, facet, event, principal in facets(world):
        attempt = facet["context"].get("attempt", "") + facet["context"].get("version", "")
        rooted = stage in ("open", "disclose", "erasure", "key_grant")
        key = world.root.public_key if rooted else keys.get(attempt, b"")
        sender = principal == "evidence:pipeline" or (everyone and principal == "evidence:broker")
        if not sender or not key or not holds(stage, facet, event, key):
            continue
        if stage == "open":
            keys[attempt] = base64.b64decode(facet["facts"]["run_public_key"])
        found.append((index, stage, facet))
    return found


def test_evidence_by_stage(world: World, art30: MadeReport) -> None:
    found = true_facets(world)
    examined = art30.record["population"]["examined"]
    assert examined["evidence_by_stage"] == dict(sorted(Counter(stage for _, stage, _ in found).items()))
    assert examined["evidence_declared_only"] == len(facets(world)) - len(found)


def test_runs_and_their_ends(world: World, art30: MadeReport) -> None:
    found = true_facets(world)
    opened = {f["context"]["version"] for _, stage, f in found if stage == "open"}
    states: dict[str, set[str]] = {version: set() for version in opened}
    for _, stage, facet in found:
        if stage == "release":
            states[facet["context"]["version"]].add(facet["facts"]["state"])
    released = sum("released" in s for s in states.values())
    expected = {
        "opened": len(opened),
        "released": released,
        "quarantined": sum("quarantined" in s for s in states.values()),
        "abandoned": 0,
        "intended": sum(s == {"intended"} for s in states.values()),
        "unfinished": sum(not s for s in states.values()),
    }
    assert art30.record["population"]["examined"]["runs"] == expected
    assert art30.record["population"]["whole_log"]["runs"] == expected
    assert sum(len(r["cells"]["versions"]["value"]) for r in art30.record["rows"]) == released


def test_entries_by_kind_and_tasks(world: World, art30: MadeReport) -> None:
    kinds: Counter[str] = Counter()
    started, ended, redacted = set(), set(), 0
    for index in range(world.log.size()):
        entry = world.log.entry(index)
        kinds[json.loads(entry.leaf)["media_type"]] += 1
        redacted += entry.body is None
        try:
            event = json.loads(entry.body or b"")
            run_id = event["run"]["runId"]
        except (ValueError, KeyError, TypeError):
            continue
        if event["eventType"] == "START":
            started.add(run_id)
        elif event["eventType"] in ("COMPLETE", "FAIL", "ABORT"):
            ended.add(run_id)
    whole = art30.record["population"]["whole_log"]
    assert whole["by_media_type"] == dict(kinds) and whole["entries"] == world.log.size()
    assert whole["bodies_redacted"] == redacted
    assert whole["tasks"]["started_without_end"] == len(started - ended) == 1


def test_disclosures(world: World, accounting: MadeReport) -> None:
    told = [f["facts"] for _, stage, f in true_facets(world) if stage == "disclose"]
    purposes = {"research": "research_waiver", "model_training": "authorization"}
    excluded = [
        f
        for f in told
        if not f["accounting"]["applies"] and purposes[f["purpose"]] == f["accounting"]["ground"]
    ]
    listed = [f["disclosure_id"] for f in told if f not in excluded]
    assert [row["id"] for row in accounting.record["rows"]] == listed
    examined = accounting.record["population"]["examined"]
    assert (examined["listed"], examined["excluded"]) == (len(listed), len(excluded))


def test_the_verdict_counts_cells(art30: MadeReport, accounting: MadeReport) -> None:
    for made in (art30, accounting):
        bases = Counter(cell["basis"] for row in made.record["rows"] for cell in row["cells"].values())
        assert {k: v for k, v in made.record["verdict"]["cells"].items() if v} == dict(bases)


def test_observed_cells_cite_true_evidence(world: World, art30: MadeReport, accounting: MadeReport) -> None:
    true = {index for index, _, _ in true_facets(world)}
    for made in (art30, accounting):
        listed = {entry["index"] for entry in made.record["entries"]}
        for row in made.record["rows"]:
            for key, cell in row["cells"].items():
                assert set(cell["cites"]) <= listed, key
                if cell["basis"] == "observed":
                    assert true & set(cell["cites"]), (row["id"], key)
