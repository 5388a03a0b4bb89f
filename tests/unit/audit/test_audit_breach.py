"""What a breach reaches, computed again in SQL from the bodies in the log; what keys keep safe."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from audit_story import CLINICAL, released
from audit_world import World
from click.testing import CliRunner

from governance.audit import make_report, verify_bundle
from governance.audit.breach.closure import GOVERNED, closure, versions
from governance.audit.trail import Trail, read_trail
from governance.errors import AuditError
from governance.log import OPENLINEAGE_EVENT
from governance.model.evidence import DatasetLineage, Stage
from governance.pipeline.open import DATASETS

REACHED = """
WITH RECURSIVE reached(node) AS (
  SELECT ? UNION
  SELECT w.node FROM reached r JOIN edge e ON e.node = r.node AND e.way = 'inputs'
                               JOIN edge w ON w.job = e.job AND w.way = 'outputs')
SELECT node FROM reached ORDER BY node"""


def edges(events: list[dict[str, Any]]) -> sqlite3.Connection:
    found = sqlite3.connect(":memory:")
    found.execute("CREATE TABLE edge(job, node, way)")
    for event in events:
        job = "/".join((event["job"]["namespace"], event["job"]["name"]))
        for way in ("inputs", "outputs"):
            for node in event.get(way) or []:
                found.execute(
                    "INSERT INTO edge VALUES (?, ?, ?)", (job, f"{node['namespace']}/{node['name']}", way)
                )
    return found


def events(world: World) -> list[dict[str, Any]]:
    found = []
    for index in range(world.log.size()):
        try:
            event = json.loads(world.log.entry(index).body or b"")
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("job"), dict):
            found.append(event)
    return found


def nodes(connection: sqlite3.Connection, start: str) -> list[str]:
    return [node for (node,) in connection.execute(REACHED, (start,))]


@pytest.mark.parametrize("dataset", ["clinical_encounters", "support_prompts"])
def test_the_closure_is_the_one_that_sql_finds(world: World, tmp_path: Path, dataset: str) -> None:
    record = make_report(world, "breach", tmp_path, asked={"dataset": dataset}).record
    expected = nodes(edges(events(world)), f"{GOVERNED}/{dataset}")
    assert record["population"]["examined"]["datasets_reached"] == len(expected)
    outside = {
        row["id"].removeprefix("dataset/") for row in record["rows"] if row["id"].startswith("dataset/")
    }
    assert outside == {node for node in expected if not node.startswith(("gov/", "disclosure/"))}
    assert GOVERNED == DATASETS


@pytest.mark.parametrize("seed", range(8))
def test_the_closure_of_any_graph_is_the_one_that_sql_finds(seed: int) -> None:
    chance = random.Random(seed)
    trail, made = Trail(0), []
    for index in range(60):
        job, node = f"j{chance.randrange(15)}", f"d{chance.randrange(25)}"
        way = chance.choice(("inputs", "outputs"))
        made.append({"job": {"namespace": "n", "name": job}, way: [{"namespace": "n", "name": node}]})
        if way == "inputs":
            trail.reads.setdefault(("n", node), {}).setdefault(("n", job), index)
        else:
            trail.writes.setdefault(("n", job), {}).setdefault(("n", node), index)
    for start in (f"d{number}" for number in range(25)):
        found = sorted("/".join(r.node) for r in closure(trail, [("n", start)]) if r.kind == "dataset")
        assert found == nodes(edges(made), f"n/{start}")


def incident(record: dict[str, Any]) -> dict[str, Any]:
    assert record["rows"][0]["id"] == "incident"
    return dict(record["rows"][0]["cells"])


def exposures(record: dict[str, Any]) -> dict[str, str | None]:
    return {r["id"]: r["cells"]["exposure"]["value"] for r in record["rows"][1:]}


def test_a_lost_key_exposes_what_it_opens_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path / "log")
    opened = {"policy": world.policy(), "contract": world.contract("clinical_encounters")}
    for number, keys in ((1, {"restricted": "k1", "confidential": "k2"}), (2, {"restricted": "k3"})):
        run = world.open("clinical_encounters", "model_training", run_id=f"r{number}", **opened)
        passed = {"segments": [{"segment_id": f"s{number}", "key_ids": keys}]}
        run.classify([seen for seen, _ in CLINICAL])
        run.consent()
        run.protect(
            [{"source_column": "age", "method": "keep", "encrypted": True, "dropped": False}], **passed
        )
        run.release("released")
    made = make_report(world, "breach", tmp_path, bundle=True, asked={"key": "k2"})
    assert list(exposures(made.record).values()) == ["exposed", "sealed"]
    cells = incident(made.record)
    assert cells["records"]["value"] == 64
    assert cells["subjects"]["value"] == {"at_least": 12, "at_most": 18}
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
    both = make_report(world, "breach", tmp_path, asked={"dataset": "clinical_encounters"}).record
    assert list(exposures(both).values()) == ["sealed", "sealed"]
    nothing = make_report(world, "breach", tmp_path, bundle=True, asked={"key": "k9"})
    assert "nothing-reached" in {u["code"] for u in nothing.record["unknowns"]}
    assert nothing.bundle and verify_bundle(nothing.bundle, world.vkey).ok


def test_what_a_rewriting_wrote_is_not_taken_for_destroyed(world: World) -> None:
    """Its evidence of protection is that of the version before; its segments are not."""
    trail = read_trail((world.log.entry(i) for i in range(world.log.size())), world.log.size())
    before, after = (v for v in versions(trail) if v.run.dataset == "support_prompts")
    assert before.exposure(None)[0] == "destroyed"
    assert after.exposure(None)[0] == "sealed"
    assert after.exposure("k1")[0] == "unknown"


def test_a_span_of_time_leaves_out_what_came_after(world: World, tmp_path: Path) -> None:
    before = make_report(world, "breach", tmp_path, period="2026-03-01/2026-03-01", bundle=True)
    assert exposures(before.record) == {}
    assert before.bundle and verify_bundle(before.bundle, world.vkey).ok
    within = make_report(world, "breach", tmp_path, period="2026-03-02/2026-03-02").record
    assert len(within["rows"]) == len(make_report(world, "breach", tmp_path).record["rows"])


def test_clocks_count_from_discovery(world: World, tmp_path: Path) -> None:
    made = make_report(world, "breach", tmp_path, asked={"discovered": "2026-03-05T10:00:00Z"})
    due = {c["provision"]: c["due_at"] for c in incident(made.record)["clocks"]["value"]}
    assert due["GDPR Art. 33(1)"] == "2026-03-08T10:00:00.000000Z"
    assert due["45 CFR 164.404(b)"] == "2026-05-04T10:00:00.000000Z"
    with pytest.raises(AuditError, match="no instant"):
        make_report(world, "breach", tmp_path, asked={"discovered": "yesterday"})


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("gdpr-art30", {"dataset": "d"}),
        ("breach", {"request": "r"}),
        ("breach", {"dataset": ""}),
        ("breach", {"dataset": "a\nb"}),
        ("breach", {"dataset": 3}),
        ("gdpr-art17", {"request": "r" * 600}),
    ],
)
def test_what_a_kind_does_not_take_is_refused(
    world: World, tmp_path: Path, kind: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(AuditError) as fault:
        make_report(world, kind, tmp_path, asked=asked)
    assert fault.value.code == "GOV-804"


def test_what_was_asked_cannot_be_exchanged_in_a_record(world: World, tmp_path: Path) -> None:
    made = make_report(world, "breach", tmp_path, bundle=True, asked={"dataset": "clinical_encounters"})
    other = make_report(world, "breach", tmp_path, bundle=True, asked={"dataset": "support_prompts"})
    assert made.bundle and other.bundle and made.bundle != other.bundle
    raw = made.bundle.read_bytes().replace(
        b'{"dataset":"clinical_encounters"}', b'{"dataset":"support_xxxxxxxxxxx"}'
    )
    altered = tmp_path / "altered.zip"
    altered.write_bytes(raw)
    assert not verify_bundle(altered, world.vkey).ok


def test_names_from_events_are_text_in_the_page(tmp_path: Path) -> None:
    world = World(tmp_path / "log")
    about = {
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
    }
    world.event(
        {
            "eventType": "OTHER",
            "eventTime": "2026-03-02T12:00:00Z",
            "run": {"runId": "00000000-0000-0000-0000-000000000001"},
            "job": {"namespace": "n", "name": "<script>alert(1)</script>"},
            "inputs": [{"namespace": "gov", "name": "d"}],
            "outputs": [{"namespace": "n", "name": "<img src=x>"}],
            **about,
        }
    )
    page = make_report(world, "breach", tmp_path, asked={"dataset": "d"}).html.read_text("utf-8")
    assert "&lt;img src=x&gt;" in page and "<img" not in page and "<script" not in page


def test_the_command_takes_what_the_kind_takes(tmp_path: Path) -> None:
    from governance.cli import cli

    words = [
        "report",
        "make",
        "breach",
        "--out",
        str(tmp_path),
        "--home",
        str(tmp_path / "none"),
        "--dataset",
        "d",
    ]
    assert (
        CliRunner().invoke(cli, [*words, "--key", "k", "--discovered", "2026-03-05T10:00:00Z"]).exit_code == 1
    )


def test_a_stage_is_no_job_outside_whatever_the_dag_calls_it(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    leaf = {"policy": world.policy(), "contract": world.contract("clinical_encounters")}
    run = world.open("clinical_encounters", "model_training", run_id="named", **leaf)
    released(run, CLINICAL)
    read = (DatasetLineage(DATASETS, "clinical_encounters"),)
    index = run.prove(Stage.VALIDATE, {"success": True, "rows": 64, "results": [], "checks": []}, inputs=read)
    body = json.loads(world.log.entry(index).body or b"")
    # As Airflow names it; the signature does not cover a job's name.
    body["job"] = {"namespace": "airflow", "name": "training_dag.clinical_encounters.validate"}
    world.put(json.dumps(body).encode(), OPENLINEAGE_EVENT, "evidence:pipeline")
    body["job"] = {"namespace": "airflow", "name": "somebody_elses"}
    del body["run"]["facets"]["governance_validate"]
    world.put(json.dumps(body).encode(), OPENLINEAGE_EVENT, "ingest:airflow")
    world.log.checkpoint()
    record = make_report(
        world, "breach", tmp_path / "out", bundle=True, asked={"dataset": "clinical_encounters"}
    ).record
    assert record["population"]["examined"]["jobs_at_the_end"] == 1
    assert [r["title"] for r in record["rows"] if "somebody_elses" in r["title"]]
    assert verify_bundle(
        tmp_path / "out" / next(p.name for p in (tmp_path / "out").glob("*.zip")), world.vkey
    ).ok
