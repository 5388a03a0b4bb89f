"""Keys move to another key-encryption key: the datasets stay as they are and open; the former key is no use."""

from __future__ import annotations

import json
from pathlib import Path

from before_and_after import CUSTOMERS
from governed_home import Home


def _files(home: Home) -> dict[str, int]:
    root = home.root(CUSTOMERS)
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_keys_move_and_what_is_left_of_the_former_is_followed(released: Home, tmp_path: Path) -> None:
    rows, files = released.rows(CUSTOMERS), _files(released)
    former = released.workspace().keyring.provider
    target = f"file:{tmp_path}/other-disk/kek.json"
    (tmp_path / "other-disk").mkdir()
    code, out, err = released.cli("keys", "move", "--to", target, "--json")
    assert code == 0, err
    moved = json.loads(out)
    assert (moved["from"], moved["epochs"], moved["confirmed"]) == (former, [1], False)
    code, _, err = released.cli("keys", "show")
    assert (code, "GOV-303" in err, "set GOVERNANCE_KEK=file:" in err) == (1, True, True)

    new = {"GOVERNANCE_KEK": target}
    code, out, err = released.cli("keys", "status", "--json", **new)
    assert code == 0, err
    status = json.loads(out)
    assert status["epoch"] == 2
    assert [use["key"].split(".")[0] for use in status["usage"]] == ["epoch", "seg"]
    assert all(0 < use["seals"] < use["remaining"] for use in status["usage"])
    assert [(each["epoch"], each["state"]) for each in status["destroyed"]] == [(1, "pending")]
    assert status["destroyed"][0]["pending"] == ["backups of the epochs file"]

    code, _, err = released.cli("keys", "declare", "2", "--statement", "it lives", **new)
    assert (code, "GOV-303" in err) == (1, True)
    assert released.cli("keys", "declare", "1", "--statement", "The tapes were shredded.", **new)[0] == 0
    code, out, err = released.cli("keys", "status", **new)
    assert code == 0, err
    assert "declared" in out and "The tapes were shredded." in out

    # The home reads as before, from the very same files.
    (released.path / "secrets" / "kek.json").write_bytes(Path(target.removeprefix("file:")).read_bytes())
    (released.path / "secrets" / "kek.json.epochs.json").write_bytes(
        Path(f"{target.removeprefix('file:')}.epochs.json").read_bytes()
    )
    assert released.rows(CUSTOMERS).equals(rows)
    assert _files(released) == files
    bodies = [entry.body for entry in released.workspace().log.entries(0)]
    assert [json.loads(body)["action"] for body in bodies if body and b'"action"' in body] == [
        "moved",
        "declared",
    ]
