"""An individual's accounting from a released home: by the membership kept of each disclosure, traced, and of nobody else."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home

from governance.access import disclose
from governance.pipeline.local import local_recorder
from governance.rights.subject_lineage import ACCESS

TO = {
    "recipient": "northlake-research",
    "purpose": "model_training",
    "description": "Profiles, to train with",
}


def accounting(home: Home, subject: str, out: Path, *more: str) -> tuple[dict[str, Any], str]:
    words = [
        "report",
        "make",
        "hipaa-528",
        "--out",
        str(out),
        "--subject",
        "-",
        "--domain",
        "customer",
        "--json",
    ]
    with mock.patch.object(sys, "stdin", io.StringIO(f"{subject}\n")):
        code, told, err = home.cli(*words, *more)
    assert code == 0, err
    assert subject not in told + err
    said = json.loads(told)
    text = Path(said["json"]).read_text("utf-8")
    assert subject not in text + Path(said["html"]).read_text("utf-8")
    return json.loads(text), err


def test_only_disclosures_that_hold_the_individual(released: Home, tmp_path: Path) -> None:
    subject = next(iter(german_subjects(released)))
    workspace = released.workspace()
    told = disclose(
        workspace, local_recorder(workspace, CUSTOMERS, "d1"), dataset=CUSTOMERS, directory=tmp_path / "out", **TO
    ).facts  # fmt: skip
    record, _ = accounting(released, subject, tmp_path / "a")
    assert record["asked"]["disclosures"] == [told["disclosure_id"]] and record["asked"]["unsure"] == []
    assert record["report"]["kind"] == "hipaa-528-individual"
    # Customers are no patients: the disclosure is counted, and left out on its ground.
    assert record["population"]["examined"]["excluded"] == 1
    trace = [e for e in released.workspace().log.entries() if e.envelope.media_type == ACCESS][-1]
    assert json.loads(trace.body or b"")["what"] == {
        "kind": "accounting of disclosures",
        "domain": "customer",
    }

    # Without its membership the version answers, and what it holds may have been withheld.
    [kept] = (released.workspace().settings.home / "disclosures").glob("*.members")
    kept.unlink()
    record, _ = accounting(released, subject, tmp_path / "b")
    assert record["asked"]["unsure"] == [told["disclosure_id"]] and record["asked"]["disclosures"] == []
