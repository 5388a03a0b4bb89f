"""What a DAG may not do: found by rule, refused by the cluster policy, listed by `governance lint`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from governance.cli import cli
from governance.config import Settings

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
DAGS = EXAMPLES.parents[1] / "dags"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("home")
    shutil.copytree(EXAMPLES, root / "contracts")
    policy = (root / "contracts" / "policy.yaml").read_text("utf-8")
    for name in ("northlake-research", "spreelabor-ki"):
        policy = policy.replace(f"    publicKeyFile: {name}.pub\n", "")
    (root / "policy.yaml").write_text(policy, "utf-8")
    return root


@pytest.fixture(scope="module")
def known(home: Path) -> Any:
    from governance.airflow.enforcement.known import Known

    return Known(Settings.at(home, kek="file:none"))


@pytest.fixture
def found(known: Any) -> Iterator[Any]:
    from airflow.sdk import DAG

    from governance.airflow.enforcement.rules import violations

    class Built:
        def __enter__(self) -> Any:
            self.dag = DAG("d", schedule=None, params={"purpose": "model_training", "wrong": "marketing"})
            self.dag.__enter__()
            return self.dag

        def __exit__(self, *_: Any) -> None:
            self.dag.__exit__(None, None, None)

        @property
        def codes(self) -> list[tuple[str, str]]:
            return [(f.code, f.task) for f in violations(self.dag, known)]

        @property
        def said(self) -> str:
            return "\n".join(map(str, violations(self.dag, known)))

    yield Built()


def plain(name: str, **declared: Any) -> Any:
    from airflow.sdk import BaseOperator

    return BaseOperator(task_id=name, **declared)


def governed(**changed: Any) -> Any:
    from governance.airflow import governed_dataset

    given = {
        "contract": "customer_profiles.odcs.yaml",
        "purpose": "model_training",
        "source": "customers.csv",
    }
    given |= changed
    return governed_dataset(given.pop("contract"), **given)


@pytest.mark.parametrize("purpose", ["model_training", "{{ params.purpose }}", "{{ dag_run.conf['p'] }}"])
def test_a_governed_group_breaks_no_rule(found: Any, purpose: str) -> None:
    with found:
        governed(purpose=purpose)
    assert found.codes == []


@pytest.mark.parametrize("purpose", ["model_trainin", "{{ params.wrong }}"])
def test_a_purpose_that_the_policy_does_not_know(found: Any, purpose: str) -> None:
    with found:
        governed(purpose=purpose)
    assert found.codes == [("GOV-104", "customer_profiles.open")]
    assert ("write 'model_training'" in found.said) == ("trainin" in purpose)


def test_what_a_mapped_task_declares_counts_and_a_stage_of_ones_own_is_none(found: Any) -> None:
    from airflow.sdk import task

    from governance.airflow import dataset_asset
    from governance.airflow.operators import GovernedStageOperator, OpenRunOperator

    class Nothing(GovernedStageOperator):  # type: ignore[misc]
        def execute(self, context: Any) -> Any:
            return None

    with found:

        @task.governed(purpose="model_training", outputs=["models/risk"])
        def train(part: int) -> str:
            return ""

        train.expand(part=[1, 2])
        opened = OpenRunOperator(
            task_id="open", contract="customer_profiles.odcs.yaml", source="x.csv", purpose="model_training"
        )
        own = dataset_asset("customer_profiles")
        opened >> Nothing(task_id="release", stage="release", reference=opened.output, outlets=[own])
    assert sorted(found.codes) == [("GOV-641", "release"), ("GOV-643", "open"), ("GOV-644", "train")]


def test_a_purpose_that_the_contract_does_not_allow(found: Any) -> None:
    with found:
        governed(purpose="treatment")
    assert found.codes == [("GOV-104", "customer_profiles.open")]


def test_a_contract_that_does_not_load(found: Any) -> None:
    with found:
        governed(contract="missing.odcs.yaml")
    assert [code for code, _ in found.codes] == ["GOV-101"]


def test_a_recipient_and_what_it_may_receive(found: Any) -> None:
    from governance.airflow import DiscloseOperator

    common = {"dataset": "customer_profiles", "description": "d", "directory": "out"}
    with found:
        DiscloseOperator(task_id="near", recipient="northlake-researc", purpose="research", **common)
        DiscloseOperator(task_id="purpose", recipient="spreelabor-ki", purpose="research", **common)
        DiscloseOperator(task_id="right", recipient="northlake-research", purpose="research", **common)
    assert sorted(found.codes) == [("GOV-104", "purpose"), ("GOV-601", "near")]
    assert "write 'northlake-research'" in found.said


def assets() -> dict[str, Any]:
    from airflow.sdk import Asset, AssetAlias

    dataset = Asset("customer_profiles", uri="gov://governance/customer_profiles")
    other = Asset("other", uri="s3://bucket/other")
    return {
        "asset": dataset,
        "all": dataset & other,
        "any": other | (other & dataset),
        "name": Asset.ref(name="customer_profiles"),
        "uri": Asset.ref(uri="gov://governance/customer_profiles"),
        "alias": AssetAlias("customer_profiles"),
        "other name": Asset("innocent", uri="gov://governance/customer_profiles"),
        "other uri": Asset("customer_profiles", uri="s3://bucket/profiles"),
        "no dataset": Asset("x", uri="gov://elsewhere/a/b"),
        "other": other,
    }


@pytest.mark.parametrize(
    ("written", "codes"),
    [
        ("asset", {"GOV-641"}), ("all", {"GOV-641"}), ("any", {"GOV-641"}), ("name", {"GOV-641"}),
        ("uri", {"GOV-641"}), ("alias", {"GOV-642"}), ("other name", {"GOV-641", "GOV-642"}),
        ("other uri", {"GOV-641", "GOV-642"}), ("no dataset", {"GOV-642"}), ("other", set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("side", ["inlets", "outlets"])
def test_however_it_is_written_a_governed_asset_is_recognised(
    found: Any, written: str, codes: set[str], side: str
) -> None:
    with found:
        plain("touches", **{side: [assets()[written]]})
    assert {code for code, _ in found.codes} == codes


def test_a_path_below_the_datasets_is_the_dataset(found: Any, home: Path) -> None:
    from airflow.sdk import Asset

    with found:
        plain("reads", inlets=[Asset("files", uri=f"file://{home}/datasets/customer_profiles/segments")])
    assert found.codes == [("GOV-641", "reads")]


def test_a_release_updates_its_own_asset_only(found: Any) -> None:
    from governance.airflow import dataset_asset

    with found as dag:
        governed()
        dag.get_task("customer_profiles.release").outlets.append(dataset_asset("clinical_encounters"))
    assert found.codes == [("GOV-641", "customer_profiles.release")]


def test_a_model_comes_from_governed_data_only(found: Any) -> None:
    from airflow.sdk import Asset

    model = Asset("m", uri="gov://governance/models/m")
    with found:
        plain("from_nothing", outlets=[model])
        plain("from_a_bucket", outlets=[model], inlets=[assets()["other"]])
    assert sorted(found.codes) == [("GOV-644", "from_a_bucket"), ("GOV-644", "from_nothing")]


def test_stages_may_not_be_left_out_nor_reordered(found: Any) -> None:
    from governance.airflow import GovernedStageOperator, OpenRunOperator

    with found:
        opened = OpenRunOperator(
            task_id="open", contract="customer_profiles.odcs.yaml", purpose="model_training", source="s"
        )
        GovernedStageOperator(task_id="release", stage="release", reference=opened.output)
        GovernedStageOperator(task_id="foreign", stage="release", reference={"dataset": "d"})
    assert sorted(found.codes) == [("GOV-643", "foreign"), ("GOV-643", "open")]
    assert "has no classify, consent, protect, validate" in found.said


def test_a_stage_waits_for_the_one_before_to_succeed(found: Any) -> None:
    with found as dag:
        governed()
        release = dag.get_task("customer_profiles.release")
        release.trigger_rule = "all_done"
        approve = dag.get_task("customer_profiles.approve")
        release.upstream_task_ids.discard(approve.task_id)
        approve.downstream_task_ids.discard(release.task_id)
    assert found.codes == [("GOV-643", "customer_profiles.release")] * 2


def test_the_cluster_policy_refuses_with_code_line_and_remedy(
    found: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.exceptions import AirflowClusterPolicyViolation

    from governance.airflow.enforcement.policy import dag_policy

    monkeypatch.setenv("GOVERNANCE_HOME", str(home))
    with found:
        governed(purpose="marketing")
    with pytest.raises(
        AirflowClusterPolicyViolation, match=r":\d+: GOV-104 d\.customer_profiles\.open: .*policy"
    ):
        dag_policy(found.dag)


def test_an_airflow_without_a_home_loses_only_governed_dags(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.exceptions import AirflowClusterPolicyViolation

    from governance.airflow.enforcement.policy import dag_policy

    monkeypatch.delenv("GOVERNANCE_HOME", raising=False)
    with found:
        plain("task", outlets=[assets()["other"]])
    dag_policy(found.dag)
    with found:
        governed()
    with pytest.raises(AirflowClusterPolicyViolation, match="GOV-901"):
        dag_policy(found.dag)


def test_lint_lists_every_violation_where_it_stands(home: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError\n", "utf-8")
    shutil.copy(DAGS / "governed_training_dataset.py", tmp_path)
    (tmp_path / "wrong.py").write_text(
        "from airflow.sdk import DAG\n"
        "from governance.airflow import governed_dataset\n"
        'with DAG("wrong", schedule=None):\n'
        "    governed_dataset(\n"
        '        "customer_profiles.odcs.yaml", purpose="marketing", source="s"\n'
        "    )\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "governance.airflow.enforcement.lint", "--home", str(home),
         "--format", "sarif", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    places = [
        (
            result["ruleId"],
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].rsplit("/", 1)[1],
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for result in run["results"]
    ]
    assert places == [("GOV-645", "broken.py", 1), ("GOV-104", "wrong.py", 4)]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["GOV-104", "GOV-645"]


def test_the_shipped_dags_pass_and_the_command_says_what_it_is_for(home: Path) -> None:
    from governance.airflow.enforcement.known import Known
    from governance.airflow.enforcement.lint import examine

    assert examine([DAGS], Known(Settings.at(home, kek="file:none"))) == (len(list(DAGS.glob("*.py"))), [])
    assert "--format" in CliRunner().invoke(cli, ["lint", "--help"]).output
