"""A key provider joins the suite by one line in SERVICES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kms_services import AwsService, AzureService, FileService, GoogleService, Service, VaultService

SERVICES: dict[str, Callable[[Path], Service]] = {
    "file": FileService,
    "aws-kms": lambda _: AwsService(),
    "vault": lambda _: VaultService(),
    "gcp-kms": lambda _: GoogleService(),
    "azure-kv": AzureService,
}


@pytest.fixture(scope="module", params=SERVICES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = SERVICES[request.param](tmp_path_factory.mktemp(request.param))
    yield service
    service.stop()


@pytest.fixture
def service(running: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    running.use(monkeypatch)
    yield running
    if running.server is not None:
        running.server.faults.behave()


@pytest.fixture
def remote(service: Service) -> Service:
    """A service that a network may keep from answering."""
    if service.server is None:
        pytest.skip("a file has no network in between")
    return service
