"""Rows about several people: each of them has to allow it, and each is found again, whichever column names them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from before_and_after import ledger_rows
from governed_home import Home, edited, refused

from governance.access import disclose, open_disclosure, read_released
from governance.model.contract import Engine, Jurisdiction
from governance.model.decision import Reason, Regime
from governance.model.evidence import Stage
from governance.pipeline.consent import ConsentDecision, ReleasedSubjects
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.membership import segment_members
from governance.pipeline.pointer import released_manifest
from governance.pipeline.run import STEPS
from governance.pipeline.spark.engine import runs_on_spark
from governance.protect import open_version
from governance.rights import erasure_facts, finish, request_erasure

pytestmark = pytest.mark.xdist_group("several people")

CHATS = "chats"
PURPOSE = "model_training"
PEOPLE = ["sender", "recipient", "witness"]
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: 0d2b8e6a-7b0c-4a3c-9f39-52f2a6a1c0aa
name: Chats
version: 1.0.0
status: active
customProperties:
  - property: governance
    value:
      kind: training
      purposes: [model_training]
      subject: {column: sender, domain: customer, others: [recipient, witness]}
      jurisdiction: DE
      loadMode: append
schema:
  - name: chats
    properties:
      - {name: sender_p, physicalName: sender, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - {name: recipient_p, physicalName: recipient, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - {name: witness_p, physicalName: witness, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - name: number
        logicalType: integer
        classification: none
        quality:
          - name: numbers are small
            type: custom
            engine: greatExpectations
            implementation: {type: expect_column_values_to_be_between, kwargs: {max_value: 999999}}
            customProperties: [{property: scope, value: source}]
"""

ALLOWED = [f"C-90000000{n:02}" for n in range(30)]
DENIED, STRANGERS = [f"C-91000000{n:02}" for n in range(8)], [f"C-92000000{n:02}" for n in range(3)]
SECOND = ALLOWED[29]
"""Named in the second column only."""
START = datetime(2024, 1, 1, tzinfo=UTC)


def chats(home: Home, rows: int, seed: int, first: int = 0) -> Path:
    """People who mostly allow; nobody in some further places. The last ten rows are set aside by the rule."""
    rng = np.random.default_rng(seed)

    def drawn(people: list[str], nobody: float) -> pa.Array:
        chosen = rng.choice([*people * 3, *DENIED, *STRANGERS], rows)
        return pa.array(np.where(rng.random(rows) < nobody, rng.choice(["", "  "], rows), chosen).tolist())

    columns = [drawn(ALLOWED[:25], 0.03), drawn(ALLOWED[20:], 0.2), drawn(ALLOWED[10:28], 0.6)]
    number = pa.array([first + n + (1_000_000 if n >= rows - 10 else 0) for n in range(rows)])
    path = home.path / "input" / f"chats-{seed}.csv"
    pa_csv.write_csv(pa.table(dict(zip([*PEOPLE, "number"], [*columns, number], strict=True))), path)
    return path


def record(home: Home, tmp_path: Path, action: str, *subjects: str, since: datetime | None = None) -> None:
    file, since = tmp_path / f"{action}-{subjects[0]}.parquet", since or datetime.now(UTC)
    tables = [ledger_rows(subject, ("model_training", action, since, None)) for subject in subjects]
    pq.write_table(pa.concat_tables(tables), file)
    import_consent(home.workspace(), file)


@pytest.fixture(scope="module")
def chats_once(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    home = Home.copied(prepared_home, folder / "home")
    home.contract(CHATS).write_text(CONTRACT)
    record(home, folder, "grant", *ALLOWED, *DENIED, since=START)
    record(home, folder, "withdraw", *DENIED, since=datetime(2024, 6, 1, tzinfo=UTC))
    home.run(
        "customer_profiles", contract_path=home.contract(CHATS), source=chats(home, 400, 1), purpose=PURPOSE
    )
    return home.path


@pytest.fixture
def home(chats_once: Path, tmp_path: Path) -> Home:
    return Home.copied(chats_once, tmp_path / "home")


def read(home: Home) -> pa.Table:
    return pa.Table.from_batches(read_released(home.workspace(), CHATS, purpose=PURPOSE))


def sealed(home: Home) -> pa.Table:
    """What stands in the released files, whatever a governed reader is shown."""
    workspace = home.workspace()
    manifest, storage = released_manifest(workspace, CHATS), workspace.dataset_storage(CHATS)
    return pa.Table.from_batches(open_version(storage, manifest, workspace.keyring.segment_key))


def numbers(rows: pa.Table) -> list[int]:
    return sorted(rows["number"].to_pylist())


def expected(home: Home, *gone: str, rule: str = "number < 1000000") -> list[int]:
    """The numbers of the rows that may be there, by plain SQL over all sources."""
    listed = ", ".join(f"'{name}'" for name in ALLOWED if name not in gone)
    source = f"read_csv('{home.path}/input/chats-*.csv', header = true, types = {{'number': 'BIGINT'}})"
    further = " AND ".join(f"(coalesce(trim({p}), '') = '' OR {p} IN ({listed}))" for p in PEOPLE[1:])
    found = duckdb.sql(f"SELECT number FROM {source} WHERE {rule} AND sender IN ({listed}) AND {further}")
    return sorted(number for (number,) in found.fetchall())


def released_as(home: Home, subject: str) -> str:
    vault = home.workspace().vault
    ordinals = vault.resolve("customer", pa.array([subject]), create=False)
    return str(vault.pseudonyms("customer", "released:customer", ordinals)[0].tobytes().hex())


def facts(home: Home, stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = home.evidence(stage, CHATS)[-1]["facts"]
    return found


def test_a_row_goes_only_when_each_of_its_people_allows_it(home: Home) -> None:
    rows, said = read(home), facts(home, Stage.CONSENT)
    assert numbers(rows) == expected(home)
    assert (said["rows"], said["allowed"]) == (400, len(expected(home, rule="true")))
    assert facts(home, Stage.PROTECT)["rows_quarantined"] == len(expected(home, rule="number > 999999"))
    # Everyone who is named anywhere and known counts once.
    source = pa_csv.read_csv(home.path / "input" / "chats-1.csv").to_pylist()
    named = {row[p] for row in source for p in PEOPLE} & {*ALLOWED, *DENIED}
    may = set(expected(home, rule="true"))
    passing = {row[p] for row in source if row["number"] in may for p in PEOPLE}
    assert said["subjects"]["distinct"] == len(named)
    assert said["subjects"]["allowed"] == len(passing & named)


def test_each_column_carries_its_own_peoples_pseudonyms(home: Home) -> None:
    source = {row["number"]: row for row in pa_csv.read_csv(home.path / "input" / "chats-1.csv").to_pylist()}
    names = {name: released_as(home, name) for name in ALLOWED}
    for row in read(home).to_pylist():
        for person in PEOPLE:
            assert row[f"{person}_p"] == names.get(source[row["number"]][person].strip())


def test_a_plan_counts_what_the_run_does(home: Home) -> None:
    code, out, _ = home.cli(
        "plan", str(home.contract(CHATS)), "--source", str(home.path / "input/chats-1.csv"),
        "--purpose", PURPOSE, "--json",
    )  # fmt: skip
    said, did = json.loads(out)["consent"], facts(home, Stage.CONSENT)
    assert code == 0
    assert {k: said[k] for k in ("rows", "allowed", "denied", "by_reason")} == {
        k: did[k] for k in ("rows", "allowed", "denied", "by_reason")
    }


def test_a_later_withdrawal_of_the_second_restricts_reads_and_carried_segments(
    home: Home, tmp_path: Path
) -> None:
    name = released_as(home, SECOND)
    assert name in read(home)["recipient_p"].to_pylist()
    record(home, tmp_path, "withdraw", SECOND)
    assert numbers(read(home)) == expected(home, SECOND)
    assert name in sealed(home)["recipient_p"].to_pylist()
    disclosed = disclose(
        home.workspace(), local_recorder(home.workspace(), CHATS, "d"), dataset=CHATS,
        directory=tmp_path / "out", recipient="northlake-research", purpose=PURPOSE, description="Chats",
    )  # fmt: skip
    key = base64.b64decode((home.path / "secrets" / "northlake-research.key").read_text())
    theirs = pa.Table.from_batches(open_disclosure(tmp_path / "out", key))
    assert numbers(theirs) == expected(home, SECOND)
    ours = read(home)
    assert disclosed.facts["withheld"] == sealed(home).num_rows - ours.num_rows
    own = {v for p in PEOPLE for v in ours[f"{p}_p"].to_pylist()} - {None}
    assert disclosed.facts["subjects"] == len(own)
    assert not own & {v for p in PEOPLE for v in theirs[f"{p}_p"].to_pylist()}
    for person in PEOPLE:
        assert theirs[f"{person}_p"].is_null().equals(ours[f"{person}_p"].is_null())
    home.run(
        "customer_profiles",
        contract_path=home.contract(CHATS),
        source=chats(home, 100, 2, first=1000),
        purpose=PURPOSE,
    )
    assert name not in sealed(home)["recipient_p"].to_pylist()
    assert numbers(sealed(home)) == expected(home, SECOND)


def test_a_withdrawal_of_the_second_while_the_run_goes_on_is_late(home: Home, tmp_path: Path) -> None:
    context = home.open(
        "customer_profiles",
        contract_path=home.contract(CHATS),
        source=chats(home, 100, 3, first=2000),
        purpose=PURPOSE,
    )
    for stage, step in STEPS.items():
        if stage is Stage.RELEASE:
            record(home, tmp_path, "withdraw", SECOND)
            context = home.again(context)
        step(context)
    assert numbers(sealed(home)) == expected(home, SECOND)


def test_erasing_the_second_removes_the_rows_everywhere(home: Home) -> None:
    name, first = released_as(home, SECOND), home.manifest(CHATS)
    workspace = home.workspace()
    [segment] = first.segments
    internal = workspace.vault.internal("customer")
    [ordinal] = workspace.vault.resolve("customer", pa.array([SECOND]), create=False)
    members = segment_members(workspace, workspace.dataset_storage(CHATS), segment)
    assert members is not None
    assert members.contains(internal[[ordinal]]).all()
    request_erasure(
        workspace, local_recorder(workspace, "erasure", "R"), request="R", domain="customer",
        identifiers=pa.array([SECOND]), ground="objection", approve=lambda _: True,
    )  # fmt: skip
    assert numbers(read(home)) == expected(home, SECOND)
    finish(home.workspace(), identifiers={"customer": pa.array([SECOND])})
    assert numbers(sealed(home)) == expected(home, SECOND)
    assert name not in sealed(home)["recipient_p"].to_pylist()
    said = erasure_facts(home.workspace().log, "R")
    assert said is not None
    assert said["searched"]["found"] == 0
    assert first.segments[0].segment_id in said["destroyed"][0]["doomed"]


def test_the_worst_reason_is_the_rows(home: Home) -> None:
    """Against a loop over every person's own decision; a jurisdiction column speaks for the subject alone."""
    context = home.open(
        "customer_profiles",
        contract_path=home.contract(CHATS),
        source=home.path / "input" / "chats-1.csv",
        purpose=PURPOSE,
    )
    decision, rng = ConsentDecision.of_run(context), np.random.default_rng(5)
    last = decision.erased[0]
    ordinals = np.where(rng.random((500, 3)) < 0.2, -1, rng.integers(0, last + 1, (500, 3)))
    ordinals[rng.random((500, 3)) < 0.1] = last
    places = rng.choice(np.array([0, 1, 2, 3, 4, 5, 6, 7, 255], np.uint8), 500)
    for column in (None, "where"):
        decision.contract = replace(context.contract, jurisdiction=Jurisdiction(column, None))
        found = decision.decide(ordinals, places)
        for row, place, reason in zip(ordinals, places, found, strict=True):
            worst = Reason.ALLOWED
            for position, person in enumerate(row):
                bits = place
                if position and column:
                    bits = place | np.uint8(Regime.GDPR | Regime.CCPA)
                if position == 0 or person >= 0:
                    own = decision.decide(np.array([person]), np.array([bits], np.uint8))[0]
                    worst = max(worst, Reason(int(own)))
            assert reason == worst


def test_a_pseudonym_that_nobody_knows_denies_its_row_wherever_it_stands(home: Home) -> None:
    context = home.open(
        "customer_profiles",
        contract_path=home.contract(CHATS),
        source=home.path / "input" / "chats-1.csv",
        purpose=PURPOSE,
    )
    released = ReleasedSubjects([ConsentDecision.of_run(context)], context.workspace.vault)
    known, made_up = released_as(home, ALLOWED[0]), "ab" * 16
    rows = pa.record_batch(
        {
            "sender_p": pa.array([known, known, known, made_up, None]),
            "recipient_p": pa.array([known, made_up, None, known, known]),
            "witness_p": pa.array([None, None, "not a pseudonym", None, None]),
        }
    )
    reasons, _ = released.decide(rows)
    assert [Reason(int(r)) for r in reasons] == [
        Reason.ALLOWED, Reason.ERASED, Reason.ERASED, Reason.NO_SUBJECT, Reason.NO_SUBJECT
    ]  # fmt: skip
    derived = ConsentDecision(
        context.workspace, context.contract, context.policy, PURPOSE, context.run.opened_at,
        context.run.consent_position, derived=True,
    )  # fmt: skip
    reasons, _ = derived(rows.rename_columns(PEOPLE))
    assert [Reason(int(r)) for r in reasons] == [
        Reason.ALLOWED, Reason.ERASED, Reason.ERASED, Reason.ERASED, Reason.NO_SUBJECT
    ]  # fmt: skip


def test_spark_is_never_asked(home: Home) -> None:
    context = home.open(
        "customer_profiles",
        contract_path=home.contract(CHATS),
        source=home.path / "input" / "chats-1.csv",
        purpose=PURPOSE,
    )
    plan: Any = SimpleNamespace(recode=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOVERNANCE_SPARK_FROM", "1")
        assert not runs_on_spark(replace(context.contract, engine=Engine.AUTO), context.run.source, plan)
    with refused("GOV-102"):
        runs_on_spark(replace(context.contract, engine=Engine.SPARK), context.run.source, plan)


def test_segments_are_not_carried_past_a_change_of_whom_they_name(home: Home) -> None:
    edited(
        home.contract(CHATS),
        lambda t: t.replace("others: [recipient, witness]", "others: [recipient]").replace(
            "physicalName: witness, logicalType: string, classification: customer_id, "
            "customProperties: [{property: protection, value: pseudonym}]",
            "physicalName: witness, logicalType: string, classification: customer_id, "
            "customProperties: [{property: protection, value: drop}]",
        ),
    )
    before = home.pointer(CHATS)
    with refused("GOV-102"):
        home.run(
            "customer_profiles", contract_path=home.contract(CHATS), source=chats(home, 50, 4, 3000),
            purpose=PURPOSE,
        )  # fmt: skip
    assert home.pointer(CHATS) == before


def test_a_copy_for_one_person_shows_no_other(home: Home, tmp_path: Path) -> None:
    from governance.cli.report_subject import write_copies

    [path] = write_copies(home.workspace(), "customer", SECOND, tmp_path)
    rows = json.loads(path.read_text())["rows"]
    own = released_as(home, SECOND)
    assert sorted(row["number"] for row in rows) == sorted(set(expected(home)) - set(expected(home, SECOND)))
    assert {row[f"{p}_p"] for row in rows for p in PEOPLE} == {own, None}


def test_source_rows_set_aside_under_an_earlier_contract_are_found_too(home: Home) -> None:
    """The contract no longer names the column; the quarantined rows still do."""
    path = home.path / "input" / "chats-1.csv"
    source = pa_csv.read_csv(path).to_pylist()
    aside = set(expected(home, rule="number > 999999"))
    people = {row["recipient"].strip() for row in source if row["number"] in aside} - {""}
    one = min(people)
    edited(
        home.contract(CHATS),
        lambda t: t.replace(", others: [recipient, witness]", "")
        .replace("loadMode: append", "loadMode: full")
        .replace(*(f"{{name: recipient_p, physicalName: recipient, logicalType: string, classification: customer_id, customProperties: [{{property: protection, value: {m}}}]}}" for m in ("pseudonym", "drop")))
        .replace(*(f"{{name: witness_p, physicalName: witness, logicalType: string, classification: customer_id, customProperties: [{{property: protection, value: {m}}}]}}" for m in ("pseudonym", "drop"))),
    )  # fmt: skip
    home.run("customer_profiles", contract_path=home.contract(CHATS), source=path, purpose=PURPOSE)
    assert "recipient_p" not in sealed(home).column_names
    workspace = home.workspace()
    request_erasure(
        workspace, local_recorder(workspace, "erasure", "R"), request="R", domain="customer",
        identifiers=pa.array([one]), ground="objection", approve=lambda _: True,
    )  # fmt: skip
    finish(home.workspace(), identifiers={"customer": pa.array([one])})
    said = erasure_facts(home.workspace().log, "R")
    assert said is not None
    pieces = [piece for step in said["rewritten"] for piece in step["quarantine"]]
    assert sum(piece["dropped"] for piece in pieces) >= sum(
        row["number"] in aside and one in [row[p] for p in PEOPLE] for row in source
    ) + sum(row["sender"] == one and row["number"] > 999_999 for row in source)
    assert said["searched"]["found"] == 0
