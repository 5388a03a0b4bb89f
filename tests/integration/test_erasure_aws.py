"""An erasure of versions in S3 whose epoch keys AWS KMS holds, over the wire to moto's server."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.csv as pa_csv
from governed_home import PURPOSES, SOURCES
from moto.kms.models import kms_backends
from test_pass_aws import aws as aws

from governance.access import read_released
from governance.config import Settings
from governance.demo.home import ORIGIN
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.pointer import released_manifest
from governance.pipeline.run import run_pass
from governance.pipeline.workspace import Workspace
from governance.rights import erasure_facts, erasure_status, finish, request_erasure

CUSTOMERS = "customer_profiles"


def test_an_erasure_in_s3_is_pending_until_kms_has_deleted_the_epoch(
    aws: None, prepared_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for kept in ("contracts", "input"):
        shutil.copytree(prepared_home / kept, home / kept)
    shutil.copy(prepared_home / "policy.yaml", home / "policy.yaml")
    settings = replace(
        Settings.at(home, kek="aws-kms:eu-central-1/governance"), datasets="s3://governed/datasets"
    )
    workspace = Workspace.create(settings, origin=ORIGIN)
    import_consent(workspace, home / "input" / "consent_ledger.parquet")
    source = home / "input" / SOURCES[CUSTOMERS]
    run_pass(
        workspace,
        local_recorder(workspace, CUSTOMERS, "run-1"),
        contract_path=home / "contracts" / f"{CUSTOMERS}.odcs.yaml",
        source=str(source),
        purpose=PURPOSES[CUSTOMERS],
        run_id="run-1",
    )
    before = released_manifest(workspace, CUSTOMERS)
    everybody = pa_csv.read_csv(source)["customer_id"].combine_chunks()
    subjects = everybody.filter(pa.array(workspace.vault.resolve("customer", everybody, create=False) >= 0))[
        :40
    ]
    request_erasure(
        workspace,
        local_recorder(workspace, "erasure", "R"),
        request="R",
        domain="customer",
        identifiers=subjects,
        ground="unlawful",
        approve=lambda plan: plan.facts["datasets"][0]["dataset"] == CUSTOMERS,
    )
    finish(Workspace.open(settings))
    after = released_manifest(Workspace.open(settings), CUSTOMERS)
    left = sum(batch.num_rows for batch in read_released(workspace, CUSTOMERS, purpose=PURPOSES[CUSTOMERS]))
    assert after.body["rows"] == left < before.body["rows"]
    [status] = erasure_status(Workspace.open(settings))
    assert (status["state"], "delet" in status["pending"]) == ("pending", True)
    facts = erasure_facts(workspace.log, "R")
    assert facts is not None
    assert (facts["searched"]["found"], facts["rewritten"][0]["version"]) == (0, after.version)
    listed = boto3.client("s3", region_name="eu-central-1").list_objects_v2(Bucket="governed")["Contents"]
    keys = [each["Key"] for each in listed]
    assert not [key for key in keys if before.segments[0].segment_id in key]
    assert [key for key in keys if after.segments[0].segment_id in key]

    # Days later KMS has deleted what was scheduled; it is asked again, and what it says is recorded.
    for backend in (each["eu-central-1"] for each in kms_backends.values()):
        gone = [name for name, key in backend.keys.items() if key.key_state == "PendingDeletion"]
        for name in gone:
            del backend.keys[name]
    [status] = erasure_status(Workspace.open(settings))
    assert (status["state"], status["pending"]) == ("complete", "")
    assert (erasure_facts(workspace.log, "R") or {})["destroyed"][-1]["destruction"]["confirmed"]
