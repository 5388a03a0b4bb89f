"""Reversible tokens in free text: who may open them, what dies with a person, and where the values are meanwhile."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from before_and_after import ledger_rows, logged_text
from canary_search import Search
from governed_home import Home, edited, refused

from governance.access import read_released, read_with_duckdb
from governance.model.contract import Engine
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.pointer import released_contract, released_manifest
from governance.pipeline.spark.engine import runs_on_spark
from governance.pipeline.text_keys import keys_of_text
from governance.protect import open_version
from governance.protect.transforms.text_tokens import without_tokens
from governance.rights import finish, request_erasure

pytestmark = pytest.mark.xdist_group("text tokens")

LETTERS = "letters"
PURPOSE = "model_training"
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: 5e5f1f0e-7d8e-4a5e-8a0e-2c7f7f6b1d52
name: Letters
version: 1.0.0
status: active
customProperties:
  - property: governance
    value:
      kind: training
      purposes: [model_training]
      subject: {column: sender, domain: customer, others: [recipient]}
      jurisdiction: DE
schema:
  - name: letters
    properties:
      - {name: sender_p, physicalName: sender, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - {name: recipient_p, physicalName: recipient, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - {name: sender_name, logicalType: string, classification: person_name, customProperties: [{property: protection, value: drop}]}
      - {name: number, logicalType: integer, classification: none}
      - name: letter
        logicalType: string
        classification: free_text
        customProperties: [{property: protection, value: {method: redact, arguments: {reversible: true}}}]
"""
PEOPLE = [f"C-93000000{n:02}" for n in range(8)]
GONE = PEOPLE[3]
ROWS = 64


def person(number: int) -> tuple[str, str]:
    return f"Zyxwena Qarlsdottir{'abcdefgh'[number]}", f"zq7k{number}w.canary{number}@example.org"


def letter(row: int) -> str:
    name, address = person(row % 8)
    if row % 4 == 3:
        return f"Parcel {row} arrived, nothing else to say."
    return f"Dear team, {name} here: write to {address} — or to {address}, ünder no. [EMAIL] {row}."


@pytest.fixture(scope="module")
def home(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("tokens")
    home = Home.copied(prepared_home, folder / "home")
    home.contract(LETTERS).write_text(CONTRACT)
    edited(
        home.path / "policy.yaml",
        lambda text: text.replace(
            "  support_inference:\n", "    detokenize: true\n  support_inference:\n", 1
        ),
    )
    grants = [ledger_rows(p, (PURPOSE, "grant", datetime(2024, 1, 1, tzinfo=UTC), None)) for p in PEOPLE]
    pq.write_table(pa.concat_tables(grants), folder / "grants.parquet")
    import_consent(home.workspace(), folder / "grants.parquet")
    rows = range(ROWS)
    source = pa.table(
        {
            "sender": [PEOPLE[n % 8] for n in rows],
            "recipient": [PEOPLE[(n + 1) % 8] if n % 2 else "" for n in rows],
            "sender_name": [person(n % 8)[0] for n in rows],
            "number": list(rows),
            "letter": [letter(n) for n in rows],
        }
    )
    pa_csv.write_csv(source, home.path / "input" / "letters.csv")
    home.run(
        "customer_profiles",
        contract_path=home.contract(LETTERS),
        source=home.path / "input" / "letters.csv",
        purpose=PURPOSE,
    )
    return home


def letters(home: Home, *, detokenize: bool) -> dict[int, str]:
    batches = read_released(home.workspace(), LETTERS, purpose=PURPOSE, detokenize=detokenize)
    rows = pa.Table.from_batches(batches)
    return dict(zip(rows["number"].to_pylist(), rows["letter"].to_pylist(), strict=True))


def test_tokens_stand_for_values_until_a_purpose_that_may_opens_them(home: Home) -> None:
    closed = letters(home, detokenize=False)
    assert sorted(closed) == list(range(ROWS))
    for row, text in closed.items():
        tags = [kind for kind, _ in re.findall(r"\[([A-Z]+):([A-Za-z]+)\]", text)]
        assert tags == ([] if row % 4 == 3 else ["NAME", "EMAIL", "EMAIL", "EMAIL"])
        assert "canary" not in text
        assert "Zyxwena" not in text
    assert letters(home, detokenize=True) == {row: letter(row) for row in range(ROWS)}
    relation = read_with_duckdb(home.workspace(), LETTERS, purpose=PURPOSE, detokenize=True)
    assert relation.filter("letter LIKE '%canary2@%'").count("*").fetchall() == [(8,)]
    reads = [
        json.loads(entry.body or b"")
        for entry in home.workspace().log.entries()
        if entry.envelope.media_type == "application/vnd.governance.read+json"
    ]
    assert [read.get("detokenized") for read in reads] == [None, ["letter"], ["letter"]]


def test_nothing_is_opened_for_a_purpose_that_may_not_or_where_nothing_is_sealed(home: Home) -> None:
    with refused("GOV-609"):
        next(read_released(home.workspace(), LETTERS, purpose=PURPOSE, columns=["number"], detokenize=True))
    policy = home.path / "policy.yaml"
    written = policy.read_text()
    edited(policy, lambda text: text.replace("    detokenize: true\n", ""))
    try:
        with refused("GOV-609"):
            letters(home, detokenize=True)
    finally:
        policy.write_text(written)


def test_the_values_are_nowhere_in_the_clear(home: Home) -> None:
    """But in the source, which the home of this test holds."""
    search = Search([part for n in range(8) for part in person(n)])
    home.workspace().close()
    assert search.tree(home.path, leaving_out=[home.path / "input"]) == {}


def test_a_plan_shows_the_tokens_and_spark_is_refused(home: Home, tmp_path: Path) -> None:
    arguments = ("--source", str(home.path / "input" / "letters.csv"), "--purpose", PURPOSE)
    code, out, _ = home.cli("plan", str(home.contract(LETTERS)), *arguments)
    assert code == 0
    assert "reversible: True" in out
    assert "Tokens in letter: a read for model_training may open them." in out
    asking = tmp_path / "letters.odcs.yaml"
    asking.write_text(
        CONTRACT.replace("jurisdiction: DE", "jurisdiction: DE\n      engine: spark").replace(
            ", others: [recipient]", ""
        )
    )
    code, out, err = home.cli("contract", "check", str(asking), "--policy", str(home.path / "policy.yaml"))
    assert code
    assert "never leave for Spark" in out + err
    workspace = home.workspace()
    contract = released_contract(workspace, released_manifest(workspace, LETTERS))
    alone = replace(contract, subject=replace(contract.subject, others=()))
    source = SimpleNamespace(kind="csv")
    assert not runs_on_spark(replace(alone, engine=Engine.AUTO), source, None)  # type: ignore[arg-type]
    with refused("GOV-102"):
        runs_on_spark(replace(alone, engine=Engine.SPARK), source, None)  # type: ignore[arg-type]


def test_an_erased_persons_tokens_open_no_more_wherever_they_were_copied(home: Home, tmp_path: Path) -> None:
    home = Home.copied(home.path, tmp_path / "home")
    workspace = home.workspace()
    manifest = released_manifest(workspace, LETTERS)
    contract = released_contract(workspace, manifest)
    files = open_version(workspace.dataset_storage(LETTERS), manifest, workspace.keyring.segment_key)
    kept = pa.Table.from_batches(files).sort_by("number")["letter"].combine_chunks()
    people = np.array(
        [
            workspace.vault.resolve("customer", pa.array([PEOPLE[n % 8], PEOPLE[(n + 1) % 8]]), create=False)
            for n in range(ROWS)
        ]
    )
    people[::2, 1] = -1
    keys = keys_of_text(workspace, contract)
    copied = without_tokens(kept, lambda rows: keys("letter", people[rows])).to_pylist()
    assert copied == [letter(n) for n in range(ROWS)]
    # Another column's, or another dataset's, key opens nothing.
    assert without_tokens(kept, lambda rows: keys("note", people[rows])).equals(kept)

    recorder = local_recorder(workspace, "erasure", "r1")
    request_erasure(
        workspace, recorder, request="r1", domain="customer", identifiers=pa.array([GONE]),
        ground="art17-1b", approve=lambda _: True,
    )  # fmt: skip
    workspace = home.workspace()
    keys = keys_of_text(workspace, contract)
    after = without_tokens(kept, lambda rows: keys("letter", people[rows])).to_pylist()
    theirs = {n for n in range(ROWS) if n % 8 == 3 or (n % 2 and (n + 1) % 8 == 3)}
    assert [after[n] for n in theirs] == [kept[n].as_py() for n in theirs]
    assert all(after[n] == letter(n) for n in range(ROWS) if n not in theirs)
    assert sorted(letters(home, detokenize=True)) == sorted(set(range(ROWS)) - theirs)
    finish(workspace)
    assert letters(home, detokenize=True) == {n: letter(n) for n in range(ROWS) if n not in theirs}
    assert GONE not in logged_text(home)
