"""`governance demo`, run as a user runs it: the summary against an independent recount, and the canaries."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance.audit import verify_bundle

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1_200

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory a demo ran in; ``out/demo`` below it."""
    base = tmp_path_factory.mktemp("clone")
    done = subprocess.run(
        [sys.executable, "-m", "governance.cli", "demo", "--rows", str(ROWS), "--out", "out/demo"],
        cwd=base,
        env={k: v for k, v in os.environ.items() if not k.startswith(("GOVERNANCE_", "AIRFLOW"))},
        capture_output=True,
        text=True,
        check=False,
    )
    log = base / "out" / "demo" / "airflow.log"
    tail = log.read_text("utf-8")[-4000:] if log.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{tail}"
    (base / "stdout.txt").write_text(done.stdout)
    return base


@pytest.fixture(scope="session")
def summary(demo: Path) -> dict[str, Any]:
    return json.loads((demo / "out" / "demo" / "summary.json").read_text("utf-8"))


def test_summary_has_what_was_promised(demo: Path, summary: dict[str, Any]) -> None:
    assert [d["name"] for d in summary["datasets"]] == [
        "clinical_encounters",
        "customer_profiles",
        "support_prompts",
    ]
    assert {d["kind"] for d in summary["datasets"]} == {"training", "inference"}
    assert summary["verified"] is True
    assert summary["events"] > 0
    assert summary["log"]["checkpoint"].splitlines()[1] == str(summary["log"]["size"])
    for dataset in summary["datasets"]:
        assert (demo / dataset["path"]).is_dir()
        assert dataset["encrypted_columns"]
    for report in summary["reports"]:
        assert {"html", "json", "bundle"} == set(report)
        assert all((demo / path).is_file() for path in report.values())


def test_rows_reconcile_with_the_input(demo: Path, summary: dict[str, Any]) -> None:
    data = demo / "out" / "demo" / "input"
    with (data / "customers.csv").open(newline="", encoding="utf-8") as file:
        customers = sum(1 for _ in csv.reader(file)) - 1
    with gzip.open(data / "support_conversations.jsonl.gz", "rt", encoding="utf-8") as file:
        conversations = sum(1 for line in file if line.strip())
    encounters = pq.read_table(data / "clinical_encounters").num_rows
    rows_in = {d["name"]: d["rows_in"] for d in summary["datasets"]}
    assert rows_in == {
        "clinical_encounters": encounters,
        "customer_profiles": customers,
        "support_prompts": conversations,
    }
    for d in summary["datasets"]:
        assert d["rows_in"] == d["rows_denied"] + d["rows_quarantined"] + d["rows_out"]
        assert min(d["rows_denied"], d["rows_quarantined"], d["rows_out"]) > 0


def test_released_files_do_not_open_without_keys(demo: Path, summary: dict[str, Any]) -> None:
    files = [demo / f for d in summary["datasets"] for f in d["segments"] if f.endswith(".parquet")]
    assert files
    for file in files:
        assert file.read_bytes()[:4] == b"PARE"
        with pytest.raises((OSError, pa.ArrowException)):
            pq.read_table(file)


def test_every_task_reported_its_lineage(demo: Path) -> None:
    home = demo / "out" / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "governance.cli", "lineage", "runs", "--json", "--limit", "1000"],
        env={**os.environ, "GOVERNANCE_HOME": str(home), "GOVERNANCE_KEK": f"file:{home}/secrets/kek.json"},
        capture_output=True,
        text=True,
        check=True,
    )
    states = {r["job_name"]: r["state"] for r in json.loads(done.stdout)}
    stages = ("open", "classify", "consent", "protect", "validate", "release")
    for dag, datasets in (
        ("governed_training_dataset", ("clinical_encounters", "customer_profiles")),
        ("governed_inference_dataset", ("support_prompts",)),
    ):
        for dataset in datasets:
            for stage in stages:
                assert states[f"{dag}.{dataset}.{stage}"] == "COMPLETE"


def test_bundles_verify_with_the_pinned_key_and_not_without(demo: Path, summary: dict[str, Any]) -> None:
    key = summary["log"]["public_key"]
    assert all(verify_bundle(demo / report["bundle"], key).ok for report in summary["reports"])
    for report in summary["reports"][:1]:
        verify = [sys.executable, "-m", "governance.cli", "verify", str(demo / report["bundle"])]
        pinned = subprocess.run([*verify, "--key", key], capture_output=True, text=True, check=False)
        assert pinned.returncode == 0, pinned.stdout + pinned.stderr
        assert "self-attested" in pinned.stdout
        unpinned = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert unpinned.returncode == 3


def test_the_printed_end_names_reports_and_datasets(demo: Path, summary: dict[str, Any]) -> None:
    printed = (demo / "stdout.txt").read_text("utf-8")
    for report in summary["reports"]:
        assert report["html"] in printed
    for dataset in summary["datasets"]:
        assert dataset["path"] in printed


def test_the_recipient_opens_the_disclosure(demo: Path) -> None:
    import base64

    from governance.access import open_disclosure

    home = demo / "out" / "demo"
    key = base64.b64decode((home / "secrets" / "northlake-research.key").read_text())
    (directory,) = (path for path in (home / "disclosures").iterdir() if path.is_dir())
    rows = pa.Table.from_batches(open_disclosure(directory, key))
    assert rows.num_rows > 0
    assert "patient_pseudonym" in rows.column_names
