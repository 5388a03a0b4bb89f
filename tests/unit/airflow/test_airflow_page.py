"""The DAG on the page is the DAG that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "airflow.md").read_text("utf-8")


def test_the_page_s_dag_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from governance.airflow.testing import GovernedHome

    shown = re.search(r"<!-- a DAG file -->\n```python\n(.*?)```", PAGE, re.S)
    assert shown is not None and len([line for line in shown[1].splitlines() if line.strip()]) < 20
    examples = ROOT / "schemas" / "examples"
    text = (examples / "minimal.odcs.yaml").read_text("utf-8")
    contracts = [tmp_path / "newsletter_readers.odcs.yaml", tmp_path / "habits.odcs.yaml"]
    contracts[0].write_text(text, "utf-8")
    keen = "\n      - {name: keen, logicalType: boolean, classification: none}\n"
    contracts[1].write_text(text.replace("newsletter_readers", "habits").rstrip() + keen, "utf-8")
    (tmp_path / "dag.py").write_text(shown[1], "utf-8")
    with GovernedHome(examples / "policy.yaml", contracts) as home:
        monkeypatch.setenv("GOVERNANCE_HOME", str(home.path))
        home.rows("readers", [{"email": f"{n}@example.org", "articles_read": n} for n in range(5)])
        home.consents(
            [
                {"subject_id": f"{n}@example.org", "domain": "customer", "purpose": "model_training"}
                for n in range(4)
            ]
        )
        bag = DagBag(dag_folder=str(tmp_path / "dag.py"))
        assert bag.import_errors == {}
        outcome: Any = home.run(bag.dags["newsletter_features"])
    assert outcome.errors == {}
    assert sorted(outcome.released["habits"]["keen"].to_pylist()) == [False, False, False, True]


def test_the_page_names_every_clock_and_every_dag() -> None:
    from governance.airflow.deadlines import BREACHES, REQUESTS

    named = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.M))
    assert {*BREACHES, *REQUESTS} <= named
    assert [dag.stem for dag in (ROOT / "dags").glob("*.py") if f"`{dag.stem}`" not in PAGE] == []
