"""The answer to a request for access, from a released home: `governance report make gdpr-art15`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from unittest import mock

import pyarrow as pa
from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home

from governance.access import read_released


def test_it_holds_the_rows_of_the_subject_and_of_nobody_else(released: Home, tmp_path: Path) -> None:
    subject = next(iter(german_subjects(released)))
    words = ["report", "make", "gdpr-art15", "--out", str(tmp_path / "out"), "--json"]
    words += ["--subject", "-", "--domain", "customer", "--copy"]
    with mock.patch.object(sys, "stdin", io.StringIO(f"{subject}\n")):
        code, out, err = released.cli(*words)
    assert code == 0, err
    assert subject not in out + err
    said = json.loads(out)
    record = json.loads(Path(said["json"]).read_bytes())
    assert subject not in Path(said["html"]).read_text("utf-8") + json.dumps(record)
    assert CUSTOMERS in {row["id"] for row in record["rows"]}

    workspace = released.workspace()
    [ordinal] = workspace.vault.resolve("customer", pa.array([subject]), create=False)
    name = workspace.vault.pseudonyms("customer", "released:customer", pa.array([ordinal]).to_numpy())[0]
    purpose = released.manifest(CUSTOMERS).body["run"]["purpose"]
    table = pa.Table.from_batches(read_released(workspace, CUSTOMERS, purpose=purpose))
    own = [row for row in table.to_pylist() if row["customer_pseudonym"] == name.tobytes().hex()]
    [copy] = [json.loads(Path(path).read_text("utf-8")) for path in said["copies"] if CUSTOMERS in path]
    assert own and copy["rows"] == json.loads(json.dumps(own, default=str))


def test_a_stranger_is_answered_with_a_refusal(released: Home, tmp_path: Path) -> None:
    with mock.patch.object(sys, "stdin", io.StringIO("nobody-at-all\n")):
        code, _, err = released.cli(
            "report", "make", "gdpr-art15", "--out", str(tmp_path), "--subject", "-", "--domain", "customer"
        )  # fmt: skip
    assert code == 1 and "GOV-203" in err and "nobody-at-all" not in err
