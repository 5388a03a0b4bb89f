"""The demo: sample input, both DAGs through Airflow, a disclosure, reports, and their verification."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from governance.access import disclose
from governance.audit import REPORTS, make_report, verify_bundle
from governance.config import Settings
from governance.demo.home import CONTRACTS, Say, prepare
from governance.demo.summary import summarize
from governance.errors import GovernanceError
from governance.model.resources import example_dags
from governance.pipeline.local import local_recorder
from governance.pipeline.workspace import Workspace

DAGS = ("governed_training_dataset", "governed_inference_dataset")
KINDS = sorted(kind for kind, report in REPORTS.items() if not report.personal)
"""Every report that is for nobody in particular."""


def play(home: Path, *, rows: int, seed: int, base: Path, say: Say) -> dict[str, Any]:
    """Run the whole demo and return its summary, which is also written to ``summary.json``.

    Raises:
        GovernanceError: what a stage raised inside Airflow stands in ``airflow.log``; GOV-999 here.
    """
    settings = prepare(home, rows=rows, seed=seed, say=say)
    home = settings.home
    say(f"running {' and '.join(DAGS)} through Airflow")
    _run_dags(settings)
    workspace = Workspace.open(settings)
    say("disclosing a subset of the training dataset to a recipient")
    _disclose(workspace)
    reports, verified = [], True
    for kind in KINDS:
        say(f"making and verifying report {kind}")
        made = make_report(workspace, kind, home / "reports", bundle=True)
        bundle = made.bundle or made.json
        verdict = verify_bundle(bundle, workspace.vkey)
        verified = verified and verdict.ok
        reports.append({"html": made.html, "json": made.json, "bundle": bundle})
    summary = summarize(workspace, list(CONTRACTS), reports, verified=verified, base=base)
    (home / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return summary


def _run_dags(settings: Settings) -> None:
    # Airflow reads its environment once, at import, and this package must not import it: a process.
    log = settings.home / "airflow.log"
    environment = {**os.environ, **settings.environment(), "PYTHONWARNINGS": "ignore"}
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "governance.airflow.rehearse", str(example_dags()), *DAGS],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise GovernanceError(
            "GOV-999",
            f"a DAG did not succeed; the first GOV- line in {log} says why",
            "read the log, correct what it names, and run the demo again",
        )


def _disclose(workspace: Workspace) -> None:
    home = workspace.settings.home
    number = len(list((home / "disclosures").glob("*"))) if (home / "disclosures").exists() else 0
    disclose(
        workspace,
        local_recorder(workspace, "clinical_encounters", str(uuid.uuid4())),
        dataset="clinical_encounters",
        recipient="northlake-research",
        purpose="research",
        directory=home / "disclosures" / f"northlake-research-{number + 1}",
        columns=["patient_pseudonym", "sex", "age", "state", "diagnosis_code", "length_of_stay_days"],
        description="Encounters with diagnosis codes and lengths of stay, for outcomes research",
    )
