"""Test 11 of the sceptic's twelve, on a log of every kind of disclosure; and bad cases of the log itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from audit_story import CLINICAL, released
from audit_world import ORIGIN, Key, World

from governance.audit import make_report, verify_bundle
from governance.errors import GovernanceError
from governance.log.note import sign_note

GROUNDS = {
    "care": "treatment",
    "billing": "payment",
    "quality": "operations",
    "outcomes": "limited_data_set",
    "model_training": "authorization",
}
"""Purposes whose disclosures an accounting leaves out, with their ground."""


def told(tmp_path: Path) -> World:
    """A version that was disclosed for research, by a business associate, and once or more on every excluded ground."""
    world = World(tmp_path)
    extra = "".join(
        f"  {name}:\n    description: {name}\n    gdpr: {{basis: consent}}\n    hipaa: {ground}\n    ccpaOptOut: false\n"
        for name, ground in GROUNDS.items()
        if name != "model_training"
    )
    policy = world.policy(
        lambda text: text.replace("purposes:\n  model_training:", f"purposes:\n{extra}  model_training:")
    )
    run = world.open(
        "clinical_encounters",
        "model_training",
        policy=policy,
        contract=world.contract("clinical_encounters"),
        run_id="1",
    )
    released(run, CLINICAL)
    world.disclose(run, 1, "research", {"applies": True, "ground": "research_waiver"})
    world.disclose(
        run,
        2,
        "research",
        {"applies": True, "ground": "research_waiver"},
        recipient={
            "name": "quayside",
            "title": "Quayside Cloud Hosting B.V.",
            "hipaa_role": "business_associate",
        },
    )
    number = 2
    for times, (purpose, ground) in enumerate(GROUNDS.items(), start=1):
        for _ in range(times):
            number += 1
            world.disclose(run, number, purpose, {"applies": False, "exclusion": ground, "ground": ground})
    return world


def test_11_an_accounting_lists_research_and_counts_what_it_omits(tmp_path: Path) -> None:
    world = told(tmp_path / "world")
    made = make_report(world, "hipaa-528", tmp_path / "out", bundle=True)
    rows = [row["cells"]["recipient"]["value"] for row in made.record["rows"]]
    assert len(rows) == 2 and any("Quayside" in str(value) for value in rows), "business associates too"
    expected = {ground: times for times, ground in enumerate(GROUNDS.values(), start=1)}
    assert made.record["population"]["examined"]["excluded_by_ground"] == expected
    assert {o["words"]: o["disclosures"] for o in made.record["omitted"]}[
        "as part of a limited data set"
    ] == 4
    assert sum(o["disclosures"] for o in made.record["omitted"]) == sum(expected.values()) == 15
    assert made.bundle is not None and verify_bundle(made.bundle, world.vkey).ok


def world_of_two_checkpoints(tmp_path: Path) -> tuple[World, int]:
    world = World(tmp_path)
    world.batch(1, 400)
    size = world.log.checkpoint().size
    world.batch(2, 25)
    world.log.checkpoint()
    return world, size


def put_note(world: World, size: int, note: str) -> None:
    with closing(sqlite3.connect(world.folder / "store" / "log.sqlite", isolation_level=None)) as store:
        store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (note, size))


@pytest.mark.parametrize("what", ["unsigned", "foreign", "another root"])
def test_a_checkpoint_that_the_logs_key_did_not_sign_makes_no_report(what: str, tmp_path: Path) -> None:
    world, size = world_of_two_checkpoints(tmp_path / "world")
    note = next(n for n in world.log.storage.checkpoints() if n.split("\n")[1] == str(size))
    text = note.split("\n\n")[0] + "\n"
    forged = {
        "unsigned": text + "\n",
        "foreign": sign_note(text, ORIGIN, Key("somebody else")),
        "another root": sign_note(text.replace(text.split("\n")[2], "A" * 43 + "="), ORIGIN, Key("log")),
    }[what]
    put_note(world, size, forged)
    with pytest.raises(GovernanceError) as refused:
        make_report(world, "gdpr-art30", tmp_path / "out", as_of=size)
    assert refused.value.code in ("GOV-504", "GOV-506")
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_of_a_truncated_log_no_report_is_made(tmp_path: Path) -> None:
    world, size = world_of_two_checkpoints(tmp_path / "world")
    with closing(sqlite3.connect(world.folder / "store" / "log.sqlite", isolation_level=None)) as store:
        store.execute("DELETE FROM entry WHERE idx >= ?", (size - 1,))
    for as_of in (None, size):
        with pytest.raises(GovernanceError) as refused:
            make_report(world, "gdpr-art30", tmp_path / "out", as_of=as_of)
        assert refused.value.code in ("GOV-503", "GOV-504", "GOV-804")
