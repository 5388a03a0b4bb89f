"""Inputs to an impact assessment: flows and figures counted again; the picture shows what the table says."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from audit_world import World
from test_audit_recount import true_facets

from governance.audit import MadeReport, make_report, verify_bundle
from governance.audit.gdpr.dpia_picture import picture

HOSTILE = '"><script>alert(1)</script>&'


@pytest.fixture(scope="module")
def inputs(world: World, tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    return make_report(world, "dpia", tmp_path_factory.mktemp("dpia"), bundle=True)


def test_the_figures_counted_again(world: World, inputs: MadeReport) -> None:
    found = true_facets(world)
    opened = [f["context"] for _, stage, f in found if stage == "open"]
    sent = [f["facts"] for _, stage, f in found if stage == "disclose"]
    pairs = {(c["dataset"], c["purpose"]) for c in opened} | {(f["dataset"], f["purpose"]) for f in sent}
    examined = inputs.record["population"]["examined"]
    assert (examined["activities"], examined["runs"]) == (len(pairs), len(opened))
    assert examined["disclosures"] == len(sent)
    for row in inputs.record["rows"]:
        flows = row["cells"]["flows"]["value"]
        names = {node["node"] for node in flows["nodes"]}
        assert {edge[end] for edge in flows["edges"] for end in ("from", "to")} <= names


def test_exceptions_and_one_dataset(world: World, inputs: MadeReport, tmp_path: Path) -> None:
    assert {r["code"] for r in inputs.record["exceptions"]} == {"assessment-missing", "clock-skew"}
    one = make_report(world, "dpia", tmp_path, bundle=True, asked={"dataset": "support_prompts"})
    assert [row["id"] for row in one.record["rows"]] == ["support_prompts/support_inference"]
    assert one.bundle and verify_bundle(one.bundle, world.vkey).ok


def test_a_model_of_a_model_hangs_on_it(inputs: MadeReport) -> None:
    [row] = [r for r in inputs.record["rows"] if r["id"] == "clinical_encounters/model_training"]
    edges = {(e["from"], e["to"]): e["known"] for e in row["cells"]["flows"]["value"]["edges"]}
    assert edges["/lake/raw/clinical_encounters", "clinical_encounters"] == "observed"
    assert edges["clinical_encounters", "models/clinical-model"] == "declared"
    assert edges["models/clinical-model", "reports/clinical-scores"] == "declared"


def test_every_picture_is_xml_and_shows_every_node(inputs: MadeReport) -> None:
    pictures = re.findall(r"<svg.*?</svg>", inputs.html.read_text("utf-8"), re.DOTALL)
    assert len(pictures) == len(inputs.record["rows"])
    for drawn, row in zip(pictures, inputs.record["rows"], strict=True):
        root = ElementTree.fromstring(drawn)  # noqa: S314
        flows = row["cells"]["flows"]["value"]
        assert len(root.findall("rect")) == len(flows["nodes"])
        assert len(root.findall("polyline")) == len(flows["edges"])


def test_names_are_escaped_in_the_picture() -> None:
    flows = {
        "nodes": [{"node": HOSTILE, "kind": "source"}, {"node": "d", "kind": HOSTILE}],
        "edges": [{"from": HOSTILE, "to": "d", "by": HOSTILE, "known": "declared"}],
    }
    drawn = picture(flows)
    assert "<script" not in drawn
    ElementTree.fromstring(drawn)  # noqa: S314


def test_a_cycle_has_a_picture() -> None:
    flows = {
        "nodes": [{"node": n, "kind": "dataset outside"} for n in "ab"],
        "edges": [{"from": a, "to": b, "by": "j", "known": "declared"} for a, b in ("ab", "ba", "aa")],
    }
    ElementTree.fromstring(picture(flows))  # noqa: S314
