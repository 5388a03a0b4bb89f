"""The certificate of erasure against the steps in the log, counted again, and its exceptions, once each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from audit_rights_story import LOSSES, SURE, begun, erasure_step, searched
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report, verify_bundle


@pytest.fixture(scope="module")
def certificate(world: World, tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    return make_report(world, "gdpr-art17", tmp_path_factory.mktemp("erasures"), bundle=True)


def steps(world: World) -> list[dict[str, Any]]:
    return [facet for _, stage, facet in true_facets(world) if stage == "erasure"]


def test_every_exception_happens_once(certificate: MadeReport) -> None:
    assert Counter(r["code"] for r in certificate.record["exceptions"]) == {
        "erasure-held": 1,
        "erasure-late": 1,
        "subjects-found": 1,
        "key-still-opens": 1,
        "rewritten-not-released": 1,
        "erasure-not-proven": 1,
        "tombstone-missing": 1,
        "clock-skew": 1,
    }
    assert certificate.bundle is not None


def test_the_figures_counted_again(world: World, certificate: MadeReport) -> None:
    found = steps(world)
    facts = [step["facts"] for step in found]
    stones = set()
    for index in range(world.log.size()):
        entry = world.log.entry(index)
        if json.loads(entry.leaf)["media_type"].endswith("tombstone+json"):
            stones.add(json.loads(entry.body or b"")["request"])
    examined = certificate.record["population"]["examined"]
    assert examined["requests"] == len(stones | {r for step in found for r in step["context"]["requests"]})
    assert examined["steps"] == len(found)
    assert examined["keys_destroyed"] == sum(f["keys"] for f in facts if f["state"] == "destroyed")
    assert examined["copies"] == sum(len(f["doomed"]) for f in facts if f["state"] == "rewritten")
    asked = [f for f in facts if f["state"] == "requested"]
    assert examined["derived"] == sum(len(f["derived"]) for f in asked)
    assert examined["recipients"] == len({r["recipient"] for f in asked for r in f["recipients"]})
    assert sum(examined["states"].values()) == len(certificate.record["rows"]) == examined["requests"]


def test_one_request_alone(world: World, tmp_path: Path) -> None:
    made = make_report(world, "gdpr-art17", tmp_path, bundle=True, asked={"request": "DSR-1"})
    assert [row["id"] for row in made.record["rows"]] == ["DSR-1"]
    assert made.record["rows"][0]["cells"]["state"]["value"] == "complete"
    assert "DSR-2" not in made.html.read_text("utf-8")
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
    none = make_report(world, "gdpr-art17", tmp_path, bundle=True, asked={"request": "DSR-99"})
    assert none.record["exceptions"][0]["code"] == "request-unknown"
    assert none.bundle and verify_bundle(none.bundle, world.vkey).ok


def test_it_is_what_the_rights_room_says(world: World, certificate: MadeReport) -> None:
    from governance.rights import erasure_facts

    for row in certificate.record["rows"]:
        said, cells = erasure_facts(world.log, row["id"]), row["cells"]
        if said is None:
            assert cells["state"]["basis"] == "unknown"
            continue
        assert cells["state"]["value"] == said["state"]
        assert cells["clock"]["value"]["due_at"] == said["due_at"]
        assert cells["clock"]["value"]["completed_at"] == said["completed_at"]
        assert cells["subjects"]["value"]["held"] == said["held"]


def test_one_step_may_serve_two_requests(tmp_path: Path) -> None:
    world = World(tmp_path / "log")
    for name in ("A", "B"):
        begun(world, name)
    erasure_step(world, ["A", "B"], {"state": "destroyed", **LOSSES, "doomed": [], "destruction": SURE})
    searched(world, "A")
    made = make_report(world, "gdpr-art17", tmp_path)
    assert {r["id"]: r["cells"]["state"]["value"] for r in made.record["rows"]} == {
        "A": "complete",
        "B": "suppressed",
    }


def test_steps_of_any_shape_make_a_report(tmp_path: Path) -> None:
    world = World(tmp_path / "log")
    odd: list[dict[str, Any]] = [
        {},
        {"state": "destroyed", "keys": "x", "doomed": 7, "destruction": []},
        {"state": "requested", "subjects": -1, "due_at": 5},
        {"state": "searched", "places": [1], "found": "many", "complete": "yes"},
    ]
    for facts in odd:
        erasure_step(world, ["ODD"], facts)
    made = make_report(world, "gdpr-art17", tmp_path, bundle=True)
    assert made.record["verdict"]["rows"] == 1
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
