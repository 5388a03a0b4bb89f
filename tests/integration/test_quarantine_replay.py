"""Rows that failed a rule are taken in once after a fix, under consent as of then; drift is judged beside."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from before_and_after import ledger_rows
from governed_home import Home, edited, refused

from governance.model.canonical import digest
from governance.model.evidence import Stage
from governance.pipeline.ledger import import_consent
from governance.pipeline.quarantine import expire, quarantined
from governance.pipeline.run import replay

DATASET = "customer_profiles"


def replayed(home: Home, version: str, **changed):
    from governance.pipeline.local import local_recorder

    workspace = home.workspace()
    recorder = local_recorder(workspace, DATASET, f"replay-{version}")
    return replay(workspace, recorder, contract_path=home.contract(DATASET), version=version, **changed)


def mended(home: Home) -> None:
    """The fix: the contract's next version lets negative values pass."""
    contract = home.contract(DATASET)
    edited(contract, lambda text: text.replace("version: 1.0.0", "version: 1.1.0"))
    edited(contract, lambda text: text.replace("{min_value: 0}", "{min_value: -1.0e+9}"))


def test_mended_rows_are_taken_in_once(released: Home) -> None:
    first = released.manifest(DATASET)
    before = released.rows(DATASET)
    (waiting,) = quarantined(released.workspace(), DATASET)
    assert (waiting.state, waiting.version, waiting.rows) == ("waiting", first.version, 2)
    assert set(waiting.by_rule) == {"the tier is one of ours", "lifetime value is not negative"}
    mended(released)
    counts = replayed(released, first.version).facts[Stage.PROTECT]
    assert (counts["rows_in"], counts["rows_out"], counts["rows_quarantined"]) == (2, 1, 1)
    after = released.rows(DATASET)
    assert after.num_rows == before.num_rows + 1
    assert after.schema == before.schema
    again, old = quarantined(released.workspace(), DATASET)
    assert (again.state, again.rows) == ("waiting", 1)
    assert (old.state, old.replayed_in) == ("replayed", again.version)
    # The evidence of the second run names the first.
    opened = released.evidence(Stage.OPEN, DATASET)[-1]["facts"]["source"]
    assert opened["uri"] == f"quarantine:{DATASET}/{first.version}"
    with refused("GOV-406"):
        replayed(released, first.version)
    assert released.rows(DATASET).num_rows == after.num_rows
    code, out, err = released.cli("quarantine", "list", "--json")
    assert code == 0, err
    assert [a["state"] for a in json.loads(out) if a["dataset"] == DATASET] == ["waiting", "replayed"]
    code, out, _ = released.cli("quarantine", "show", DATASET, first.version)
    assert code == 0
    assert f"taken in by version {again.version}" in out
    # What was taken in is removed with its key; a full load later makes the rest void.
    assert [a.version for a in expire(released.workspace(), [DATASET])] == [first.version]
    assert not expire(released.workspace(), [DATASET])
    released.run(DATASET)
    states = {a.version: a.state for a in quarantined(released.workspace(), DATASET)}
    assert states[again.version] == "superseded"


def test_consent_is_decided_anew(released: Home, tmp_path: Path) -> None:
    first = released.manifest(DATASET)
    mended(released)
    table = pa_csv.read_csv(released.source(DATASET))
    (subject,) = table.filter(pc.less(table["lifetime_value"], 0))["customer_id"].to_pylist()
    now = released.workspace().clock()
    denied = [("model_training", action, now, None) for action in ("withdraw", "opt_out")]
    pq.write_table(ledger_rows(subject, *denied), tmp_path / "denied.parquet")
    import_consent(released.workspace(), tmp_path / "denied.parquet")
    counts = replayed(released, first.version).facts[Stage.PROTECT]
    assert (counts["rows_in"], counts["rows_denied"], counts["rows_out"]) == (2, 1, 0)


def test_what_expired_is_not_replayed_but_removed_with_its_key(released: Home) -> None:
    first = released.manifest(DATASET)
    workspace = released.workspace()
    later = replace(workspace, clock=lambda: workspace.clock() + timedelta(days=31))
    (aside,) = quarantined(later, DATASET)
    assert aside.state == "expired"
    folder = released.root(DATASET) / str(aside.folder)
    assert list(folder.glob("*.parquet"))
    key = f"seg.{folder.name}.quarantine"
    workspace.keyring.segment_key(key)
    assert [a.version for a in expire(later, [DATASET])] == [first.version]
    assert not folder.exists()
    with refused("GOV-303"):
        released.workspace().keyring.segment_key(key)
    released.rows(DATASET)
    with refused("GOV-406"):
        replayed(released, first.version)


DRIFT = """        quality:
          - name: values stay where they were
            type: custom
            engine: governance
            implementation: {type: drift, kwargs: {psi: 0.5, ks: 0.3, on_drift: REACTION}}
"""


@pytest.mark.parametrize("reaction", ["fail", "warn"])
def test_a_version_that_drifted_is_held_back_or_told(home: Home, reaction: str) -> None:
    column = "      - name: lifetime_value\n        logicalType: number\n        classification: none\n        quality:\n"
    rule = DRIFT.replace("REACTION", reaction)
    edited(
        home.contract(DATASET), lambda text: text.replace(column, column.replace("        quality:\n", rule))
    )
    home.run(DATASET)
    facts = home.evidence(Stage.VALIDATE, DATASET)[-1]["facts"]
    assert set(facts["profiles"]) == {"lifetime_value"}
    table = pa_csv.read_csv(home.source(DATASET))
    moved = pc.add(pc.multiply(table["lifetime_value"], 0), 123456.0)
    table = table.set_column(table.schema.get_field_index("lifetime_value"), "lifetime_value", moved)
    pa_csv.write_csv(table, home.source(DATASET))
    version = home.manifest(DATASET).version
    if reaction == "fail":
        with refused("GOV-402", free_of=("123456",)):
            home.run(DATASET)
        assert home.manifest(DATASET).version == version
    else:
        home.run(DATASET)
        facts = home.evidence(Stage.VALIDATE, DATASET)[-1]["facts"]
        drift = next(r for r in facts["results"] if r["expectation"] == "drift")
        assert facts["success"]
        assert not drift["success"]
        assert drift["meta"] == {"severity": "warning", "compared_with": version}


def test_a_suite_of_great_expectations_diverts_rows_and_travels_with_the_run(home: Home) -> None:
    gx = pytest.importorskip("great_expectations")
    unlikely = gx.expectations.ExpectColumnValuesToMatchRegex(column="customer_id", regex="^(?!C-1)")
    suite = json.dumps(gx.ExpectationSuite(name="s", expectations=[unlikely]).to_json_dict()).encode()
    (home.path / "contracts" / "ids.json").write_bytes(suite)
    entry = (
        "    quality:\n      - type: custom\n        engine: greatExpectations\n"
        f"        implementation: {{suite: 'ids.json@{digest(suite)}'}}\n"
        "        customProperties: [{property: scope, value: source}]\n"
        "      - name: the version holds rows\n"
    )
    edited(
        home.contract(DATASET),
        lambda text: text.replace("    quality:\n      - name: the version holds rows\n", entry),
    )
    facts = home.run(DATASET).facts[Stage.PROTECT]
    ids = pa_csv.read_csv(home.source(DATASET))["customer_id"]
    named = [count for rule, count in facts["quarantined_by_rule"].items() if rule.startswith("ids.json")]
    assert 0 < sum(named) <= pc.sum(pc.starts_with(ids, "C-1")).as_py()
