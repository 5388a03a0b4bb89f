"""Every DAG that the package ships runs, in one home, in one process, and does what it says."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
DAGS = EXAMPLES.parents[1] / "dags"
CONTRACTS = ("clinical_encounters", "customer_profiles", "support_prompts")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from governance.airflow.testing import GovernedHome
    from governance.demo.samples import make_samples

    folder = tmp_path_factory.mktemp("policy")
    shutil.copy(EXAMPLES / "policy.yaml", folder)
    for name in ("northlake-research", "spreelabor-ki"):
        public = X25519PrivateKey.generate().public_key().public_bytes_raw()
        (folder / f"{name}.pub").write_text(base64.b64encode(public).decode())
    contracts = [EXAMPLES / f"{name}.odcs.yaml" for name in CONTRACTS]
    with GovernedHome(folder / "policy.yaml", contracts) as made:
        make_samples(made.path / "input", rows=400, seed=7)
        yield made


@pytest.fixture(scope="module")
def dags(home: Any) -> dict[str, Any]:
    """As Airflow parses them, the cluster policy in force."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GOVERNANCE_HOME", str(home.path))
        bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_the_shipped_dags_run_one_after_the_other(home: Any, dags: dict[str, Any]) -> None:
    ran = set()

    def run(dag: str, **given: Any) -> Any:
        ran.add(dag)
        outcome = home.run(dags[dag], approver="ines.alvarado", **given)
        assert outcome.errors == {}, outcome.errors
        return outcome

    run("consent_sync")
    assert home.workspace.ledger.position > 0
    for dag, datasets in (
        ("governed_training_dataset", CONTRACTS[:2]),
        ("governed_inference_dataset", CONTRACTS[2:]),
    ):
        assert set(run(dag).released) == set(datasets)
    trained = run("model_training")
    assert trained.states["train"] == "success"
    run("research_disclosure")
    assert list((home.path / "disclosures").glob("*/disclosure.json"))
    epoch = home.workspace.keyring.epoch
    run("key_rotation")
    assert home.workspace.keyring.epoch == epoch + 1
    run("log_retention")
    run("audit_reports")
    assert sorted(p.name for p in (home.path / "reports").glob("*/*.zip")) == [
        "gdpr-art30.zip",
        "hipaa-528.zip",
    ]
    assert ran | {"subject_erasure"} == set(dags)


def test_an_erasure_is_planned_approved_carried_out_and_finished(home: Any, dags: dict[str, Any]) -> None:
    import pyarrow.csv as pc

    one = pc.read_csv(home.path / "input" / "customers.csv")["email"][0].as_py()
    file = home.path / "input" / "erasure.txt"
    file.write_text(f"{one}\n", "utf-8")
    refused = home.run(dags["subject_erasure"])
    assert refused.errors["approve"].code == "GOV-646" and refused.states["erase"] == "upstream_failed"
    home.consents([{"subject_id": one, "domain": "customer", "purpose": "model_training"}])
    outcome = home.run(dags["subject_erasure"], approver="ines.alvarado")
    assert outcome.errors == {}
    assert [facet["facts"]["state"] for facet in outcome.evidence("erasure")][-1] == "searched"
    assert not file.exists()
    assert one not in str([dict(event) for event in outcome.events])
