"""A scheme joins the suite by one line in BACKENDS: a factory from an empty directory to a URI."""

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.storage import Storage, storage_for

BACKENDS: dict[str, Callable[[Path], str]] = {
    "file": lambda directory: (directory / "root").as_uri(),
}


@pytest.fixture(params=sorted(BACKENDS))
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def storage(uri: str) -> Storage:
    return storage_for(uri)
