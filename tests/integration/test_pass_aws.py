"""A pass whose versions lie in S3 and whose epoch keys AWS KMS holds, over the wire to moto's server."""

from __future__ import annotations

import shutil
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from governed_home import PURPOSES, SOURCES

from governance.access import read_released
from governance.config import Settings
from governance.demo.home import ORIGIN
from governance.errors import StorageError
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.pointer import released_manifest
from governance.pipeline.run import run_pass
from governance.pipeline.workspace import Workspace

CUSTOMERS = "customer_profiles"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", region_name="eu-central-1").create_bucket(
        Bucket="governed", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    yield
    # moto keeps what it was told for as long as this process lives.
    reset = f"http://127.0.0.1:{server.server_port}/moto-api/reset"
    urllib.request.urlopen(urllib.request.Request(reset, method="POST"), timeout=30).close()
    server.shutdown()


def test_a_governed_pass_into_s3_under_kms(aws: None, prepared_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for kept in ("contracts", "input", "policy.yaml"):
        source = prepared_home / kept
        (shutil.copytree if source.is_dir() else _copy)(source, home / kept)
    settings = replace(
        Settings.at(home, kek="aws-kms:eu-central-1/governance"), datasets="s3://governed/datasets"
    )
    workspace = Workspace.create(settings, origin=ORIGIN)
    import_consent(workspace, home / "input" / "consent_ledger.parquet")

    run_pass(
        workspace,
        local_recorder(workspace, CUSTOMERS, "run-1"),
        contract_path=home / "contracts" / f"{CUSTOMERS}.odcs.yaml",
        source=str(home / "input" / SOURCES[CUSTOMERS]),
        purpose=PURPOSES[CUSTOMERS],
        run_id="run-1",
    )
    rows = _rows(Workspace.open(settings))
    assert rows.num_rows == released_manifest(workspace, CUSTOMERS).body["rows"] > 0
    assert not (home / "datasets").exists()

    workspace.keyring.rotate_epoch()
    assert _rows(Workspace.open(settings)).equals(rows), "re-wrapped, not rewritten"

    s3 = boto3.client("s3", region_name="eu-central-1")
    released = released_manifest(workspace, CUSTOMERS).segments[0].files[0].path
    segment = f"datasets/{CUSTOMERS}/{released}"
    body = bytearray(s3.get_object(Bucket="governed", Key=segment)["Body"].read())
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket="governed", Key=segment, Body=bytes(body))
    with pytest.raises(StorageError, match="GOV-723"):
        _rows(Workspace.open(settings))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _rows(workspace: Workspace) -> pa.Table:
    return pa.Table.from_batches(read_released(workspace, CUSTOMERS, purpose=PURPOSES[CUSTOMERS]))
