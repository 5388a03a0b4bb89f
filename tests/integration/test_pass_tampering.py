"""What is altered after a release is found, and a command says where."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from governed_home import Home, refused

from governance.errors import GovernanceError
from governance.model.evidence import Stage
from governance.pipeline.checkpoints import outside_the_log
from governance.pipeline.pointer import POINTER, released_manifest
from governance.pipeline.release import release
from governance.pipeline.run import STEPS

CUSTOMERS = "customer_profiles"


def verified(home: Home, *options: str) -> tuple[int, str]:
    """``governance log verify --key …``: the exit code, and its faults as one text."""
    key = json.loads((home.path / "pinned.json").read_text())["key"]
    code, out, err = home.cli("log", "verify", "--key", key, "--json", *options)
    assert out, err
    return code, "\n".join(json.loads(out)["faults"])


@pytest.fixture
def pinned(released: Home) -> Home:
    (released.path / "pinned.json").write_text(json.dumps({"key": released.workspace().vkey}))
    return released


def flipped(path: Path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def released_files(home: Home) -> dict[str, Path]:
    manifest = home.manifest(CUSTOMERS)
    root = home.root(CUSTOMERS)
    files = {f.role: root / f.path for s in manifest.segments for f in s.files}
    run = manifest.body["run"]
    versions = root / "versions" / run["version"]
    return {
        **files,
        "manifest": versions / f"{run['attempt']}.manifest.json",
        "contract": versions / f"{run['attempt']}.contract.odcs.yaml",
        "pointer": root / POINTER,
    }


def test_an_untouched_home_verifies(pinned: Home) -> None:
    assert verified(pinned, "--files") == (0, "")
    code, out, _ = pinned.cli("log", "verify")
    assert code == 3
    assert "no key was pinned" in out


@pytest.mark.parametrize("role", ["data", "key_material", "manifest", "contract", "pointer"])
def test_one_changed_byte_of_a_release_is_found_and_located(role: str, pinned: Home) -> None:
    path = released_files(pinned)[role]
    original = path.read_bytes()
    workspace = pinned.workspace()
    # A pointer is held byte for byte against the log; of the others a sample of places is enough.
    for at in range(0, len(original), 1 if role == "pointer" else max(1, len(original) // 40)):
        flipped(path, at)
        if role == "pointer":
            with refused("GOV-722"):
                released_manifest(workspace, CUSTOMERS)
        else:
            assert outside_the_log(workspace, files=True).faults, f"byte {at} of {role}"
        if at < 3 * len(original) // 40:
            with refused("GOV-722", "GOV-723", "GOV-112"):
                pinned.rows(CUSTOMERS)
        path.write_bytes(original)
    flipped(path, len(original) // 2)
    code, faults_said = verified(pinned, "--files")
    assert code == 1
    assert CUSTOMERS in faults_said
    assert path.name in faults_said
    path.write_bytes(original)
    assert verified(pinned, "--files") == (0, "")


@pytest.mark.parametrize("what", ["missing", "added", "cut short", "grown"])
def test_files_missing_added_cut_or_grown_are_named(what: str, pinned: Home) -> None:
    data = released_files(pinned)["data"]
    if what == "missing":
        data.unlink()
    elif what == "added":
        data = shutil.copy(data, data.with_name("part-00001.parquet"))
    elif what == "cut short":
        data.write_bytes(data.read_bytes()[:-9])
    else:
        data.write_bytes(data.read_bytes() + b"\0")
    with refused("GOV-723"):
        pinned.rows(CUSTOMERS)
    code, faults = verified(pinned, "--files")
    assert code == 1
    assert Path(data).name in faults


def test_files_swapped_between_versions_are_refused(pinned: Home) -> None:
    old = released_files(pinned)
    pinned.run(CUSTOMERS)
    new = released_files(pinned)
    assert old["data"] != new["data"]
    for role in ("data", "key_material"):
        shutil.copy(old[role], new[role].with_name("taken"))
        (new[role].with_name("taken")).rename(new[role])
    with refused("GOV-723"):
        pinned.rows(CUSTOMERS)
    code, faults = verified(pinned, "--files")
    assert (code, new["data"].parent.name in faults) == (1, True)


def test_a_pointer_put_back_to_an_older_version_is_refused_and_never_signed_over(pinned: Home) -> None:
    pointer = pinned.root(CUSTOMERS) / POINTER
    older = pointer.read_bytes()
    old_marker = next(pinned.root(CUSTOMERS).glob("versions/*/*.released.json"))
    newer = pinned.run(CUSTOMERS).reference
    pointer.write_bytes(older)
    old_marker.unlink()  # as if that release had been killed before it was said
    for attempt in (lambda: pinned.rows(CUSTOMERS), lambda: pinned.run(CUSTOMERS)):
        with refused("GOV-722") as caught:
            attempt()
        assert newer.version in caught[0].message
    code, faults = verified(pinned)
    assert code == 1
    assert newer.version in faults
    assert not any(f["facts"]["recovered"] for f in pinned.evidence(Stage.RELEASE))
    assert pinned.cli("log", "restore", CUSTOMERS)[0] == 0
    assert pinned.manifest(CUSTOMERS).version == newer.version
    assert pinned.rows(CUSTOMERS).num_rows
    assert verified(pinned) == (0, "")
    pinned.run(CUSTOMERS)


def test_an_older_manifest_in_the_newer_ones_place_is_refused(pinned: Home) -> None:
    older = released_files(pinned)["manifest"].read_bytes()
    pinned.run(CUSTOMERS)
    path = released_files(pinned)["manifest"]
    path.write_bytes(older)
    with refused("GOV-722"):
        pinned.rows(CUSTOMERS)
    code, faults = verified(pinned)
    assert (code, path.name in faults) == (1, True)


def test_a_version_that_was_held_back_cannot_be_pointed_at(pinned: Home) -> None:
    pointer = pinned.root(CUSTOMERS) / POINTER
    first, second = pinned.open(CUSTOMERS), pinned.open(CUSTOMERS)
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(first)
            step(second)
    release(first)
    good = pointer.read_bytes()
    with refused("GOV-721"):
        release(second)
    held_back = json.loads(good)
    index = pinned.evidence(Stage.RELEASE)[-1]
    held_back |= {
        "version": second.run.version,
        "manifest_path": f"versions/{second.run.version}/{second.run.attempt}.manifest.json",
    }
    assert index["facts"]["state"] == "quarantined"
    from governance.model.canonical import canonical, digest

    manifest = pinned.root(CUSTOMERS) / held_back["manifest_path"]
    import base64

    payload = base64.b64decode(json.loads(manifest.read_bytes())["payload"])
    pointer.write_bytes(canonical({**held_back, "manifest_digest": digest(payload)}))
    with refused("GOV-722"):
        pinned.rows(CUSTOMERS)
    pointer.write_bytes(good)
    assert pinned.rows(CUSTOMERS).num_rows


def test_a_pointer_that_was_removed_is_noticed(pinned: Home) -> None:
    (pinned.root(CUSTOMERS) / POINTER).unlink()
    with refused("GOV-603"):
        pinned.rows(CUSTOMERS)
    code, faults = verified(pinned)
    assert (code, CUSTOMERS in faults) == (1, True)
    version = pinned.evidence(Stage.RELEASE, CUSTOMERS)[-1]["context"]["version"]
    for broken in (None, b"", b"{}", b"[1]", b"\xff"):
        if broken is not None:
            (pinned.root(CUSTOMERS) / POINTER).write_bytes(broken)
            with refused("GOV-722"):
                pinned.rows(CUSTOMERS)
        code, out, err = pinned.cli("log", "restore", CUSTOMERS, "--json")
        assert code == 0, err
        assert json.loads(out)["version"] == version == pinned.manifest(CUSTOMERS).version
    code, _, err = pinned.cli("log", "restore", "never_released")
    assert (code, "GOV-603" in err) == (1, True)


def test_a_manifest_signed_by_another_home_is_refused(pinned: Home, tmp_path: Path) -> None:
    from governance.keys.providers.file import create_file_key
    from governance.pipeline.workspace import Workspace

    other = Home(tmp_path / "other")
    (other.path / "secrets").mkdir(parents=True)
    create_file_key(other.path / "secrets" / "kek.json")
    for name in ("contracts", "input", "policy.yaml", "northlake-research.pub", "spreelabor-ki.pub"):
        source = pinned.path / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, other.path / name)
    Workspace.create(other.settings, origin="governance.example/other")
    from governance.pipeline.ledger import import_consent

    import_consent(other.workspace(), other.path / "input" / "consent_ledger.parquet")
    other.run(CUSTOMERS)
    shutil.rmtree(pinned.root(CUSTOMERS))
    shutil.copytree(other.root(CUSTOMERS), pinned.root(CUSTOMERS))
    with refused("GOV-722", "GOV-502"):
        pinned.rows(CUSTOMERS)
    with refused("GOV-722", "GOV-502"):
        pinned.run(CUSTOMERS)


@pytest.mark.parametrize("column", ["leaf", "body", "salt"])
def test_one_changed_byte_of_the_log_is_found_and_located(column: str, pinned: Home) -> None:
    size = pinned.workspace().log.size()
    path = pinned.path / "store" / "log.sqlite"
    for index in sorted({0, 1, 3, size // 2, size - 1}):
        with sqlite3.connect(path, isolation_level=None) as database:
            original = database.execute(f"SELECT {column} FROM entry WHERE idx = ?", (index,)).fetchone()[0]
            altered = bytearray(original)
            altered[len(altered) // 2] ^= 1
            change = f"UPDATE entry SET {column} = ? WHERE idx = ?"
            database.execute(change, (bytes(altered), index))
            key = json.loads((pinned.path / "pinned.json").read_text())["key"]
            code, out, err = pinned.cli("log", "verify", "--key", key, "--json")
            assert code == 1, err
            assert json.loads(out)["first_bad"] == index
            database.execute(change, (original, index))
    assert verified(pinned) == (0, "")


def test_the_wrong_pinned_key_is_not_green(pinned: Home, tmp_path: Path) -> None:
    key = json.loads((pinned.path / "pinned.json").read_text())["key"]
    wrong = key[:-6] + ("AAAAA=" if not key.endswith("AAAAA=") else "BBBBB=")
    code, _, err = pinned.cli("log", "verify", "--key", wrong)
    assert code == 1
    assert "GOV-506" in err or "not verified" in err or code


def test_the_signers_memory_is_part_of_what_is_verified(pinned: Home) -> None:
    memory = next((pinned.path / "signer").glob("*.note"))
    original = memory.read_bytes()
    for at in range(0, len(original), 40):
        flipped(memory, at)
        try:
            code, _ = verified(pinned)
        except (GovernanceError, AssertionError):
            code = 1
        assert code == 1, at
        memory.write_bytes(original)
    assert verified(pinned) == (0, "")
