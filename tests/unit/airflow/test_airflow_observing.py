"""Mode `observe`: refusals are reported, DAGs go on, nothing is ever certified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.errors import GovernanceError
from governance.model.canonical import parse

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"


@pytest.fixture
def made(tmp_path: Path) -> Any:
    from governance.airflow.testing import GovernedHome

    contract = tmp_path / "newsletter_readers.odcs.yaml"
    contract.write_text((EXAMPLES / "minimal.odcs.yaml").read_text("utf-8"), "utf-8")
    policy = tmp_path / "policy.yaml"
    said = (EXAMPLES / "policy.yaml").read_text("utf-8")
    policy.write_text(f"{said}\nassets: {{newsletter_readers: {{mode: observe}}}}\n", "utf-8")
    with GovernedHome(policy, [contract]) as home:
        home.rows("readers", [{"email": "ann@example.org", "articles_read": 1}])
        home.consents([{"subject_id": "ann@example.org", "domain": "customer", "purpose": "model_training"}])
        yield home


def dag(purpose: str) -> Any:
    from airflow.sdk import DAG

    from governance.airflow import governed_dataset

    with DAG("readers", schedule=None) as built:
        governed_dataset("newsletter_readers.odcs.yaml", purpose=purpose, source="input/readers.parquet")
    return built


def observed(home: Any) -> list[dict[str, Any]]:
    from governance.airflow.observing import OBSERVED

    entries = home.workspace.log.entries(0)
    return [parse(e.body) for e in entries if e.envelope.media_type == OBSERVED]


@pytest.mark.parametrize(
    ("purpose", "stage", "code"), [("treatment", "open", "GOV-104"), ("model_training", "release", "GOV-649")]
)
def test_what_would_be_refused_is_stated_and_nothing_is_released(
    made: Any, purpose: str, stage: str, code: str
) -> None:
    outcome = made.run(dag(purpose))
    assert outcome.errors == {} and outcome.released == {}
    assert outcome.states[f"newsletter_readers.{stage}"] == "skipped"
    assert outcome.states["newsletter_readers.release"] == "skipped"
    assert [(said["stage"], said["code"]) for said in observed(made)] == [(stage, code)]


def test_without_airflow_nothing_is_released_either(made: Any) -> None:
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import run_pass

    with pytest.raises(GovernanceError, match="GOV-649"):
        run_pass(
            made.workspace, local_recorder(made.workspace, "newsletter_readers", "r"), run_id="r",
            contract_path=made.path / "contracts" / "newsletter_readers.odcs.yaml",
            source=str(made.path / "input" / "readers.parquet"), purpose="model_training",
        )  # fmt: skip


def test_a_fault_that_is_no_refusal_fails_as_ever(made: Any) -> None:
    from governance.airflow.observing import observing
    from governance.errors import LogError

    with (
        pytest.raises(LogError),
        observing(made.workspace, "newsletter_readers", "open", {"run_id": "r"}),  # type: ignore[typeddict-item]
    ):
        raise LogError("GOV-501", "the store is down", "start it")


def test_violations_of_an_observed_dataset_refuse_no_dag(
    made: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.exceptions import AirflowClusterPolicyViolation
    from airflow.sdk import DAG, BaseOperator

    from governance.airflow import dataset_asset
    from governance.airflow.enforcement.policy import dag_policy

    monkeypatch.setenv("GOVERNANCE_HOME", str(made.path))
    with DAG("old", schedule=None) as old:
        BaseOperator(task_id="writes", outlets=[dataset_asset("newsletter_readers")])
    dag_policy(old)
    assert "GOV-641 old.writes: observed: a task that is no release" in caplog.text
    with DAG("other", schedule=None) as other:
        BaseOperator(task_id="writes", outlets=[dataset_asset("another")])
    with pytest.raises(AirflowClusterPolicyViolation, match="GOV-641"):
        dag_policy(other)


def test_adopting_lists_what_dags_touch_and_what_each_needs(made: Any, tmp_path: Path) -> None:
    from governance.airflow.enforcement.adopt import adoption
    from governance.airflow.enforcement.known import Known

    (tmp_path / "old.py").write_text(
        '''"""Reads s3://spoken/of/only.csv in its docstring."""
from airflow.sdk import DAG, Asset, BaseOperator
with DAG("old", schedule=None):
    BaseOperator(task_id="loads", inlets=[Asset("raw", uri="s3://lake/raw")],
                 outlets=[Asset("newsletter_readers", uri="gov://governance/newsletter_readers")])
    source = "postgresql://ann:secret@db/people"
    def later(sql_conn_id=None): pass
    later(sql_conn_id="warehouse")
''',
        "utf-8",
    )
    (tmp_path / "new.py").write_text(
        """from airflow.sdk import DAG, task
from governance.airflow import governed_dataset
with DAG("new", schedule=None):
    governed_dataset("newsletter_readers.odcs.yaml", purpose="model_training", source="input/readers.parquet")
    @task.governed(purpose="model_training", inputs=["newsletter_readers"])
    def reads(newsletter_readers, part): pass
    reads.expand(part=[1])
""",
        "utf-8",
    )
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError\n", "utf-8")
    paths = [tmp_path / "old.py", tmp_path / "new.py", tmp_path / "broken.py"]
    found = {(t.how, t.what): t for t in adoption(paths, Known(made.workspace.settings))}
    states = {key: touched.state for key, touched in found.items()}
    assert states == {
        ("names", ""): "broken",
        ("connects", "warehouse"): "outside",
        ("names", "postgresql://…@db/people"): "outside",
        ("names", "s3://lake/raw"): "outside",
        ("reads", "s3://lake/raw"): "outside",
        ("writes", "gov://governance/newsletter_readers"): "observed",
        # What a governed run takes in is governed by it, and a mapped task's inputs are known before it is mapped.
        ("names", "input/readers.parquet"): "governed",
        ("reads", "gov://governance/newsletter_readers"): "observed",
    }
    assert "governed_dataset" in found["writes", "gov://governance/newsletter_readers"].needs
    assert "governance contract draft" in found["reads", "s3://lake/raw"].needs
