"""Release only on evidence: edited, deleted, forged, stale or refused, nothing is released."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from before_and_after import (
    CUSTOMERS,
    Before,
)
from governed_home import Home, edited, refused

from governance.errors import LogError
from governance.lineage.index.index import Index
from governance.log import OPENLINEAGE_EVENT, Log, NewEntry
from governance.model.canonical import canonical, parse
from governance.model.evidence import Stage
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.protect import protect
from governance.pipeline.release import release
from governance.pipeline.step import RunContext
from governance.pipeline.validate import validate

EVIDENT = (Stage.OPEN, Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)

Validated = tuple[Home, RunContext]


def log_database(home: Home) -> sqlite3.Connection:
    return sqlite3.connect(home.path / "store" / "log.sqlite", isolation_level=None)


def staged(home: Home, context: RunContext, stage: Stage) -> Path:
    return home.root(CUSTOMERS) / context.reference.folder / f"{stage}.json"


@pytest.mark.parametrize("stage", EVIDENT)
def test_without_one_stages_evidence_nothing_is_released(stage: Stage, validated: Validated) -> None:
    home, context = validated
    before = Before(home, CUSTOMERS)
    with log_database(home) as database:
        body = database.execute(
            "SELECT body FROM entry WHERE idx = ?", (context.log_index(stage),)
        ).fetchone()[0]
        altered = body.replace(b'"run_id": "', b'"run_id": "x', 1)
        assert altered != body
        database.execute("UPDATE entry SET body = ? WHERE idx = ?", (altered, context.log_index(stage)))
    with refused("GOV-507", "GOV-504"):
        release(context)
    assert home.pointer(CUSTOMERS) == before.pointer
    code, out, _ = home.cli("log", "verify", "--json")
    assert code == 1
    assert parse(out.encode())["first_bad"] == context.log_index(stage)


@pytest.mark.parametrize(
    ("attack", "noticed_by_release"),
    [
        ("DELETE FROM entry WHERE idx = ?", True),
        ("UPDATE entry SET leaf = CAST(replace(leaf, 'evidence:', 'evidencf:') AS BLOB) WHERE idx = ?", True),
        (
            "UPDATE entry SET leaf = CAST(replace(leaf, '\"size\":', '\"size\":1') AS BLOB) WHERE idx = ?",
            True,
        ),
        ("UPDATE entry SET body = CAST('{}' AS BLOB) WHERE idx = ?", True),
        # Neither is what evidence stands on, but verification finds both.
        ("UPDATE entry SET nodes = zeroblob(length(nodes)) WHERE idx = ?", False),
        ("UPDATE entry SET salt = zeroblob(length(salt)) WHERE idx = ?", False),
    ],
)
def test_an_edited_or_deleted_entry_stops_the_release(
    attack: str, noticed_by_release: bool, validated: Validated
) -> None:
    home, context = validated
    pointer = home.pointer(CUSTOMERS)
    index = context.log_index(Stage.CONSENT)
    with log_database(home) as database:
        assert database.execute(attack, (index,)).rowcount == 1
    if noticed_by_release:
        with refused("GOV-507", "GOV-504", "GOV-503"):
            release(context)
        assert home.pointer(CUSTOMERS) == pointer
    code, out, err = home.cli("log", "verify", "--key", home.workspace().vkey, "--json")
    assert code == 1, err
    assert parse(out.encode())["first_bad"] == index


def test_a_log_cut_back_to_an_older_state_is_not_signed(validated: Validated) -> None:
    home, context = validated
    pointer = home.pointer(CUSTOMERS)
    with log_database(home) as database:
        cut = home.evidence(Stage.OPEN)[0]["facts"]["contract"]["log_index"]
        tables = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [c[1] for c in database.execute(f"PRAGMA table_info({table})")]
            if "idx" in columns:
                database.execute(f"DELETE FROM {table} WHERE idx >= ?", (cut,))
            elif "size" in columns:
                database.execute(f"DELETE FROM {table} WHERE size > ?", (cut,))
    with refused("GOV-503", "GOV-504", "GOV-507"):
        release(home.again(context))
    with refused("GOV-503", "GOV-504", "GOV-507"):
        home.run(CUSTOMERS)
    assert home.pointer(CUSTOMERS) == pointer


def forged(home: Home, context: RunContext, stage: Stage, principal: str) -> int:
    """Evidence of ``stage`` with friendlier facts, appended by somebody else."""
    workspace = home.workspace()
    event = parse(workspace.log.entry(context.log_index(stage)).body or b"{}")
    event["run"]["facets"][f"governance_{stage}"]["facts"]["rows"] = 1
    entry = NewEntry(canonical(event), OPENLINEAGE_EVENT, principal)
    return workspace.log.append([entry])[0]


@pytest.mark.parametrize("principal", ["ingest:airflow", "evidence:pipeline"])
def test_forged_evidence_is_only_declared_and_releases_nothing(principal: str, validated: Validated) -> None:
    home, context = validated
    before = Before(home, CUSTOMERS)
    index = forged(home, context, Stage.CONSENT, principal)
    left = parse(staged(home, context, Stage.CONSENT).read_bytes())
    staged(home, context, Stage.CONSENT).write_bytes(
        canonical({"facts": {**left["facts"], "rows": 1}, "log_index": index})
    )
    with refused("GOV-507", "GOV-741"):
        release(context)
    workspace = home.workspace()
    rows = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key).evidence(
        dataset=CUSTOMERS
    )
    basis = {row["log_index"]: row["basis"] for row in rows}
    assert basis[index] == "declared"
    assert basis[context.log_index(Stage.VALIDATE)] == "observed"
    assert home.pointer(CUSTOMERS) == before.pointer


def test_facts_edited_in_staging_release_nothing(validated: Validated) -> None:
    home, context = validated
    left = parse(staged(home, context, Stage.VALIDATE).read_bytes())
    left["facts"]["rows"] += 1
    staged(home, context, Stage.VALIDATE).write_bytes(canonical(left))
    with refused("GOV-507"):
        release(context)


def test_evidence_of_another_attempt_does_not_count(validated: Validated) -> None:
    home, context = validated
    other = home.open(CUSTOMERS)
    classify(other)
    ours = staged(home, context, Stage.CLASSIFY)
    ours.write_bytes((home.root(CUSTOMERS) / other.reference.folder / "classify.json").read_bytes())
    with refused("GOV-507", "GOV-741"):
        release(context)


def test_a_refused_classification_marked_as_done_by_hand_releases_nothing(released: Home) -> None:
    mask = "classification: email\n        customProperties: [{property: protection, value: mask}]"
    contract = edited(released.contract(CUSTOMERS), lambda t: t.replace(mask, "classification: none", 1))
    context = released.open(CUSTOMERS, contract_path=contract)
    with refused("GOV-107"):
        classify(context)
    consent(context)
    with refused("GOV-107"):
        protect(context)


def test_a_failed_validation_marked_as_done_by_hand_releases_nothing(released: Home) -> None:
    contract = edited(released.contract(CUSTOMERS), lambda t: t.replace("max_value: 4}", "max_value: 1}", 1))
    before = Before(released, CUSTOMERS)
    context = released.open(CUSTOMERS, contract_path=contract)
    for step in (classify, consent, protect):
        step(context)
    with refused("GOV-402"):
        validate(context)
    with refused("GOV-402"):
        release(context)
    assert released.pointer(CUSTOMERS) == before.pointer
    states = [f["facts"]["state"] for f in released.evidence(Stage.RELEASE, CUSTOMERS)]
    assert states[-1] == "quarantined"


def test_a_version_protected_again_must_be_validated_again(validated: Validated) -> None:
    home, context = validated
    segments = {s["segment_id"] for s in context.facts(Stage.PROTECT)["segments"]}
    protect(context)
    assert not segments & {p.name for p in (home.root(CUSTOMERS) / "segments").iterdir()}
    with refused("GOV-741"):
        release(context)
    validate(context)
    release(context)
    assert home.manifest(CUSTOMERS).version == context.run.version


def test_a_file_altered_between_validate_and_release_is_not_released(validated: Validated) -> None:
    home, context = validated
    before = home.pointer(CUSTOMERS)
    facts = context.facts(Stage.PROTECT)
    data = home.root(CUSTOMERS) / facts["segments"][0]["files"][0]["path"]
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with refused("GOV-308", "GOV-723"):
        release(context)
    assert home.pointer(CUSTOMERS) == before


@pytest.mark.parametrize("nth", range(1, 5))
def test_a_store_that_goes_away_during_release_publishes_nothing_unsaid(
    nth: int, validated: Validated, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, context = validated
    before = Before(home, CUSTOMERS)
    real, calls = Log.append, iter(range(1, 100))

    def failing(log: Log, entries: list[NewEntry]) -> list[int]:
        if next(calls) >= nth:
            raise LogError("GOV-501", "the store cannot be reached", "bring it back")
        return real(log, entries)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", failing)
        with refused("GOV-501"):
            release(context)
    assert home.rows(CUSTOMERS).num_rows == before.rows.num_rows
    if nth < 3:
        assert home.pointer(CUSTOMERS) == before.pointer
    facts = release(home.again(context))
    assert facts["state"] == "released"
    assert home.manifest(CUSTOMERS).version == context.run.version
    said = [f["facts"] for f in home.evidence(Stage.RELEASE, CUSTOMERS)]
    ours = [f for f in said if f["state"] == "released" and f["manifest_digest"] == facts["manifest_digest"]]
    assert len(ours) == 1
    assert not list((home.root(CUSTOMERS) / "quarantine").glob(f"{context.run.version}.*"))


def test_a_store_that_is_not_there_is_refused(released: Home) -> None:
    store = released.path / "store"
    store.rename(store.with_name("away"))
    with refused("GOV-501"):
        released.workspace()
    store.with_name("away").rename(store)
    assert released.rows(CUSTOMERS).num_rows
