"""Where a person is, asked of releases, disclosures and erasures as they are made; counted again from the files."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home

from governance.access import disclose
from governance.pipeline.local import local_recorder
from governance.protect import open_version
from governance.rights import finish, request_erasure

TO = {
    "recipient": "northlake-research",
    "purpose": "model_training",
    "description": "Profiles, to train with",
}


def where(home: Home, subject: str, *more: str) -> dict[str, Any]:
    with mock.patch.object(sys, "stdin", io.StringIO(f"{subject}\n")):
        code, out, err = home.cli(
            "subject", "where", "-", "--domain", "customer", "--reason", "asked under Art. 15", "--json", *more
        )  # fmt: skip
    assert code == 0, err
    assert subject not in out + err
    return json.loads(out)


def held_in(home: Home, subject: str) -> list[str]:
    """The same, from the decrypted rows of every version."""
    workspace = home.workspace()
    [ordinal] = workspace.vault.resolve("customer", pa.array([subject]), create=False)
    name = (
        workspace.vault.pseudonyms("customer", "released:customer", pa.array([ordinal]).to_numpy())[0]
        .tobytes()
        .hex()
    )
    manifest, versions = home.manifest(CUSTOMERS), []
    while True:
        batches = open_version(
            workspace.dataset_storage(CUSTOMERS),
            manifest,
            workspace.keyring.segment_key,
            ["customer_pseudonym"],
        )
        if name in pa.Table.from_batches(batches)["customer_pseudonym"].to_pylist():
            versions.append(manifest.version)
        if manifest.body["previous"] is None:
            return versions
        manifest = home.manifest(CUSTOMERS, manifest.body["previous"]["version"])


def test_a_person_from_release_to_disclosure_to_erasure(released: Home, tmp_path: Path) -> None:
    (subject, _), (other, _) = list(german_subjects(released).items())[:2]
    released.run(CUSTOMERS)
    workspace = released.workspace()
    told = disclose(
        workspace, local_recorder(workspace, CUSTOMERS, "d1"), dataset=CUSTOMERS, directory=tmp_path / "out", **TO
    ).facts  # fmt: skip
    workspace.append_json(
        {"model": "churn", "digest": "sha256:0", "purpose": "model_training",
         "inputs": [{"dataset": CUSTOMERS, "version": told["version"]}]},
        "application/vnd.governance.training+json",
    )  # fmt: skip

    answer = where(released, subject)
    own = [row["version"] for row in answer["versions"] if row["dataset"] == CUSTOMERS]
    assert own == held_in(released, subject)
    assert len(own) == 2
    assert (answer["subjects"], answer["unknown"], answer["unindexed"]) == (1, 0, 0)
    assert [(row["recipient"], row["state"]) for row in answer["recipients"]] == [
        ("northlake-research", "held")
    ]
    assert [row["model"] for row in answer["models"]] == ["churn"]
    assert {"northlake-research", "owner of the model"} <= {task["who"] for task in answer["tasks"]}
    # That it was asked stands in the log, of whom does not.
    asked = released.workspace().log.entry(answer["log_index"])
    assert json.loads(asked.body or b"{}")["reason"] == "asked under Art. 15"
    assert subject.encode() not in (asked.body or b"")
    # Nothing that an index lies in shows a pseudonym.
    internal = released.workspace().vault.internal("customer")
    for path in (released.root(CUSTOMERS) / "membership").iterdir():
        assert not any(row.tobytes() in path.read_bytes() for row in internal[:50])

    segments = {path.name for path in (released.root(CUSTOMERS) / "membership").iterdir()}
    opened = released.workspace()
    request_erasure(
        opened,
        local_recorder(opened, "erasure", "DSR-1"),
        request="DSR-1",
        domain="customer",
        identifiers=pa.array([subject]),
        ground="objection",
        approve=lambda _: True,
    )
    finish(released.workspace())
    gone = where(released, subject)
    assert (gone["subjects"], gone["erased_before"], gone["versions"]) == (0, 1, [])
    left = {path.name for path in (released.root(CUSTOMERS) / "membership").iterdir()}
    assert left and not left & segments
    after = where(released, other)
    assert after["versions"][0]["state"] == "held"
    assert {row["state"] for row in after["versions"]} == {"held"}


def test_what_has_no_index_is_unknown_until_it_is_written(released: Home) -> None:
    subject = next(iter(german_subjects(released)))
    shutil.rmtree(released.root(CUSTOMERS) / "membership")
    answer = where(released, subject)
    assert {row["state"] for row in answer["versions"] if row["dataset"] == CUSTOMERS} == {"unknown"}
    assert answer["unindexed"] > 0
    code, out, _ = released.cli("subject", "index", CUSTOMERS, "--json")
    assert (code, json.loads(out)) == (0, {CUSTOMERS: answer["unindexed"]})
    assert {row["state"] for row in where(released, subject)["versions"]} == {"held"}
    for path in (released.root(CUSTOMERS) / "membership").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert {row["state"] for row in where(released, subject)["versions"]} <= {"held", "unknown"}


def test_a_stranger_is_nowhere_and_a_question_needs_a_reason(released: Home) -> None:
    answer = where(released, "nobody-of-that-name")
    assert (answer["subjects"], answer["unknown"], answer["versions"], answer["tasks"]) == (0, 1, [], [])
    with mock.patch.object(sys, "stdin", io.StringIO("x\n")):
        code, _, err = released.cli("subject", "where", "-", "--domain", "customer", "--reason", " ")
    assert code == 1
    assert "GOV-613" in err
