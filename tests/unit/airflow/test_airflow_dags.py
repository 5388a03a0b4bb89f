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
    from governance.audit import REPORTS, verify_bundle
    from governance.audit.shelf import Shelf

    shelf = Shelf(home.path / "reports")
    run("reports_after_erasures")
    run("reports_after_disclosures")
    assert sorted(one.kind for one in shelf.listed()) == ["gdpr-art17", "hipaa-528", "transfers"]
    run("audit_reports")
    # Of the same log, what was made before is the same report.
    assert sorted(one.kind for one in shelf.listed()) == sorted(
        k for k, r in REPORTS.items() if not r.personal
    )
    for one in shelf.listed():
        assert verify_bundle(one.folder / "report.zip", home.workspace.vkey).ok, one.kind
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


@pytest.mark.parametrize(
    ("answered", "started", "code"),
    [
        ("ines.alvarado", None, None),
        ("ines.alvarado", "ines.alvarado", "GOV-646"),
        ("somebody", None, "GOV-646"),
    ],
)
def test_who_approved_an_erasure_is_checked_again_and_logged(
    home: Any, monkeypatch: pytest.MonkeyPatch, answered: str, started: str | None, code: str | None
) -> None:
    from datetime import UTC, datetime
    from types import SimpleNamespace

    from governance.airflow import ErasureApprovalOperator
    from governance.airflow.rights import APPROVED
    from governance.errors import AccessError

    asked = ErasureApprovalOperator(task_id="approve", plan={"plan_digest": "sha256:d"})
    monkeypatch.setattr(asked, "opened", lambda _context: (home.workspace, None))
    context: Any = {
        "dag_run": SimpleNamespace(triggering_user_name=started),
        "ti": SimpleNamespace(), "task_instance": SimpleNamespace(),
    }  # fmt: skip
    event = {
        "chosen_options": ["Approve"], "params_input": {}, "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": answered, "name": answered},
    }  # fmt: skip
    before = home.workspace.log.size()
    if code is None:
        asked.execute_complete(context, event)
        entry = home.workspace.log.entry(before)
        assert entry.envelope.media_type == APPROVED and b"ines.alvarado" in entry.body
    else:
        with pytest.raises(AccessError, match=code):
            asked.execute_complete(context, event)
        assert home.workspace.log.size() == before
