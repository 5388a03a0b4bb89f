"""One person whom ten recipients know by ten names: the answer has each recipient once, and none of the names."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home, edited

from governance.access import disclose
from governance.pipeline.local import local_recorder
from governance.rights.plan import plan_erasure

RECIPIENTS = [f"lab-{number}" for number in range(10)]


def more_recipients(home: Home) -> None:
    def change(text: str) -> str:
        start = text.index("  northlake-research:\n")
        stop = text.index("  spreelabor-ki:\n")
        entry = text[start:stop]
        title = "title: Northlake Institute for Clinical Research"
        assert title in entry
        copies = "".join(
            entry.replace("northlake-research:", f"{name}:", 1).replace(title, f"title: {name}")
            for name in RECIPIENTS
        )
        return text[:stop] + copies + text[stop:]

    edited(home.path / "policy.yaml", change)


def test_a_subject_with_ten_pseudonyms(released: Home, tmp_path: Path) -> None:
    subject = next(iter(german_subjects(released)))
    more_recipients(released)
    workspace = released.workspace()
    for name in RECIPIENTS:
        disclose(
            workspace,
            local_recorder(workspace, CUSTOMERS, name),
            dataset=CUSTOMERS,
            recipient=name,
            purpose="model_training",
            description="Profiles, to train with",
            directory=tmp_path / name,
        )
    ordinals = workspace.vault.resolve("customer", pa.array([subject]), create=False)
    domains = ["released:customer", *(f"recipient:{name}" for name in RECIPIENTS)]
    names = {
        workspace.vault.pseudonyms("customer", d, np.asarray(ordinals))[0].tobytes().hex() for d in domains
    }
    assert len(names) == 11, "another name for each"

    words = ["report", "make", "gdpr-art15", "--out", str(tmp_path / "out"), "--json"]
    with mock.patch.object(sys, "stdin", io.StringIO(f"{subject}\n")):
        code, out, err = released.cli(*words, "--subject", "-", "--domain", "customer")
    assert code == 0, err
    record = Path(json.loads(out)["json"]).read_text("utf-8")
    [row] = [r for r in json.loads(record)["rows"] if r["id"] == CUSTOMERS]
    told = json.dumps(row["cells"]["recipients"])
    assert [told.count(f'"{name}"') >= 1 for name in RECIPIENTS] == [True] * 10
    assert not [name for name in (*names, subject) if name in record + out]

    plan = plan_erasure(released.workspace(), "customer", pa.array([subject]))
    assert sorted(each["recipient"] for each in plan.facts["recipients"]) == RECIPIENTS
