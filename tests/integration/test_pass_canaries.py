"""Canaries: after passes, a disclosure and every kind of failure, no planted value is anywhere but the input."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from before_and_after import CANARY, CUSTOMERS
from canary_search import Search, plant, table_bytes
from governed_home import DATASETS, PURPOSES, Home
from test_pass_bad_setting import changed_contract
from test_pass_bad_source import SPOILERS

from governance.errors import GovernanceError


def canaries(home: Home) -> set[str]:
    listed = json.loads((home.path / "input" / "canaries.json").read_text("utf-8"))
    values = {v for columns in listed.values() for found in columns.values() for v in found}
    # A phone number's last seven digits are fewer than eight bytes; whole numbers are looked for.
    return {v for v in values if len(v) >= 8}


def details(home: Home) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(
        (home.path / "input" / "canary_details.json").read_text("utf-8")
    )
    return listed


def test_the_search_finds_what_is_hidden(tmp_path: Path) -> None:
    ways = plant(tmp_path, CANARY)
    found = Search([CANARY]).tree(tmp_path)
    assert set(found) == set(ways)
    assert not Search(["Zqxv-not-there-1"]).tree(tmp_path)


def test_no_canary_leaves_the_input(
    released: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = released
    for name in ("temporary", "working"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "working")
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def command(*arguments: object) -> int:
        code, out, err = home.cli(*map(str, arguments))
        said.extend((out, err))
        return code

    def run(dataset: str, contract: Path | None = None) -> int:
        source = ("--source", home.source(dataset), "--purpose", PURPOSES[dataset])
        return command("run", contract or home.contract(dataset), *source)

    disclosed = home.path / "disclosures" / "northlake"
    to = ("--to", "northlake-research", "--purpose", "research", "--description", "for outcomes research")
    assert command("disclose", "clinical_encounters", *to, "--out", disclosed) == 0
    kept = tmp_path / "kept"
    shutil.copytree(home.path / "input", kept)
    for spoil in SPOILERS:
        dataset, _ = spoil(home)
        assert run(dataset) == 1
        shutil.rmtree(home.path / "input")
        shutil.copytree(kept, home.path / "input")
    for old, new in (("max_value: 4}", "max_value: 1}"), ("classification: iban", "classification: none")):
        contract = changed_contract(home, old, new)
        assert run(CUSTOMERS, contract) == 1
    assert run("support_prompts") == 0
    for looking in (("log", "verify", "--files"), ("lineage", "datasets"), ("log", "show", "9")):
        command(*looking)
    command("classify", kept / "customers.csv")
    command("lineage", "evidence", CUSTOMERS, "--json")

    search = Search(canaries(home) | {CANARY})
    assert not search.tree(home.path, leaving_out=[home.path / "input"])
    for place in ("temporary", "working"):
        assert not search.tree(tmp_path / place)
    captured = capfd.readouterr()
    shown = "\n".join([*said, captured.out, captured.err, caplog.text, *map(str, caplog.records)])
    assert not search.data(shown.encode())


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_canary_is_in_what_a_reader_decrypts(dataset: str, released_once: Path) -> None:
    home = Home(released_once)
    planted = canaries(home)
    if dataset == "support_prompts":
        # It has no column of names to know them by, and these, of letters and digits, look like no name.
        planted -= {d["value"] for d in details(home) if d["kind"] in ("name", "person_name")}
    assert not Search(planted).data(table_bytes(home.rows(dataset)))


def test_canaries_are_in_the_input_so_that_looking_for_them_means_something(released_once: Path) -> None:
    home = Home(released_once)
    found = Search(canaries(home)).tree(home.path / "input")
    assert {p.split("/")[0] for p in found} >= {
        "clinical_encounters",
        "customers.csv",
        "support_conversations.jsonl.gz",
    }


def test_a_fault_of_a_library_that_quotes_a_value_is_withheld(released: Home) -> None:
    table = pa.table({"customer_id": [CANARY], "other": [1]})
    assert Search([CANARY]).data(table_bytes(table))
    with pytest.raises(GovernanceError) as caught:
        released.run(CUSTOMERS, source=released.path / "input" / f"{CANARY}.csv")
    # A path is named: it is the operator's own, not a value of a dataset.
    assert caught.value.code == "GOV-701"
