"""A governance home made once, and a fresh copy of it for each test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from governed_home import DATASETS, Home

from governance.model.evidence import Stage
from governance.pipeline.run import STEPS
from governance.pipeline.step import RunContext, RunReference

ROWS, SEED = 400, 7


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample input, keys, ledger and log; nothing was run."""
    from governance.demo.home import prepare

    return prepare(
        tmp_path_factory.mktemp("prepared") / "home", rows=ROWS, seed=SEED, say=lambda _: None
    ).home


@pytest.fixture(scope="session")
def released_once(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which all three datasets were released once. Only to be copied or read."""
    home = Home.copied(prepared_home, tmp_path_factory.mktemp("released") / "home")
    for dataset in DATASETS:
        home.run(dataset)
    return home.path


@pytest.fixture(scope="session")
def validated_once(
    released_once: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunReference]:
    """A home with a released version of the customers and a second one validated, ready for release."""
    home = Home.copied(released_once, tmp_path_factory.mktemp("validated") / "home")
    context = home.open("customer_profiles")
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(context)
    return home.path, context.reference


@pytest.fixture
def home(prepared_home: Path, tmp_path: Path) -> Home:
    return Home.copied(prepared_home, tmp_path / "home")


@pytest.fixture
def released(released_once: Path, tmp_path: Path) -> Home:
    return Home.copied(released_once, tmp_path / "home")


@pytest.fixture
def validated(validated_once: tuple[Path, RunReference], tmp_path: Path) -> tuple[Home, RunContext]:
    home = Home.copied(validated_once[0], tmp_path / "home")
    return home, home.resumed(validated_once[1])


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of moto's server, over the wire: no real S3 can run here."""
    import boto3
    import httpx
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        httpx.post(f"{own['AWS_ENDPOINT_URL_S3']}/moto-api/reset").raise_for_status()
        client = boto3.client("s3", region_name="eu-central-1")
        client.create_bucket(
            Bucket="northlake-inbox", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield client
    server.shutdown()
