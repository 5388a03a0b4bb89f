"""Disclosure: to whom the policy allows, sealed to them, recorded before it is visible, without withdrawals."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from before_and_after import german_subjects, withdraw
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from governed_home import Home, edited, refused

from governance.access import Disclosure, disclose, open_disclosure
from governance.errors import LogError
from governance.lineage.facets import nonconformities
from governance.log import Log
from governance.model.canonical import canonical, digest
from governance.model.evidence import Stage
from governance.pipeline.local import local_recorder

CUSTOMERS = "customer_profiles"
TO = {
    "recipient": "northlake-research",
    "purpose": "model_training",
    "description": "Profiles, to train with",
}


def disclosed(home: Home, directory: Path, **changed: Any) -> Disclosure:
    workspace = home.workspace()
    arguments = {"dataset": CUSTOMERS, **TO, **changed, "directory": directory}
    return disclose(workspace, local_recorder(workspace, CUSTOMERS, "a-disclosure"), **arguments)


def private_key(home: Home, recipient: str) -> bytes:
    return base64.b64decode((home.path / "secrets" / f"{recipient}.key").read_text())


def opened(home: Home, directory: Path, recipient: str = "northlake-research") -> pa.Table:
    return pa.Table.from_batches(open_disclosure(directory, private_key(home, recipient)))


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if "partial" in p.name] if folder.exists() else []


def test_only_the_recipient_opens_it_and_finds_the_released_rows(released: Home, tmp_path: Path) -> None:
    done = disclosed(released, tmp_path / "out")
    rows, ours = opened(released, tmp_path / "out"), released.rows(CUSTOMERS)
    assert rows.num_rows == done.facts["rows"] == ours.num_rows
    assert rows.drop_columns("customer_pseudonym").equals(ours.drop_columns("customer_pseudonym"))
    pairs = set(
        zip(rows["customer_pseudonym"].to_pylist(), ours["customer_pseudonym"].to_pylist(), strict=True)
    )
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == done.facts["subjects"]
    assert not {a for a, _ in pairs} & {b for _, b in pairs}
    for key in (private_key(released, "spreelabor-ki"), X25519PrivateKey.generate().private_bytes_raw()):
        with refused("GOV-604"):
            list(open_disclosure(tmp_path / "out", key))


def test_two_recipients_cannot_join_what_they_hold(released: Home, tmp_path: Path) -> None:
    edited(
        released.path / "policy.yaml",
        lambda t: t.replace("purposes: [support_inference]", "purposes: [support_inference, model_training]"),
    )
    disclosed(released, tmp_path / "first")
    disclosed(released, tmp_path / "second", recipient="spreelabor-ki")
    disclosed(released, tmp_path / "again")
    first, again = opened(released, tmp_path / "first"), opened(released, tmp_path / "again")
    second = opened(released, tmp_path / "second", "spreelabor-ki")
    names = [set(t["customer_pseudonym"].to_pylist()) for t in (first, second, released.rows(CUSTOMERS))]
    assert not names[0] & names[1]
    assert not names[1] & names[2]
    assert first["customer_pseudonym"].equals(again["customer_pseudonym"])


@pytest.mark.parametrize("damage", ["data", "key material", "statement", "missing", "swapped"])
def test_an_altered_disclosure_does_not_open(damage: str, released: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    disclosed(released, out)
    files = sorted((out / "data").iterdir())
    data = next(f for f in files if f.suffix == ".parquet")
    material = next(f for f in files if f != data)
    if damage in ("data", "key material"):
        path = data if damage == "data" else material
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    elif damage == "missing":
        data.unlink()
    elif damage == "swapped":
        disclosed(released, tmp_path / "other")
        data.write_bytes(next((tmp_path / "other" / "data").glob("*.parquet")).read_bytes())
    else:
        statement = json.loads((out / "disclosure.json").read_bytes())
        statement["files"] = statement["files"][:1]
        (out / "disclosure.json").write_bytes(canonical(statement))
    with refused("GOV-604"):
        list(open_disclosure(out, private_key(released, "northlake-research")))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"recipient": "nobody-we-know"}, "GOV-601"),
        ({"purpose": "treatment"}, "GOV-602"),
        ({"recipient": "spreelabor-ki"}, "GOV-602"),
        ({"description": "  "}, "GOV-602"),
        ({"columns": ["full_name"]}, "GOV-603"),
        ({"dataset": "never_released"}, "GOV-603"),
    ],
)
def test_what_the_policy_does_not_allow_leaves_nothing_behind(
    changed: dict[str, Any], code: str, released: Home, tmp_path: Path
) -> None:
    size = released.workspace().log.size()
    with refused(code):
        disclosed(released, tmp_path / "to" / "out", **changed)
    assert not (tmp_path / "to" / "out").exists()
    assert not hidden(tmp_path / "to")
    assert released.workspace().log.size() == size


def test_a_directory_that_exists_is_not_written_into(released: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with refused("GOV-602"):
        disclosed(released, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_who_withdrew_since_the_release_is_left_out(released: Home, tmp_path: Path) -> None:
    subject, rows = next(iter(german_subjects(released).items()))
    withdraw(released, subject, tmp_path)
    done = disclosed(released, tmp_path / "out")
    assert done.facts["withheld"] == rows
    assert done.facts["ledger_position"] == released.workspace().ledger.position
    assert done.facts["rows"] == opened(released, tmp_path / "out").num_rows
    assert done.facts["rows"] + rows == released.manifest(CUSTOMERS).body["counts"]["rows_out"]


def test_without_the_pseudonym_column_withdrawals_are_left_out_too(released: Home, tmp_path: Path) -> None:
    subject, rows = next(iter(german_subjects(released).items()))
    withdraw(released, subject, tmp_path)
    done = disclosed(released, tmp_path / "out", columns=["loyalty_tier", "country"])
    assert done.facts["withheld"] == rows
    assert opened(released, tmp_path / "out").column_names == ["country", "loyalty_tier"]


def test_consent_for_the_purpose_of_the_disclosure_is_needed_as_well(released: Home, tmp_path: Path) -> None:
    clinical = {"dataset": "clinical_encounters", "purpose": "research"}
    done = disclosed(released, tmp_path / "out", **clinical)
    assert 0 < done.facts["rows"] < released.manifest("clinical_encounters").body["counts"]["rows_out"]
    assert done.facts["accounting"] == {"applies": True, "exclusion": None, "ground": "research_waiver"}


def test_a_disclosure_that_cannot_be_recorded_does_not_become_visible(
    released: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> list[int]:
        raise LogError("GOV-501", "the store cannot be reached", "bring it back")

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", failing)
        with refused("GOV-501"):
            disclosed(released, tmp_path / "to" / "out")
    with monkeypatch.context() as patched:
        patched.setattr(Log, "checkpoint", failing)
        with refused("GOV-501"):
            disclosed(released, tmp_path / "to" / "out")
    assert not (tmp_path / "to" / "out").exists()
    assert not hidden(tmp_path / "to")
    assert disclosed(released, tmp_path / "to" / "out").facts["rows"]


def test_it_is_recorded_before_it_is_visible(
    released: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_time: list[int] = []
    real = Path.rename

    def renaming(path: Path, target: Path) -> Path:
        if str(target).endswith("/out"):
            at_the_time.append(len(released.evidence(Stage.DISCLOSE)))
            assert released.workspace().log.latest().size == released.workspace().log.size()  # type: ignore[union-attr]
        return real(path, target)

    monkeypatch.setattr(Path, "rename", renaming)
    done = disclosed(released, tmp_path / "out")
    assert at_the_time == [1]
    facet = released.evidence(Stage.DISCLOSE)[0]
    assert facet["facts"]["disclosure_id"] == done.facts["disclosure_id"]
    assert not nonconformities(facet)
    statement = json.loads((tmp_path / "out" / "disclosure.json").read_bytes())
    assert digest(canonical(statement["files"])) == facet["facts"]["files_digest"]


def test_a_release_that_was_altered_is_not_disclosed(released: Home, tmp_path: Path) -> None:
    manifest = released.manifest(CUSTOMERS)
    data = released.root(CUSTOMERS) / manifest.segments[0].files[0].path
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with refused("GOV-723"):
        disclosed(released, tmp_path / "to" / "out")
    assert not hidden(tmp_path / "to")


def test_the_command(released: Home, tmp_path: Path) -> None:
    to = ("--to", "northlake-research", "--purpose", "research", "--description", "Outcomes of care")
    columns = ("--column", "sex", "--column", "diagnosis_code")
    arguments = ("disclose", "clinical_encounters", *to, *columns, "--out", str(tmp_path / "out"))
    code, out, err = released.cli(*arguments, "--json")
    assert code == 0, err
    assert json.loads(out)["columns"] == ["sex", "diagnosis_code"]
    assert opened(released, tmp_path / "out").num_rows == json.loads(out)["rows"]
    code, _, err = released.cli(*arguments)
    assert (code, "GOV-602" in err) == (1, True)


def test_its_run_ends_before_the_checkpoint_that_signs_it(released: Home, tmp_path: Path) -> None:
    done = disclosed(released, tmp_path / "out")
    own = [event for event in released.events() if event["index"] >= done.log_index]
    assert [event["eventType"] for event in own] == ["RUNNING", "COMPLETE"]
    assert {event["run"]["runId"] for event in own} == {own[0]["run"]["runId"]}
    signed = released.workspace().signer.last()
    assert signed is not None
    assert signed.size > own[-1]["index"]
