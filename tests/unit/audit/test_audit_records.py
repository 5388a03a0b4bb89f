"""Records: golden, as of the past, byte-identical, complete though declarations are missing."""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_story import CLINICAL, fixed_salts, full_world, regenerate, released
from audit_world import FROZEN, World
from jsonschema import Draft202012Validator

from governance.audit import REPORTS, MadeReport, make_report, verify_bundle
from governance.errors import AuditError, LogError
from governance.model.canonical import canonical
from governance.model.resources import schemas

KINDS = sorted(REPORTS)
BUNDLED = [kind for kind in KINDS if not REPORTS[kind].personal]


def golden(record: dict[str, Any]) -> str:
    """A record without what depends on the version of the software that wrote the events."""
    record = copy.deepcopy(record)
    record["report"]["generator"]["version"] = "…"
    record["as_of"] |= {"root": "…", "checkpoint": "…"}
    for entry in record["entries"]:
        entry["leaf_hash"] = "…"
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def codes(record: dict[str, Any], member: str) -> dict[str, int]:
    return {remark["code"]: remark["count"] for remark in record[member]}


def cells(record: dict[str, Any], row: str) -> dict[str, Any]:
    [found] = [r["cells"] for r in record["rows"] if r["id"] == row]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_is_the_golden_one(world: World, tmp_path: Path, kind: str) -> None:
    """GOVERNANCE_REGENERATE=1 rewrites it; read the difference before committing it."""
    made = make_report(world, kind, tmp_path)
    path = FROZEN / f"{kind}.json"
    if regenerate():
        path.write_text(golden(made.record), "utf-8")
    assert golden(made.record) == path.read_text("utf-8")
    assert made.json.read_bytes() == canonical(made.record)


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_conforms_to_its_schema(world: World, tmp_path: Path, kind: str) -> None:
    schema = json.loads((schemas() / "report.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    record = json.loads(make_report(world, kind, tmp_path).json.read_bytes())
    assert [e.message for e in Draft202012Validator(schema).iter_errors(record)] == []


@pytest.mark.parametrize("kind", BUNDLED)
def test_made_twice_it_is_the_same_bytes(world: World, tmp_path: Path, kind: str) -> None:
    size = world.log.size()
    one = make_report(world, kind, tmp_path / "one", bundle=True)
    two = make_report(world, kind, tmp_path / "two", bundle=True)
    assert one.bundle and two.bundle
    for a, b in ((one.json, two.json), (one.html, two.html), (one.bundle, two.bundle)):
        assert a.read_bytes() == b.read_bytes()
    assert world.log.size() == size
    assert {p.name for p in (tmp_path / "one").iterdir()} == {f"{kind}.{e}" for e in ("json", "html", "zip")}


def test_another_log_with_the_same_history_gives_the_same_record(
    world: World, tmp_path: Path, art30: MadeReport
) -> None:
    again = make_report(full_world(tmp_path / "again"), "gdpr-art30", tmp_path, bundle=True)
    assert again.json.read_bytes() == art30.json.read_bytes()


@pytest.mark.parametrize("kind", BUNDLED)
def test_as_of_the_past_it_says_what_it_said_then(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path / "log")
    policy, contract = world.policy(), world.contract("clinical_encounters")
    opened = {"policy": policy, "contract": contract}
    run = world.open("clinical_encounters", "model_training", run_id="r1", **opened)
    released(run, CLINICAL)
    world.disclose(run, 1, "research", {"applies": True, "ground": "research_waiver"})
    then = make_report(world, kind, tmp_path / "then", bundle=True)
    size = world.log.size()

    released(world.open("clinical_encounters", "model_training", run_id="r2", **opened), CLINICAL)
    world.disclose(run, 2, "research", {"applies": True, "ground": "research_waiver"})
    now = make_report(world, kind, tmp_path / "now", bundle=True)
    past = make_report(world, kind, tmp_path / "past", bundle=True, as_of=size)

    assert now.record["population"] != then.record["population"]
    assert past.html.name == f"{kind}-{size}.html"
    assert past.json.read_bytes() == then.json.read_bytes()
    assert past.html.read_bytes() == then.html.read_bytes()
    assert past.bundle and then.bundle and past.bundle.read_bytes() == then.bundle.read_bytes()
    # Between two checkpoints: the older one speaks.
    assert make_report(world, kind, tmp_path / "b", as_of=size + 3).record == then.record
    assert now.bundle is not None
    older = then.record["as_of"]["checkpoint"]
    assert verify_bundle(now.bundle, world.vkey, older_checkpoint=older).ok


def test_every_exception_is_told_once(art30: MadeReport, accounting: MadeReport) -> None:
    assert codes(art30.record, "exceptions") == {
        "evidence-not-proven": 1,
        "late-withdrawals": 3,
        "backdated-consents": 2,
        "run-quarantined": 1,
        "release-recovered": 1,
        "release-intended-only": 1,
        "task-failed": 1,
        "classification-conflict": 1,
        "further-purpose": 1,
        "clock-skew": 1,
    }
    assert codes(accounting.record, "exceptions") == {
        "disclosure-not-proven": 1,
        "exclusion-not-borne-out": 1,
        "clock-skew": 1,
    }
    for code in ("run-unfinished", "task-without-end", "entry-redacted", "entry-unreadable"):
        assert codes(art30.record, "unknowns")[code] == 1
    assert {"before-the-log", "task-without-end"} <= codes(accounting.record, "unknowns").keys()


def test_every_code_is_documented() -> None:
    import governance.audit

    [folder] = governance.audit.__path__
    code = "".join(p.read_text("utf-8") for p in Path(folder).rglob("*.py") if p.parent.name != "forms")
    known = set(re.findall(r'remark\(\s*"([a-z-]+)"', code)) | set(
        re.findall(r'\(\s*"([a-z]+-[a-z-]+)",', code)
    )
    page = (Path(folder).parents[1] / "docs" / "reports.md").read_text("utf-8")
    assert {"clock-skew", "further-purpose", "declaration-changed", "run-unfinished"} <= known
    assert sorted(c for c in known if f"`{c}`" not in page) == []


def test_cells_say_how_they_are_known(art30: MadeReport) -> None:
    row = cells(art30.record, "clinical_encounters/model_training")
    assert row["controller"]["basis"] == "declared"
    assert row["controller"]["value"]["name"] == "Meridian Health System, Inc."
    assert row["purpose"]["basis"] == "observed"
    assert row["lawful_basis"]["value"] == {"basis": "consent", "article": "Art. 6(1)(a)"}
    assert row["special_condition"]["value"]["article"] == "Art. 9(2)(a)"
    assert row["retention"]["value"] == {"value": 6, "unit": "y", "driver": "regulatory"}
    assert row["retention_adherence"]["basis"] == "unknown"
    [category] = [c for c in row["data_categories"]["value"] if c["category"] == "health_condition"]
    assert category["special"] and category["columns"][0]["basis"] == "declared"
    assert row["security_observed"]["value"]["columns_encrypted"] == 6
    assert row["security_observed"]["value"]["keys"] == 2
    assert row["consent"]["value"]["by_reason"] == {"allowed": 70, "no_consent": 18, "consent_withdrawn": 12}
    assert row["transfers"]["value"][0]["article"] == "Art. 46(2)(c)"
    conflict = cells(art30.record, "customer_profiles/model_training")["data_categories"]
    assert conflict["basis"] == "conflicting" and "full_name" in conflict["note"]


def test_the_accounting_lists_omits_and_counts(accounting: MadeReport) -> None:
    record = accounting.record
    examined = record["population"]["examined"]
    assert (examined["disclosures"], examined["listed"], examined["excluded"]) == (3, 2, 1)
    assert examined["excluded_by_ground"] == {"authorization": 1} and examined["declared_only"] == 1
    assert [o["law"] for o in record["omitted"]] == ["45 CFR 164.528(a)(1)(iv)"]
    [series] = record["series"]
    assert (series["disclosures"], series["purpose"]) == (2, "research")
    row = record["rows"][0]["cells"]
    assert row["address"]["value"] == "45 Lakeshore Road, Madison, WI 53703, USA"
    assert row["ground"]["value"]["law"].startswith("45 CFR 164.512(i)")
    assert row["description"]["value"]["classifications"] == [
        "age",
        "health_condition",
        "medical_record_number",
    ]


def test_missing_declarations_are_unknown_and_the_report_still_comes(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy = world.policy(lambda _: "apiVersion: governance/v1\npurposes: {}\n")
    contract = world.contract("clinical_encounters", lambda _: "kind: DataContract\n")
    released(
        world.open("clinical_encounters", "model_training", policy=policy, contract=contract, run_id="r"),
        CLINICAL,
    )
    made = make_report(world, "gdpr-art30", tmp_path / "out", bundle=True)
    row = made.record["rows"][0]["cells"]
    for key in ("controller", "dpo", "lawful_basis", "retention", "security_declared", "rights", "location"):
        assert row[key]["basis"] == "unknown" and row[key]["note"], key
    assert row["purpose"]["basis"] == "conflicting"
    assert row["data_categories"]["basis"] == "observed"
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_a_leaf_that_is_not_what_the_run_pinned_declares_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy, contract = world.policy(), world.contract("clinical_encounters")
    other = (policy[0], "sha256:" + "0" * 64)
    world.open("clinical_encounters", "model_training", policy=other, contract=contract, run_id="r")
    record = make_report(world, "gdpr-art30", tmp_path / "out").record
    assert record["rows"][0]["cells"]["controller"]["basis"] == "unknown"
    assert "declaration-missing" in codes(record, "exceptions")


def test_a_changed_declaration_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    contract = world.contract("customer_profiles")
    for run_id, basis in (("r1", "consent"), ("r2", "legitimate_interests")):
        policy = world.policy(
            lambda text, basis=basis: text.replace(
                "gdpr: {basis: consent, condition: explicit_consent}", f"gdpr: {{basis: {basis}}}"
            )
        )
        world.open("customer_profiles", "model_training", policy=policy, contract=contract, run_id=run_id)
    record = make_report(world, "gdpr-art30", tmp_path / "out").record
    [told] = [e for e in record["exceptions"] if e["code"] == "declaration-changed"]
    assert "lawful basis" in told["text"]
    row = record["rows"][0]["cells"]
    assert row["lawful_basis"]["value"]["article"] == "Art. 6(1)(f)"
    assert row["interests_assessment"]["basis"] == "unknown"


@pytest.mark.parametrize(
    "alias", ["a: &x [1]\nb: *x\n", "- not a mapping\n", "a: [\n", "\x00", "a: " + "[" * 9000]
)
def test_a_hostile_policy_leaf_declares_nothing(tmp_path: Path, alias: str) -> None:
    world = World(tmp_path)
    policy, contract = world.policy(lambda _: alias), world.contract("customer_profiles")
    world.open("customer_profiles", "model_training", policy=policy, contract=contract, run_id="r")
    made = make_report(world, "gdpr-art30", tmp_path / "out", bundle=True)
    assert made.record["rows"][0]["cells"]["controller"]["basis"] == "unknown"
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_a_log_with_a_genesis_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    for kind in BUNDLED:
        made = make_report(world, kind, tmp_path / "out", bundle=True)
        assert made.record["rows"] == [] and made.bundle
        assert verify_bundle(made.bundle, world.vkey).ok


def test_a_repeated_disclosure_counts_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy, contract = world.policy(), world.contract("clinical_encounters")
    run = world.open("clinical_encounters", "model_training", policy=policy, contract=contract, run_id="r")
    released(run, CLINICAL)
    listed = {"applies": True, "ground": "research_waiver"}
    index = world.disclose(run, 1, "research", listed)
    event = json.loads(world.log.entry(index).body or b"")
    world.event(event | {"eventTime": "2026-03-02T09:30:00Z"}, "evidence:pipeline")
    made = make_report(world, "hipaa-528", tmp_path / "out", bundle=True)
    assert len(made.record["rows"]) == 1
    assert codes(made.record, "exceptions") == {"evidence-repeated": 1}
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_a_period_lists_only_its_days(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy, contract = world.policy(), world.contract("clinical_encounters")
    run = world.open("clinical_encounters", "model_training", policy=policy, contract=contract, run_id="r")
    released(run, CLINICAL)
    listed = {"applies": True, "ground": "research_waiver"}
    for number, day in enumerate(("2026-02-27", "2026-03-01", "2026-03-02"), start=1):
        world.disclose(run, number, "research", listed, disclosed_at=f"{day}T10:00:00.000000Z")
    made = make_report(world, "hipaa-528", tmp_path / "p", bundle=True, period="2026-03-01/2026-03-01")
    assert [r["cells"]["date"]["value"]["disclosed_at"][:10] for r in made.record["rows"]] == ["2026-03-01"]
    assert made.record["population"]["examined"]["outside_period"] == 2
    assert made.record["period"]["asked"] is True
    assert made.bundle and verify_bundle(made.bundle, world.vkey).ok
    later = make_report(world, "hipaa-528", tmp_path / "q", period=("2026-03-02", "2030-01-01"))
    assert "after-the-checkpoint" in codes(later.record, "unknowns")


def test_a_clock_that_ran_ahead_does_not_hide_a_disclosure(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy, contract = world.policy(), world.contract("clinical_encounters")
    run = world.open("clinical_encounters", "model_training", policy=policy, contract=contract, run_id="r")
    released(run, CLINICAL)
    run.drift = timedelta(days=800)
    world.disclose(run, 1, "research", {"applies": True}, disclosed_at="2028-05-01T10:00:00.000000Z")
    record = make_report(world, "hipaa-528", tmp_path / "out").record
    assert len(record["rows"]) == 1 and record["rows"][0]["cells"]["ground"]["basis"] == "unknown"
    assert codes(record, "exceptions") == {"clock-skew": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "gdpr-art31"}, "no report"),
        ({"kind": "gdpr-art30", "period": "2026-01-01/2026-02-01"}, "takes no period"),
        ({"kind": "hipaa-528", "period": "2026-02-01/2026-01-01"}, "not two days"),
        ({"kind": "hipaa-528", "period": "yesterday"}, "not two days"),
        ({"kind": "hipaa-528", "as_of": 10_000}, "entries, not"),
        ({"kind": "hipaa-528", "as_of": 0}, "entries, not"),
    ],
)
def test_wrong_parameters_are_refused(
    world: World, tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(AuditError, match=says) as refused:
        make_report(world, out_dir=tmp_path / "out", **arguments)
    assert refused.value.code == "GOV-804"
    assert not (tmp_path / "out").exists()


def test_a_time_before_the_first_checkpoint_is_refused(tmp_path: Path) -> None:
    with fixed_salts():
        world = World(tmp_path / "w")
        world.batch(1, 1)
    store = world.log.storage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "checkpoints", lambda _: [])
        with pytest.raises(AuditError, match="no checkpoint"):
            make_report(world, "hipaa-528", tmp_path / "out", as_of=1)


def test_no_report_is_made_of_an_altered_log(tmp_path: Path) -> None:
    import sqlite3

    world = full_world(tmp_path)
    world.log.close()
    [path] = (tmp_path / "store").glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        [table] = [t for t in tables if "body" in _columns(connection, t)]
        key = _columns(connection, table)[0]
        body = connection.execute(f"SELECT body FROM {table} WHERE {key} = 9").fetchone()[0]
        connection.execute("PRAGMA ignore_check_constraints = 1")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(
            f"UPDATE {table} SET body = ? WHERE {key} = 9", (body.replace(b"2026", b"2025", 1),)
        )
    connection.close()
    from governance.log import CheckpointSigner, Log, open_storage

    signer = CheckpointSigner(_log_key(), world.log.origin, tmp_path / "signer" / "memory.note")
    world.log = Log(open_storage(str(tmp_path / "store")), signer=signer, clock=world.clock)
    with pytest.raises(LogError, match="entry 9") as refused:
        make_report(world, "gdpr-art30", tmp_path / "out")
    assert refused.value.code == "GOV-504"


def _log_key() -> Any:
    from audit_world import Key

    return Key("log")


def _columns(connection: Any, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
