"""A policy's own detectors: used by the run, pinned by its opening, missed when they are gone."""

from __future__ import annotations

import gzip
import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from governed_home import DATASETS, Home, edited, refused
from pyarrow import csv

from governance.cli import cli
from governance.contracts import load_contract
from governance.detect import redact
from governance.model.evidence import Stage
from governance.pipeline.classify import classify
from governance.pipeline.protect import protect
from governance.pipeline.run import STEPS

CUSTOMERS = "customer_profiles"
OWN = """
classifications:
  loyalty: {description: Loyalty tier, sensitivity: confidential}
columns:
  - classification: loyalty
    header: {decisive: [loyalty tier]}
"""
RULE = "\nclassifications:\n  loyalty: {sensitivity: confidential, protections: [keep, drop]}\n"


@pytest.fixture
def with_detectors(home: Home) -> Home:
    (home.settings.policy.parent / "own.yaml").write_text(OWN, "utf-8")
    edited(
        home.settings.policy,
        lambda text: text.replace("\nclassifications:\n", RULE, 1) + "\ndetectors: [own.yaml]\n",
    )
    return home


def declared(home: Home) -> None:
    edited(
        home.contract(CUSTOMERS),
        lambda text: text.replace(
            "name: loyalty_tier\n        logicalType: string\n        classification: none",
            "name: loyalty_tier\n        logicalType: string\n        classification: loyalty\n"
            "        customProperties: [{property: protection, value: keep}]",
            1,
        ),
    )


def test_the_run_classifies_by_them_and_its_opening_pins_them(with_detectors: Home) -> None:
    declared(with_detectors)
    context = with_detectors.open(CUSTOMERS)
    pinned = context.facts(Stage.OPEN)["detectors"]
    assert [file["name"] for file in pinned] == ["own.yaml"]
    assert pinned[0]["digest"].startswith("sha256:")
    columns = {c["column"]: c for c in classify(context)["columns"]}
    assert columns["loyalty_tier"]["found"] == "loyalty"
    assert columns["loyalty_tier"]["agreement"] == "agrees"


def test_what_only_they_find_must_be_declared(with_detectors: Home) -> None:
    context = with_detectors.open(CUSTOMERS)
    with refused("GOV-107"):
        classify(context)


@pytest.mark.parametrize(("change", "code"), [("changed", "GOV-112"), ("gone", "GOV-113")])
def test_a_file_that_is_not_the_pinned_one_stops_the_run(
    with_detectors: Home, change: str, code: str
) -> None:
    declared(with_detectors)
    context = with_detectors.open(CUSTOMERS)
    own = with_detectors.settings.policy.parent / "own.yaml"
    if change == "gone":
        own.unlink()
    else:
        own.write_text(OWN + "# changed\n", "utf-8")
    with refused(code):
        classify(context)


@pytest.mark.parametrize(
    ("own", "code"),
    [(None, "GOV-113"), ("columns: [{classification: loyalti, header: {decisive: [x]}}]", "GOV-113")],
)
def test_no_run_opens_on_missing_or_wrong_detectors(with_detectors: Home, own: str | None, code: str) -> None:
    path = with_detectors.settings.policy.parent / "own.yaml"
    path.unlink() if own is None else path.write_text(own, "utf-8")
    with refused(code):
        with_detectors.open(CUSTOMERS)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_drafted_contract_carries_a_governed_run(home: Home, dataset: str) -> None:
    out = home.path / "contracts" / "drafted.odcs.yaml"
    asked = [
        "contract",
        "draft",
        str(home.source(dataset)),
        "--policy",
        str(home.settings.policy),
        "--out",
        str(out),
    ]
    drafted = CliRunner().invoke(cli, asked)
    assert drafted.exit_code == 0, drafted.output
    purpose = load_contract(out).purposes[0]
    context = home.open(dataset, contract_path=out, purpose=purpose)
    for stage in (Stage.CLASSIFY, Stage.CONSENT):
        STEPS[stage](context)
    assert protect(context)["rows_in"] > 0


def test_a_draft_knows_the_detectors_of_its_policy(with_detectors: Home) -> None:
    asked = [
        "contract",
        "draft",
        str(with_detectors.source(CUSTOMERS)),
        "--policy",
        str(with_detectors.settings.policy),
    ]
    drafted = CliRunner().invoke(cli, asked)
    assert "classification: loyalty" in drafted.stdout


def test_a_nested_column_is_drafted_dropped_and_judged_by_its_fields(home: Home) -> None:
    table = csv.read_csv(home.source(CUSTOMERS))
    address = pa.array([{"street": f"{n} Main Street", "tier": "gold"} for n in range(table.num_rows)])
    source = home.path / "input" / "nested.parquet"
    pq.write_table(table.append_column("home", address), source)
    out = home.path / "contracts" / "nested.odcs.yaml"
    asked = ["contract", "draft", str(source), "--policy", str(home.settings.policy), "--out", str(out)]
    assert CliRunner().invoke(cli, asked).exit_code == 0
    context = home.open(CUSTOMERS, contract_path=out, source=str(source))
    nested = next(c for c in classify(context)["columns"] if c["column"] == "home")
    assert (nested["found"], nested["agreement"]) == ("street_address", "agrees")
    assert nested["evidence"] == ["home.street is street_address"]


def trained(home: Home) -> str:
    """A model of made-up notes beside the policy; returns how a policy names it."""
    notes = home.path / "notes.jsonl"
    who = [("Zorblax Quim", "said"), ("Vintra Olle", "wrote"), ("Ksenja Ruhl", "asked")] * 30
    lines = []
    for number, (name, verb) in enumerate(who):
        head = f"Ticket {number}: caller "
        lines.append(
            json.dumps(
                {
                    "text": f"{head}{name} {verb} it works",
                    "spans": [[len(head), len(head + name), "person_name"]],
                }
            )
        )
    notes.write_text("\n".join(lines), "utf-8")
    model = home.settings.policy.parent / "own.crf"
    done = CliRunner().invoke(cli, ["detect", "train", str(notes), "--out", str(model)])
    assert done.exit_code == 0, done.output
    return f"own.crf@sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"


def test_models_that_the_policy_names_redact_what_rules_do_not_know(home: Home) -> None:
    prompts, unknown = "support_prompts", "Ticket 7: caller Ombra Tzul said it works"
    assert redact(pa.array([unknown])).to_pylist() == [unknown], "no rule knows it"
    pinned = trained(home)
    edited(home.settings.policy, lambda text: text + f'\ntextModels: {{ner: true, crf: "{pinned}"}}\n')
    before = home.source(prompts)
    texts = gzip.decompress(before.read_bytes()).decode().splitlines()
    changed = [json.loads(line) for line in texts]
    column = next(name for name, value in changed[0].items() if isinstance(value, str) and len(value) > 80)
    for row in changed:
        row[column] = unknown
    before.write_bytes(gzip.compress("\n".join(map(json.dumps, changed)).encode()))
    context = home.open(prompts)
    assert [m["name"] for m in context.facts(Stage.OPEN)["text_models"]][1] == "crf"
    home.run(prompts)
    said = set(home.rows(prompts)[column].to_pylist())
    assert said
    assert not any("Ombra" in text or "Tzul" in text for text in said)


def test_a_model_that_is_not_the_pinned_one_stops_the_run(home: Home) -> None:
    pinned = trained(home)
    edited(home.settings.policy, lambda text: text + f'\ntextModels: {{crf: "{pinned[:-4]}0000"}}\n')
    with refused("GOV-121"):
        home.open("support_prompts")
