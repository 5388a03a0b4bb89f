"""A scheme joins the suite by one line in BACKENDS: a factory from an empty directory to a URI.

``s3:`` speaks to moto's server over the wire: no real S3 can run here. moto checks a condition and
writes in two steps where S3 has one, so that server answers one request at a time.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from governance.storage import Storage, storage_for

_AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

BACKENDS: dict[str, Callable[[Path], str]] = {
    "file": lambda directory: (directory / "root").as_uri(),
    "s3": lambda directory: f"s3://governance/{directory.name}",
}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[None]:
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_AWS, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}"}.items():
            patch.setenv(name, value)
        client = boto3.client("s3", region_name=os.environ["AWS_REGION"])
        client.create_bucket(
            Bucket="governance", CreateBucketConfiguration={"LocationConstraint": os.environ["AWS_REGION"]}
        )
        yield
    server.shutdown()


@pytest.fixture(params=sorted(BACKENDS))
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3_server")
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def storage(uri: str) -> Storage:
    return storage_for(uri)
